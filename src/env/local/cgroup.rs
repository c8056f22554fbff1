//! Limits that all processes of a group share, by cgroup v2.
//!
//! ```text
//! BASE                    the server's own cgroup, or that of --cgroup
//!   exec-server-PID       locked by the server as long as it lives
//!     server              the server, where BASE was its own
//!     session-N           all that a session runs, where sessions are limited
//!       process-N         a process, and what descends from it
//!     process-N           the same where sessions are not limited
//! ```
//!
//! Nothing is made before the first limit is asked for. A cgroup with processes in it cannot hand its
//! controllers on, so the server then leaves BASE. A process enters its cgroup between clone and exec,
//! where it has our memory but is no victim of the kernel's for that (`in_vfork`).
//!
//! When memory runs out in a cgroup of a process, the kernel ends all of that (`memory.oom.group`):
//! half a pipeline would go on to a wrong result. In a cgroup of a session it ends one process's.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::log;
use crate::sys::mark::parent_of;
use crate::sys::process::own_pid;
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
    /// The directory of `--cgroup` is none.
    NotV2(PathBuf),
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
            Self::NotV2(base) => {
                write!(f, "{} is no cgroup of version 2", base.display())
            }
            Self::NoController(base, name, is_in_v1) => {
                let base = base.display();
                write!(f, "the cgroup {base} has no {name} controller: ")?;
                f.write_str(match is_in_v1 {
                    true => "cgroup v1 has it, which cannot be delegated; boot with cgroup_no_v1=all",
                    false => "it is not delegated; with systemd, Delegate=yes in the unit does that",
                })
            }
            Self::Foreign(base, pid) => write!(
                f,
                "the cgroup {} cannot be divided: process {pid} in it is not the server's; start the \
                 server in a cgroup of its own (with systemd, Delegate=yes), or name one with --cgroup",
                base.display()
            ),
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
            Self::None => (None, None),
            Self::NotV2(path) | Self::NoController(path, ..) | Self::Foreign(path, _) => {
                (Some(path), None)
            }
            Self::System(_, path, error) => (Some(path), Some(error)),
        }
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
    made.map_err(|error| CgroupError::System("make the cgroup", cgroup.to_owned(), error))
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

    /// Gets ready at once where sessions are limited, so that a server that could not limit them
    /// does not begin.
    pub(crate) fn prepare(&self) -> Result<(), CgroupError> {
        match self.config.session.are_none() {
            true => Ok(()),
            false => self.tree()?.requires(&self.config.session),
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

    /// Removes all of them, when nothing of the server's is to run any more.
    pub(crate) fn end(&self) {
        if let Some(tree) = self.grown() {
            tree.end();
        }
    }
}

/// What the controllers are called that limits need.
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];
/// What the directory of a server is called, before its process id.
const PREFIX: &str = "exec-server-";
/// Where the server is below that.
const OWN_LEAF: &str = "server";
/// How long those who were killed may take to be gone.
const KILL_TIME: Duration = Duration::from_millis(200);
/// Between looks whether they are.
const TICK: Duration = Duration::from_millis(2);

/// The directory of a server and what is below.
struct Tree {
    base: PathBuf,
    path: PathBuf,
    /// The controllers that `base` has, each with a `+`.
    controllers: String,
    /// Whether the server was in `base`.
    has_moved: bool,
    kills: bool,
    made: AtomicU64,
    /// Cgroups that nobody needs and that had processes in them.
    leftovers: Mutex<Vec<PathBuf>>,
    /// Tells other servers that this one lives.
    _lock: File,
}

impl Tree {
    fn grow(base: Option<PathBuf>, kills: bool) -> Result<Self, CgroupError> {
        let is_own = base.is_none();
        let base = match base {
            Some(base) => base,
            None => own_cgroup().ok_or(CgroupError::None)?,
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
        remove_stale(&base, kills);
        let path = base.join(format!("{PREFIX}{}", own_pid()));
        make(&path)?;
        let locked = File::open(&path).and_then(|lock| {
            lock.try_lock()?;
            Ok(lock)
        });
        let mut tree = Self {
            _lock: locked
                .map_err(|error| CgroupError::System("lock the cgroup", path.clone(), error))?,
            base,
            path,
            controllers: controllers.join(" "),
            has_moved: false,
            kills,
            made: AtomicU64::new(1),
            leftovers: Mutex::default(),
        };
        // What fails from here on is undone when the tree is dropped. The root alone, which has no type,
        // may have processes and hand controllers on.
        let is_root = !tree.base.join("cgroup.type").exists();
        if !is_root && !get(&tree.base, "cgroup.procs")?.is_empty() {
            tree.has_moved = true;
            let leaf = tree.own_leaf();
            make(&leaf)?;
            move_all(&tree.base, &leaf)?;
        }
        tree.hand_on(&tree.base)?;
        tree.hand_on(&tree.path)?;
        Ok(tree)
    }

    /// Lets the cgroups in this one have controllers.
    fn hand_on(&self, cgroup: &Path) -> Result<(), CgroupError> {
        set(cgroup, "cgroup.subtree_control", &self.controllers)
    }

    /// Takes them from there again.
    fn take_back(&self, cgroup: &Path) -> Result<(), CgroupError> {
        let none = self.controllers.replace('+', "-");
        set(cgroup, "cgroup.subtree_control", &none)
    }

    /// Where the server is when it has left the base.
    fn own_leaf(&self) -> PathBuf {
        self.path.join(OWN_LEAF)
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
            _parent: parent,
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

    fn end(&self) {
        let deadline = Instant::now() + KILL_TIME;
        for path in directories(&self.path) {
            if !path.ends_with(OWN_LEAF) {
                remove(&path, self.kills, deadline);
            }
        }
        // What is still in use stays, for the next server to remove.
        if self.has_moved {
            let back = self
                .take_back(&self.path)
                .and_then(|()| self.take_back(&self.base))
                .and_then(|()| move_all(&self.own_leaf(), &self.base));
            if let Err(error) = back {
                log::debug!("the server stays in its cgroup: {error}");
            }
        }
        remove(&self.path, false, deadline);
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.end();
    }
}

/// How often it is tried to empty a cgroup in which processes start others.
const MOVES: usize = 16;

/// Moves the server and what it has started from one cgroup to another, if nobody else is there.
fn move_all(from: &Path, to: &Path) -> Result<(), CgroupError> {
    // Who is started meanwhile by one that has not moved yet is moved next time.
    for _ in 0..MOVES {
        let inside = get(from, "cgroup.procs")?;
        if inside.is_empty() {
            break;
        }
        // Those of another pid namespace are 0 here.
        let mut numbers = inside.lines().map(|line| line.parse().unwrap_or(0));
        if let Some(pid) = numbers.find(|pid| !is_ours(*pid)) {
            return Err(CgroupError::Foreign(from.to_owned(), pid));
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

fn own_cgroup() -> Option<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    place(&own, &mounts)
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

/// Removes what servers have left that were killed.
fn remove_stale(base: &Path, kills: bool) {
    for path in directories(base) {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        let is_stale = || File::open(&path).is_ok_and(|lock| lock.try_lock().is_ok());
        if name.starts_with(PREFIX.as_bytes()) && is_stale() {
            remove(&path, kills, Instant::now() + KILL_TIME);
        }
    }
}

/// Removes a cgroup and what is below; those inside are killed before, or it stays if there are any.
fn remove(path: &Path, kills: bool, deadline: Instant) {
    if kills {
        kill(path);
    }
    while !is_removed(path) && kills && Instant::now() < deadline {
        thread::sleep(TICK);
    }
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
    /// Is removed after it.
    _parent: Option<Arc<Cgroup>>,
}

impl Cgroup {
    /// What a process has to write `0` to in order to be inside.
    pub(crate) fn entrance(&self) -> Result<File, CgroupError> {
        let path = self.path.join("cgroup.procs");
        let opened = OpenOptions::new().write(true).open(&path);
        opened.map_err(|error| CgroupError::System("open", path, error))
    }

    /// Why a process could not enter.
    pub(crate) fn closed(&self, error: io::Error) -> CgroupError {
        CgroupError::System("put a process into the cgroup", self.path.clone(), error)
    }

    /// Whether the kernel has ended a process in it because memory had run out.
    pub(crate) fn has_run_out_of_memory(&self) -> bool {
        self.tree.has("memory") && get(&self.path, "memory.events").is_ok_and(|it| killed(&it) > 0)
    }

    /// Whether no process is inside, as far as can be told.
    pub(crate) fn is_empty(&self) -> bool {
        let events = get(&self.path, "cgroup.events");
        events.map_or(true, |it| it.lines().any(|line| line == "populated 0"))
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

/// How many processes were ended for want of memory, by `memory.events`.
fn killed(events: &str) -> u64 {
    let count = events
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
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
        let made = Arc::new(tree.make("session", None, limits)?);
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
        assert_eq!(killed(events), 3);
        assert_eq!(killed("low 0\noom 2\noom_kill 0\n"), 0);
        assert_eq!(killed(""), 0);
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
    fn a_controller_of_version_1_is_known() {
        let own = "4:cpu,cpuacct:/\n3:memory:/a\n1:name=systemd:/\n0::/\n";
        for (name, is_there) in [("cpu", true), ("memory", true), ("pids", false)] {
            assert_eq!(is_in_v1(own, name), is_there, "{name}");
        }
    }
}
