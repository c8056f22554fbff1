//! Limits that all processes of a group share, by cgroup v2.
//!
//! ```text
//! BASE                          the server's own cgroup, or that of --cgroup
//!   exec-server-PID-RANDOM      all that is limited; locked by the server as long as it lives
//!     session-N                 all that a session runs, where sessions are limited
//!       process-N               a process, and what descends from it
//!     process-N                 the same where sessions are not limited
//!   exec-server-PID-RANDOM.server    the server, where BASE was its own
//! ```
//!
//! Nothing is made before the first limit is asked for, by a request or by an operator. A cgroup with
//! processes in it cannot hand its controllers on, so the server then leaves BASE. A process enters its
//! cgroup between clone and exec, where it has our memory but is no victim of the kernel's for that
//! (`in_vfork`). Should we be killed, the [guardian](crate::sys::guardian) ends all of this.
//!
//! When memory runs out in a cgroup of a process, the kernel ends all of that (`memory.oom.group`):
//! half a pipeline would go on to a wrong result. In a cgroup of a session it ends one process's.

use std::ffi::{CString, OsStr};
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::log;
use crate::sys::cgroup::ServerCgroups;
use crate::sys::guardian::{self, Guardian};
use crate::sys::mark::parent_of;
use crate::sys::process::own_pid;
use crate::sys::random;
use crate::sys::sync::Mutex;

/// What the processes of a cgroup may have together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupLimits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Processor time.
    pub cpu: Option<CpuLimit>,
}

/// Microseconds of processor time in each [`PERIOD`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuLimit(u64);

/// In microseconds, as the kernel has it unless told otherwise.
const PERIOD: u64 = 100_000;

/// As many processes and threads as the kernel takes for a limit.
pub const MOST_PIDS: u64 = 4_194_304;

impl CpuLimit {
    /// The time of so many processors; none of less than the kernel can give, or more than there are.
    pub fn of(processors: f64) -> Option<Self> {
        let is_possible = (0.01..=10_000.0).contains(&processors);
        is_possible.then(|| Self((processors * PERIOD as f64).round() as u64))
    }
}

impl fmt::Display for CpuLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {PERIOD}", self.0)
    }
}

impl CgroupLimits {
    fn are_none(&self) -> bool {
        *self == Self::default()
    }

    /// Each limit that is set: its controller, its file, and what is written there.
    fn settings(&self) -> impl Iterator<Item = (&'static str, &'static str, String)> {
        let memory = self.memory.map(|it| it.to_string());
        let pids = self.pids.map(|it| it.to_string());
        let cpu = self.cpu.map(|it| it.to_string());
        let all = [
            memory.map(|it| ("memory", "memory.max", it)),
            pids.map(|it| ("pids", "pids.max", it)),
            cpu.map(|it| ("cpu", "cpu.max", it)),
        ];
        all.into_iter().flatten()
    }
}

/// What an operator chooses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupConfig {
    /// Where to make cgroups; the server's own unless given.
    pub base: Option<PathBuf>,
    /// The limits of every session.
    pub session: CgroupLimits,
}

/// Why something cannot be limited.
#[derive(Debug)]
pub enum CgroupError {
    /// There is no cgroup v2 that the server is in.
    None,
    /// The server's cgroup can be seen nowhere.
    NotMounted,
    /// The directory of `--cgroup` is none.
    NotV2(PathBuf),
    /// There are as many cgroups in this one as there may be.
    Full(PathBuf, io::Error),
    /// Nothing that is in this cgroup runs.
    Frozen(PathBuf),
    /// A process may not be moved into the first cgroup, as this one around it and the server is not ours.
    Closed(PathBuf, Option<PathBuf>, io::Error),
    /// A start has failed for these limits, of its own or, if so, of its session.
    TooLittle(CgroupLimits, bool),
    /// A cgroup has not this controller; whether cgroup v1 has it.
    NoController(PathBuf, &'static str, bool),
    /// A cgroup has a process in it, with this number, that is none of ours to move.
    Foreign(PathBuf, i32),
    /// The kernel does not let this be done.
    System(&'static str, PathBuf, io::Error),
}

impl fmt::Display for CgroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str(
                "the server is in no cgroup of version 2, and those of version 1 cannot be delegated; \
                 boot with systemd.unified_cgroup_hierarchy=1",
            ),
            Self::NotMounted => f.write_str(
                "the server's cgroup is nowhere below a mount of cgroup v2 (mount -t cgroup2 cgroup2 \
                 /sys/fs/cgroup), and those of version 1 cannot be delegated",
            ),
            Self::NotV2(base) => {
                write!(f, "{} is no cgroup of version 2", base.display())
            }
            Self::Full(path, error) => write!(
                f,
                "cannot make the cgroup {}: {error}; raise cgroup.max.descendants or cgroup.max.depth of a \
                 cgroup around it, or wait for processes to end",
                path.display()
            ),
            Self::Frozen(path) => {
                let path = path.display();
                write!(f, "the cgroup {path} is frozen; write 0 to {path}/cgroup.freeze")
            }
            Self::Closed(path, around, error) => {
                write!(f, "cannot put a process into the cgroup {}: {error}", path.display())?;
                match around {
                    Some(around) => write!(
                        f,
                        "; the server is not inside what is delegated: start it in a cgroup there, or let its \
                         user write {}/cgroup.procs",
                        around.display()
                    ),
                    None => Ok(()),
                }
            }
            Self::TooLittle(limits, is_of_session) => {
                let names = match is_of_session {
                    true => ["--session-memory", "--session-pids"],
                    false => ["memoryMax", "pidsMax"],
                };
                let all = names.iter().zip([limits.memory, limits.pids]);
                let all = all.filter_map(|(name, limit)| Some(format!("{name} {}", limit?)));
                let all: Vec<_> = all.collect();
                write!(f, "{} does not suffice to start it", all.join(" with "))
            }
            Self::NoController(base, name, is_in_v1) => {
                let base = base.display();
                write!(f, "the cgroup {base} has no {name} controller: ")?;
                f.write_str(match is_in_v1 {
                    true => "cgroup v1 has it, which cannot be delegated; boot with cgroup_no_v1=all",
                    false => "it is not delegated; with systemd, Delegate=yes in the unit does that",
                })
            }
            Self::Foreign(base, pid) => {
                write!(f, "the cgroup {} cannot be divided: ", base.display())?;
                match pid {
                    0 => f.write_str("a process outside the server's pid namespace is in it")?,
                    pid => write!(f, "process {pid} in it is not the server's")?,
                }
                f.write_str(
                    "; start the server in a cgroup of its own (with systemd, Delegate=yes), or name one \
                     with --cgroup",
                )
            }
            Self::System(what, path, error) => {
                write!(f, "cannot {what} {}: {error}", path.display())?;
                match error.kind() {
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => f.write_str(
                        "; the cgroup must be delegated to the server's user (with systemd, \
                         Delegate=yes), and not be mounted read-only",
                    ),
                    _ => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for CgroupError {}

impl CgroupError {
    /// What it is about, and what the kernel said.
    pub(super) fn parts(&self) -> (Option<&Path>, Option<&io::Error>) {
        match self {
            Self::None | Self::NotMounted | Self::TooLittle(..) => (None, None),
            Self::NotV2(path)
            | Self::NoController(path, ..)
            | Self::Foreign(path, _)
            | Self::Frozen(path) => (Some(path), None),
            Self::System(_, path, error)
            | Self::Full(path, error)
            | Self::Closed(path, _, error) => (Some(path), Some(error)),
        }
    }

    /// Whether another try may do, as things are.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self, Self::Full(..) | Self::Frozen(_))
    }
}

/// Writes to a file of a cgroup, which is there if the cgroup can do that.
fn set(cgroup: &Path, name: &str, text: &str) -> Result<(), CgroupError> {
    let path = cgroup.join(name);
    let written = OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| CgroupError::System("write to", path, error))
}

fn get(cgroup: &Path, name: &str) -> Result<String, CgroupError> {
    let path = cgroup.join(name);
    fs::read_to_string(&path).map_err(|error| CgroupError::System("read", path, error))
}

fn make(cgroup: &Path) -> Result<(), CgroupError> {
    let made = fs::create_dir(cgroup);
    made.map_err(|error| match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOMEM) => CgroupError::Full(cgroup.to_owned(), error),
        _ => CgroupError::System("make the cgroup", cgroup.to_owned(), error),
    })
}

/// The cgroups of one server.
pub(crate) struct Cgroups {
    config: CgroupConfig,
    /// Whether what is left in a cgroup is killed.
    kills: bool,
    tree: Mutex<Option<Arc<Tree>>>,
}

impl Cgroups {
    pub(crate) fn new(config: CgroupConfig, kills: bool) -> Arc<Self> {
        Arc::new(Self {
            config,
            kills,
            tree: Mutex::default(),
        })
    }

    /// A cgroup with the limits of sessions, to try whether a process can be limited so, where an operator
    /// has chosen anything: a server that could not do it does not begin.
    pub(crate) fn trial(&self) -> Result<Option<Cgroup>, CgroupError> {
        if self.config == CgroupConfig::default() {
            return Ok(None);
        }
        let mut trial = self.tree()?.make("trial", None, &self.config.session)?;
        trial.is_of_session = true;
        Ok(Some(trial))
    }

    /// Has the guardian end what there is should we be killed, before anything runs in it.
    pub(crate) fn guard_by(&self, guardian: &Guardian) {
        if let Some(tree) = self.grown() {
            tree.guard_by(guardian);
        }
    }

    /// Kills everything that is limited, unless it may outlive the server.
    pub(crate) fn kill(&self) {
        if let Some(tree) = self.grown()
            && tree.kills
        {
            kill(&tree.path);
        }
    }

    fn tree(&self) -> Result<Arc<Tree>, CgroupError> {
        let mut tree = self.tree.lock();
        if let Some(tree) = &*tree {
            return Ok(Arc::clone(tree));
        }
        let grown = Arc::new(Tree::grow(self.config.base.clone(), self.kills)?);
        *tree = Some(Arc::clone(&grown));
        Ok(grown)
    }

    fn grown(&self) -> Option<Arc<Tree>> {
        self.tree.lock().clone()
    }

    /// Whether there are cgroups that could not be removed yet.
    pub(crate) fn has_leftovers(&self) -> bool {
        self.grown()
            .is_some_and(|tree| !tree.leftovers.lock().is_empty())
    }

    /// Removes those that are empty now.
    pub(crate) fn sweep(&self) {
        if let Some(tree) = self.grown() {
            tree.sweep();
        }
    }

    /// Removes all of them, when nothing of the server's is to run any more. Whether nothing is left.
    pub(crate) fn end(&self, deadline: Instant) -> bool {
        self.grown().is_none_or(|tree| tree.end(deadline))
    }
}

/// What the controllers are called that limits need.
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];
/// What the directories of a server are called, before its process id.
const PREFIX: &str = "exec-server-";
/// What the one is called that the server is in, after that.
const OWN: &str = ".server";
/// How often a name is tried that another server may take for that of a dead one, before it is locked.
const CLAIMS: usize = 8;
/// How long those who were killed may take to be gone.
const KILL_TIME: Duration = Duration::from_millis(200);
/// Between looks whether they are.
const TICK: Duration = Duration::from_millis(2);

/// The directories of a server and what is below.
struct Tree {
    base: PathBuf,
    /// With all that is limited.
    path: PathBuf,
    /// Where the server is, if it was in `base`.
    own: Option<PathBuf>,
    /// The controllers that `base` has, each with a `+`.
    controllers: String,
    kills: bool,
    is_guarded: AtomicBool,
    made: AtomicU64,
    /// Cgroups that nobody needs and that had processes in them.
    leftovers: Mutex<Vec<PathBuf>>,
    /// Tell other servers that this one lives.
    locks: Vec<File>,
}

impl Tree {
    fn grow(base: Option<PathBuf>, kills: bool) -> Result<Self, CgroupError> {
        let is_own = base.is_none();
        let base = match base {
            Some(base) => fs::canonicalize(&base)
                .map_err(|error| CgroupError::System("find the cgroup", base, error))?,
            None => own_cgroup()?,
        };
        let available = get(&base, "cgroup.controllers").map_err(|error| match error {
            CgroupError::System(_, _, error) if error.kind() == io::ErrorKind::NotFound => {
                match is_own {
                    true => CgroupError::None,
                    false => CgroupError::NotV2(base.clone()),
                }
            }
            error => error,
        })?;
        let available: Vec<_> = available.split_ascii_whitespace().collect();
        let wanted = CONTROLLERS.iter().filter(|name| available.contains(name));
        let controllers: Vec<_> = wanted.map(|name| format!("+{name}")).collect();
        if controllers.is_empty() {
            return Err(no_controller(&base, CONTROLLERS[0]));
        }
        let leftovers = remove_stale(&base, kills);
        let (path, claimed) = claim(&base)?;
        let mut tree = Self {
            locks: vec![claimed],
            base,
            path,
            own: None,
            controllers: controllers.join(" "),
            kills,
            is_guarded: AtomicBool::default(),
            made: AtomicU64::new(1),
            leftovers: Mutex::new(leftovers),
        };
        // What fails from here on is undone when the tree is dropped. The root alone, which has no type,
        // may have processes and hand controllers on.
        let is_root = !tree.base.join("cgroup.type").exists();
        if !is_root && !get(&tree.base, "cgroup.procs")?.is_empty() {
            let mut own = tree.path.clone().into_os_string();
            own.push(OWN);
            let own = PathBuf::from(own);
            make(&own)?;
            tree.own = Some(own.clone());
            let locked =
                lock(&own).map_err(|error| CgroupError::System("lock", own.clone(), error));
            tree.locks.push(locked?);
            move_all(&tree.base, &own)?;
        }
        tree.hand_on(&tree.base)?;
        tree.hand_on(&tree.path)?;
        Ok(tree)
    }

    /// Lets the cgroups in this one have controllers.
    fn hand_on(&self, cgroup: &Path) -> Result<(), CgroupError> {
        set(cgroup, "cgroup.subtree_control", &self.controllers)
    }

    /// What takes them from there again.
    fn no_controllers(&self) -> String {
        self.controllers.replace('+', "-")
    }

    fn guard_by(&self, guardian: &Guardian) {
        if self.is_guarded.swap(true, Ordering::Relaxed) {
            return;
        }
        let text = |text: &OsStr| CString::new(text.as_bytes()).unwrap_or_default();
        let name = |path: &Path| text(path.file_name().unwrap_or_default());
        let cgroups = ServerCgroups {
            base: text(self.base.as_os_str()),
            limited: name(&self.path),
            own: self.own.as_deref().map(name).unwrap_or_default(),
            no_controllers: text(self.no_controllers().as_ref()),
            kills: self.kills,
        };
        if !guardian.guard_cgroups(Some(&cgroups)) {
            let base = self.base.display();
            log::warn!(
                "the cgroups in {base} stay if the server is killed: their path is too long"
            );
        }
    }

    /// Whether these limits can be set.
    fn requires(&self, limits: &CgroupLimits) -> Result<(), CgroupError> {
        let mut names = limits.settings().map(|(name, ..)| name);
        match names.find(|name| !self.has(name)) {
            Some(name) => Err(no_controller(&self.base, name)),
            None => Ok(()),
        }
    }

    fn has(&self, controller: &str) -> bool {
        self.controllers.contains(controller)
    }

    /// Makes a cgroup with these limits.
    fn make(
        self: &Arc<Self>,
        kind: &str,
        parent: Option<Arc<Cgroup>>,
        limits: &CgroupLimits,
    ) -> Result<Cgroup, CgroupError> {
        self.requires(limits)?;
        self.sweep();
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let above = parent.as_ref().map_or(&self.path, |parent| &parent.path);
        let path = above.join(format!("{kind}-{number}"));
        make(&path)?;
        let cgroup = Cgroup {
            tree: Arc::clone(self),
            path,
            limits: *limits,
            is_of_session: false,
            failures_above: parent.as_ref().map_or(0, |parent| parent.failures()),
            parent,
        };
        for (_, file, text) in limits.settings() {
            set(&cgroup.path, file, &text)?;
        }
        if limits.memory.is_some() {
            // Memory that may go to a disk instead is not limited.
            match set(&cgroup.path, "memory.swap.max", "0") {
                Err(CgroupError::System(_, _, error))
                    if error.kind() == io::ErrorKind::NotFound => {}
                set => set?,
            }
        }
        Ok(cgroup)
    }

    fn sweep(&self) {
        // The inner ones come first.
        self.leftovers.lock().retain(|path| !is_removed(path));
    }

    fn end(&self, deadline: Instant) -> bool {
        self.sweep();
        // What is still in use stays, for the guardian or the next server to remove.
        let is_gone = remove(&self.path, self.kills, deadline);
        if !is_gone && self.kills {
            let path = self.path.display();
            log::warn!(
                "the cgroup {path} stays for now, as what was killed in it has not ended yet"
            );
        }
        let Some(own) = self.own.as_deref().filter(|own| own.exists()) else {
            return is_gone;
        };
        let back = set(&self.base, "cgroup.subtree_control", &self.no_controllers())
            .and_then(|()| move_all(own, &self.base));
        if let Err(error) = back {
            log::debug!("the server stays in its cgroup: {error}");
        }
        is_removed(own) && is_gone
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.end(Instant::now() + KILL_TIME);
    }
}

/// How long the guardian of another server may take to leave a cgroup.
const GUARDIAN_TIME: Duration = Duration::from_secs(2);
/// How often it is tried to empty a cgroup in which processes start others.
const MOVES: usize = 16;

/// Moves the server and what it has started from one cgroup to another, if nobody else is there.
fn move_all(from: &Path, to: &Path) -> Result<(), CgroupError> {
    let deadline = Instant::now() + GUARDIAN_TIME;
    let mut moves = 0..MOVES;
    loop {
        let inside = get(from, "cgroup.procs")?;
        if inside.is_empty() {
            break;
        }
        // Those of another pid namespace are 0 here.
        let mut numbers = inside.lines().map(|line| line.parse().unwrap_or(0));
        if let Some(pid) = numbers.find(|pid| !is_ours(*pid)) {
            // That of a server that has ended here leaves in a moment.
            if guardian::is_one(pid) && Instant::now() < deadline {
                thread::sleep(TICK);
                continue;
            }
            return Err(CgroupError::Foreign(from.to_owned(), pid));
        }
        // Who is started meanwhile by one that has not moved yet is moved next time.
        if moves.next().is_none() {
            break;
        }
        for pid in inside.lines() {
            match set(to, "cgroup.procs", pid) {
                // It has ended.
                Err(CgroupError::System(_, _, error))
                    if error.raw_os_error() == Some(libc::ESRCH) => {}
                moved => moved?,
            }
        }
    }
    Ok(())
}

/// Whether it is this process or descends from it.
fn is_ours(pid: i32) -> bool {
    let own = own_pid();
    let line = std::iter::successors(Some(pid), |pid| parent_of(*pid).filter(|it| *it > 0));
    // No line is longer, unless it changes while it is followed.
    line.take(1000).any(|pid| pid == own)
}

fn no_controller(base: &Path, name: &'static str) -> CgroupError {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    CgroupError::NoController(base.to_owned(), name, is_in_v1(&own, name))
}

/// Whether a controller is one of cgroup v1, by `/proc/self/cgroup`.
fn is_in_v1(own: &str, controller: &str) -> bool {
    let lists = own.lines().filter_map(|line| line.split(':').nth(1));
    let mut names = lists.flat_map(|list| list.split(','));
    names.any(|name| name == controller)
}

fn own_cgroup() -> Result<PathBuf, CgroupError> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    if !own.lines().any(|line| line.starts_with("0::")) {
        return Err(CgroupError::None);
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    place(&own, &mounts).ok_or(CgroupError::NotMounted)
}

/// For an operator: which limits can be had in the server's own cgroup, and what to do for more.
pub fn describe_own() -> (String, Option<String>) {
    let own = match own_cgroup() {
        Ok(own) => own,
        Err(error) => return ("no limits".to_owned(), Some(error.to_string())),
    };
    let available = get(&own, "cgroup.controllers").unwrap_or_default();
    let has = |name: &str| available.split_ascii_whitespace().any(|it| it == name);
    let (found, missing): (Vec<_>, Vec<_>) = CONTROLLERS.into_iter().partition(|name| has(name));
    let place = own.display();
    let mut text = format!("version 2, {place}, controllers: {}", found.join(" "));
    if let Some(name) = missing.first() {
        return (text, Some(no_controller(&own, name).to_string()));
    }
    let procs = own.join("cgroup.procs");
    match OpenOptions::new().write(true).open(&procs) {
        Ok(_) => (text, None),
        Err(error) => {
            text += ", not delegated";
            (
                text,
                Some(CgroupError::System("write to", procs, error).to_string()),
            )
        }
    }
}

/// Where the cgroup is that `/proc/self/cgroup` names, by the list of mounts.
fn place(own: &str, mounts: &str) -> Option<PathBuf> {
    let own = Path::new(own.lines().find_map(|line| line.strip_prefix("0::"))?);
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, mounted) = (place.next()?, place.next()?);
        let below = own.strip_prefix(root).ok()?;
        let is_v2 = kind.starts_with("cgroup2 ");
        is_v2.then(|| {
            Path::new(mounted)
                .components()
                .chain(below.components())
                .collect()
        })
    })
}

fn directories(cgroup: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cgroup).into_iter().flatten().flatten();
    let directories = entries.filter(|it| it.file_type().is_ok_and(|it| it.is_dir()));
    directories.map(|it| it.path()).collect()
}

/// Makes a directory for this server, of a name that no other has.
fn claim(base: &Path) -> Result<(PathBuf, File), CgroupError> {
    let mut tries = 1..CLAIMS;
    loop {
        let mut random = [0; 4];
        // The process id is mostly enough.
        let _ = random::fill(&mut random);
        let random = u32::from_ne_bytes(random);
        let path = base.join(format!("{PREFIX}{}-{random:08x}", own_pid()));
        make(&path)?;
        match lock(&path) {
            Ok(lock) if path.exists() => return Ok((path, lock)),
            // Another server has just removed it, or is about to.
            _ if tries.next().is_some() => {}
            Ok(_) => {
                return Err(CgroupError::System(
                    "keep",
                    path,
                    io::ErrorKind::NotFound.into(),
                ));
            }
            Err(error) => {
                let _ = fs::remove_dir(&path);
                return Err(CgroupError::System("lock the cgroup", path, error));
            }
        }
    }
}

/// Locks a cgroup, which tells others that its server lives.
fn lock(path: &Path) -> io::Result<File> {
    let lock = File::open(path)?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
        TryLockError::Error(error) => error,
    })?;
    Ok(lock)
}

/// Removes what servers have left that were killed. What could not be removed yet.
fn remove_stale(base: &Path, kills: bool) -> Vec<PathBuf> {
    let mut stale = directories(base);
    stale.retain(|path| {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        name.starts_with(PREFIX.as_bytes()) && lock(path).is_ok()
    });
    if kills {
        stale.iter().for_each(|path| kill(path));
    }
    let deadline = Instant::now() + KILL_TIME;
    stale.retain(|path| !remove(path, kills, deadline));
    stale
}

/// Removes a cgroup and what is below; those inside are killed before, or it stays if there are any.
fn remove(path: &Path, kills: bool, deadline: Instant) -> bool {
    if kills {
        kill(path);
        // It costs less to ask for all of them than to try each.
        while is_populated(path) && Instant::now() < deadline {
            thread::sleep(TICK);
        }
    }
    is_removed(path)
}

/// Whether there is a process in it, or below, as far as can be told.
fn is_populated(path: &Path) -> bool {
    let events = get(path, "cgroup.events");
    events.is_ok_and(|it| !it.lines().any(|line| line == "populated 0"))
}

/// How often the kernel has refused what is in a cgroup memory or a process for its limits.
fn failures(path: &Path) -> u64 {
    let of = |file, names: &[&str]| get(path, file).map_or(0, |text| counts(&text, names));
    of("memory.events", &["oom", "oom_kill"]) + of("pids.events", &["max"])
}

/// The closest cgroup that is around both.
fn common(one: &Path, other: &Path) -> PathBuf {
    let pairs = one.components().zip(other.components());
    let same = pairs.take_while(|(one, other)| one == other);
    same.map(|(one, _)| one).collect()
}

fn is_removed(path: &Path) -> bool {
    directories(path).iter().all(|path| is_removed(path))
        && match fs::remove_dir(path) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
}

/// Kills everything inside. Before Linux 5.14 that is left to those who kill by groups and marks.
fn kill(path: &Path) {
    let _ = set(path, "cgroup.kill", "1");
}

/// A cgroup with limits. It is removed when this is dropped, or else when it has become empty.
pub(crate) struct Cgroup {
    tree: Arc<Tree>,
    path: PathBuf,
    limits: CgroupLimits,
    /// Whether an operator has chosen them.
    is_of_session: bool,
    /// That of its session, which is removed after it.
    parent: Option<Arc<Cgroup>>,
    /// The failures in that one before.
    failures_above: u64,
}

impl Cgroup {
    /// What a process has to write `0` to in order to be inside.
    ///
    /// # Errors
    /// It cannot be entered, or who enters would not go on.
    pub(crate) fn entrance(&self) -> Result<File, CgroupError> {
        if let Some(frozen) = self.frozen() {
            return Err(CgroupError::Frozen(frozen));
        }
        let path = self.path.join("cgroup.procs");
        let opened = OpenOptions::new().write(true).open(&path);
        opened.map_err(|error| CgroupError::System("open", path, error))
    }

    /// Why a process could not enter.
    pub(crate) fn closed(&self, error: &io::Error) -> CgroupError {
        let error = match error.raw_os_error() {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => error.kind().into(),
        };
        let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
        let own = own_cgroup().ok().filter(|_| is_denied);
        let around = own.map(|own| common(&own, &self.path));
        CgroupError::Closed(self.path.clone(), around, error)
    }

    /// No process could be tried in it.
    pub(crate) fn unusable(&self, error: io::Error) -> CgroupError {
        CgroupError::System("try a process in the cgroup", self.path.clone(), error)
    }

    /// Why a start has failed in it, if its limits are why.
    pub(crate) fn shortage(&self) -> Option<CgroupError> {
        let has_limit = |limits: &CgroupLimits| limits.memory.is_some() || limits.pids.is_some();
        if has_limit(&self.limits) && self.failures() > 0 {
            return Some(CgroupError::TooLittle(self.limits, self.is_of_session));
        }
        let parent = self.parent.as_ref()?;
        // Some kernels count with the one that asked, others with the one that has the limit.
        let is_short = self.failures() > 0 || parent.failures() > self.failures_above;
        (is_short && has_limit(&parent.limits)).then(|| CgroupError::TooLittle(parent.limits, true))
    }

    fn failures(&self) -> u64 {
        failures(&self.path)
    }

    /// The outermost cgroup around it in which nothing runs.
    fn frozen(&self) -> Option<PathBuf> {
        let events = get(&self.path, "cgroup.events").ok()?;
        if !events.lines().any(|line| line == "frozen 1") {
            return None;
        }
        let is_frozen = |path: &&Path| get(path, "cgroup.freeze").is_ok_and(|it| it.trim() == "1");
        let outermost = self.path.ancestors().filter(is_frozen).last();
        Some(outermost.unwrap_or(&self.path).to_owned())
    }

    /// Ends a start that goes on in it, and would not for itself.
    pub(crate) fn give_up(&self) {
        if self.frozen().is_some() {
            kill(&self.path);
        }
    }

    /// Whether the kernel has ended a process in it because memory had run out.
    pub(crate) fn has_run_out_of_memory(&self) -> bool {
        let events = get(&self.path, "memory.events");
        events.is_ok_and(|it| counts(&it, &["oom_kill"]) > 0)
    }

    /// Whether no process is inside, as far as can be told.
    pub(crate) fn is_empty(&self) -> bool {
        !is_populated(&self.path)
    }

    /// Kills everything inside, unless it may outlive who has started it.
    pub(crate) fn kill(&self) {
        if self.tree.kills {
            kill(&self.path);
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if !is_removed(&self.path) {
            self.tree.leftovers.lock().push(self.path.clone());
        }
    }
}

/// How often all of these have happened, by a file of events.
fn counts(events: &str, names: &[&str]) -> u64 {
    let pairs = events.lines().filter_map(|line| line.split_once(' '));
    let wanted = pairs.filter(|(name, _)| names.contains(name));
    wanted
        .filter_map(|(_, count)| count.parse::<u64>().ok())
        .sum()
}

/// Where the processes of a session go.
pub(crate) struct SessionCgroup {
    cgroups: Arc<Cgroups>,
    /// Made for the first of them, where sessions are limited.
    own: Mutex<Option<Arc<Cgroup>>>,
}

impl SessionCgroup {
    pub(crate) fn new(cgroups: &Arc<Cgroups>) -> Self {
        Self {
            cgroups: Arc::clone(cgroups),
            own: Mutex::default(),
        }
    }

    /// For a process that is about to start, with these limits; none where nothing limits it.
    pub(crate) fn for_process(
        &self,
        limits: &CgroupLimits,
    ) -> Result<Option<Arc<Cgroup>>, CgroupError> {
        let of_session = &self.cgroups.config.session;
        if limits.are_none() && of_session.are_none() {
            return Ok(None);
        }
        let tree = self.cgroups.tree()?;
        let own = match of_session.are_none() {
            true => None,
            false => Some(self.own(&tree, of_session)?),
        };
        let cgroup = tree.make("process", own, limits)?;
        if tree.has("memory") {
            set(&cgroup.path, "memory.oom.group", "1")?;
        }
        Ok(Some(Arc::new(cgroup)))
    }

    fn own(&self, tree: &Arc<Tree>, limits: &CgroupLimits) -> Result<Arc<Cgroup>, CgroupError> {
        let mut own = self.own.lock();
        if let Some(own) = &*own {
            return Ok(Arc::clone(own));
        }
        let mut made = tree.make("session", None, limits)?;
        made.is_of_session = true;
        let made = Arc::new(made);
        tree.hand_on(&made.path)?;
        *own = Some(Arc::clone(&made));
        Ok(made)
    }

    /// Kills everything that the session has started, unless it may outlive it.
    pub(crate) fn kill(&self) {
        if let Some(own) = &*self.own.lock() {
            own.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_become_time_in_a_period() {
        for (processors, text) in [
            (1.5, "150000 100000"),
            (0.01, "1000 100000"),
            (2.0, "200000 100000"),
            (0.333, "33300 100000"),
        ] {
            assert_eq!(CpuLimit::of(processors).unwrap().to_string(), text);
        }
        for none in [0.0, 0.009, -1.0, f64::NAN, f64::INFINITY, 10_001.0] {
            assert_eq!(CpuLimit::of(none), None, "{none}");
        }
    }

    #[test]
    fn each_limit_has_its_controller_and_file() {
        let limits = CgroupLimits {
            memory: Some(1 << 20),
            pids: None,
            cpu: CpuLimit::of(0.5),
        };
        let settings: Vec<_> = limits.settings().collect();
        assert_eq!(
            settings,
            [
                ("memory", "memory.max", "1048576".to_owned()),
                ("cpu", "cpu.max", "50000 100000".to_owned())
            ]
        );
        assert!(CgroupLimits::default().are_none() && !limits.are_none());
    }

    #[test]
    fn a_kill_for_want_of_memory_is_an_event() {
        let events = "low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\noom_group_kill 1\n";
        assert_eq!(counts(events, &["oom_kill"]), 3);
        assert_eq!(counts(events, &["oom", "oom_kill"]), 5);
        assert_eq!(counts("low 0\noom 2\noom_kill 0\n", &["oom_kill"]), 0);
        assert_eq!(counts("", &["max"]), 0);
    }

    #[test]
    fn the_own_cgroup_is_where_its_hierarchy_is_mounted() {
        let mounts = "25 1 0:23 / /proc rw - proc proc rw\n\
            30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let place = |own: &str, mounts: &str| place(own, mounts).map(|it| it.display().to_string());
        let unit = place("0::/system.slice/a.service\n", mounts);
        assert_eq!(
            unit.as_deref(),
            Some("/sys/fs/cgroup/system.slice/a.service")
        );
        assert_eq!(place("0::/\n", mounts).as_deref(), Some("/sys/fs/cgroup"));
        let part = "30 25 0:26 /box /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(
            place("0::/box/a\n", part).as_deref(),
            Some("/sys/fs/cgroup/a")
        );
        assert_eq!(place("0::/other\n", part), None);
        assert_eq!(place("4:memory:/a\n1:name=systemd:/\n", mounts), None);
        let v1 = "31 25 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        assert_eq!(place("0::/\n4:memory:/\n", v1), None);
    }

    #[test]
    fn what_does_not_suffice_is_named() {
        let limits = CgroupLimits {
            memory: Some(4096),
            pids: Some(2),
            cpu: CpuLimit::of(1.0),
        };
        assert_eq!(
            CgroupError::TooLittle(limits, false).to_string(),
            "memoryMax 4096 with pidsMax 2 does not suffice to start it"
        );
        let limits = CgroupLimits {
            memory: None,
            ..limits
        };
        assert_eq!(
            CgroupError::TooLittle(limits, true).to_string(),
            "--session-pids 2 does not suffice to start it"
        );
    }

    #[test]
    fn who_is_moved_is_moved_within_the_closest_cgroup_around_both() {
        let common = |one: &str, other: &str| common(one.as_ref(), other.as_ref());
        assert_eq!(common("/c/a/b", "/c/a/d/e"), Path::new("/c/a"));
        assert_eq!(common("/c/ab", "/c/a"), Path::new("/c"));
    }

    #[test]
    fn a_controller_of_version_1_is_known() {
        let own = "4:cpu,cpuacct:/\n3:memory:/a\n1:name=systemd:/\n0::/\n";
        for (name, is_there) in [("cpu", true), ("memory", true), ("pids", false)] {
            assert_eq!(is_in_v1(own, name), is_there, "{name}");
        }
    }
}
