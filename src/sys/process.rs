//! A started child: its exit, and the signals that its group gets.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null;
use std::sync::Arc;

use super::signal::Signal;
use super::{check, retry};

/// `PIDFD_SIGNAL_PROCESS_GROUP` of Linux 6.9, which libc does not name yet.
const SIGNAL_PROCESS_GROUP: libc::c_uint = 1 << 2;

/// `PIDFD_GET_INFO` for the first [`PidfdInfo`], which libc does not name yet.
const GET_INFO: u32 = 0xc040_ff0b;
/// `PIDFD_INFO_EXIT` of Linux 6.15.
const INFO_EXIT: u64 = 1 << 3;

/// `struct pidfd_info` of the kernel, as its first version is.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    /// What is asked for, and then what was answered.
    mask: u64,
    _cgroup: u64,
    /// Numbers of processes, users and groups.
    _ids: [u32; 11],
    /// As `wait` has it.
    exit_code: i32,
}

/// How many traced orphans are let go in one look at all orphans.
const MOST_LET_GO: u32 = 64;

/// Runs `work` while this thread has the name, in `/proc/PID/task/TID/comm`; then it has its own
/// again.
pub fn name_thread(name: &str, work: impl FnOnce()) {
    let own = std::thread::current();
    set_thread_name(name);
    work();
    if let Some(name) = own.name() {
        set_thread_name(name);
    }
}

/// Of a longer name the kernel takes the first 15 bytes.
fn set_thread_name(name: &str) {
    let mut bytes = [0; 16];
    let len = name.len().min(15);
    bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
    // SAFETY: the kernel reads at most 16 bytes, up to the first zero, which is the last at the latest.
    unsafe { libc::prctl(libc::PR_SET_NAME, bytes.as_ptr()) };
}

/// How a process ended, as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It returned this code, 0 to 255.
    Code(i32),
    /// This signal killed it.
    Killed(Signal),
}

/// A child that leads its own session and process group.
///
/// Signals go to the group and cannot hit a stranger: before the child is
/// reaped its number is taken by the zombie, afterwards the pidfd stands for
/// the group, or, before Linux 6.9, the number is used only while no new
/// process has it.
///
/// In a sandbox the program is a descendant with a group of its own. Signals
/// are for that group; KILL is for ours, whose end is the end of the sandbox.
#[derive(Debug)]
pub struct Leader {
    pid: i32,
    pidfd: Option<Arc<OwnedFd>>,
    is_reaped: bool,
    inner: Option<Inner>,
}

/// The program inside a sandbox; it leads a session and group there.
#[derive(Debug)]
pub struct Inner {
    pid: i32,
    pidfd: Option<OwnedFd>,
}

impl Inner {
    /// The process with this number, which must not end before this returns.
    pub fn of(pid: i32) -> Self {
        Self {
            pid,
            pidfd: open_pidfd(pid),
        }
    }

    /// The signal that has killed it, once it is reaped. None before Linux 6.15.
    fn killed_by(&self) -> Option<Signal> {
        let pidfd = self.pidfd.as_ref()?;
        let mut info = PidfdInfo {
            mask: INFO_EXIT,
            ..PidfdInfo::default()
        };
        // SAFETY: the structure has the size that the number of the call tells.
        let asked = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO as _, &raw mut info) };
        let is_told = asked == 0 && info.mask & INFO_EXIT != 0;
        (is_told && libc::WIFSIGNALED(info.exit_code))
            .then(|| Signal(libc::WTERMSIG(info.exit_code)))
    }

    fn send(&self, number: i32) -> io::Result<i32> {
        let Some(pidfd) = &self.pidfd else {
            // SAFETY: kill takes no pointers.
            return check(unsafe { libc::kill(-self.pid, number) });
        };
        match send_by_pidfd(pidfd, number, SIGNAL_PROCESS_GROUP) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                // Before Linux 6.9. Its number is its own while it has not ended.
                send_by_pidfd(pidfd, 0, 0)?;
                // SAFETY: kill takes no pointers.
                check(unsafe { libc::kill(-self.pid, number) })
            }
            sent => sent,
        }
    }
}

impl Leader {
    /// Takes charge of the fresh child `pid`, which the caller alone may reap.
    pub(super) fn new(pid: i32, pidfd: Option<OwnedFd>) -> Self {
        Self {
            pid,
            pidfd: pidfd.map(Arc::new),
            is_reaped: false,
            inner: None,
        }
    }

    /// The program that it has put into a sandbox.
    pub fn set_inner(&mut self, inner: Inner) {
        self.inner = Some(inner);
    }

    /// Whether it has put the program into a sandbox, which ends with it.
    pub fn is_launcher(&self) -> bool {
        self.inner.is_some()
    }

    /// The process id of the program itself.
    pub fn program_pid(&self) -> i32 {
        self.inner.as_ref().map_or(self.pid, |inner| inner.pid)
    }

    /// The process id, which is also that of its group and session.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Becomes readable when the process has ended. `None` before Linux 5.3:
    /// then [`Leader::reap`] must be tried now and again.
    pub fn exit_event(&self) -> Option<Arc<OwnedFd>> {
        self.pidfd.clone()
    }

    /// Collects the exit if the process has ended. Call it no more once it
    /// has answered. One that has made us its tracer and waits for us is let
    /// go, if the calling thread has started it.
    pub fn reap(&mut self) -> io::Result<Option<Exit>> {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: waitid fills the structure, which is valid when zeroed too.
        let (pid, code, status) = unsafe {
            let (child, flags) = (self.pid as libc::id_t, libc::WEXITED | libc::WNOHANG);
            retry(|| check(libc::waitid(libc::P_PID, child, info.as_mut_ptr(), flags)))?;
            let info = info.assume_init();
            (info.si_pid(), info.si_code, info.si_status())
        };
        if pid == 0 {
            return Ok(None);
        }
        match code {
            libc::CLD_EXITED => {}
            libc::CLD_KILLED | libc::CLD_DUMPED => {
                self.is_reaped = true;
                return Ok(Some(Exit::Killed(Signal(status))));
            }
            // The kernel tells of the stop of a traced child to whoever only waits for exits too.
            _ => {
                trace_no_more(pid, status);
                return Ok(None);
            }
        }
        self.is_reaped = true;
        // The launcher of a sandbox turns a signal into a code, which the program could have
        // returned as well.
        let inner = self.inner.as_ref().filter(|_| status > 128);
        let killed_by = inner.and_then(Inner::killed_by);
        Ok(Some(killed_by.map_or(Exit::Code(status), Exit::Killed)))
    }

    /// Sends a signal to every process of the group. `Ok(false)` when none is left.
    pub fn signal_group(&self, signal: Signal) -> io::Result<bool> {
        self.send(signal.number())
    }

    /// Whether the group has no member left. Before the leader is reaped it has one: the leader.
    pub fn is_group_empty(&self) -> bool {
        matches!(self.send(0), Ok(false))
    }

    fn send(&self, number: i32) -> io::Result<bool> {
        let is_for_inside = !matches!(number, 0 | libc::SIGKILL);
        let sent = if let Some(inner) = self.inner.as_ref().filter(|_| is_for_inside) {
            inner.send(number)
        } else if self.is_reaped {
            self.send_to_orphans(number)
        } else {
            // SAFETY: kill takes no pointers.
            check(unsafe { libc::kill(-self.pid, number) })
        };
        match sent {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn send_to_orphans(&self, number: i32) -> io::Result<i32> {
        if let Some(pidfd) = &self.pidfd {
            match send_by_pidfd(pidfd, number, SIGNAL_PROCESS_GROUP) {
                Err(error)
                    if matches!(
                        error.raw_os_error(),
                        Some(libc::EINVAL | libc::ENOSYS | libc::EPERM)
                    ) => {}
                sent => return sent,
            }
        }
        // SAFETY: kill takes no pointers.
        unsafe {
            if libc::kill(self.pid, 0) == 0 {
                // The number belongs to a newer process, so our group is gone.
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            check(libc::kill(-self.pid, number))
        }
    }
}

pub(super) fn send_by_pidfd(pidfd: &OwnedFd, number: i32, flags: libc::c_uint) -> io::Result<i32> {
    // SAFETY: the signal information is null, so the kernel fills it in.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            number,
            null::<libc::siginfo_t>(),
            flags,
        )
    };
    check(sent as libc::c_int)
}

/// A pidfd for `pid`, where the kernel has them (5.3).
pub(super) fn open_pidfd(pid: i32) -> Option<OwnedFd> {
    // SAFETY: pidfd_open takes no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the descriptor is fresh, close-on-exec by definition, and owned by nobody else.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits for the end of any child, and reaps it. A child that has made us its tracer, which takes
/// no more than its own word, and stops for that, is let go.
pub(super) fn reap_any() -> io::Result<(i32, Exit)> {
    let mut status = 0;
    loop {
        // SAFETY: the kernel writes one int.
        let pid = retry(|| check(unsafe { libc::waitpid(-1, &raw mut status, 0) }))?;
        if libc::WIFSTOPPED(status) {
            trace_no_more(pid, libc::WSTOPSIG(status));
        } else if libc::WIFSIGNALED(status) {
            return Ok((pid, Exit::Killed(Signal(libc::WTERMSIG(status)))));
        } else {
            return Ok((pid, Exit::Code(libc::WEXITSTATUS(status))));
        }
    }
}

/// Lets a child go on that has stopped for us, its tracer, with the signal that it was to get.
fn trace_no_more(pid: i32, signal: i32) {
    // The kernel's own sign of an exec, which only a tracer sees.
    let signal = if signal == libc::SIGTRAP { 0 } else { signal };
    // SAFETY: takes no pointers. It fails if the child has been killed meanwhile, which the next
    // wait tells.
    unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, 0, signal) };
}

/// Keeps other processes of this user, but for those with a capability to trace all, from our
/// memory, our descriptors and our environment. Lasts until an exec.
pub fn forbid_inspection() -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }).map(drop)
}

/// Our own process id.
pub fn own_pid() -> i32 {
    // SAFETY: getpid takes nothing and cannot fail.
    unsafe { libc::getpid() }
}

/// Makes the kernel give us the orphans among our descendants, as it does for process 1.
/// Descendants of a caller that does not [`reap`](reap_orphans) them stay zombies.
///
/// # Errors
/// Before Linux 3.4.
pub fn take_orphans() -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) })?;
    Ok(())
}

/// Reaps all orphans that have ended, and gives their numbers. The kernel hands orphans to the main
/// thread, which is the one to call this. Children of other threads are not touched. An orphan that
/// has made us its tracer and waits for us is let go.
pub fn reap_orphans() -> impl Iterator<Item = i32> {
    let mut let_go = 0;
    std::iter::from_fn(move || {
        loop {
            let mut status = 0;
            let flags = libc::WNOHANG | libc::__WNOTHREAD;
            // SAFETY: the kernel writes one int.
            let waited = retry(|| check(unsafe { libc::waitpid(-1, &raw mut status, flags) }));
            let pid = waited.ok().filter(|pid| *pid > 0)?;
            if !libc::WIFSTOPPED(status) {
                return Some(pid);
            }
            // One that stops for us again and again must not keep us here. It stays as it is, and
            // is told of no more.
            if let_go < MOST_LET_GO {
                let_go += 1;
                trace_no_more(pid, libc::WSTOPSIG(status));
            }
        }
    })
}

/// The user that this process, and so its children, run as.
pub fn user_id() -> u32 {
    // SAFETY: getuid takes nothing and cannot fail.
    unsafe { libc::getuid() }
}
