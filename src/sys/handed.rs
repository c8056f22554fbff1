//! Descriptors that whoever started us has left open for us, behind the standard streams.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Where they begin.
const FIRST: RawFd = 3;

/// The first one, which is a socket that listens; it is closed in children from now on. For the beginning of `main`.
///
/// # Errors
/// It is none, or was asked for before.
pub fn listener() -> io::Result<OwnedFd> {
    static IS_TAKEN: AtomicBool = AtomicBool::new(false);
    let mut listens: libc::c_int = 0;
    let mut size = size_of_val(&listens) as libc::socklen_t;
    // SAFETY: the pointers are to a number and its size, which outlive the call; it looks at a descriptor and owns none.
    let asked = unsafe {
        libc::getsockopt(
            FIRST,
            libc::SOL_SOCKET,
            libc::SO_ACCEPTCONN,
            (&raw mut listens).cast(),
            &raw mut size,
        )
    };
    super::check(asked)?;
    if listens == 0 || IS_TAKEN.swap(true, Ordering::Relaxed) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: it is open, and nobody else's: nothing of ours listens at the beginning of `main`, so it was given to us,
    // and it is taken once.
    let socket = unsafe { OwnedFd::from_raw_fd(FIRST) };
    // SAFETY: the descriptor is open, and the call changes a flag of it.
    super::check(unsafe { libc::fcntl(FIRST, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    Ok(socket)
}
