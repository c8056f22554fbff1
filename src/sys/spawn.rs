//! Starting a program without copying our memory.
//!
//! The child shares our memory until it execs (`CLONE_VM | CLONE_VFORK`), so a
//! start costs the same whether we hold one megabyte or a thousand, and the
//! child can say at which stage it failed by writing into a variable of ours.
//! The price: between clone and exec it may call only what is
//! async-signal-safe, and must neither allocate nor panic.

use std::ffi::{CStr, CString, NulError, OsStr, c_char, c_void};
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::ptr::null;

use super::guardian::{self, Guardian};
use super::limits::{Resource, child_oom_score, descriptor_limit_at_start};
use super::process::{Leader, open_pidfd};
use super::signal;

/// Enough for the few frames between clone and exec; only touched pages count.
const STACK_BYTES: usize = 32 * 1024;

/// Where programs are looked for when the child's environment has no PATH.
pub const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Where a program may be, for [`Launch::programs`]: a name without `/` in every directory of
/// `path`.
///
/// # Errors
/// A NUL byte in one of them.
pub fn candidates(name: &str, path: Option<&OsStr>) -> Result<Vec<CString>, NulError> {
    if name.contains('/') {
        return Ok(vec![CString::new(name)?]);
    }
    let path = path.unwrap_or(OsStr::new(DEFAULT_PATH));
    let candidate = |directory: &[u8]| {
        // An empty entry means the working directory, as it always has.
        let directory: &[u8] = if directory.is_empty() {
            b"."
        } else {
            directory
        };
        CString::new([directory, b"/", name.as_bytes()].concat())
    };
    let directories = path.as_bytes().split(|byte| *byte == b':');
    directories.map(candidate).collect()
}

/// Everything that a start needs, made before it, since the child cannot allocate.
#[derive(Debug)]
pub struct Launch<'a> {
    /// Paths to try in turn, as a search along PATH makes them.
    pub programs: &'a [CString],
    /// The arguments, the first being the name that the program sees.
    pub argv: &'a [CString],
    /// `NAME=value`, the whole environment.
    pub env: &'a [CString],
    /// The directory to start in.
    pub cwd: &'a CStr,
    /// Becomes descriptor 0. Must not be 0, 1 or 2 itself; nor may the others.
    pub stdin: BorrowedFd<'a>,
    /// Becomes descriptor 1.
    pub stdout: BorrowedFd<'a>,
    /// Becomes descriptor 2.
    pub stderr: BorrowedFd<'a>,
    /// Whether descriptor 0 is a terminal to be controlled by.
    pub has_terminal: bool,
    /// Limits to set, soft and hard alike.
    pub limits: &'a [(Resource, u64)],
    /// Who kills the group when we die.
    pub guardian: &'a Guardian,
}

/// Where a start failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The kernel made no process.
    Clone,
    /// The child got no session of its own.
    Session,
    /// The guardian did not answer.
    Guardian,
    /// The terminal could not be taken.
    Terminal,
    /// The limit at this place of the list was refused.
    Limit(usize),
    /// The standard descriptors could not be put in place.
    Descriptors,
    /// The working directory.
    Directory,
    /// The program at this place of the list.
    Exec(usize),
}

/// A start that failed; no process is left of it.
#[derive(Debug)]
pub struct SpawnError {
    /// Where.
    pub stage: Stage,
    /// Why.
    pub error: io::Error,
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.stage, self.error)
    }
}

/// What the child sees of its parent, and where it leaves its failure.
struct Shared<'a> {
    launch: &'a Launch<'a>,
    guardian: BorrowedFd<'a>,
    argv: &'a [*const c_char],
    env: &'a [*const c_char],
    parent: libc::pid_t,
    ignored: u64,
    oom_score: Option<&'static str>,
    descriptor_limit: Option<libc::rlimit>,
    failure: Option<(Stage, i32)>,
}

/// Starts the program as leader of a new session and process group.
///
/// It gets descriptors 0, 1 and 2 and no other, an empty signal mask and
/// default dispositions, and is killed when the calling *thread* ends: that
/// is how the kernel counts a parent's death.
pub fn spawn(launch: &Launch<'_>) -> Result<Leader, SpawnError> {
    let argv = pointers(launch.argv);
    let env = pointers(launch.env);
    let registry = launch.guardian.pipe();
    let mut shared = Shared {
        launch,
        guardian: registry.as_fd(),
        argv: &argv,
        env: &env,
        parent: super::process::own_pid(),
        ignored: signal::ignored(),
        oom_score: child_oom_score(),
        descriptor_limit: descriptor_limit_at_start(),
        failure: None,
    };
    let mut stack = Vec::<MaybeUninit<u8>>::with_capacity(STACK_BYTES);
    let mut pidfd: libc::c_int = -1;
    let pid = {
        let _quiet = Quiet::begin();
        // The stack grows down from its end, which the ABIs want 16-aligned.
        // SAFETY: the pointers stay inside or one past the allocation; the stack, `shared` and
        // `pidfd` outlive the child's use of them because CLONE_VFORK suspends us until it has
        // exec'd or exited; `child` follows the rules of its own comment.
        unsafe {
            let end = stack.as_mut_ptr().add(STACK_BYTES).cast::<u8>();
            let top = end.sub(end as usize % 16);
            let argument = (&raw mut shared).cast::<c_void>();
            let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
            let with_pidfd = flags | libc::CLONE_PIDFD;
            let pid = libc::clone(child, top.cast(), with_pidfd, argument, &raw mut pidfd);
            if pid < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
                // Before Linux 5.2 there is no CLONE_PIDFD.
                libc::clone(child, top.cast(), flags, argument, &raw mut pidfd)
            } else {
                pid
            }
        }
    };
    if pid < 0 {
        return Err(SpawnError {
            stage: Stage::Clone,
            error: io::Error::last_os_error(),
        });
    }
    let pidfd = if pidfd >= 0 {
        // SAFETY: the kernel put a fresh, close-on-exec descriptor there.
        Some(unsafe { OwnedFd::from_raw_fd(pidfd) })
    } else {
        open_pidfd(pid)
    };
    if let Some((stage, errno)) = shared.failure {
        // SAFETY: the child has called _exit, nobody else waits for it, and a null status is allowed.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        launch.guardian.remove(pid);
        return Err(SpawnError {
            stage,
            error: io::Error::from_raw_os_error(errno),
        });
    }
    launch.guardian.added(pid, &registry);
    Ok(Leader::new(pid, pidfd))
}

/// A null-terminated array of pointers, as exec wants it.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    let mut pointers: Vec<_> = strings.iter().map(|string| string.as_ptr()).collect();
    pointers.push(null());
    pointers
}

/// All signals blocked on this thread: a handler must not run in the child on our memory.
struct Quiet(libc::sigset_t);

impl Quiet {
    fn begin() -> Self {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigfillset initialises `all`, pthread_sigmask initialises `before`.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            Self(before.assume_init())
        }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // SAFETY: the set was filled by pthread_sigmask.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut())
        };
    }
}

/// The child's few steps on our memory: async-signal-safe calls only, no
/// allocation, no panic, no return.
extern "C" fn child(argument: *mut c_void) -> libc::c_int {
    // SAFETY: the parent passed a live `Shared` and is suspended, so this is the only access.
    let shared = unsafe { &mut *argument.cast::<Shared<'_>>() };
    let (stage, errno) = prepare_and_exec(shared);
    shared.failure = Some((stage, errno));
    // SAFETY: ends the child at once, without running what the parent registered.
    unsafe { libc::_exit(127) }
}

/// Returns only when it has failed.
fn prepare_and_exec(shared: &Shared<'_>) -> (Stage, i32) {
    let launch = shared.launch;
    // SAFETY: takes no pointers.
    if unsafe { libc::setsid() } < 0 {
        return (Stage::Session, errno());
    }
    if let Err(errno) = guardian::register_self(shared.guardian) {
        return (Stage::Guardian, errno);
    }
    // SAFETY: takes no pointers. The parent may have died before the signal was asked for.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() != shared.parent {
            libc::_exit(127);
        }
    }
    if let Some(score) = shared.oom_score {
        set_oom_score(score);
    }
    if let Some(failed) = set_limits(launch.limits, shared.descriptor_limit) {
        return failed;
    }
    if launch.has_terminal {
        // SAFETY: takes no pointers.
        if unsafe { libc::ioctl(launch.stdin.as_raw_fd(), libc::TIOCSCTTY, 0) } < 0 {
            return (Stage::Terminal, errno());
        }
    }
    let standard = [launch.stdin, launch.stdout, launch.stderr];
    for (target, source) in (0..).zip(standard) {
        // SAFETY: takes no pointers; dup2 clears close-on-exec on the copy.
        if unsafe { libc::dup2(source.as_raw_fd(), target) } < 0 {
            return (Stage::Descriptors, errno());
        }
    }
    // SAFETY: the path is a terminated string.
    if unsafe { libc::chdir(launch.cwd.as_ptr()) } < 0 {
        return (Stage::Directory, errno());
    }
    close_from(3);
    reset_signals(shared.ignored);
    exec(shared)
}

/// Children die before the server when memory runs out.
fn set_oom_score(score: &str) {
    // SAFETY: a terminated string, and a buffer of its stated length. A system without /proc
    // keeps the inherited value.
    unsafe {
        let flags = libc::O_WRONLY | libc::O_CLOEXEC;
        let fd = libc::open(c"/proc/self/oom_score_adj".as_ptr(), flags);
        if fd >= 0 {
            libc::write(fd, score.as_ptr().cast(), score.len());
            libc::close(fd);
        }
    }
}

fn set_limits(
    limits: &[(Resource, u64)],
    descriptor_limit: Option<libc::rlimit>,
) -> Option<(Stage, i32)> {
    if let Some(limit) = descriptor_limit {
        // SAFETY: the kernel reads one rlimit. What was ours at start cannot be refused.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    }
    for (place, (resource, value)) in limits.iter().enumerate() {
        let limit = libc::rlimit {
            rlim_cur: *value as libc::rlim_t,
            rlim_max: *value as libc::rlim_t,
        };
        // SAFETY: the kernel reads one rlimit.
        if unsafe { libc::setrlimit(resource.0 as _, &raw const limit) } < 0 {
            return Some((Stage::Limit(place), errno()));
        }
    }
    None
}

/// Closes every descriptor from `first` on. Async-signal-safe.
pub(super) fn close_from(first: libc::c_uint) {
    // SAFETY: takes no pointers; whoever calls this is about to exec or owns nothing above.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) == 0 {
            return;
        }
        // Before Linux 5.9. Our own descriptors are close-on-exec, so this is for strangers'.
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        let end = limit.rlim_cur.min(65_536) as libc::c_int;
        for fd in first as libc::c_int..end {
            libc::close(fd);
        }
    }
}

fn reset_signals(ignored: u64) {
    signal::reset(ignored);
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set, which is then only read.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

/// Tries the candidates as `execvp` does: a file that may not be run is
/// remembered, a missing one is passed over, anything else ends the search.
fn exec(shared: &Shared<'_>) -> (Stage, i32) {
    let mut failure = (Stage::Exec(0), libc::ENOENT);
    for (place, program) in shared.launch.programs.iter().enumerate() {
        // SAFETY: the path is a terminated string, both arrays are null-terminated.
        unsafe { libc::execve(program.as_ptr(), shared.argv.as_ptr(), shared.env.as_ptr()) };
        match errno() {
            libc::ENOENT | libc::ENOTDIR => {}
            libc::EACCES => failure = (Stage::Exec(place), libc::EACCES),
            other => return (Stage::Exec(place), other),
        }
    }
    failure
}

fn errno() -> i32 {
    // SAFETY: the C library gives a valid pointer on every thread.
    unsafe { *libc::__errno_location() }
}
