//! Waiting for several descriptors at once, and waking a thread that does.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::{check, counted, retry};

/// Readable, at end of file, or in error.
pub const READABLE: i16 = libc::POLLIN;
/// Writable, or broken.
pub const WRITABLE: i16 = libc::POLLOUT;
/// Nothing but what is always told: an error, or that the other end is gone.
pub const BROKEN: i16 = 0;
/// Something out of the ordinary, such as a change of the list of mounts.
pub const EXCEPTIONAL: i16 = libc::POLLPRI;

/// One descriptor and what is awaited of it.
#[repr(transparent)]
pub struct PollFd<'fd> {
    raw: libc::pollfd,
    borrowed: PhantomData<BorrowedFd<'fd>>,
}

impl<'fd> PollFd<'fd> {
    /// Awaits `events` ([`READABLE`], [`WRITABLE`] or both) of `fd`.
    pub fn new(fd: BorrowedFd<'fd>, events: i16) -> Self {
        let raw = libc::pollfd {
            fd: fd.as_raw_fd(),
            events,
            revents: 0,
        };
        Self {
            raw,
            borrowed: PhantomData,
        }
    }

    /// An entry that never becomes ready, so that the others keep their places.
    pub fn never() -> Self {
        let raw = libc::pollfd {
            fd: -1,
            events: 0,
            revents: 0,
        };
        Self {
            raw,
            borrowed: PhantomData,
        }
    }

    /// Whether the last wait found it ready (an error or a hang-up counts).
    pub fn is_ready(&self) -> bool {
        self.raw.revents != 0
    }
}

/// Waits until one of `fds` is ready or `timeout` has passed (`None`: for ever).
/// Timeouts are rounded up to whole milliseconds, so a deadline has passed on return.
pub fn wait(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<()> {
    let millis = match timeout {
        None => -1,
        Some(limit) => {
            libc::c_int::try_from(limit.as_nanos().div_ceil(1_000_000)).unwrap_or(libc::c_int::MAX)
        }
    };
    // SAFETY: PollFd is a transparent pollfd, and the slice outlives the call.
    let count = unsafe {
        libc::poll(
            fds.as_mut_ptr().cast::<libc::pollfd>(),
            fds.len() as libc::nfds_t,
            millis,
        )
    };
    if count >= 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::Interrupted {
        for fd in fds {
            fd.raw.revents = 0;
        }
        return Ok(());
    }
    Err(error)
}

/// A descriptor that another thread can make readable: how a thread inside [`wait`] is woken.
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
        let (fd, from) = (self.0.as_raw_fd(), (&raw const one).cast());
        // A full counter (EAGAIN) is readable already.
        // SAFETY: the buffer is eight readable bytes.
        let _ = retry(|| counted(unsafe { libc::write(fd, from, 8) }));
    }

    /// Takes the wake-up, if there is one.
    pub fn take(&self) {
        let mut count = 0_u64;
        let (fd, into) = (self.0.as_raw_fd(), (&raw mut count).cast());
        // SAFETY: the buffer is eight writable bytes; EAGAIN leaves it alone.
        let _ = retry(|| counted(unsafe { libc::read(fd, into, 8) }));
    }
}

impl AsFd for WakeEvent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
