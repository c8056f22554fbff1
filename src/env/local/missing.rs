//! Watching for files to appear where there are none.
//!
//! To wait for `/a/b/c` is to watch every directory on the way for the one
//! name that leads on: `/` for `a`, `/a` for `b` and so on up to the first name
//! that is not there. Whatever happens to one of these names is reported, once,
//! and the client looks for itself: the file may have come, or a directory on
//! the way may have gone or been replaced.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Component, Path, PathBuf};

use super::bounds::Bounds;
use crate::sys::inotify::{ADDED, GONE, Inotify, OVERFLOW, REMOVED, WatchNumber};

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

/// The watches for missing files of all clients; each has at most one.
pub(super) struct Missing {
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
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            inotify: Inotify::new()?,
            clients: HashMap::new(),
            names: HashMap::new(),
        })
    }

    /// What becomes readable when something has changed.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// Reports what has changed.
    pub(super) fn take_changes(&mut self) -> io::Result<()> {
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
    pub(super) fn watch(&mut self, client: u64, watch: MissingWatch) {
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
    pub(super) fn end(&mut self, client: u64) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::local::Watches;
    use std::fs;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

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
}
