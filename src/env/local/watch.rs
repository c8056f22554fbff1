//! The thread that watches directories for all clients, and the watches for missing files.
//!
//! The thread alone touches the file system, which may hang, and it sleeps until a directory changes
//! or a client wants something. It starts with the first wish and stays. Watches for missing files
//! and [of trees](super::trees) have an inotify each, so that neither loses events to the other.
//!
//! To wait for `/a/b/c` is to watch every directory on the way for the one name that leads on: `/`
//! for `a`, `/a` for `b` and so on up to the first name that is not there. Whatever happens to one
//! of these names is reported, once, and the client looks for itself: the file may have come, or a
//! directory on the way may have gone or been replaced.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::trees::{TreeWatch, Trees, WatchError};
use crate::log;
use crate::sys::file;
use crate::sys::inotify::{ADDED, GONE, Inotify, OVERFLOW, REMOVED, WatchNumber};
use crate::sys::poll::{self, PollFd, READABLE, WakeEvent};
use crate::sys::sync::Mutex;
use crate::workers::start_thread;

/// Wishes that may wait for the thread; more are refused.
const MAX_WAITING: usize = 1024;
/// The thread's stack, of which only the touched pages count.
const STACK_BYTES: usize = 128 * 1024;

/// Names that one client's watch may be about, those of the directories on the way included.
const MAX_NAMES: usize = 2048;

/// What a client wants to be told of.
pub struct MissingWatch {
    /// Paths that must not exist yet.
    pub missing: Vec<PathBuf>,
    /// A path that must exist, if given.
    pub present: Option<PathBuf>,
    /// Where the ways may lead.
    pub bounds: Bounds,
    /// Called with whether there is a watch now, before any report.
    pub answer: Box<dyn FnOnce(bool) + Send>,
    /// Called once, when a path may have changed. Never called without a watch.
    pub report: Box<dyn FnOnce() + Send>,
}

/// The watches of all clients, which are told apart by numbers.
#[derive(Default)]
pub struct Watches(Mutex<Option<Arc<Shared>>>);

struct Shared {
    wishes: Mutex<VecDeque<Wish>>,
    wake: Arc<WakeEvent>,
}

/// Called when a tree is no longer watched, or when that is refused.
type Unwatched = Box<dyn FnOnce(Result<(), WatchError>) + Send>;

enum Wish {
    Missing(u64, MissingWatch),
    Tree(u64, TreeWatch),
    Unwatch(u64, String, Unwatched),
    Forget(u64),
}

impl Wish {
    fn refuse(self, why: WatchError) {
        match self {
            Self::Missing(_, watch) => {
                log::warn!("cannot watch for missing files: {why}");
                (watch.answer)(false);
            }
            Self::Tree(_, watch) => (watch.answer)(Err(why)),
            Self::Unwatch(_, _, answer) => answer(Err(why)),
            Self::Forget(_) => {}
        }
    }
}

impl Watches {
    /// Watches for missing files in place of those before. Does not wait; the
    /// answer comes from another thread, or from this one if there cannot be a
    /// watch at all.
    pub fn watch_missing(&self, client: u64, watch: MissingWatch) {
        self.start_and_wish(Wish::Missing(client, watch));
    }

    /// Watches a directory or a tree, beside those before. Does not wait, either.
    pub fn watch_tree(&self, client: u64, watch: TreeWatch) {
        self.start_and_wish(Wish::Tree(client, watch));
    }

    /// Ends the watch of a tree, if there is one of this id; there is no report after the answer.
    pub fn unwatch_tree(
        &self,
        client: u64,
        id: String,
        answer: impl FnOnce(Result<(), WatchError>) + Send + 'static,
    ) {
        let shared = self.0.lock().clone();
        match shared {
            Some(shared) => shared.wish(Wish::Unwatch(client, id, Box::new(answer))),
            None => answer(Ok(())),
        }
    }

    /// Ends all watches of `client`.
    pub fn forget(&self, client: u64) {
        if let Some(shared) = &*self.0.lock() {
            shared.wishes.lock().push_back(Wish::Forget(client));
            shared.wake.set();
        }
    }

    fn start_and_wish(&self, wish: Wish) {
        match self.running() {
            Ok(shared) => shared.wish(wish),
            Err(error) => wish.refuse(WatchError::System(error)),
        }
    }

    fn running(&self) -> io::Result<Arc<Shared>> {
        let mut running = self.0.lock();
        if let Some(shared) = &*running {
            return Ok(Arc::clone(shared));
        }
        let shared = Arc::new(Shared {
            wishes: Mutex::default(),
            wake: Arc::new(WakeEvent::new()?),
        });
        let watcher = Watcher {
            trees: Trees::new(Arc::clone(&shared.wake))?,
            shared: Arc::clone(&shared),
            missing: Missing::new()?,
        };
        start_thread("watch", STACK_BYTES, move || watcher.run())?;
        *running = Some(Arc::clone(&shared));
        Ok(shared)
    }
}

impl Shared {
    /// Hands the wish over, unless too many wait.
    fn wish(&self, wish: Wish) {
        let mut wishes = self.wishes.lock();
        if wishes.len() >= MAX_WAITING {
            drop(wishes);
            wish.refuse(WatchError::Busy);
            return;
        }
        wishes.push_back(wish);
        self.wake.set();
    }
}

/// The thread's own.
struct Watcher {
    shared: Arc<Shared>,
    missing: Missing,
    trees: Trees,
}

impl Watcher {
    fn run(mut self) {
        loop {
            let round = self.wait().and_then(|()| self.take_changes());
            if let Err(error) = round.and_then(|()| self.grant_wishes()) {
                log::error!("watching files ends: {error}");
                return;
            }
            self.trees.report(Instant::now());
        }
    }

    fn grant_wishes(&mut self) -> io::Result<()> {
        loop {
            let next = self.shared.wishes.lock().pop_front();
            match next {
                Some(Wish::Missing(client, watch)) => self.missing.watch(client, watch),
                Some(Wish::Tree(client, watch)) => self.trees.watch(client, watch),
                Some(Wish::Unwatch(client, id, answer)) => {
                    self.trees.unwatch(client, &id);
                    answer(Ok(()));
                }
                Some(Wish::Forget(client)) => {
                    self.missing.end(client);
                    self.trees.forget(client)?;
                }
                None => return Ok(()),
            }
        }
    }

    /// Waits until there is something to do.
    fn wait(&mut self) -> io::Result<()> {
        let timeout = self.trees.due().map(|due| {
            let now = Instant::now();
            due.saturating_duration_since(now)
        });
        let mut fds = [
            PollFd::new(self.shared.wake.as_fd(), READABLE),
            PollFd::new(self.missing.fd(), READABLE),
            PollFd::new(self.trees.fd(), READABLE),
        ];
        poll::wait(&mut fds, timeout)?;
        let is_woken = fds[0].is_ready();
        if is_woken {
            self.shared.wake.take();
            self.trees.retry();
        }
        Ok(())
    }

    fn take_changes(&mut self) -> io::Result<()> {
        self.missing.take_changes()?;
        self.trees.take_changes()
    }
}

/// The watches for missing files of all clients; each has at most one.
struct Missing {
    inotify: Inotify,
    clients: HashMap<u64, Watched>,
    /// Who waits for which name in which directory.
    names: HashMap<WatchNumber, Vec<(u64, OsString)>>,
}

/// One client's watch.
struct Watched {
    directories: Vec<WatchNumber>,
    report: Box<dyn FnOnce() + Send>,
}

impl Missing {
    fn new() -> io::Result<Self> {
        Ok(Self {
            inotify: Inotify::new()?,
            clients: HashMap::new(),
            names: HashMap::new(),
        })
    }

    /// What becomes readable when something has changed.
    fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// Reports what has changed.
    fn take_changes(&mut self) -> io::Result<()> {
        loop {
            let mut told = Vec::new();
            let is_more = self.inotify.take(|change| {
                if change.what & OVERFLOW != 0 {
                    told.extend(self.clients.keys());
                    return;
                }
                let waiting = self.names.get(&change.watch).into_iter().flatten();
                let concerned =
                    waiting.filter(|(_, name)| change.what & GONE != 0 || name == change.name);
                told.extend(concerned.map(|(client, _)| client));
            })?;
            for client in told {
                if let Some(watched) = self.forget(client) {
                    (watched.report)();
                }
            }
            if !is_more {
                return Ok(());
            }
        }
    }

    /// Watches for `client` in place of what it watched for before.
    fn watch(&mut self, client: u64, watch: MissingWatch) {
        self.forget(client);
        let mut way = Way {
            inotify: &self.inotify,
            bounds: &watch.bounds,
            names: Vec::new(),
        };
        let is_missing = |path: &PathBuf| way.follow(path) == Some(false);
        let mut is_set = !watch.missing.is_empty() && watch.missing.iter().all(is_missing);
        if let Some(present) = &watch.present {
            is_set = is_set && way.follow(present) == Some(true);
        }
        let names = way.names;
        let directories = names.iter().map(|(directory, _)| *directory).collect();
        for (directory, name) in names {
            let waiting = self.names.entry(directory).or_default();
            if !waiting
                .iter()
                .any(|known| known.0 == client && known.1 == name)
            {
                waiting.push((client, name));
            }
        }
        let report = watch.report;
        self.clients.insert(
            client,
            Watched {
                directories,
                report,
            },
        );
        if !is_set {
            self.forget(client);
        }
        (watch.answer)(is_set);
    }

    /// Ends the watch of `client`, if it has one.
    fn end(&mut self, client: u64) {
        self.forget(client);
    }

    fn forget(&mut self, client: u64) -> Option<Watched> {
        let watched = self.clients.remove(&client)?;
        for directory in &watched.directories {
            let Some(waiting) = self.names.get_mut(directory) else {
                continue;
            };
            waiting.retain(|(its, _)| *its != client);
            if waiting.is_empty() {
                self.names.remove(directory);
                self.inotify.unwatch(*directory);
            }
        }
        Some(watched)
    }
}

/// The directories on the way to some paths, watched, each with the name that leads on.
struct Way<'a> {
    inotify: &'a Inotify,
    bounds: &'a Bounds,
    names: Vec<(WatchNumber, OsString)>,
}

impl Way<'_> {
    /// Watches the way to a path as far as it goes. Whether the path exists;
    /// `None` if that cannot be told or watched.
    fn follow(&mut self, path: &Path) -> Option<bool> {
        let mut directory = PathBuf::from("/");
        for component in path.components() {
            let Component::Normal(name) = component else {
                continue;
            };
            if self.names.len() >= MAX_NAMES {
                return None;
            }
            // Watched first and looked for then, so that nothing comes in between unseen.
            let reached = self.bounds.reach(&directory, true).ok()?;
            let watch = self.inotify.watch(&reached.path, ADDED | REMOVED);
            if let Ok(watch) = watch {
                self.names.push((watch, name.to_owned()));
            }
            directory.push(name);
            match reached.path.join(name).symlink_metadata() {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return watch.is_ok().then_some(false);
                }
                Err(_) => return None,
            }
        }
        Some(true)
    }
}

/// The trees that a watch must not lead into: changes are seen from outside of every sandbox, so a
/// watch under a policy must not see what the sandbox shows otherwise. None: it may lead everywhere.
#[derive(Clone, Debug, Default)]
pub struct Bounds(Vec<PathBuf>);

/// A directory within bounds.
pub(crate) struct Reached {
    /// A path that leads there, for as long as this lives.
    pub(crate) path: PathBuf,
    _held: Option<OwnedFd>,
}

impl Bounds {
    /// Bounds around these trees, which are canonical.
    pub fn around(trees: Vec<PathBuf>) -> Self {
        Self(trees)
    }

    /// Whether there are none.
    pub(crate) fn is_anywhere(&self) -> bool {
        self.0.is_empty()
    }

    /// Finds a directory. Of links on the way the last component is one only where `follows`.
    ///
    /// # Errors
    /// It is not there, or not within bounds.
    pub(crate) fn reach(&self, directory: &Path, follows: bool) -> io::Result<Reached> {
        if self.is_anywhere() {
            return Ok(Reached {
                path: directory.to_owned(),
                _held: None,
            });
        }
        let real = match (directory.parent(), directory.file_name()) {
            (Some(parent), Some(name)) if !follows => parent.canonicalize()?.join(name),
            _ => directory.canonicalize()?,
        };
        if self.0.iter().any(|tree| real.starts_with(tree)) {
            return Err(io::Error::from_raw_os_error(libc::EACCES));
        }
        // Whatever becomes of the names meanwhile, this leads to the path that was looked at, or nowhere.
        let held = file::locate_anything_without_links(&real)?;
        Ok(Reached {
            path: format!("/proc/self/fd/{}", held.as_raw_fd()).into(),
            _held: Some(held),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use super::*;

    /// An empty directory, removed when dropped.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("missing-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Sets a watch; the answer, and where the report will come.
    fn watch(
        watches: &Watches,
        client: u64,
        missing: &[PathBuf],
        present: Option<&Path>,
    ) -> (bool, Receiver<()>) {
        let (answer, answered) = channel();
        let (report, reported) = channel();
        let watch = MissingWatch {
            missing: missing.to_vec(),
            present: present.map(Path::to_owned),
            bounds: Bounds::default(),
            answer: Box::new(move |is_set| answer.send(is_set).unwrap()),
            report: Box::new(move || report.send(()).unwrap()),
        };
        watches.watch_missing(client, watch);
        let limit = Duration::from_secs(10);
        (answered.recv_timeout(limit).unwrap(), reported)
    }

    #[test]
    fn every_step_towards_a_missing_file_is_one_report() {
        let scratch = Scratch::new("steps");
        let watches = Watches::default();
        let target = scratch.0.join("a/b/c");
        for step in ["a", "a/b", "a/b/c"] {
            let (is_set, reported) =
                watch(&watches, 1, std::slice::from_ref(&target), Some(&scratch.0));
            assert!(is_set);
            fs::create_dir(scratch.0.join("unrelated")).unwrap();
            fs::remove_dir(scratch.0.join("unrelated")).unwrap();
            assert!(reported.try_recv().is_err());
            fs::create_dir(scratch.0.join(step)).unwrap();
            reported.recv_timeout(Duration::from_secs(10)).unwrap();
        }
        assert!(!watch(&watches, 1, &[target], None).0, "it is there");
    }

    #[test]
    fn a_way_that_goes_is_reported() {
        let scratch = Scratch::new("gone");
        let watches = Watches::default();
        let dir = scratch.0.join("dir/inner");
        fs::create_dir_all(&dir).unwrap();
        let (is_set, reported) = watch(&watches, 1, &[dir.join("x")], None);
        assert!(is_set);
        fs::rename(scratch.0.join("dir"), scratch.0.join("moved")).unwrap();
        reported.recv_timeout(Duration::from_secs(10)).unwrap();
    }

    #[test]
    fn a_watch_that_makes_no_sense_is_not_set() {
        let scratch = Scratch::new("sense");
        let watches = Watches::default();
        let (file, missing) = (scratch.0.join("f"), scratch.0.join("m"));
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink("nowhere", scratch.0.join("dangling")).unwrap();
        for (paths, present) in [
            (vec![], None),
            (vec![file.clone()], None),
            (vec![missing.clone(), file.clone()], None),
            (vec![missing.clone()], Some(missing.as_path())),
            (vec![file.join("x")], None),
            (vec![scratch.0.join("dangling/x")], None),
            (vec![missing.clone(); MAX_NAMES], None),
        ] {
            assert!(!watch(&watches, 1, &paths, present).0, "{paths:?}");
        }
        assert!(watch(&watches, 1, &[missing], Some(&file)).0);
    }

    #[test]
    fn clients_share_directories_and_forget_alone() {
        let scratch = Scratch::new("share");
        let watches = Watches::default();
        let path = [scratch.0.join("x")];
        let (_, replaced) = watch(&watches, 1, &path, None);
        let (_, first) = watch(&watches, 1, &path, None);
        let (_, second) = watch(&watches, 2, &path, None);
        let (_, third) = watch(&watches, 3, &path, None);
        watches.forget(2);
        // Wishes are handled in order, so this answer says that the other is forgotten.
        watch(&watches, 4, &[], None);
        fs::write(&path[0], "").unwrap();
        for reported in [first, third] {
            reported.recv_timeout(Duration::from_secs(10)).unwrap();
        }
        assert!(second.try_recv().is_err() && replaced.try_recv().is_err());
    }

    #[test]
    fn no_link_leads_out_of_bounds() {
        let top = std::env::temp_dir().canonicalize().unwrap();
        let top = top.join(format!("exec-server-bounds-{}", std::process::id()));
        let at = |name: &str| top.join(name);
        for directory in ["closed/deep", "open/deep"] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        symlink("../closed", at("open/out")).unwrap();
        symlink("deep", at("open/in")).unwrap();
        let bounds = Bounds::around(vec![at("closed")]);
        let reached = |name: &str, follows| {
            let reached = bounds.reach(&at(name), follows).ok()?;
            Some(fs::read_link(reached.path).unwrap())
        };
        for (name, follows, expected) in [
            ("open/deep", false, Some("open/deep")),
            ("open/in", true, Some("open/deep")),
            ("open/in", false, None),
            ("open/out", true, None),
            ("open/out/deep", true, None),
            ("open/out/deep", false, None),
            ("closed", true, None),
            ("open/../closed/deep", true, None),
        ] {
            assert_eq!(reached(name, follows), expected.map(at), "{name} {follows}");
        }
        assert_eq!(
            Bounds::default().reach(&at("none"), true).unwrap().path,
            at("none")
        );
        fs::remove_dir_all(&top).unwrap();
    }
}
