//! Waiting for several descriptors at once, and waking a thread that does.

use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{null, null_mut};
use std::sync::{Arc, Once};
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
    was_interrupted(fds, count).map(drop)
}

/// What a wait has come to: whether a signal has ended it, and then nothing is ready.
fn was_interrupted(fds: &mut [PollFd<'_>], count: libc::c_int) -> io::Result<bool> {
    if count >= 0 {
        return Ok(false);
    }
    let error = io::Error::last_os_error();
    if error.kind() != io::ErrorKind::Interrupted {
        return Err(error);
    }
    for fd in fds {
        fd.raw.revents = 0;
    }
    Ok(true)
}

/// Wakes one thread that waits, from any other.
#[derive(Clone, Debug)]
pub enum Waker {
    /// By a descriptor that it polls.
    Event(Arc<WakeEvent>),
    /// By a signal to the thread of this number, whose [`Sleeper`] waits.
    Thread(libc::pid_t),
}

impl Waker {
    /// Wakes the thread, now or when it next waits. Never blocks.
    pub fn set(&self) {
        match self {
            Self::Event(event) => event.set(),
            Self::Thread(thread) => {
                // One that has ended needs nothing, and one that has got its number since looks once in vain.
                // SAFETY: takes no pointers; the signal goes to a thread of this process or to none.
                unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), *thread, WAKE) };
            }
        }
    }
}

impl From<&Arc<WakeEvent>> for Waker {
    fn from(event: &Arc<WakeEvent>) -> Self {
        Self::Event(Arc::clone(event))
    }
}

impl PartialEq for Waker {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Event(event), Self::Event(other)) => Arc::ptr_eq(event, other),
            (Self::Thread(thread), Self::Thread(other)) => thread == other,
            _ => false,
        }
    }
}

/// Wakes a [`Sleeper`]: whoever gets it and has no handler ignores it.
const WAKE: libc::c_int = libc::SIGURG;

/// A thread that can be woken without a descriptor of its own.
///
/// It blocks a signal, which so stays pending until the thread waits, and lets it come only while it does: like a
/// [`WakeEvent`] that is set, none is lost between a check and the wait that follows.
pub struct Sleeper {
    thread: libc::pid_t,
    /// The signals that are blocked while it waits.
    blocked: libc::sigset_t,
    /// It is of use to its own thread only.
    stays: PhantomData<*const ()>,
}

impl Sleeper {
    /// Prepares the calling thread.
    pub fn of_this_thread() -> Self {
        static HANDLED: Once = Once::new();
        HANDLED.call_once(handle_wake);
        let mut wake = MaybeUninit::<libc::sigset_t>::uninit();
        let mut blocked = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset and pthread_sigmask initialise the sets, which the other calls change or read; gettid takes
        // no pointers.
        unsafe {
            libc::sigemptyset(wake.as_mut_ptr());
            libc::sigaddset(wake.as_mut_ptr(), WAKE);
            libc::pthread_sigmask(libc::SIG_BLOCK, wake.as_ptr(), blocked.as_mut_ptr());
            libc::sigdelset(blocked.as_mut_ptr(), WAKE);
            Self {
                thread: libc::gettid(),
                blocked: blocked.assume_init(),
                stays: PhantomData,
            }
        }
    }

    /// What wakes it.
    pub fn waker(&self) -> Waker {
        Waker::Thread(self.thread)
    }

    /// As [`wait`], and until the thread is woken; whether it was.
    pub fn wait(&self, fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<bool> {
        let limit = timeout.map(|limit| libc::timespec {
            tv_sec: limit.as_secs().try_into().unwrap_or(MAX_SECONDS),
            tv_nsec: limit.subsec_nanos().into(),
        });
        let limit = limit.as_ref().map_or(null(), std::ptr::from_ref);
        // SAFETY: PollFd is a transparent pollfd; the slice, the time and the set outlive the call.
        let count = unsafe {
            libc::ppoll(
                fds.as_mut_ptr().cast::<libc::pollfd>(),
                fds.len() as libc::nfds_t,
                limit,
                &raw const self.blocked,
            )
        };
        was_interrupted(fds, count)
    }
}

/// A wait of a century is as good as one without an end.
const MAX_SECONDS: i64 = 100 * 366 * 24 * 3600;

/// Makes the signal interrupt a wait, and do nothing else.
fn handle_wake() {
    extern "C" fn do_nothing(_signal: libc::c_int) {}
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all zero is a valid action; sigemptyset initialises its mask. The handler does nothing, so it may run
    // anywhere.
    unsafe {
        let action = action.assume_init_mut();
        // What another thread does that has got the number of one that has ended goes on; ppoll is interrupted all the same.
        action.sa_flags = libc::SA_RESTART;
        action.sa_sigaction = do_nothing as extern "C" fn(libc::c_int) as usize;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(WAKE, action, null_mut());
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Instant;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn a_thread_is_woken_by_what_came_before_it_waits_and_meanwhile() {
        let (told, waker) = mpsc::channel();
        let (go_on, going_on) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let sleeper = Sleeper::of_this_thread();
            told.send(sleeper.waker()).unwrap();
            going_on.recv_timeout(PATIENCE).unwrap();
            let before = sleeper.wait(&mut [], Some(PATIENCE)).unwrap();
            let again = sleeper
                .wait(&mut [], Some(Duration::from_millis(1)))
                .unwrap();
            told.send(sleeper.waker()).unwrap();
            (
                before,
                again,
                sleeper.wait(&mut [], Some(PATIENCE)).unwrap(),
            )
        });
        let first = waker.recv_timeout(PATIENCE).unwrap();
        first.set();
        first.set();
        go_on.send(()).unwrap();
        let second = waker.recv_timeout(PATIENCE).unwrap();
        assert!(first == second);
        second.set();
        assert_eq!(thread.join().unwrap(), (true, false, true));
    }

    #[test]
    fn a_thread_that_is_not_woken_waits_for_its_descriptors_and_its_time() {
        let sleeper = Sleeper::of_this_thread();
        let event = WakeEvent::new().unwrap();
        let begun = Instant::now();
        let mut fds = [PollFd::new(event.as_fd(), READABLE)];
        assert!(
            !sleeper
                .wait(&mut fds, Some(Duration::from_millis(5)))
                .unwrap()
        );
        assert!(begun.elapsed() >= Duration::from_millis(5) && !fds[0].is_ready());
        event.set();
        assert!(!sleeper.wait(&mut fds, Some(PATIENCE)).unwrap());
        assert!(fds[0].is_ready());
    }
}
