//! What `std::net` does not offer: a send that never waits.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Sends what fits into the socket's buffer now and tells how much that was.
///
/// The socket itself stays blocking, so its reader still sleeps in one
/// system call. `WouldBlock` when nothing fits; never raises SIGPIPE.
pub fn send_now(socket: BorrowedFd<'_>, data: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length describe one readable slice.
    let sent = unsafe {
        libc::send(
            socket.as_raw_fd(),
            data.as_ptr().cast(),
            data.len(),
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Whether reads and writes on `fd` may be made non-blocking without
/// surprising others: true of pipes and sockets, false of a terminal, which a
/// shell shares with us, and of files.
pub fn is_private_stream(fd: BorrowedFd<'_>) -> bool {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: fstat fills the structure whole when it returns 0.
    let mode = unsafe {
        if libc::fstat(fd.as_raw_fd(), stat.as_mut_ptr()) != 0 {
            return false;
        }
        stat.assume_init().st_mode
    };
    matches!(mode & libc::S_IFMT, libc::S_IFIFO | libc::S_IFSOCK)
}

/// Makes reads and writes on `fd` return `WouldBlock` instead of waiting. Whether they waited
/// before.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<bool> {
    change_flags(fd, |flags| flags | libc::O_NONBLOCK)
}

/// Makes reads and writes on `fd` wait again.
pub fn set_blocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    change_flags(fd, |flags| flags & !libc::O_NONBLOCK).map(drop)
}

/// Whether that changed anything.
fn change_flags(
    fd: BorrowedFd<'_>,
    change: impl Fn(libc::c_int) -> libc::c_int,
) -> io::Result<bool> {
    // SAFETY: F_GETFL and F_SETFL take no pointers.
    unsafe {
        let flags = super::check(libc::fcntl(fd.as_raw_fd(), libc::F_GETFL))?;
        let wanted = change(flags);
        if wanted != flags {
            super::check(libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, wanted))?;
        }
        Ok(wanted != flags)
    }
}

/// Asks for a pipe of `bytes`; what the kernel refuses stays as it was.
pub fn widen_pipe(fd: BorrowedFd<'_>, bytes: i32) {
    // SAFETY: F_SETPIPE_SZ takes no pointers; a refusal is harmless.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) };
}

/// How many bytes can be read from `fd` without waiting.
pub fn readable_bytes(fd: BorrowedFd<'_>) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    if result < 0 {
        return 0;
    }
    usize::try_from(count).unwrap_or(0)
}
