//! A tree in which patterns are searched for: what was found in each directory, kept for the next search.
//!
//! All patterns are searched for in one walk. At each directory it is in some places of the patterns, like an automaton
//! in its states; the same set of places, a [`State`], is made once. A directory that has not changed since it was
//! listed, and is met in the same state, holds the same matches and leads to the same directories, so that one look at
//! its times is enough.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::sandbox::mounts::Cancel;
use crate::sandbox::mounts::PlanError;
use crate::sandbox::mounts::plan::is_own;
use crate::sandbox::policy::{Access, Policy, ResolvedPath};
use crate::sys::directory::Names;
use crate::sys::file::{self, FileType, Identity, LastLink, ROOTED, Status};

/// Matches of all patterns together; the reference stops here too.
const MAX_MATCHES: usize = 8192;
/// Names looked at for all patterns together.
const MAX_NAMES: usize = 2_000_000;
/// How long a search may take, on a file system that is slow.
const PATIENCE: Duration = Duration::from_secs(10);
/// Names between two looks at the clock.
const NAMES_A_LOOK: usize = 1024;
/// Bytes compared between two looks at the clock: a long name may be compared with thousands of long patterns.
const EFFORT_A_LOOK: usize = 1024 * 1024;
/// The longest path of a directory that is listed, so that those of the files in it can be mounted on. A longer one
/// counts as matching.
const LONGEST_PATH: usize = 3800;
/// Bytes of memory for what is kept of one tree; what exceeds that is listed each time.
const MAX_SIZE: usize = 24 * 1024 * 1024;
/// Bytes of memory for the states that are kept, and for those on the way to a directory: some patterns have one for
/// each directory.
const MAX_STATES_SIZE: usize = 16 * 1024 * 1024;
/// Below the root, where the kernel makes up files: nothing there is the client's.
const KERNEL: [&[u8]; 3] = [b"proc", b"sys", b"dev"];

/// How long ago a directory must have changed for its time to tell of every later change: file systems count time in
/// steps, the coarsest of two seconds.
const SETTLED: Duration = Duration::from_millis(2500);

/// What is kept.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// By path; that of the root is empty.
    directories: HashMap<Box<[u8]>, Directory>,
    states: HashMap<Arc<[Position]>, Arc<State>>,
    /// Bytes of the states, about.
    states_size: usize,
    /// Counts the states that were made.
    made: u64,
    /// Bytes of the directories, about.
    size: usize,
    /// Counts the searches.
    search: u64,
}

/// Which pattern, and a place in it.
type Position = (usize, usize);

/// Where a search is.
#[derive(Debug)]
struct State {
    /// No other of the tree has it, not even one that is kept no longer.
    number: u64,
    positions: Arc<[Position]>,
    /// Those where a name can complete a match.
    last: Vec<Position>,
}

/// A directory that was listed.
#[derive(Debug)]
struct Directory {
    /// None if that does not tell of later changes.
    stamp: Option<Stamp>,
    /// The number of its state.
    state: u64,
    /// How many names are in it.
    names: usize,
    matches: Arc<[Match]>,
    /// Where to search on.
    below: Arc<[Box<CStr>]>,
    /// The last search that has met it.
    search: u64,
}

/// A name that matches.
#[derive(Debug)]
struct Match {
    name: Box<CStr>,
    is_link: bool,
}

/// Which directory, and when it last changed.
type Stamp = (Identity, i64);

impl Tree {
    /// About as many bytes as it takes in memory.
    pub(crate) fn size(&self) -> usize {
        self.size + self.states_size
    }

    /// What matches the policy's patterns now, in the order of the paths. It must always be the same policy, as far as
    /// that says something of files.
    pub(crate) fn search(
        &mut self,
        policy: &Policy,
        cancel: Cancel<'_>,
    ) -> Result<Vec<PathBuf>, PlanError> {
        self.search += 1;
        let mut walk = Walk::new(self, policy, cancel);
        let mut matches = walk.all()?;
        matches.sort_unstable();
        matches.dedup();
        self.forget_others();
        Ok(matches)
    }

    /// Forgets the directories that the last search has not met.
    fn forget_others(&mut self) {
        let (search, size) = (self.search, &mut self.size);
        self.directories.retain(|path, directory| {
            let is_there = directory.search == search;
            if !is_there {
                *size -= directory.size(path);
            }
            is_there
        });
    }

    fn keep(&mut self, path: &[u8], directory: Directory) {
        let size = directory.size(path);
        if let Some(former) = self.directories.remove(path) {
            self.size -= former.size(path);
        }
        if self.size + size <= MAX_SIZE {
            self.size += size;
            self.directories.insert(path.into(), directory);
        }
    }

    /// The state of these positions.
    fn state(&mut self, policy: &Policy, mut positions: Vec<Position>) -> Arc<State> {
        positions.sort_unstable();
        positions.dedup();
        if let Some(state) = self.states.get(positions.as_slice()) {
            return Arc::clone(state);
        }
        let last = positions.iter().copied();
        let last = last.filter(|(glob, place)| policy.globs()[*glob].is_last(*place));
        let state = Arc::new(State {
            number: self.made,
            last: last.collect(),
            positions: positions.into(),
        });
        self.made += 1;
        if self.states_size + state.size() > MAX_STATES_SIZE {
            self.states.clear();
            self.states_size = 0;
        }
        self.states_size += state.size();
        let positions = Arc::clone(&state.positions);
        self.states.insert(positions, Arc::clone(&state));
        state
    }
}

impl State {
    /// About as many bytes as it takes in memory.
    fn size(&self) -> usize {
        let positions = self.positions.len() + self.last.len();
        size_of::<Self>() + 64 + positions * size_of::<Position>()
    }
}

impl Directory {
    /// About as many bytes as it takes in memory with its path.
    fn size(&self, path: &[u8]) -> usize {
        let names = self.matches.iter().map(|one| &one.name);
        let names = names.chain(self.below.iter());
        let names = names.map(|name| name.to_bytes().len() + 32);
        size_of::<Self>() + path.len() + 96 + names.sum::<usize>()
    }
}

/// One search.
struct Walk<'a> {
    tree: &'a mut Tree,
    policy: &'a Policy,
    /// Components of the base of each pattern.
    depths: Vec<usize>,
    /// The bases that are still to be searched, with their positions.
    bases: BTreeMap<Vec<u8>, Vec<Position>>,
    /// Of the directory at hand.
    path: Vec<u8>,
    matches: Vec<PathBuf>,
    names: usize,
    /// Bytes compared since the last look at the clock.
    effort: usize,
    /// Bytes of the states on the way to the directory at hand.
    states_size: usize,
    deadline: Instant,
    cancel: Cancel<'a>,
    /// What changed before has settled.
    settled: i128,
    reader: Names,
    /// A directory on the device that was last asked about, and whether its times tell the truth.
    device: Option<(Identity, bool)>,
}

/// A directory on the way, and what is still to be searched in it.
struct Level {
    /// Of its path.
    length: usize,
    state: Arc<State>,
    /// What it adds to the bytes of the states on the way.
    size: usize,
    below: Arc<[Box<CStr>]>,
    next: usize,
}

impl<'a> Walk<'a> {
    fn new(tree: &'a mut Tree, policy: &'a Policy, cancel: Cancel<'a>) -> Self {
        let mut bases: BTreeMap<Vec<u8>, Vec<Position>> = BTreeMap::new();
        for (number, glob) in policy.globs().iter().enumerate() {
            let base = glob.base.as_os_str().as_bytes();
            let base = if base == b"/" { b"" } else { base };
            let begin = glob.begin().into_iter().map(|place| (number, place));
            bases.entry(base.to_vec()).or_default().extend(begin);
        }
        let depth = |path: &Path| path.components().count() - 1;
        let settled = SystemTime::now() - SETTLED;
        let settled = settled.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            tree,
            policy,
            depths: policy
                .globs()
                .iter()
                .map(|glob| depth(&glob.base))
                .collect(),
            bases,
            path: Vec::new(),
            matches: Vec::new(),
            names: 0,
            effort: 0,
            states_size: 0,
            deadline: Instant::now() + PATIENCE,
            cancel,
            settled: settled.as_nanos() as i128,
            reader: Names::default(),
            device: None,
        }
    }

    /// Searches from all bases. The outer ones come first, and take the inner ones with them where they reach them.
    fn all(&mut self) -> Result<Vec<PathBuf>, PlanError> {
        while let Some((base, positions)) = self.bases.pop_first() {
            let depth = base.split(|byte| *byte == b'/').count() - 1;
            self.path = base;
            // It was none when the policy was read.
            if self.directory().is_symlink() {
                return Err(PlanError::Changed(self.directory().to_owned()));
            }
            let state = self.tree.state(self.policy, positions);
            let mut levels = vec![self.enter(state, None, depth)?];
            while let Some(level) = levels.last_mut() {
                self.path.truncate(level.length);
                let (around, below) = (Arc::clone(&level.state), Arc::clone(&level.below));
                let Some(name) = below.get(level.next) else {
                    self.states_size -= level.size;
                    levels.pop();
                    continue;
                };
                level.next += 1;
                let depth = depth + levels.len();
                let mut positions = self.descend(&around, name, depth - 1)?;
                self.path.push(b'/');
                self.path.extend_from_slice(name.to_bytes());
                positions.extend(self.bases.remove(&self.path).unwrap_or_default());
                let state = self.tree.state(self.policy, positions);
                levels.push(self.enter(state, Some(&around), depth)?);
            }
        }
        Ok(std::mem::take(&mut self.matches))
    }

    /// The path of the directory at hand.
    fn directory(&self) -> &Path {
        match self.path.as_slice() {
            b"" => Path::new("/"),
            path => Path::new(OsStr::from_bytes(path)),
        }
    }

    /// Where the search is in the directory `name` of one that is `depth` components deep.
    fn descend(
        &mut self,
        state: &State,
        name: &CStr,
        depth: usize,
    ) -> Result<Vec<Position>, PlanError> {
        let mut positions = Vec::new();
        let mut places = Vec::new();
        for (glob, place) in &*state.positions {
            let level = depth - self.depths[*glob] + 1;
            let is_deepest = self
                .policy
                .scan_depth()
                .is_some_and(|deepest| level >= deepest as usize);
            if !is_deepest {
                self.compare(state, (*glob, *place), name)?;
                self.policy.globs()[*glob].descend(*place, name.to_bytes(), &mut places);
                positions.extend(places.drain(..).map(|place| (*glob, place)));
            }
        }
        Ok(positions)
    }

    /// Looks at the directory at hand. The one around it is in the state `around`, if it was searched.
    fn enter(
        &mut self,
        state: Arc<State>,
        around: Option<&Arc<State>>,
        depth: usize,
    ) -> Result<Level, PlanError> {
        let is_same = around.is_some_and(|around| Arc::ptr_eq(around, &state));
        let size = if is_same { 0 } else { state.size() };
        self.states_size += size;
        self.check_limits(&state)?;
        let found = match self.known(&state) {
            Some(found) => Some(found),
            None => self.list(&state, depth)?,
        };
        let (matches, below) = found.unwrap_or_default();
        for one in &*matches {
            let path = self
                .directory()
                .join(OsStr::from_bytes(one.name.to_bytes()));
            match one.is_link {
                true => {
                    // Each is compared with all patterns.
                    self.check_limits(&state)?;
                    self.matches.extend(target(self.policy, &path));
                }
                false => self.matches.push(path),
            }
        }
        self.check_limits(&state)?;
        Ok(Level {
            length: self.path.len(),
            state,
            size,
            below,
            next: 0,
        })
    }

    /// What is known of the directory at hand, if nothing has changed in it.
    fn known(&mut self, state: &State) -> Option<Found> {
        let path = CString::new(self.directory().as_os_str().as_bytes()).ok()?;
        let known = self.tree.directories.get_mut(self.path.as_slice())?;
        let stamp = known.stamp.filter(|_| known.state == state.number)?;
        let status = file::status_at(ROOTED, &path, LastLink::Keep).ok()?;
        if (status.identity, status.changed) != stamp {
            return None;
        }
        known.search = self.tree.search;
        self.names += known.names;
        Some((Arc::clone(&known.matches), Arc::clone(&known.below)))
    }

    /// Lists the directory at hand. None if there is nothing to be found in it.
    fn list(&mut self, state: &State, depth: usize) -> Result<Option<Found>, PlanError> {
        let failed = |walk: &Self, error| PlanError::Source(walk.directory().to_owned(), error);
        let path = CString::new(self.directory().as_os_str().as_bytes())
            .map_err(|error| failed(self, error.into()))?;
        let access = file::Access::READ | file::Access::DIRECTORY | file::Access::NO_LINK;
        let fd = match file::open_at(ROOTED, &path, access, 0) {
            Ok(fd) => fd,
            Err(error) => match error.raw_os_error() {
                // It has gone meanwhile, or something else is there.
                Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP) => return Ok(None),
                Some(libc::EACCES) => {
                    if is_open(self.policy, self.directory()) {
                        self.matches.push(self.directory().to_owned());
                    }
                    return Ok(None);
                }
                _ => return Err(failed(self, error)),
            },
        };
        let status = file::status_of(fd.as_fd()).map_err(|error| failed(self, error))?;
        let stamp = self.stamp(&status, fd.as_fd());
        let before = self.names;
        let mut reader = std::mem::take(&mut self.reader);
        reader.restart();
        let (mut matches, mut below) = (Vec::new(), Vec::new());
        loop {
            let entry = match reader.next_in(fd.as_fd()) {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                // It was removed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(failed(self, error)),
            };
            self.names += 1;
            if self.names.is_multiple_of(NAMES_A_LOOK) {
                self.check_limits(state)?;
            }
            let name = entry.name;
            let kind = entry.kind.or_else(|| kind_in(&fd, name));
            let is_directory = kind == Some(FileType::Directory);
            let mut is_match = self.completes(state, name)?;
            if is_directory && self.goes_on(state, name, depth, is_match)? {
                let is_too_long = self.path.len() + name.to_bytes().len() >= LONGEST_PATH;
                match is_too_long {
                    true => is_match = true,
                    false => below.push(name.into()),
                }
            }
            if is_match {
                matches.push(Match {
                    name: name.into(),
                    is_link: kind == Some(FileType::Link),
                });
            }
        }
        self.reader = reader;
        let (matches, below): Found = (matches.into(), below.into());
        let directory = Directory {
            stamp,
            state: state.number,
            names: self.names - before,
            matches: Arc::clone(&matches),
            below: Arc::clone(&below),
            search: self.tree.search,
        };
        self.tree.keep(&self.path, directory);
        Ok(Some((matches, below)))
    }

    fn completes(&mut self, state: &State, name: &CStr) -> Result<bool, PlanError> {
        for (glob, place) in &state.last {
            self.compare(state, (*glob, *place), name)?;
            if self.policy.globs()[*glob].completes(*place, name.to_bytes()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Counts a comparison that comes next.
    fn compare(
        &mut self,
        state: &State,
        (glob, place): Position,
        name: &CStr,
    ) -> Result<(), PlanError> {
        self.effort += self.policy.globs()[glob].effort(place, name.to_bytes());
        if self.effort < EFFORT_A_LOOK {
            return Ok(());
        }
        self.effort = 0;
        self.check_limits(state)
    }

    /// Whether something can match below the directory `name`, and is not denied with it.
    fn goes_on(
        &mut self,
        state: &State,
        name: &CStr,
        depth: usize,
        is_match: bool,
    ) -> Result<bool, PlanError> {
        if depth == 0 && KERNEL.contains(&name.to_bytes()) {
            return Ok(false);
        }
        let path = || self.directory().join(OsStr::from_bytes(name.to_bytes()));
        Ok((!is_match || self.policy.opens_below(&path()))
            && !self.descend(state, name, depth)?.is_empty())
    }

    /// What tells whether a directory has changed since now, when it is going to be listed.
    fn stamp(&mut self, status: &Status, fd: BorrowedFd<'_>) -> Option<Stamp> {
        let is_true = match self.device {
            Some((known, is_true)) if known.is_on_device_of(status.identity) => is_true,
            _ => file::is_of_this_kernel(fd),
        };
        self.device = Some((status.identity, is_true));
        let is_settled = i128::from(status.changed) < self.settled;
        (is_true && is_settled).then_some((status.identity, status.changed))
    }

    fn check_limits(&self, state: &State) -> Result<(), PlanError> {
        let pattern = || {
            let position = state.positions.first();
            let glob = position.and_then(|(glob, _)| self.policy.globs().get(*glob));
            glob.map_or(String::new(), |glob| glob.pattern.clone())
        };
        if self.matches.len() > MAX_MATCHES {
            let last = self.matches.last();
            let globs = self.policy.globs().iter();
            let found = last.and_then(|last| globs.into_iter().find(|glob| glob.matches(last)));
            return Err(PlanError::Matches {
                pattern: found.map_or_else(pattern, |glob| glob.pattern.clone()),
                limit: MAX_MATCHES,
            });
        }
        if self.names > MAX_NAMES {
            return Err(PlanError::Tree {
                pattern: pattern(),
                limit: MAX_NAMES,
            });
        }
        if self.states_size > MAX_STATES_SIZE {
            return Err(PlanError::Places { pattern: pattern() });
        }
        self.cancel.check()?;
        if Instant::now() > self.deadline {
            return Err(PlanError::Slow {
                pattern: pattern(),
                limit: PATIENCE,
            });
        }
        Ok(())
    }
}

/// The matches in a directory, and where to search on.
type Found = (Arc<[Match]>, Arc<[Box<CStr>]>);

fn kind_in(directory: &OwnedFd, name: &CStr) -> Option<FileType> {
    let status = file::status_at(directory.as_fd(), name, LastLink::Keep);
    status.ok().map(|status| status.kind)
}

/// Whether a program could reach what is in a directory that we cannot list: by name, or by making it listable first.
/// All of it counts as matching then.
fn is_open(policy: &Policy, directory: &Path) -> bool {
    let can_enter = directory.join(".").symlink_metadata().is_ok();
    can_enter || policy.access(directory) == Access::Write && is_own(directory)
}

/// Where a link that matches leads, if that can be seen at all: that has to be covered.
fn target(policy: &Policy, link: &Path) -> Option<PathBuf> {
    let target = ResolvedPath::find(link).ok()?.path;
    (policy.access(&target) >= Access::Read).then_some(target)
}

#[cfg(test)]
pub(crate) mod tests;
