//! A descriptor that another thread can make readable: how a thread inside `poll` is woken.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

/// A wake-up that stays set until it is taken: it cannot be lost between a
/// check and the wait that follows.
#[derive(Debug)]
pub struct WakeEvent(OwnedFd);

impl WakeEvent {
    /// A new, unset event. Fails only when the process is out of descriptors.
    pub fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes no pointers.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the descriptor is fresh and owned by nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Makes the descriptor readable. Never blocks.
    pub fn set(&self) {
        let one = 1_u64;
        // SAFETY: the buffer is eight readable bytes. A full counter (EAGAIN) is readable already.
        unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    /// Takes the wake-up, if there is one.
    pub fn take(&self) {
        let mut count = 0_u64;
        // SAFETY: the buffer is eight writable bytes; EAGAIN leaves it alone.
        unsafe { libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), 8) };
    }
}

impl AsFd for WakeEvent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
