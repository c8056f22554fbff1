//! Watching directories and trees for changes.
//!
//! Every directory of a tree has a watch of its own; what comes into a tree is
//! watched first and listed then, so that nothing in it is missed. All trees
//! share one inotify, and directories that are in several share the watch.
//! Events that are lost, by the kernel or because a client does not take them,
//! become one notice that says so.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::bounds::Bounds;
use super::changes::{ChangeKind, Changes, FileChange, Notice};
use crate::rpc::transport::Offer;
use crate::sys::inotify::{
    ADDED, DIRECTORY, GONE, Inotify, MODIFIED, MOVED_FROM, MOVED_TO, NAMED_ONLY, NO_LINK, OVERFLOW,
    REMOVED, SELF_MOVED, WatchNumber,
};
use crate::sys::poll::WakeEvent;

/// Trees that a client may watch.
const MAX_TREES: usize = 64;
/// Directories of a tree.
const MAX_DIRECTORIES: usize = 8192;
/// Directories of all trees.
const MAX_ALL_DIRECTORIES: usize = 65_536;

/// A directory that a client wants to be told about.
pub struct TreeWatch {
    /// What the client calls it.
    pub id: String,
    /// The directory.
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
    /// The system refused.
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

/// Reads after which others have their turn; more than the kernel keeps at a time.
const MAX_READS: usize = 256;
/// What is of interest about a directory.
const ALL: u32 = ADDED | REMOVED | MODIFIED | SELF_MOVED | NAMED_ONLY;

/// The client's number and its name for the watch.
type Key = (u64, Arc<str>);

/// The watched trees of all clients.
pub(super) struct Trees {
    inotify: Inotify,
    /// Set when a client has room again.
    wake: Arc<WakeEvent>,
    trees: BTreeMap<Key, Tree>,
    /// Where each watched directory is in which trees.
    places: HashMap<WatchNumber, Vec<(Key, PathBuf)>>,
}

/// As [`Change`](crate::sys::inotify::Change), to keep.
struct Event {
    watch: WatchNumber,
    what: u32,
    cookie: u32,
    name: OsString,
}

impl Trees {
    pub(super) fn new(wake: Arc<WakeEvent>) -> io::Result<Self> {
        Ok(Self {
            inotify: Inotify::new()?,
            wake,
            trees: BTreeMap::new(),
            places: HashMap::new(),
        })
    }

    /// What becomes readable when something has changed.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// When there is something to report.
    pub(super) fn due(&self) -> Option<Instant> {
        let willing = self.trees.values().filter(|tree| !tree.is_stalled);
        willing.filter_map(|tree| tree.changes.due()).min()
    }

    /// A client may have room again.
    pub(super) fn retry(&mut self) {
        for tree in self.trees.values_mut() {
            tree.is_stalled = false;
        }
    }

    /// Reports what is due.
    pub(super) fn report(&mut self, now: Instant) {
        let wake = &self.wake;
        self.trees.retain(|_, tree| {
            if !tree.is_stalled && tree.changes.due().is_some_and(|due| due <= now) {
                tree.tell(wake);
            }
            !tree.is_over || tree.changes.due().is_some()
        });
    }

    /// Watches another tree.
    pub(super) fn watch(&mut self, client: u64, watch: TreeWatch) {
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
    pub(super) fn unwatch(&mut self, client: u64, id: &str) {
        self.end(&(client, Arc::from(id)));
    }

    /// Ends all watches of a client.
    pub(super) fn forget(&mut self, client: u64) -> io::Result<()> {
        for key in self.keys_of(client) {
            self.end(&key);
            // The end of a watch is an event: those of many trees would be more than the kernel keeps.
            self.take_changes()?;
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

    /// Takes in what has changed.
    pub(super) fn take_changes(&mut self) -> io::Result<()> {
        for _ in 0..MAX_READS {
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
                break;
            }
        }
        for key in self.trees.keys().cloned().collect::<Vec<_>>() {
            self.settle(&key);
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
        while let Some(directory) = to_visit.pop() {
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
            let before = tree.directories.insert(directory.clone(), number);
            if before == Some(number) {
                continue;
            }
            if tree.is_recursive {
                tree.list(&directory, &reached.path, found, &mut to_visit);
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
        let directories = tree.map(|tree| std::mem::take(&mut tree.directories));
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
            tree.directories.remove(path);
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
            let before = std::mem::take(&mut tree.directories);
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
type Report = Box<dyn FnMut(&Notice<'_>, &Arc<WakeEvent>) -> Offer + Send>;

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

struct Tree {
    root: PathBuf,
    bounds: Bounds,
    is_recursive: bool,
    /// What is watched. In the order of paths, so that what is below one follows it.
    directories: BTreeMap<PathBuf, WatchNumber>,
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
            left: None,
            changes: Changes::default(),
            is_over: false,
            is_stalled: false,
            report,
        }
    }

    fn push(&mut self, path: &Path, kind: ChangeKind, is_directory: bool) {
        self.changes.push(FileChange {
            path: path.to_owned(),
            kind,
            is_directory,
        });
    }

    /// Goes through what is in a directory, which is at `path` for now; those in it are to be visited, too.
    fn list(&mut self, directory: &Path, path: &Path, found: Found, to_visit: &mut Vec<PathBuf>) {
        let entries = std::fs::read_dir(path).into_iter().flatten();
        for entry in entries.flatten() {
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let path = directory.join(entry.file_name());
            if found == Found::Reported {
                self.push(&path, ChangeKind::Created, is_directory);
            }
            if is_directory {
                to_visit.push(path);
            }
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
            self.directories.remove(path);
        }
        taken
    }

    /// Tells what waits, as far as the client takes it.
    fn tell(&mut self, waker: &Arc<WakeEvent>) {
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

#[cfg(test)]
mod tests;
