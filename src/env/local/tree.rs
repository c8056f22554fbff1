//! One watched directory, with all below it if that is wanted, as its client knows it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bounds::Bounds;
use super::changes::{ChangeKind, Changes, FileChange, Notice};
use crate::rpc::transport::Offer;
use crate::sys::event::WakeEvent;
use crate::sys::inotify::WatchNumber;

/// Takes a notice if there is room for it, and else sets the waker when there is.
pub(super) type Report = Box<dyn FnMut(&Notice<'_>, &Arc<WakeEvent>) -> Offer + Send>;

/// A name that has gone; where to, the next event may tell.
pub(super) struct Left {
    pub(super) cookie: u32,
    pub(super) path: PathBuf,
    pub(super) is_directory: bool,
}

/// Whether what is found in a directory is reported.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Reported,
    Known,
}

pub(super) struct Tree {
    pub(super) root: PathBuf,
    pub(super) bounds: Bounds,
    pub(super) is_recursive: bool,
    /// What is watched. In the order of paths, so that what is below one follows it.
    pub(super) directories: BTreeMap<PathBuf, WatchNumber>,
    pub(super) left: Option<Left>,
    pub(super) changes: Changes,
    /// The root has gone: what waits to be told is the last.
    pub(super) is_over: bool,
    /// The client takes nothing at the moment.
    pub(super) is_stalled: bool,
    report: Report,
}

impl Tree {
    pub(super) fn new(root: PathBuf, bounds: Bounds, is_recursive: bool, report: Report) -> Self {
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

    pub(super) fn push(&mut self, path: &Path, kind: ChangeKind, is_directory: bool) {
        self.changes.push(FileChange {
            path: path.to_owned(),
            kind,
            is_directory,
        });
    }

    /// Goes through what is in a directory, which is at `path` for now; those in it are to be visited, too.
    pub(super) fn list(
        &mut self,
        directory: &Path,
        path: &Path,
        found: Found,
        to_visit: &mut Vec<PathBuf>,
    ) {
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
    pub(super) fn take_below(&mut self, top: &Path) -> Vec<(PathBuf, WatchNumber)> {
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
    pub(super) fn tell(&mut self, waker: &Arc<WakeEvent>) {
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
