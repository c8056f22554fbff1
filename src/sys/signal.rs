//! Signals as descriptors, by name, and what of them a child must not inherit.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;

use super::check;

/// A signal that this machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(pub(super) i32);

/// The names that POSIX and Linux give to the signals, without `SIG`.
const NAMES: &[(&str, i32)] = &[
    ("ABRT", libc::SIGABRT),
    ("ALRM", libc::SIGALRM),
    ("BUS", libc::SIGBUS),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("FPE", libc::SIGFPE),
    ("HUP", libc::SIGHUP),
    ("ILL", libc::SIGILL),
    ("INT", libc::SIGINT),
    ("IO", libc::SIGIO),
    ("KILL", libc::SIGKILL),
    ("PIPE", libc::SIGPIPE),
    ("PROF", libc::SIGPROF),
    ("PWR", libc::SIGPWR),
    ("QUIT", libc::SIGQUIT),
    ("SEGV", libc::SIGSEGV),
    ("STKFLT", libc::SIGSTKFLT),
    ("STOP", libc::SIGSTOP),
    ("SYS", libc::SIGSYS),
    ("TERM", libc::SIGTERM),
    ("TRAP", libc::SIGTRAP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("USR1", libc::SIGUSR1),
    ("USR2", libc::SIGUSR2),
    ("VTALRM", libc::SIGVTALRM),
    ("WINCH", libc::SIGWINCH),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
];

impl Signal {
    /// Ctrl-C.
    pub const INTERRUPT: Self = Self(libc::SIGINT);
    /// The polite request to end.
    pub const TERMINATE: Self = Self(libc::SIGTERM);
    /// The end.
    pub const KILL: Self = Self(libc::SIGKILL);
    /// The terminal is gone; to a server, the wish that it read its files again.
    pub const HANGUP: Self = Self(libc::SIGHUP);
    /// Whatever the program takes it for.
    pub const USER_1: Self = Self(libc::SIGUSR1);
    /// The same.
    pub const USER_2: Self = Self(libc::SIGUSR2);
    /// Ctrl-\.
    pub const QUIT: Self = Self(libc::SIGQUIT);
    /// Ctrl-Z.
    pub const STOP_KEY: Self = Self(libc::SIGTSTP);
    /// The terminal's window has another size.
    pub const WINDOW: Self = Self(libc::SIGWINCH);
    /// A child has changed its state.
    pub const CHILD: Self = Self(libc::SIGCHLD);

    /// The signal of a name such as `TERM` or `SIGTERM`, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        let found = NAMES.iter().find(|(known, _)| *known == bare)?;
        Some(Self(found.1))
    }

    /// The signal of this number, as a wait status has it.
    pub fn from_number(number: i32) -> Self {
        Self(number)
    }

    /// Its number on this machine.
    pub fn number(self) -> i32 {
        self.0
    }

    /// Its name with `SIG`; a real-time signal is named by its number.
    pub fn name(self) -> String {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => format!("SIG{name}"),
            None => format!("SIG{}", self.0),
        }
    }
}

/// Signals that arrive as readable events instead of interrupting a thread.
#[derive(Debug)]
pub struct SignalEvents(OwnedFd);

impl SignalEvents {
    /// Blocks `signals` for this thread and all that it will start, and
    /// collects them. Must run before the first thread is started.
    pub fn collect(signals: &[Signal]) -> io::Result<Self> {
        // Who started us may ignore this one, and then the kernel would throw the exit codes of
        // our children away.
        kernel_action(libc::SIGCHLD, Some(&KernelAction::default()), None);
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initialises the set, sigaddset changes an initialised one, and the
        // calls that follow only read it.
        let fd = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in signals {
                libc::sigaddset(set.as_mut_ptr(), signal.0);
            }
            let failed = libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
            if failed != 0 {
                return Err(io::Error::from_raw_os_error(failed));
            }
            check(libc::signalfd(
                -1,
                set.as_ptr(),
                libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
            ))?
        };
        // SAFETY: the descriptor is fresh and owned by nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Takes one signal that has arrived, if any.
    pub fn take(&self) -> Option<Signal> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer has the size that is passed.
        let count = unsafe { libc::read(self.0.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        if count != size as isize {
            return None;
        }
        // SAFETY: the kernel has filled the whole structure.
        let number = unsafe { info.assume_init() }.ssi_signo;
        i32::try_from(number).ok().map(Signal)
    }
}

impl AsFd for SignalEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What the kernel keeps of a signal's disposition: handler, flags, restorer, mask. The same on
/// x86_64 and aarch64. All zero is the default disposition.
type KernelAction = [u64; 4];

/// The raw call, since C libraries refuse the numbers that they use themselves (32 and 33), and
/// those are inherited like the others.
fn kernel_action(number: i32, new: Option<&KernelAction>, old: Option<&mut KernelAction>) -> bool {
    let new = new.map_or(std::ptr::null(), |new| new.as_ptr());
    let old = old.map_or(std::ptr::null_mut(), |old| old.as_mut_ptr());
    // SAFETY: both pointers are null or to a structure of the kernel's size; 8 is the size of its
    // signal sets.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, number, new, old, 8) == 0 }
}

/// One bit a signal that this process ignores: such dispositions survive
/// `exec`, so a child must have them reset (Rust ignores SIGPIPE, `nohup` SIGHUP).
pub(super) fn ignored() -> u64 {
    static IGNORED: OnceLock<u64> = OnceLock::new();
    *IGNORED.get_or_init(|| {
        let is_ignored = |number: &i32| {
            let mut action = KernelAction::default();
            kernel_action(*number, None, Some(&mut action)) && action[0] == libc::SIG_IGN as u64
        };
        let bits = (1..=64).filter(is_ignored).map(|number| 1 << (number - 1));
        bits.fold(0, |mask, bit: u64| mask | bit)
    })
}

/// Lets a write beyond the limit on the size of files fail instead of ending this process. For the
/// beginning of `main`, before [`ignored`] is asked, so that no child inherits it.
pub fn survive_file_size_limit() {
    let mut action = KernelAction::default();
    action[0] = libc::SIG_IGN as u64;
    kernel_action(libc::SIGXFSZ, Some(&action), None);
}

/// Gives the signals of `mask` their default dispositions. Async-signal-safe.
pub(super) fn reset(mask: u64) {
    for number in 1..=64 {
        if mask & (1 << (number - 1)) != 0 {
            kernel_action(number, Some(&KernelAction::default()), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_with_and_without_prefix_in_any_case() {
        for name in ["TERM", "SIGTERM", "sigterm", "term"] {
            assert_eq!(Signal::from_name(name), Some(Signal::TERMINATE));
        }
        assert_eq!(Signal::from_name("SIGSIGTERM"), None);
        assert_eq!(Signal::from_name(""), None);
    }

    #[test]
    fn every_signal_has_a_name() {
        assert_eq!(Signal::KILL.name(), "SIGKILL");
        assert_eq!(Signal::from_number(40).name(), "SIG40");
    }
}
