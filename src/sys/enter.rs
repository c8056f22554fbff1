//! The first process in a sandbox, and how it starts the program there.
//!
//! It is a process of its own with nobody else's memory. Until the program runs, nothing else is in
//! its pid namespace; from then on nothing there can look into it, because it is not dumpable.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

use super::check;
use super::file;
use super::limits::Limit;
use super::process::{self, Exit};
use super::signal::Signal;
use super::spawn::{
    Arguments, Search, Stage, close_from, errno, exec_first, exec_open, place_standard, pointers,
    reset_signals, set_limits, take_terminal,
};
use super::{capabilities, landlock, seccomp};

/// The program to run.
#[derive(Clone, Debug)]
pub struct Image {
    /// Where it is.
    pub program: Search,
    /// The arguments, the first being the name that the program sees.
    pub argv: Vec<CString>,
    /// `NAME=value`, the whole environment.
    pub env: Vec<CString>,
    /// Where to start; `/` if that is not there.
    pub cwd: CString,
    /// Limits to set.
    pub limits: Vec<Limit>,
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

/// Gives up what bwrap has left for the set-up, every capability, and puts this process, and so the
/// program, under a Landlock domain and a filter. Checks that no privilege is left and none can be
/// gained.
pub fn confine(
    rules: Option<OwnedFd>,
    filter: &[seccomp::Instruction],
) -> Result<(), (Stage, i32)> {
    capabilities::drop_all().map_err(|errno| (Stage::Capabilities, errno))?;
    match capabilities::has_none() {
        Ok(true) => {}
        Ok(false) => return Err((Stage::Capabilities, libc::EPERM)),
        Err(error) => return Err((Stage::Capabilities, error.raw_os_error().unwrap_or(0))),
    }
    // SAFETY: takes no pointers.
    if unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) } != 1 {
        return Err((Stage::NoNewPrivs, libc::EPERM));
    }
    if let Some(rules) = rules {
        landlock::enter(rules.as_fd()).map_err(|errno| (Stage::Landlock, errno))?;
    }
    seccomp::install(filter).map_err(|errno| (Stage::Seccomp, errno))
}

/// Which of two processes this is, after [`fork`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forked {
    /// The new one.
    Child,
    /// The former one, and the number of the new one.
    Parent(i32),
}

/// Makes a second process of this one, which must have one thread.
pub fn fork() -> Result<Forked, (Stage, i32)> {
    // SAFETY: with one thread no lock is held by another one, so the child may do whatever we may.
    match unsafe { libc::fork() } {
        0 => Ok(Forked::Child),
        pid if pid > 0 => Ok(Forked::Parent(pid)),
        _ => Err((Stage::Clone, errno())),
    }
}

/// Makes `standard` the descriptors 0, 1 and 2, and closes every other one but these.
pub fn keep_descriptors(
    standard: [OwnedFd; 3],
    kept: [Option<&OwnedFd>; 2],
) -> Result<(), (Stage, i32)> {
    // Given up as owned: they are closed below with all others.
    let standard = standard.map(IntoRawFd::into_raw_fd);
    place_standard(standard).map_err(|errno| (Stage::Descriptors, errno))?;
    keep_only(kept.map(|fd| fd.map_or(-1, AsRawFd::as_raw_fd)));
    Ok(())
}

/// Becomes the leader of a new session, and with a terminal at descriptor 0 its controlling
/// process.
pub fn lead_session(has_terminal: bool) -> Result<(), (Stage, i32)> {
    // SAFETY: takes no pointers.
    if unsafe { libc::setsid() } < 0 {
        return Err((Stage::Session, errno()));
    }
    if has_terminal {
        take_terminal(0).map_err(|errno| (Stage::Terminal, errno))?;
    }
    Ok(())
}

/// Becomes the program; of `open_program`, if that is given, its paths only name it. Returns only
/// when it has failed. Nothing must be open but what is the program's and closes on exec: so no
/// path that a client has named leads to anything that bwrap or the server held open.
pub fn become_program(image: &Image, open_program: Option<&OwnedFd>) -> (Stage, i32) {
    if let Err(error) = enter_directory(&image.cwd) {
        return (Stage::Directory, error.raw_os_error().unwrap_or(0));
    }
    // They are for the program: to enter the directory takes a descriptor.
    if let Err(failure) = set_limits(&image.limits) {
        return failure;
    }
    // The server has given every signal its default when it started the launcher, which leaves them
    // so; this one is ignored by the runtime of our own program.
    reset_signals(1 << (libc::SIGPIPE - 1));
    let (mut argv, env) = (Arguments::new(&image.argv), pointers(&image.env));
    match open_program {
        Some(file) => exec_open(file.as_raw_fd(), &argv, &env),
        None => exec_first(&image.program, &mut argv, &env),
    }
}

/// Closes every descriptor from 3 on but these, of which a negative one is none.
fn keep_only(mut kept: [i32; 2]) {
    kept.sort_unstable();
    let mut first = 3;
    for number in kept.into_iter().filter(|number| *number >= 3) {
        for fd in first..number {
            // SAFETY: takes no pointers; nobody owns them any more.
            unsafe { libc::close(fd) };
        }
        first = number + 1;
    }
    close_from(first as libc::c_uint);
}

/// Enters a directory as a client has named it. A link of `/proc` that leads past names, to what a
/// process has open, is not followed.
fn enter_directory(path: &CStr) -> io::Result<()> {
    let directory = file::locate_directory_without_magic(path)?;
    // SAFETY: takes no pointers.
    check(unsafe { libc::fchdir(directory.as_raw_fd()) }).map(drop)
}

/// Closes every descriptor but `kept`, and reaps whatever ends, until `program` has. Its exit as a
/// shell has it: 128 and its number for a signal.
pub fn reap_until(program: i32, kept: Option<OwnedFd>) -> u8 {
    let kept = kept.map_or(-1, IntoRawFd::into_raw_fd);
    for fd in 0..kept {
        // SAFETY: takes no pointers; this process does nothing more with any of them.
        unsafe { libc::close(fd) };
    }
    close_from((kept + 1) as libc::c_uint);
    loop {
        match process::reap_any() {
            Ok((pid, exit)) if pid == program => {
                return match exit {
                    Exit::Code(code) => code as u8,
                    Exit::Killed(Signal(number)) => 128_u8.wrapping_add(number as u8),
                };
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // It is no child of ours any more.
            Err(_) => return 255,
        }
    }
}
