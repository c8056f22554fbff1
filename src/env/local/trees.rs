//! Watching directories and trees for changes.
//!
//! Every directory of a tree has a watch of its own; what comes into a tree is
//! watched first and listed then, so that nothing in it is missed. All trees
//! share one inotify, and directories that are in several share the watch.
//! Events that are lost, by the kernel or because a client does not take them,
//! become one notice that says so.
//!
//! What has changed and is not told yet is kept for a moment, so that many changes are told at once.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::watch::Bounds;
use crate::memory::{Kind, Reserved};
use crate::rpc::transport::Offer;
use crate::sys::inotify::{
    ADDED, DIRECTORY, GONE, Inotify, MODIFIED, MOVED_FROM, MOVED_TO, NAMED_ONLY, NO_LINK, OVERFLOW,
    REMOVED, SELF_MOVED, WatchNumber,
};
use crate::sys::poll::{WakeEvent, Waker};

/// Trees that a client may watch.
const MAX_TREES: usize = 64;
/// Directories of a tree.
const MAX_DIRECTORIES: usize = 8192;
/// Directories of all trees.
const MAX_ALL_DIRECTORIES: usize = 65_536;

/// Reads after which what has changed is told, and others have their turn.
const READS_AT_ONCE: usize = 8;
/// More of them than the kernel keeps events without a name.
const ALL_READS: usize = 256;
/// What is of interest about a directory.
const ALL: u32 = ADDED | REMOVED | MODIFIED | SELF_MOVED | NAMED_ONLY;

/// How long changes are collected before they are told.
const COLLECT: Duration = Duration::from_millis(50);
/// Changes told at once; as many are told without further delay.
const MAX_TOLD: usize = 256;
/// Changes that may wait, and the bytes of their paths; more are lost.
const MAX_WAITING: usize = 1024;
const MAX_BYTES: usize = 256 * 1024;

/// A directory that a client wants to be told about.
pub struct TreeWatch {
    /// What the client calls it.
    pub id: String,
    pub root: PathBuf,
    /// Where it may lead.
    pub bounds: Bounds,
    /// Whether those below it are watched, too. Links are not followed.
    pub is_recursive: bool,
    /// Called with whether there is a watch now, before any report.
    pub answer: Box<dyn FnOnce(Result<(), WatchError>) + Send>,
    /// Takes a notice if there is room for it, and else sets the waker when there is.
    pub report: Report,
}

/// Why there is no watch.
#[derive(Debug)]
pub enum WatchError {
    /// The client has one of this id.
    Duplicate(String),
    /// The client has [`MAX_TREES`].
    TooManyTrees,
    /// More than [`MAX_DIRECTORIES`] would be watched.
    TooManyDirectories,
    /// All clients together watch [`MAX_ALL_DIRECTORIES`], or want too much at once.
    Busy,
    System(io::Error),
}

impl fmt::Display for WatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate(id) => write!(f, "watch `{id}` exists; unwatch it first"),
            Self::TooManyTrees => write!(
                f,
                "a connection has at most {MAX_TREES} watches; unwatch one first"
            ),
            Self::TooManyDirectories => write!(
                f,
                "more than {MAX_DIRECTORIES} directories to watch; watch less of them"
            ),
            Self::Busy => f.write_str("too much is watched at once; try again later"),
            Self::System(error) => match error.raw_os_error() {
                Some(libc::ENOSPC) => f.write_str(
                    "the user has no inotify watches left; raise fs.inotify.max_user_watches",
                ),
                Some(libc::EMFILE | libc::ENFILE) => write!(
                    f,
                    "the user has no inotify instances left, or the server no descriptors ({error}); \
                     raise fs.inotify.max_user_instances, or the limit of open files"
                ),
                _ => error.fmt(f),
            },
        }
    }
}

impl WatchError {
    /// Whether it may be otherwise later.
    pub fn is_busy(&self) -> bool {
        match self {
            Self::Busy => true,
            Self::System(error) => matches!(
                error.raw_os_error(),
                Some(libc::ENOSPC | libc::EMFILE | libc::ENFILE)
            ),
            Self::Duplicate(_) | Self::TooManyTrees | Self::TooManyDirectories => false,
        }
    }
}

impl std::error::Error for WatchError {}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// There is a new name.
    Created,
    /// The content or the attributes are others.
    Modified,
    /// The name is gone.
    Removed,
    /// The name was another, which is gone.
    Renamed { from: PathBuf },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// Where, below the path that is watched.
    pub path: PathBuf,
    pub kind: ChangeKind,
    /// Whether it is, or was, a directory.
    pub is_directory: bool,
}

impl FileChange {
    fn bytes(&self) -> usize {
        let from = match &self.kind {
            ChangeKind::Renamed { from } => from.as_os_str().len(),
            _ => 0,
        };
        self.path.as_os_str().len() + from
    }

    /// About how much memory it takes while it waits, with its path among the fresh ones.
    fn cost(&self) -> usize {
        2 * (size_of::<Self>() + self.bytes())
    }
}

/// What is told at once.
#[derive(Debug, PartialEq, Eq)]
pub enum Notice<'a> {
    /// Changes in their order, one at least.
    Changes(&'a [FileChange]),
    /// Changes were lost: anything may be different.
    Overflow,
}

/// The client's number and its name for the watch.
type Key = (u64, Arc<str>);

/// The watched trees of all clients.
pub(crate) struct Trees {
    inotify: Inotify,
    /// Set when a client has room again.
    wake: Arc<WakeEvent>,
    trees: BTreeMap<Key, Tree>,
    /// Where each watched directory is in which trees.
    places: HashMap<WatchNumber, Vec<(Key, PathBuf)>>,
    /// Whether there may be more to be taken in.
    has_more: bool,
}

/// As [`Change`](crate::sys::inotify::Change), to keep.
struct Event {
    watch: WatchNumber,
    what: u32,
    cookie: u32,
    name: OsString,
}

impl Trees {
    pub(crate) fn new(wake: Arc<WakeEvent>) -> io::Result<Self> {
        Ok(Self {
            inotify: Inotify::new()?,
            wake,
            trees: BTreeMap::new(),
            places: HashMap::new(),
            has_more: false,
        })
    }

    /// What becomes readable when something has changed.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// When there is something to report, or to take in.
    pub(crate) fn due(&self) -> Option<Instant> {
        if self.has_more {
            return Some(Instant::now());
        }
        let willing = self.trees.values().filter(|tree| !tree.is_stalled);
        willing.filter_map(|tree| tree.changes.due()).min()
    }

    /// A client may have room again.
    pub(crate) fn retry(&mut self) {
        for tree in self.trees.values_mut() {
            tree.is_stalled = false;
        }
    }

    /// Reports what is due.
    pub(crate) fn report(&mut self, now: Instant) {
        let wake = &Waker::from(&self.wake);
        self.trees.retain(|_, tree| {
            if !tree.is_stalled && tree.changes.due().is_some_and(|due| due <= now) {
                tree.tell(wake);
            }
            !tree.is_over || tree.changes.due().is_some()
        });
    }

    /// Watches another tree.
    pub(crate) fn watch(&mut self, client: u64, watch: TreeWatch) {
        let key = (client, Arc::from(watch.id));
        let begun = if self.trees.contains_key(&key) {
            Err(WatchError::Duplicate(key.1.to_string()))
        } else if self.keys_of(client).len() >= MAX_TREES {
            Err(WatchError::TooManyTrees)
        } else {
            let root = watch.root.clone();
            let tree = Tree::new(watch.root, watch.bounds, watch.is_recursive, watch.report);
            self.trees.insert(key.clone(), tree);
            let scanned = self.scan(&key, root, Found::Known);
            if scanned.is_err() {
                self.end(&key);
            }
            scanned
        };
        (watch.answer)(begun);
    }

    /// Ends the watch of a tree, if there is one.
    pub(crate) fn unwatch(&mut self, client: u64, id: &str) {
        self.end(&(client, Arc::from(id)));
    }

    /// Ends all watches of a client.
    pub(crate) fn forget(&mut self, client: u64) -> io::Result<()> {
        for key in self.keys_of(client) {
            self.end(&key);
            // The end of a watch is an event: those of many trees would be more than the kernel keeps.
            self.take(ALL_READS)?;
        }
        Ok(())
    }

    fn keys_of(&self, client: u64) -> Vec<Key> {
        let keys = self.trees.range((client, Arc::from(""))..);
        let keys = keys.take_while(|(key, _)| key.0 == client);
        keys.map(|(key, _)| key.clone()).collect()
    }

    fn end(&mut self, key: &Key) {
        self.release_all(key);
        self.trees.remove(key);
    }

    /// Takes in what has changed, or a part of it: with many trees all of it takes a second, in which
    /// nobody would be told anything.
    pub(crate) fn take_changes(&mut self) -> io::Result<()> {
        self.take(READS_AT_ONCE)
    }

    fn take(&mut self, reads: usize) -> io::Result<()> {
        self.has_more = true;
        for _ in 0..reads {
            let mut events = Vec::new();
            let is_more = self.inotify.take(|change| {
                events.push(Event {
                    watch: change.watch,
                    what: change.what,
                    cookie: change.cookie,
                    name: change.name.to_owned(),
                });
            })?;
            for event in events {
                self.handle(&event);
            }
            if !is_more {
                self.has_more = false;
                break;
            }
        }
        // Where something has gone to may be in what is still to be taken in.
        if !self.has_more {
            for key in self.trees.keys().cloned().collect::<Vec<_>>() {
                self.settle(&key);
            }
        }
        Ok(())
    }

    fn handle(&mut self, event: &Event) {
        if event.what & OVERFLOW != 0 {
            self.look_again();
        } else if event.what & GONE != 0 {
            for (key, path) in self.places.remove(&event.watch).unwrap_or_default() {
                self.lose(&key, &path, event.watch);
            }
        } else if let Some(places) = self.places.get(&event.watch).cloned() {
            for (key, directory) in places {
                self.change(&key, &directory, event);
            }
        }
    }

    /// One event in one tree.
    fn change(&mut self, key: &Key, directory: &Path, event: &Event) {
        let is_directory = event.what & DIRECTORY != 0;
        let came = event.what & MOVED_TO != 0;
        let tree = self.trees.get_mut(key);
        if let Some(tree) = tree.filter(|tree| tree.has_lost(event)) {
            tree.left = None;
            return;
        }
        let path = directory.join(&event.name);
        let tree = self.trees.get_mut(key);
        let left = tree.and_then(|tree| {
            tree.left
                .take_if(|left| came && left.cookie == event.cookie)
        });
        self.settle(key);
        let Some(tree) = self.trees.get_mut(key) else {
            return;
        };
        if event.name.is_empty() {
            // Of other directories, the one above tells.
            if directory == tree.root && event.what & SELF_MOVED != 0 {
                self.over(key);
            } else if directory == tree.root && event.what & MODIFIED != 0 {
                tree.push(directory, ChangeKind::Modified, true);
            }
            return;
        }
        if let Some(left) = left {
            let from = left.path.clone();
            tree.push(&path, ChangeKind::Renamed { from }, is_directory);
            self.relocate(key, &left.path, &path);
            self.come(key, path, is_directory);
        } else if event.what & MOVED_FROM != 0 {
            tree.left = Some(Left {
                cookie: event.cookie,
                path,
                is_directory,
            });
        } else if event.what & ADDED != 0 {
            tree.push(&path, ChangeKind::Created, is_directory);
            self.come(key, path, is_directory);
        } else if event.what & REMOVED != 0 {
            tree.push(&path, ChangeKind::Removed, is_directory);
            self.release(key, &path);
        } else if event.what & MODIFIED != 0 {
            tree.push(&path, ChangeKind::Modified, is_directory);
        }
    }

    /// What has left and not come back is gone.
    fn settle(&mut self, key: &Key) {
        let tree = self.trees.get_mut(key);
        if let Some((tree, left)) = tree.and_then(|tree| {
            let left = tree.left.take()?;
            Some((tree, left))
        }) {
            tree.push(&left.path, ChangeKind::Removed, left.is_directory);
            self.release(key, &left.path);
        }
    }

    /// There is something new in a tree.
    fn come(&mut self, key: &Key, path: PathBuf, is_directory: bool) {
        let is_recursive = |tree: &Tree| tree.is_recursive;
        if !is_directory || !self.trees.get(key).is_some_and(is_recursive) {
            return;
        }
        if self.scan(key, path, Found::Reported).is_err()
            && let Some(tree) = self.trees.get_mut(key)
        {
            tree.changes.overflow();
        }
    }

    /// Watches a directory, and those below it if the tree is recursive.
    fn scan(&mut self, key: &Key, top: PathBuf, found: Found) -> Result<(), WatchError> {
        let mut to_visit = vec![top];
        let mut room_to_visit = Reserved::none(Kind::Watches);
        while let Some(directory) = to_visit.pop() {
            let its = room_to_visit.bytes().saturating_sub(cost(&directory));
            room_to_visit.set(its);
            let Some(tree) = self.trees.get_mut(key) else {
                return Ok(());
            };
            let is_root = directory == tree.root;
            if tree.directories.len() >= MAX_DIRECTORIES {
                return Err(WatchError::TooManyDirectories);
            }
            if self.places.len() >= MAX_ALL_DIRECTORIES {
                return Err(WatchError::Busy);
            }
            let reached = tree.bounds.reach(&directory, is_root);
            let no_link = match is_root || !tree.bounds.is_anywhere() {
                true => 0,
                false => NO_LINK,
            };
            let watched = reached.and_then(|reached| {
                let number = self.inotify.watch(&reached.path, ALL | no_link)?;
                Ok((reached, number))
            });
            let (reached, number) = match watched {
                Ok(watched) => watched,
                Err(error) if is_root || error.kind() == io::ErrorKind::StorageFull => {
                    return Err(WatchError::System(error));
                }
                // Gone again, or not ours to read.
                Err(_) => continue,
            };
            let is_new = !tree.directories.contains_key(&directory);
            if is_new && !tree.room.set(tree.room.bytes() + cost(&directory)) {
                // Unless it is watched elsewhere, it is no longer.
                self.places.entry(number).or_default();
                self.leave(key, &directory, number);
                return Err(WatchError::Busy);
            }
            let before = tree.directories.insert(directory.clone(), number);
            if before == Some(number) {
                continue;
            }
            let mut is_complete = true;
            if tree.is_recursive {
                let has_room = |path: &Path| room_to_visit.set(room_to_visit.bytes() + cost(path));
                is_complete = tree.list(&directory, &reached.path, found, &mut to_visit, has_room);
            }
            if let Some(before) = before {
                self.leave(key, &directory, before);
            }
            let places = self.places.entry(number).or_default();
            if !places
                .iter()
                .any(|place| place.0 == *key && place.1 == directory)
            {
                places.push((key.clone(), directory));
            }
            if !is_complete {
                return Err(WatchError::Busy);
            }
        }
        Ok(())
    }

    /// Directories have another path and the same watch.
    fn relocate(&mut self, key: &Key, from: &Path, to: &Path) {
        self.release(key, to);
        let Some(tree) = self.trees.get_mut(key) else {
            return;
        };
        for (path, number) in tree.take_below(from) {
            let rest = path.strip_prefix(from).unwrap_or(Path::new(""));
            // Joining an empty rest would add a slash.
            let now = if rest.as_os_str().is_empty() {
                to.to_owned()
            } else {
                to.join(rest)
            };
            for place in self.places.get_mut(&number).into_iter().flatten() {
                if place.0 == *key && place.1 == path {
                    place.1.clone_from(&now);
                }
            }
            tree.room.count(tree.room.bytes() + cost(&now));
            tree.directories.insert(now, number);
        }
    }

    /// Watches a directory and all below it no longer.
    fn release(&mut self, key: &Key, top: &Path) {
        let tree = self.trees.get_mut(key);
        for (path, number) in tree.map(|tree| tree.take_below(top)).unwrap_or_default() {
            self.leave(key, &path, number);
        }
    }

    fn release_all(&mut self, key: &Key) {
        let tree = self.trees.get_mut(key);
        let directories = tree.map(Tree::take_all);
        for (path, number) in directories.unwrap_or_default() {
            self.leave(key, &path, number);
        }
    }

    /// A watch is no longer needed for this place.
    fn leave(&mut self, key: &Key, path: &Path, number: WatchNumber) {
        let Some(places) = self.places.get_mut(&number) else {
            return;
        };
        places.retain(|place| place.0 != *key || place.1 != path);
        if places.is_empty() {
            self.places.remove(&number);
            self.inotify.unwatch(number);
        }
    }

    /// A watch has ended by itself.
    fn lose(&mut self, key: &Key, path: &Path, number: WatchNumber) {
        let Some(tree) = self.trees.get_mut(key) else {
            return;
        };
        if tree.directories.get(path) == Some(&number) {
            tree.remove(path);
            if path == tree.root {
                self.over(key);
            }
        }
    }

    /// The root of a tree is gone.
    fn over(&mut self, key: &Key) {
        self.release_all(key);
        if let Some(tree) = self.trees.get_mut(key)
            && !std::mem::replace(&mut tree.is_over, true)
        {
            tree.left = None;
            tree.changes.push_last(&tree.root);
        }
    }

    /// Events were lost: everything may be another than we know.
    fn look_again(&mut self) {
        for key in self.trees.keys().cloned().collect::<Vec<_>>() {
            let Some(tree) = self.trees.get_mut(&key).filter(|tree| !tree.is_over) else {
                continue;
            };
            tree.left = None;
            tree.changes.overflow();
            let root = tree.root.clone();
            let before = tree.take_all();
            // A limit that is met now is part of the overflow that is reported anyway.
            let scanned = self.scan(&key, root.clone(), Found::Known);
            // Only now, because ended watches are events again, and could be too many.
            for (path, number) in before {
                let tree = self.trees.get(&key);
                if tree.is_some_and(|tree| tree.directories.get(&path) != Some(&number)) {
                    self.leave(&key, &path, number);
                }
            }
            if scanned.is_err()
                && self
                    .trees
                    .get(&key)
                    .is_some_and(|tree| tree.directories.is_empty())
            {
                self.over(&key);
            }
        }
    }
}

/// Takes a notice if there is room for it, and else sets the waker when there is.
type Report = Box<dyn FnMut(&Notice<'_>, &Waker) -> Offer + Send>;

/// A name that has gone; where to, the next event may tell.
struct Left {
    cookie: u32,
    path: PathBuf,
    is_directory: bool,
}

/// Whether what is found in a directory is reported.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Reported,
    Known,
}

/// About how much memory a directory takes that is watched: its path in its tree and with its watch.
fn cost(directory: &Path) -> usize {
    2 * (directory.as_os_str().len() + 2 * size_of::<(Key, PathBuf)>())
}

struct Tree {
    root: PathBuf,
    bounds: Bounds,
    is_recursive: bool,
    /// What is watched. In the order of paths, so that what is below one follows it.
    directories: BTreeMap<PathBuf, WatchNumber>,
    /// Memory for them.
    room: Reserved,
    left: Option<Left>,
    changes: Changes,
    /// The root has gone: what waits to be told is the last.
    is_over: bool,
    /// The client takes nothing at the moment.
    is_stalled: bool,
    report: Report,
}

impl Tree {
    fn new(root: PathBuf, bounds: Bounds, is_recursive: bool, report: Report) -> Self {
        Self {
            root,
            bounds,
            is_recursive,
            directories: BTreeMap::new(),
            room: Reserved::none(Kind::Watches),
            left: None,
            changes: Changes::default(),
            is_over: false,
            is_stalled: false,
            report,
        }
    }

    /// Whether an event about a name changes nothing: neither what is told, which is that changes were
    /// lost, nor what is watched.
    fn has_lost(&self, event: &Event) -> bool {
        self.changes.is_overflow && !self.is_recursive && !event.name.is_empty()
    }

    fn push(&mut self, path: &Path, kind: ChangeKind, is_directory: bool) {
        self.changes.push(FileChange {
            path: path.to_owned(),
            kind,
            is_directory,
        });
    }

    /// Goes through what is in a directory, which is at `path` for now; those in it are to be visited, too.
    /// False, and not to its end, when there is no room for one of them.
    fn list(
        &mut self,
        directory: &Path,
        path: &Path,
        found: Found,
        to_visit: &mut Vec<PathBuf>,
        mut has_room: impl FnMut(&Path) -> bool,
    ) -> bool {
        let entries = std::fs::read_dir(path).into_iter().flatten();
        for entry in entries.flatten() {
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let path = directory.join(entry.file_name());
            if found == Found::Reported {
                self.push(&path, ChangeKind::Created, is_directory);
            }
            if is_directory {
                if !has_room(&path) {
                    return false;
                }
                to_visit.push(path);
            }
        }
        true
    }

    /// Takes out all that is watched.
    fn take_all(&mut self) -> BTreeMap<PathBuf, WatchNumber> {
        self.room.set(0);
        std::mem::take(&mut self.directories)
    }

    fn remove(&mut self, path: &Path) {
        if self.directories.remove(path).is_some() {
            let left = self.room.bytes().saturating_sub(cost(path));
            self.room.set(left);
        }
    }

    /// Takes a directory and all below it out of what is watched.
    fn take_below(&mut self, top: &Path) -> Vec<(PathBuf, WatchNumber)> {
        let below = self.directories.range(top.to_owned()..);
        let below = below.take_while(|(path, _)| path.starts_with(top));
        let taken: Vec<_> = below
            .map(|(path, number)| (path.clone(), *number))
            .collect();
        for (path, _) in &taken {
            self.remove(path);
        }
        taken
    }

    /// Tells what waits, as far as the client takes it.
    fn tell(&mut self, waker: &Waker) {
        while let Some(notice) = self.changes.next() {
            match (self.report)(&notice, waker) {
                // Nobody is left to be told; the end of the connection ends the watch.
                Offer::Taken | Offer::Dead => self.changes.told(),
                Offer::Full => {
                    self.is_stalled = true;
                    return;
                }
            }
        }
    }
}

/// Changes that wait to be told.
#[derive(Debug)]
struct Changes {
    waiting: VecDeque<FileChange>,
    /// Paths whose last change that waits says already that they are new or modified.
    fresh: HashSet<PathBuf>,
    bytes: usize,
    /// Changes before all that wait were lost.
    is_overflow: bool,
    /// When the first of them came.
    since: Option<Instant>,
    /// Memory for all that wait.
    room: Reserved,
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            fresh: HashSet::new(),
            bytes: 0,
            is_overflow: false,
            since: None,
            room: Reserved::none(Kind::Watches),
        }
    }
}

impl Changes {
    /// Adds a change, unless it says nothing that is not told anyway.
    fn push(&mut self, change: FileChange) {
        if self.is_overflow {
            return;
        }
        match &change.kind {
            ChangeKind::Created | ChangeKind::Modified => {
                if !self.fresh.insert(change.path.clone()) {
                    return;
                }
            }
            ChangeKind::Removed => {
                self.fresh.remove(&change.path);
            }
            ChangeKind::Renamed { from } => {
                self.fresh.remove(from);
                self.fresh.remove(&change.path);
            }
        }
        self.bytes += change.bytes();
        let has_room = self.room.set(self.room.bytes() + change.cost());
        if self.waiting.len() >= MAX_WAITING || self.bytes > MAX_BYTES || !has_room {
            self.overflow();
            return;
        }
        self.add(change);
    }

    /// Adds the change after which there are none. It is never lost.
    fn push_last(&mut self, root: &Path) {
        self.add(FileChange {
            path: root.to_owned(),
            kind: ChangeKind::Removed,
            is_directory: true,
        });
    }

    /// Changes are lost, and with them all that wait.
    fn overflow(&mut self) {
        self.waiting = VecDeque::new();
        self.fresh = HashSet::new();
        self.bytes = 0;
        self.room.set(0);
        self.is_overflow = true;
        self.since.get_or_insert_with(Instant::now);
    }

    /// When there is something to tell; none if there is nothing.
    fn due(&self) -> Option<Instant> {
        let since = self.since?;
        Some(if self.waiting.len() >= MAX_TOLD {
            since
        } else {
            since + COLLECT
        })
    }

    /// What is to be told next.
    fn next(&mut self) -> Option<Notice<'_>> {
        if self.is_overflow {
            return Some(Notice::Overflow);
        }
        let count = self.waiting.len().min(MAX_TOLD);
        let changes = &self.waiting.make_contiguous()[..count];
        (count > 0).then_some(Notice::Changes(changes))
    }

    /// What was to be told next is told.
    fn told(&mut self) {
        if !std::mem::take(&mut self.is_overflow) {
            let count = self.waiting.len().min(MAX_TOLD);
            self.waiting.drain(..count);
        }
        if self.waiting.is_empty() {
            *self = Self::default();
        }
    }

    fn add(&mut self, change: FileChange) {
        self.waiting.push_back(change);
        self.since.get_or_insert_with(Instant::now);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::rpc::transport::Offer;

    fn change(name: &str, kind: ChangeKind) -> FileChange {
        FileChange {
            path: name.into(),
            kind,
            is_directory: false,
        }
    }

    fn take(changes: &mut Changes) -> Vec<FileChange> {
        let mut all = Vec::new();
        while let Some(notice) = changes.next() {
            match notice {
                Notice::Changes(some) => all.extend_from_slice(some),
                Notice::Overflow => panic!("nothing is lost"),
            }
            changes.told();
        }
        assert_eq!(changes.due(), None);
        all
    }

    #[test]
    fn what_is_new_or_modified_is_told_once() {
        let mut changes = Changes::default();
        assert!(changes.next().is_none());
        let renamed = ChangeKind::Renamed { from: "a".into() };
        let kinds = [
            ("a", ChangeKind::Created, true),
            ("a", ChangeKind::Modified, false),
            ("b", ChangeKind::Modified, true),
            ("b", ChangeKind::Modified, false),
            ("b", ChangeKind::Removed, true),
            ("b", ChangeKind::Created, true),
            ("c", renamed, true),
            ("c", ChangeKind::Modified, true),
            ("a", ChangeKind::Created, true),
        ];
        let mut expected = Vec::new();
        for (name, kind, is_told) in kinds {
            changes.push(change(name, kind.clone()));
            if is_told {
                expected.push(change(name, kind));
            }
        }
        assert_eq!(take(&mut changes), expected);
        changes.push(change("a", ChangeKind::Modified));
        assert_eq!(take(&mut changes).len(), 1, "told, so told anew");
    }

    #[test]
    fn too_many_collapse_and_only_the_end_is_kept() {
        for (count, length) in [(MAX_WAITING, 1), (100, MAX_BYTES / 100)] {
            let mut changes = Changes::default();
            for number in 0..=count {
                changes.push(change(&format!("{number:0length$}"), ChangeKind::Created));
            }
            assert_eq!(changes.next(), Some(Notice::Overflow));
            changes.push(change("lost", ChangeKind::Created));
            changes.push_last(Path::new("/"));
            changes.told();
            assert_eq!(take(&mut changes).len(), 1);
        }
    }

    #[test]
    fn many_are_told_in_parts_and_sooner() {
        let mut changes = Changes::default();
        changes.push(change("0", ChangeKind::Created));
        let patient = changes.due().unwrap();
        for number in 1..=MAX_TOLD {
            changes.push(change(&number.to_string(), ChangeKind::Created));
        }
        assert!(changes.due().unwrap() < patient);
        match changes.next() {
            Some(Notice::Changes(some)) => assert_eq!(some.len(), MAX_TOLD),
            other => panic!("{other:?}"),
        }
        assert_eq!(take(&mut changes).len(), MAX_TOLD + 1);
    }

    // What takes a kernel that drops events, or a client that is full.

    type Told = Arc<Mutex<Vec<String>>>;

    struct Fixture {
        root: PathBuf,
        trees: Trees,
        told: Told,
        room: Arc<Mutex<bool>>,
    }

    impl Fixture {
        /// A recursive watch of an empty directory.
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("trees-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&root);
            fs::create_dir_all(&root).unwrap();
            let mut fixture = Self {
                trees: Trees::new(Arc::new(WakeEvent::new().unwrap())).unwrap(),
                told: Told::default(),
                room: Arc::new(Mutex::new(true)),
                root,
            };
            fixture.watch("id");
            fixture
        }

        fn watch(&mut self, id: &str) {
            let (told, room) = (Arc::clone(&self.told), Arc::clone(&self.room));
            let top = self.root.clone();
            let watch = TreeWatch {
                id: id.to_owned(),
                root: self.root.clone(),
                bounds: Bounds::default(),
                is_recursive: true,
                answer: Box::new(|begun| begun.unwrap()),
                report: Box::new(move |notice, _| {
                    if !*room.lock().unwrap() {
                        return Offer::Full;
                    }
                    let mut told = told.lock().unwrap();
                    match notice {
                        Notice::Overflow => told.push("overflow".to_owned()),
                        Notice::Changes(changes) => told.extend(changes.iter().map(|change| {
                            let path = change.path.strip_prefix(&top).unwrap();
                            format!("{:?} {}", change.kind, path.display())
                        })),
                    }
                    Offer::Taken
                }),
            };
            self.trees.watch(1, watch);
        }

        fn make(&self, directory: &str) {
            fs::create_dir_all(self.root.join(directory)).unwrap();
        }

        /// All that is reported of what has happened until now.
        fn told(&mut self) -> Vec<String> {
            self.trees.take_changes().unwrap();
            self.trees.report(Instant::now() + Duration::from_secs(1));
            std::mem::take(&mut self.told.lock().unwrap())
        }

        /// Lets the kernel drop what has happened, and say so.
        fn drop_events(&mut self) {
            self.trees.inotify.take(|_| {}).unwrap();
            let watch = *self.trees.places.keys().next().unwrap();
            self.trees.handle(&Event {
                watch,
                what: OVERFLOW,
                cookie: 0,
                name: OsString::new(),
            });
        }
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.root);
        }
    }

    #[test]
    fn after_lost_events_the_tree_is_watched_as_it_is() {
        let mut fixture = Fixture::new("lost");
        fixture.make("moved/below");
        fixture.make("gone");
        assert_eq!(
            fixture.told(),
            ["Created moved", "Created moved/below", "Created gone"]
        );
        let root = fixture.root.clone();
        fs::rename(root.join("moved"), root.join("here")).unwrap();
        fs::remove_dir(root.join("gone")).unwrap();
        fixture.make("new/deep");
        fixture.drop_events();
        assert_eq!(fixture.told(), ["overflow"]);
        assert_eq!(fixture.trees.places.len(), 5);
        for directory in ["here/below/x", "new/deep/y"] {
            fixture.make(directory);
        }
        assert_eq!(
            fixture.told(),
            ["Created here/below/x", "Created new/deep/y"]
        );
        fs::remove_dir_all(&root).unwrap();
        fixture.drop_events();
        assert_eq!(fixture.told(), ["overflow", "Removed "]);
        assert!(fixture.trees.trees.is_empty() && fixture.trees.places.is_empty());
    }

    #[test]
    fn a_full_client_is_told_when_it_has_room() {
        let mut fixture = Fixture::new("full");
        *fixture.room.lock().unwrap() = false;
        fixture.make("a");
        assert!(fixture.trees.due().is_none());
        assert!(fixture.told().is_empty());
        assert!(fixture.trees.due().is_none(), "nothing is due without room");
        fs::remove_dir_all(&fixture.root).unwrap();
        assert!(fixture.told().is_empty());
        *fixture.room.lock().unwrap() = true;
        assert!(
            fixture.told().is_empty(),
            "not asked again before it says so"
        );
        fixture.trees.retry();
        assert_eq!(fixture.told(), ["Created a", "Removed a", "Removed "]);
        assert!(fixture.trees.trees.is_empty());
    }

    #[test]
    fn what_has_changed_is_told_while_more_is_to_be_taken_in() {
        const FILES: usize = 3 * MAX_WAITING;
        let mut fixture = Fixture::new("turns");
        for number in 0..FILES {
            fs::File::create(fixture.root.join(format!("{number:0200}"))).unwrap();
        }
        let mut told = fixture.told();
        assert!(!told.is_empty() && told.len() < FILES / 2, "{}", told.len());
        while fixture.trees.has_more {
            assert!(fixture.trees.due().is_some_and(|due| due <= Instant::now()));
            told.extend(fixture.told());
        }
        assert_eq!(told.len(), FILES);
        assert!(told.iter().all(|change| change.starts_with("Created ")));
    }

    #[test]
    fn trees_share_watches_and_end_alone() {
        let mut fixture = Fixture::new("share");
        fixture.make("a/b");
        assert_eq!(fixture.told().len(), 2);
        fixture.watch("other");
        assert_eq!(fixture.trees.places.len(), 3);
        fixture.trees.unwatch(1, "id");
        assert_eq!(fixture.trees.places.len(), 3);
        fixture.make("a/b/c");
        assert_eq!(fixture.told(), ["Created a/b/c"]);
        fixture.trees.forget(1).unwrap();
        assert!(fixture.trees.places.is_empty() && fixture.trees.trees.is_empty());
    }
}
