//! Starting a program without copying our memory.
//!
//! The child shares our memory until it execs (`CLONE_VM | CLONE_VFORK`), so a
//! start costs the same whether we hold one megabyte or a thousand, and the
//! child can say at which stage it failed by writing into a variable of ours.
//! The price: between clone and exec it may call only what is
//! async-signal-safe, and must neither allocate nor panic: all from `child_main` on.

use std::ffi::{CStr, CString, NulError, OsStr, c_char, c_void};
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr::null;

use super::guardian::{Entry, Guardian};
use super::limits::{Limit, Starting, descriptor_limit_at_start};
use super::process::{Leader, open_pidfd};
use super::seccomp::Instruction;
use super::sync::Mutex;
use super::{capabilities, check, counted, landlock, retry, seccomp, signal};

/// Enough for the few frames between clone and exec; only touched pages count.
const STACK_BYTES: usize = 32 * 1024;
/// Stacks that are kept.
const KEPT_STACKS: usize = 2;

/// Stacks of former children for those to come. They are not on the stacks of threads, because what such a large frame
/// touches stays with its thread for as long as the child runs.
static STACKS: Mutex<Vec<Stack>> = Mutex::new(Vec::new());

/// Where a child runs until it execs.
struct Stack(Vec<MaybeUninit<u8>>);

impl Stack {
    fn take() -> io::Result<Self> {
        if let Some(stack) = STACKS.lock().pop() {
            return Ok(stack);
        }
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(STACK_BYTES)
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        Ok(Self(bytes))
    }

    /// One past its end, from where it grows down; the ABIs want it 16-aligned.
    fn top(&mut self) -> *mut c_void {
        let room = self.0.spare_capacity_mut();
        let end = room.as_mut_ptr_range().end;
        end.wrapping_byte_sub(end.addr() % 16).cast()
    }

    fn give_back(self) {
        let mut stacks = STACKS.lock();
        if stacks.len() < KEPT_STACKS {
            stacks.push(self);
        }
    }
}

/// Where programs are looked for when the child's environment has no PATH.
pub const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Bytes of a path, with its end, that the kernel takes at most.
pub const PATH_MAX: usize = libc::PATH_MAX as usize;
/// Bytes of a name without `/` that any file system takes at most.
pub const NAME_MAX: usize = 255;

/// Where a program is: at a path, or in one of several directories. These and its name are joined
/// one at a time, when each is tried: all of them together would take as much memory as the product
/// of both.
#[derive(Clone, Debug)]
pub struct Search {
    /// A path, or the name to look for.
    pub name: CString,
    /// The directories, with `:` between them; none if the name is a path.
    pub path: Option<CString>,
}

impl Search {
    /// As a shell looks for `name`: one without `/` in every directory of `path`.
    ///
    /// # Errors
    /// A NUL byte in one of them.
    pub fn new(name: &str, path: Option<&OsStr>) -> Result<Self, NulError> {
        let directories = || path.unwrap_or(OsStr::new(DEFAULT_PATH)).as_bytes();
        let path = (!name.contains('/')).then(|| CString::new(directories()));
        Ok(Self {
            name: CString::new(name)?,
            path: path.transpose()?,
        })
    }

    /// What to put before the name in turn; nothing, once, where that is a path.
    fn directories(&self) -> impl Iterator<Item = &[u8]> {
        let path = self.path.as_deref().map_or(&b""[..], CStr::to_bytes);
        path.split(|byte| *byte == b':')
    }

    /// The path that one of [`Search::directories`] makes; none if it is too long for the kernel.
    /// Async-signal-safe.
    fn join<'b>(&self, directory: &[u8], buffer: &'b mut [u8; PATH_MAX]) -> Option<&'b CStr> {
        let (directory, slash): (&[u8], &[u8]) = match &self.path {
            None => (b"", b""),
            // An empty entry means the working directory, as it always has.
            Some(_) if directory.is_empty() => (b".", b"/"),
            Some(_) => (directory, b"/"),
        };
        let mut len = 0;
        for part in [directory, slash, self.name.to_bytes_with_nul()] {
            let end = len + part.len();
            buffer.get_mut(len..end)?.copy_from_slice(part);
            len = end;
        }
        CStr::from_bytes_with_nul(buffer.get(..len)?).ok()
    }

    /// The path that was tried as number `place`.
    pub fn candidate(&self, place: usize) -> PathBuf {
        let mut buffer = [0; PATH_MAX];
        let directory = self.directories().nth(place);
        let path = directory.and_then(|directory| self.join(directory, &mut buffer));
        let path = path.unwrap_or(&self.name).to_bytes();
        OsStr::from_bytes(path).into()
    }
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
    /// Limits to set.
    pub limits: &'a [Limit],
    /// Become descriptors 3, 4 and so on; no other is left.
    pub descriptors: &'a [BorrowedFd<'a>],
    /// Where a `0` puts who writes it into a cgroup.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// What the program must not be able to do.
    pub restrictions: Restrictions<'a>,
    /// Who kills the group when we die.
    pub guardian: &'a Guardian,
}

/// A program to run.
#[derive(Clone, Copy, Debug)]
pub enum Program<'a> {
    /// Wherever it is found first.
    Search(&'a Search),
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
    /// The cgroup could not be entered.
    Cgroup,
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
    /// What has to run the program at this place of the list, which is not there.
    Interpreter(usize, Interpreter),
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

/// What has to run a file: what the first line of a script names, or the dynamic loader of a binary,
/// which has no name here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Interpreter {
    /// Without the NUL bytes at the end.
    name: [u8; Self::MAX],
}

impl Interpreter {
    /// Bytes of a name that are kept.
    pub const MAX: usize = 64;

    /// That of a file which begins with `head`.
    pub(in crate::sys) fn of(head: &[u8]) -> Self {
        let mut name = [0; Self::MAX];
        let line = head.strip_prefix(b"#!").unwrap_or(b"");
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let start = line.iter().take_while(|byte| is_blank(byte)).count();
        let word = line.iter().skip(start);
        let word = word.take_while(|byte| !is_blank(byte) && !matches!(byte, b'\n' | 0));
        for (to, byte) in name.iter_mut().zip(word) {
            *to = *byte;
        }
        Self { name }
    }

    /// From the bytes of another process.
    pub fn from_bytes(name: [u8; Self::MAX]) -> Self {
        Self { name }
    }

    /// For another process.
    pub fn to_bytes(self) -> [u8; Self::MAX] {
        self.name
    }

    /// The name; empty for the loader of a binary.
    pub fn name(&self) -> &[u8] {
        let end = self.name.iter().position(|byte| *byte == 0);
        &self.name[..end.unwrap_or(Self::MAX)]
    }
}

impl fmt::Debug for Interpreter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self.name()), f)
    }
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
    argv: &'a mut Arguments,
    env: &'a [*const c_char],
    parent: libc::pid_t,
    ignored: u64,
    descriptor_limit: Option<libc::rlimit>,
    /// Where the descriptors are parked while they take their places; as many as there are, and one
    /// for an open program.
    parked: &'a mut [libc::c_int],
    failure: Option<(Stage, i32)>,
}

/// Starts the program as leader of a new session and process group.
///
/// It gets descriptors 0, 1 and 2 and no other, an empty signal mask and
/// default dispositions, and is killed when the calling *thread* ends: that
/// is how the kernel counts a parent's death.
pub fn spawn(launch: &Launch<'_>) -> Result<Leader, SpawnError> {
    let mut argv = Arguments::new(launch.argv);
    let env = pointers(launch.env);
    let mut stack = Stack::take().map_err(|error| SpawnError {
        stage: Stage::Clone,
        error,
    })?;
    let entry = launch.guardian.reserve();
    let mut parked = vec![-1; launch.descriptors.len() + 1];
    let mut shared = Shared {
        launch,
        entry: entry.as_ref(),
        argv: &mut argv,
        env: &env,
        parent: super::process::own_pid(),
        ignored: signal::ignored(),
        descriptor_limit: descriptor_limit_at_start(),
        parked: &mut parked,
        failure: None,
    };
    let mut pidfd: libc::c_int = -1;
    let pid = {
        let _quiet = Quiet::begin();
        let _starting = Starting::begin();
        let top = stack.top();
        // SAFETY: the stack is nobody else's; it, `shared` and `pidfd` outlive the child's use of
        // them because CLONE_VFORK suspends us until it has exec'd or exited; `child_main` follows
        // the rules at the top of this file.
        unsafe {
            let argument = (&raw mut shared).cast::<c_void>();
            let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
            let with_pidfd = flags | libc::CLONE_PIDFD;
            let pid = libc::clone(child_main, top, with_pidfd, argument, &raw mut pidfd);
            if pid < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
                // Before Linux 5.2 there is no CLONE_PIDFD.
                libc::clone(child_main, top, flags, argument, &raw mut pidfd)
            } else {
                pid
            }
        }
    };
    let error = io::Error::last_os_error();
    stack.give_back();
    if pid < 0 {
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
        // SAFETY: the child has called _exit, nobody else waits for it, and a null status is
        // allowed.
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

/// Puts a program in the place of this one, where it keeps what this one has: its number, descriptors and
/// directory. Comes back only with why it could not.
pub fn replace(search: &Search, argv: &[CString], env: &[CString]) -> io::Error {
    let mut argv = Arguments::new(argv);
    let env = pointers(env);
    reset_signals(signal::ignored());
    let (_, errno) = exec_first(search, &mut argv, &env);
    io::Error::from_raw_os_error(errno)
}

/// What runs a script that names no interpreter.
const SHELL: &CStr = c"/bin/sh";

/// The arguments for exec, with room for the shell before them, as the child cannot allocate.
pub(in crate::sys) struct Arguments(Vec<*const c_char>);

impl Arguments {
    pub(in crate::sys) fn new(argv: &[CString]) -> Self {
        let mut all = vec![SHELL.as_ptr()];
        all.extend(pointers(argv));
        if argv.is_empty() {
            all.push(null());
        }
        Self(all)
    }

    /// A null-terminated array.
    fn plain(&self) -> *const *const c_char {
        self.0[1..].as_ptr()
    }

    /// The same for the shell to run `script`, whose path takes the place of the first argument.
    fn by_shell(&mut self, script: &CStr) -> *const *const c_char {
        self.0[1] = script.as_ptr();
        self.0.as_ptr()
    }
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

// From here on is the life of the child: async-signal-safe calls only, no allocation, no panic, no
// return. Its steps also serve a process of its own that execs.

/// The child's life.
extern "C" fn child_main(argument: *mut c_void) -> libc::c_int {
    // SAFETY: the parent passed a live `Shared` and is suspended, so this is the only access.
    let shared = unsafe { &mut *argument.cast::<Shared<'_>>() };
    let (stage, errno) = prepare_and_exec(shared);
    shared.failure = Some((stage, errno));
    // SAFETY: ends the child at once, without running what the parent registered.
    unsafe { libc::_exit(127) }
}

/// Returns only when it has failed.
fn prepare_and_exec(shared: &mut Shared<'_>) -> (Stage, i32) {
    match prepare(shared) {
        Ok(()) => exec(shared),
        Err(failure) => failure,
    }
}

fn prepare(shared: &mut Shared<'_>) -> Result<(), (Stage, i32)> {
    let launch = shared.launch;
    // SAFETY: takes no pointers.
    if unsafe { libc::setsid() } < 0 {
        return Err((Stage::Session, errno()));
    }
    if let Some(entry) = shared.entry {
        entry.register_self();
    }
    // SAFETY: takes no pointers. The parent may have died before the signal was asked for.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() != shared.parent {
            libc::_exit(127);
        }
    }
    if let Some(cgroup) = launch.cgroup {
        enter_cgroup(cgroup).map_err(|errno| (Stage::Cgroup, errno))?;
    }
    if let Some(limit) = shared.descriptor_limit {
        // SAFETY: the kernel reads one rlimit. What was ours at start cannot be refused.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    }
    if launch.has_terminal {
        take_terminal(launch.stdin.as_raw_fd()).map_err(|errno| (Stage::Terminal, errno))?;
    }
    // SAFETY: the path is a terminated string.
    if unsafe { libc::chdir(launch.cwd.as_ptr()) } < 0 {
        return Err((Stage::Directory, errno()));
    }
    restrict_files(&launch.restrictions)?;
    place_descriptors(shared).map_err(|errno| (Stage::Descriptors, errno))?;
    // They are for the program: what comes before may need more descriptors.
    set_limits(launch.limits)?;
    reset_signals(shared.ignored);
    if let Some(filter) = launch.restrictions.filter {
        // The last step: a filter need not allow any of the others.
        seccomp::install(filter).map_err(|errno| (Stage::Seccomp, errno))?;
    }
    Ok(())
}

/// Puts this process into the cgroup.
fn enter_cgroup(cgroup: BorrowedFd<'_>) -> Result<(), i32> {
    // SAFETY: the kernel reads one byte.
    let written = unsafe { libc::write(cgroup.as_raw_fd(), c"0".as_ptr().cast(), 1) };
    match written {
        1 => Ok(()),
        _ => Err(errno()),
    }
}

/// Gives up privileges and files, in the order in which the kernel lets it.
fn restrict_files(restrictions: &Restrictions<'_>) -> Result<(), (Stage, i32)> {
    if restrictions.drop_capabilities {
        capabilities::drop_all().map_err(|errno| (Stage::Capabilities, errno))?;
    }
    if restrictions.no_new_privs {
        // SAFETY: takes no pointers.
        let failed = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } < 0;
        if failed {
            return Err((Stage::NoNewPrivs, errno()));
        }
    }
    match restrictions.landlock {
        Some(rules) => landlock::enter(rules).map_err(|errno| (Stage::Landlock, errno)),
        None => Ok(()),
    }
}

/// Makes `terminal` the controlling one of this session.
pub(in crate::sys) fn take_terminal(terminal: libc::c_int) -> Result<(), i32> {
    // SAFETY: takes no pointers.
    if unsafe { libc::ioctl(terminal, libc::TIOCSCTTY, 0) } < 0 {
        return Err(errno());
    }
    Ok(())
}

/// Puts every descriptor in its place and closes all others.
fn place_descriptors(shared: &mut Shared<'_>) -> Result<(), i32> {
    let launch = shared.launch;
    let count = launch.descriptors.len() as libc::c_int;
    let program = match launch.program {
        Program::Open(file) => Some(file),
        Program::Search(_) => None,
    };
    // To above every place that is wanted, so that none is overwritten before it has moved.
    let above = 3 + count + 1;
    let sources = launch.descriptors.iter().chain(&program);
    for (parked, source) in shared.parked.iter_mut().zip(sources) {
        *parked = source.as_raw_fd();
        if *parked >= above {
            continue;
        }
        // SAFETY: takes no pointers.
        *parked = unsafe { libc::fcntl(*parked, libc::F_DUPFD_CLOEXEC, above) };
        if *parked < 0 {
            return Err(errno());
        }
    }
    let standard = [launch.stdin, launch.stdout, launch.stderr];
    place_standard(standard.map(|fd| fd.as_raw_fd()))?;
    for (target, source) in (3..3 + count).zip(shared.parked.iter()) {
        // SAFETY: takes no pointers; dup2 clears close-on-exec on the copy.
        if unsafe { libc::dup2(*source, target) } < 0 {
            return Err(errno());
        }
    }
    let mut first_free = 3 + count;
    if let (Some(_), Some(source)) = (program, shared.parked.last()) {
        // SAFETY: takes no pointers.
        if unsafe { libc::dup3(*source, first_free, libc::O_CLOEXEC) } < 0 {
            return Err(errno());
        }
        first_free += 1;
    }
    close_from(first_free as libc::c_uint);
    Ok(())
}

/// Makes these descriptors 0, 1 and 2.
pub(in crate::sys) fn place_standard(sources: [libc::c_int; 3]) -> Result<(), i32> {
    for (target, source) in (0..).zip(sources) {
        // SAFETY: takes no pointers; dup2 clears close-on-exec on the copy.
        if unsafe { libc::dup2(source, target) } < 0 {
            return Err(errno());
        }
    }
    Ok(())
}

/// Sets limits, none of which may be above what there is, for root neither.
pub(in crate::sys) fn set_limits(limits: &[Limit]) -> Result<(), (Stage, i32)> {
    for (place, wanted) in limits.iter().enumerate() {
        let resource = wanted.resource.number() as _;
        let limit = libc::rlimit {
            rlim_cur: wanted.soft as libc::rlim_t,
            rlim_max: wanted.hard as libc::rlim_t,
        };
        let mut had = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: the kernel writes one rlimit, and then reads one.
        let errno = unsafe {
            if libc::getrlimit(resource, &raw mut had) < 0 {
                errno()
            } else if limit.rlim_max > had.rlim_max {
                libc::EPERM
            } else if libc::setrlimit(resource, &raw const limit) < 0 {
                errno()
            } else {
                continue;
            }
        };
        return Err((Stage::Limit(place), errno));
    }
    Ok(())
}

/// Closes every descriptor from `first` on. Async-signal-safe.
pub(in crate::sys) fn close_from(first: libc::c_uint) {
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

/// Default dispositions for the signals of `ignored`, and none blocked.
pub(in crate::sys) fn reset_signals(ignored: u64) {
    signal::reset(ignored);
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set, which is then only read.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

fn exec(shared: &mut Shared<'_>) -> (Stage, i32) {
    match shared.launch.program {
        Program::Search(search) => exec_first(search, shared.argv, shared.env),
        Program::Open(_) => {
            let place = 3 + shared.launch.descriptors.len() as libc::c_int;
            exec_open(place, shared.argv, shared.env)
        }
    }
}

/// Runs an open file. `env` ends with a null pointer. Async-signal-safe.
pub(in crate::sys) fn exec_open(
    file: libc::c_int,
    argv: &Arguments,
    env: &[*const c_char],
) -> (Stage, i32) {
    let (argv, env) = (argv.plain(), env.as_ptr());
    // SAFETY: terminated strings and null-terminated arrays.
    unsafe {
        let empty = c"".as_ptr();
        libc::syscall(
            libc::SYS_execveat,
            file,
            empty,
            argv,
            env,
            libc::AT_EMPTY_PATH,
        );
        let failure = errno();
        if !matches!(failure, libc::ENOSYS | libc::EPERM) {
            return (Stage::Exec(0), failure);
        }
        // A filter of the container may not know the call.
        let path = path_of(file);
        libc::execve(path.as_ptr().cast(), argv, env);
    }
    (Stage::Exec(0), errno())
}

/// `/proc/self/fd/` and a number, terminated, without memory of the heap.
fn path_of(number: libc::c_int) -> [u8; 32] {
    let mut path = [0; 32];
    let start = b"/proc/self/fd/";
    path[..start.len()].copy_from_slice(start);
    let mut digits = [0; 10];
    let mut first = digits.len();
    let mut rest = number.unsigned_abs();
    while first == digits.len() || rest > 0 {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    for (to, digit) in path[start.len()..].iter_mut().zip(&digits[first..]) {
        *to = *digit;
    }
    path
}

/// Tries the candidates as `execvp` does: a file that may not be run is remembered, a missing one is
/// passed over, unless it is the only one and what should be a directory is none, what is no binary is run by the shell, anything else ends the search. `env` ends
/// with a null pointer. Async-signal-safe.
pub(in crate::sys) fn exec_first(
    search: &Search,
    argv: &mut Arguments,
    env: &[*const c_char],
) -> (Stage, i32) {
    let mut failure = (Stage::Exec(0), libc::ENOENT);
    let mut head = [0; HEAD];
    let mut path = [0; PATH_MAX];
    let is_only_one = search.directories().nth(1).is_none();
    for (place, directory) in search.directories().enumerate() {
        let Some(program) = search.join(directory, &mut path) else {
            return (Stage::Exec(place), libc::ENAMETOOLONG);
        };
        // SAFETY: the path is a terminated string, both arrays are null-terminated.
        unsafe { libc::execve(program.as_ptr(), argv.plain(), env.as_ptr()) };
        match errno() {
            libc::ENOENT => {
                if let Some(head) = head_of(program, &mut head) {
                    // The file is there, so what is not is another.
                    let missing = Stage::Interpreter(place, Interpreter::of(head));
                    failure = (missing, libc::ENOENT);
                }
            }
            libc::ENOTDIR if is_only_one => failure = (Stage::Exec(place), libc::ENOTDIR),
            libc::ENOTDIR => {}
            libc::EACCES => failure = (Stage::Exec(place), libc::EACCES),
            libc::ENOEXEC => {
                let head = head_of(program, &mut head);
                if !head.is_some_and(|head| head.starts_with(ELF)) {
                    // SAFETY: as above; no shell is as if this had not been tried.
                    unsafe { libc::execve(SHELL.as_ptr(), argv.by_shell(program), env.as_ptr()) };
                }
                return (Stage::Exec(place), libc::ENOEXEC);
            }
            other => return (Stage::Exec(place), other),
        }
    }
    failure
}

/// Bytes of a file that tell what it is.
const HEAD: usize = 2 + 2 * Interpreter::MAX;
/// A binary, be it of another machine, begins so. The shell cannot run it.
const ELF: &[u8] = b"\x7fELF";

/// How a file begins; none if there is none, or it cannot be read. Async-signal-safe.
fn head_of<'a>(path: &CStr, head: &'a mut [u8; HEAD]) -> Option<&'a [u8]> {
    let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
    // SAFETY: a terminated string; the descriptor is this function's own; the kernel writes into
    // `head` as many bytes as there are at most.
    let count = unsafe {
        let file = retry(|| check(libc::open(path.as_ptr(), flags))).ok()?;
        let count = retry(|| counted(libc::read(file, head.as_mut_ptr().cast(), HEAD)));
        libc::close(file);
        count
    };
    head.get(..count.ok()?)
}

/// The error of the last call that failed.
pub(in crate::sys) fn errno() -> i32 {
    // SAFETY: the C library gives a valid pointer on every thread.
    unsafe { *libc::__errno_location() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_is_what_the_first_line_names() {
        let cases: [(&[u8], &[u8]); 7] = [
            (b"#!/bin/sh\nx", b"/bin/sh"),
            (b"#! \t/usr/bin/env -S a\n", b"/usr/bin/env"),
            (b"#!/bin/sh\r\nx", b"/bin/sh\r"),
            (b"#!/cut", b"/cut"),
            (b"#!", b""),
            (b"\x7fELF\x02", b""),
            (b"", b""),
        ];
        for (head, name) in cases {
            assert_eq!(Interpreter::of(head).name(), name);
        }
        let long = [b"#!".as_slice(), &[b'x'; 200]].concat();
        assert_eq!(Interpreter::of(&long).name(), [b'x'; Interpreter::MAX]);
    }

    #[test]
    fn a_number_becomes_a_path() {
        for (number, expected) in [(0, "/proc/self/fd/0"), (10, "/proc/self/fd/10")] {
            let path = path_of(number);
            let end = path.iter().position(|byte| *byte == 0).unwrap();
            assert_eq!(str::from_utf8(&path[..end]).unwrap(), expected);
        }
        assert!(path_of(libc::c_int::MAX).contains(&0));
    }
}
