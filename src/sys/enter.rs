//! What a process does that is inside a sandbox already and becomes the program there.
//!
//! It is a process of its own with nobody else's memory, so unlike a fresh child
//! ([`spawn`](super::spawn)) it may do what it likes; the steps are the same.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

use super::limits::Resource;
use super::spawn::child::{
    close_from, errno, exec_first, place_standard, reset_signals, set_limits, take_terminal,
};
use super::spawn::{Stage, pointers};
use super::{capabilities, seccomp};

/// The program to become.
#[derive(Clone, Debug)]
pub struct Image {
    /// Paths to try in turn.
    pub programs: Vec<CString>,
    /// The arguments, the first being the name that the program sees.
    pub argv: Vec<CString>,
    /// `NAME=value`, the whole environment.
    pub env: Vec<CString>,
    /// Where to start; `/` if that is not there.
    pub cwd: CString,
    /// Limits to set, soft and hard alike.
    pub limits: Vec<(Resource, u64)>,
}

/// Takes a descriptor that was inherited by number. `None` if it is not open.
///
/// # Panics
/// Never; but whoever takes a number twice has two owners of one descriptor, so take each once.
pub fn inherited(number: i32) -> Option<OwnedFd> {
    // SAFETY: takes no pointers.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return None;
    }
    // SAFETY: it is open, and the caller takes each number once.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Checks that what must be given up is given up; the stage that is not, and an errno.
pub fn check_confined() -> Result<(), (Stage, i32)> {
    match capabilities::has_none() {
        Ok(true) => {}
        Ok(false) => return Err((Stage::Capabilities, libc::EPERM)),
        Err(error) => return Err((Stage::Capabilities, error.raw_os_error().unwrap_or(0))),
    }
    // SAFETY: takes no pointers.
    if unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) } != 1 {
        return Err((Stage::NoNewPrivs, libc::EPERM));
    }
    if seccomp::own_mode() != libc::SECCOMP_MODE_FILTER as i32 {
        return Err((Stage::Seccomp, libc::EPERM));
    }
    Ok(())
}

/// Becomes the leader of a new session, and the controlling process of `terminal`.
pub fn lead_session(terminal: Option<&OwnedFd>) -> Result<(), (Stage, i32)> {
    // SAFETY: takes no pointers.
    if unsafe { libc::setsid() } < 0 {
        return Err((Stage::Session, errno()));
    }
    match terminal {
        Some(terminal) => {
            take_terminal(terminal.as_raw_fd()).map_err(|errno| (Stage::Terminal, errno))
        }
        None => Ok(()),
    }
}

/// Becomes the program, with these as its descriptors 0, 1 and 2 and no other, but for `kept`
/// until the exec succeeds. Returns only when it has failed.
pub fn become_program(image: &Image, standard: [OwnedFd; 3], kept: &OwnedFd) -> (Stage, i32) {
    // Given up as owned: they are closed below with all others.
    let standard = standard.map(IntoRawFd::into_raw_fd);
    let prepared = set_limits(&image.limits)
        .and_then(|()| place_standard(standard).map_err(|errno| (Stage::Descriptors, errno)));
    if let Err(failure) = prepared {
        return failure;
    }
    let failed = enter_directory(&image.cwd).is_err() && enter_directory(c"/").is_err();
    if failed {
        return (Stage::Directory, errno());
    }
    let kept = kept.as_raw_fd();
    for fd in 3..kept {
        // SAFETY: takes no pointers; nobody owns them any more.
        unsafe { libc::close(fd) };
    }
    close_from(kept as libc::c_uint + 1);
    // The server has given every signal its default when it started the launcher, which leaves them so; this one is
    // ignored by the runtime of our own program.
    reset_signals(1 << (libc::SIGPIPE - 1));
    let (argv, env) = (pointers(&image.argv), pointers(&image.env));
    exec_first(&image.programs, &argv, &env)
}

fn enter_directory(path: &CStr) -> io::Result<()> {
    // SAFETY: a terminated string.
    super::check(unsafe { libc::chdir(path.as_ptr()) }).map(drop)
}
