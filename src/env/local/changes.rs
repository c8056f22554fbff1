//! What has changed and is not told yet, of one watched tree.

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long changes are collected before they are told.
const COLLECT: Duration = Duration::from_millis(50);
/// Changes told at once; as many are told without further delay.
const MAX_TOLD: usize = 256;
/// Changes that may wait, and the bytes of their paths; more are lost.
const MAX_WAITING: usize = 1024;
const MAX_BYTES: usize = 256 * 1024;

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
    Renamed {
        /// The other.
        from: PathBuf,
    },
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// Where, below the path that is watched.
    pub path: PathBuf,
    /// What.
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
}

/// What is told at once.
#[derive(Debug, PartialEq, Eq)]
pub enum Notice<'a> {
    /// Changes in their order, one at least.
    Changes(&'a [FileChange]),
    /// Changes were lost: anything may be different.
    Overflow,
}

/// Changes that wait to be told.
#[derive(Debug, Default)]
pub(super) struct Changes {
    waiting: VecDeque<FileChange>,
    /// Paths whose last change that waits says already that they are new or modified.
    fresh: HashSet<PathBuf>,
    bytes: usize,
    /// Changes before all that wait were lost.
    is_overflow: bool,
    /// When the first of them came.
    since: Option<Instant>,
}

impl Changes {
    /// Adds a change, unless it says nothing that is not told anyway.
    pub(super) fn push(&mut self, change: FileChange) {
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
        if self.waiting.len() >= MAX_WAITING || self.bytes > MAX_BYTES {
            self.overflow();
            return;
        }
        self.add(change);
    }

    /// Adds the change after which there are none. It is never lost.
    pub(super) fn push_last(&mut self, root: &Path) {
        self.add(FileChange {
            path: root.to_owned(),
            kind: ChangeKind::Removed,
            is_directory: true,
        });
    }

    /// Changes are lost, and with them all that wait.
    pub(super) fn overflow(&mut self) {
        self.waiting = VecDeque::new();
        self.fresh = HashSet::new();
        self.bytes = 0;
        self.is_overflow = true;
        self.since.get_or_insert_with(Instant::now);
    }

    /// When there is something to tell; none if there is nothing.
    pub(super) fn due(&self) -> Option<Instant> {
        let since = self.since?;
        Some(if self.waiting.len() >= MAX_TOLD {
            since
        } else {
            since + COLLECT
        })
    }

    /// What is to be told next.
    pub(super) fn next(&mut self) -> Option<Notice<'_>> {
        if self.is_overflow {
            return Some(Notice::Overflow);
        }
        let count = self.waiting.len().min(MAX_TOLD);
        let changes = &self.waiting.make_contiguous()[..count];
        (count > 0).then_some(Notice::Changes(changes))
    }

    /// What was to be told next is told.
    pub(super) fn told(&mut self) {
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
    use super::*;

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
}
