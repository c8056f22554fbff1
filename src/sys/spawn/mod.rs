//! Starting a program without copying our memory.
//!
//! The child shares our memory until it execs (`CLONE_VM | CLONE_VFORK`), so a
//! start costs the same whether we hold one megabyte or a thousand, and the
//! child can say at which stage it failed by writing into a variable of ours.
//! The price: between clone and exec it may call only what is
//! async-signal-safe, and must neither allocate nor panic ([`child`]).

pub(super) mod child;

use std::ffi::{CStr, CString, NulError, OsStr, c_char, c_void};
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::ptr::null;

use super::guardian::{Entry, Guardian};
use super::limits::{Resource, Starting, descriptor_limit_at_start};
use super::process::{Leader, open_pidfd};
use super::seccomp::Instruction;
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
    /// What to run.
    pub program: Program<'a>,
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
    /// Become descriptors 3, 4 and so on; no other is left.
    pub descriptors: &'a [BorrowedFd<'a>],
    /// What the program must not be able to do.
    pub restrictions: Restrictions<'a>,
    /// Who kills the group when we die.
    pub guardian: &'a Guardian,
}

/// A program to run.
#[derive(Clone, Copy, Debug)]
pub enum Program<'a> {
    /// Paths to try in turn, as a search along PATH makes them.
    Paths(&'a [CString]),
    /// An open file, which is run whatever has become of its name.
    Open(BorrowedFd<'a>),
}

/// What a child gives up before it runs the program. The default is nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Restrictions<'a> {
    /// Every capability, for good.
    pub drop_capabilities: bool,
    /// The rules of a Landlock domain to enter. Needs `no_new_privs`.
    pub landlock: Option<BorrowedFd<'a>>,
    /// A filter of system calls. Needs `no_new_privs`.
    pub filter: Option<&'a [Instruction]>,
    /// Privileges that a program would bring.
    pub no_new_privs: bool,
}

/// Where a start failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The kernel made no process.
    Clone,
    /// The child got no session of its own.
    Session,
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
    /// The capabilities could not be given up.
    Capabilities,
    /// `no_new_privs` could not be set.
    NoNewPrivs,
    /// The Landlock domain could not be entered.
    Landlock,
    /// The filter of system calls was refused.
    Seccomp,
    /// The mode of a device could not be protected.
    Device,
    /// The cover at this place of the list could not be mounted.
    Mount(usize),
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
    entry: Option<&'a Entry<'a>>,
    argv: &'a [*const c_char],
    env: &'a [*const c_char],
    parent: libc::pid_t,
    ignored: u64,
    descriptor_limit: Option<libc::rlimit>,
    /// Where the descriptors are parked while they take their places; as many as there are, and one for an open program.
    parked: &'a mut [libc::c_int],
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
    let entry = launch.guardian.reserve();
    let mut parked = vec![-1; launch.descriptors.len() + 1];
    let mut shared = Shared {
        launch,
        entry: entry.as_ref(),
        argv: &argv,
        env: &env,
        parent: super::process::own_pid(),
        ignored: signal::ignored(),
        descriptor_limit: descriptor_limit_at_start(),
        parked: &mut parked,
        failure: None,
    };
    // On our own stack, whose pages are there already after the first start of this thread.
    let mut stack = [MaybeUninit::<u8>::uninit(); STACK_BYTES];
    let mut pidfd: libc::c_int = -1;
    let pid = {
        let _quiet = Quiet::begin();
        let _starting = Starting::begin();
        // The stack grows down from its end, which the ABIs want 16-aligned.
        // SAFETY: the pointers stay inside or one past the allocation; the stack, `shared` and
        // `pidfd` outlive the child's use of them because CLONE_VFORK suspends us until it has
        // exec'd or exited; `child::main` follows the rules of its module.
        unsafe {
            let end = stack.as_mut_ptr().add(STACK_BYTES).cast::<u8>();
            let top = end.sub(end as usize % 16);
            let argument = (&raw mut shared).cast::<c_void>();
            let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
            let with_pidfd = flags | libc::CLONE_PIDFD;
            let pid = libc::clone(
                child::main,
                top.cast(),
                with_pidfd,
                argument,
                &raw mut pidfd,
            );
            if pid < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
                // Before Linux 5.2 there is no CLONE_PIDFD.
                libc::clone(child::main, top.cast(), flags, argument, &raw mut pidfd)
            } else {
                pid
            }
        }
    };
    if pid < 0 {
        let error = io::Error::last_os_error();
        entry.iter().for_each(|it| launch.guardian.give_back(it));
        return Err(SpawnError {
            stage: Stage::Clone,
            error,
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
        entry.iter().for_each(|it| launch.guardian.give_back(it));
        return Err(SpawnError {
            stage,
            error: io::Error::from_raw_os_error(errno),
        });
    }
    entry.iter().for_each(|it| launch.guardian.added(pid, it));
    Ok(Leader::new(pid, pidfd))
}

/// A null-terminated array of pointers, as exec wants it.
pub(super) fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    let mut pointers: Vec<_> = strings.iter().map(|string| string.as_ptr()).collect();
    pointers.push(null());
    pointers
}

/// All signals blocked on this thread: a handler must not run in the child on our memory.
pub(super) struct Quiet(libc::sigset_t);

impl Quiet {
    pub(super) fn begin() -> Self {
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
