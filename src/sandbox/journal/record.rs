//! One line of a run's records: a mount point, and how it can be known again.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::TryLockError;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::point::{MountPoint, PointKind, PointLocation, is_stamped, looks_made};
use crate::sys::file::{self, Identity};
use crate::sys::identity::user_id;

/// What a run has made, was about to make, or uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    kind: PointKind,
    /// Whether the run has only found it.
    is_found: bool,
    /// None before it was made.
    inode: Option<(u32, u32, u64)>,
    path: PathBuf,
}

/// Whether a mount point is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removal {
    /// It is gone, or is not ours.
    Done,
    /// Another run uses it.
    InUse,
}

impl Record {
    pub(super) fn of(point: &MountPoint, identity: Option<Identity>) -> Self {
        Self {
            kind: point.kind,
            is_found: false,
            inode: identity.map(Identity::numbers),
            path: point.path.clone(),
        }
    }

    /// Of what another run has made, or somebody.
    pub(super) fn found(point: &MountPoint, identity: Identity) -> Self {
        Self {
            is_found: true,
            ..Self::of(point, Some(identity))
        }
    }

    /// What stands for the intent to make something that was there, or cannot be made: no inode is zero.
    pub(super) fn not_made(point: &MountPoint) -> Self {
        Self {
            inode: Some((0, 0, 0)),
            ..Self::of(point, None)
        }
    }

    /// `d 254:1:77 /path` and a NUL; `-` where there is no inode yet, and a capital letter for what was found.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let kind = match (self.kind, self.is_found) {
            (PointKind::Directory, false) => 'd',
            (PointKind::Directory, true) => 'D',
            (PointKind::File, false) => 'f',
            (PointKind::File, true) => 'F',
        };
        let inode = self.inode.map_or("-".to_owned(), |(major, minor, inode)| {
            format!("{major}:{minor}:{inode}")
        });
        let mut bytes = format!("{kind} {inode} ").into_bytes();
        bytes.extend_from_slice(self.path.as_os_str().as_bytes());
        bytes.push(0);
        bytes
    }

    /// All records of a run. A later one about the same path replaces the earlier; one that is torn is none.
    pub(super) fn read_all(bytes: &[u8]) -> Vec<Self> {
        let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
        // What is not ended is torn.
        lines.pop();
        let mut known = HashSet::new();
        let latest = lines.into_iter().rev().filter_map(Self::read);
        let latest = latest.filter(|record| known.insert(record.path.clone()));
        let mut records: Vec<Self> = latest.collect();
        records.reverse();
        records
    }

    fn read(line: &[u8]) -> Option<Self> {
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let (kind, is_found) = match parts.next()? {
            b"d" => (PointKind::Directory, false),
            b"D" => (PointKind::Directory, true),
            b"f" => (PointKind::File, false),
            b"F" => (PointKind::File, true),
            _ => return None,
        };
        let inode = match std::str::from_utf8(parts.next()?).ok()? {
            "-" => None,
            numbers => {
                let (major, rest) = numbers.split_once(':')?;
                let (minor, inode) = rest.split_once(':')?;
                Some((
                    major.parse().ok()?,
                    minor.parse().ok()?,
                    inode.parse().ok()?,
                ))
            }
        };
        let path = PathBuf::from(OsStr::from_bytes(parts.next()?));
        path.is_absolute().then_some(Self {
            kind,
            is_found,
            inode,
            path,
        })
    }

    /// Whether both can be about the same mount point.
    fn can_be(&self, other: &Self) -> bool {
        match (self.inode, other.inode) {
            (Some(one), Some(other)) => one == other,
            _ => self.path == other.path,
        }
    }

    /// Takes the mount point away, unless it is no longer the one that was made, or is in use: by a run with one of
    /// these records, or by one of another journal. A record may be forged, where a program can write to a journal: what
    /// does not look made, with its stamp, stays, whatever the record says.
    pub(super) fn remove(&self, in_use: &[Self]) -> Removal {
        if self.is_found {
            return Removal::Done;
        }
        if in_use.iter().any(|one| self.can_be(one)) {
            return Removal::InUse;
        }
        let Ok(place) = PointLocation::open(&self.path) else {
            return Removal::Done;
        };
        let Ok(file) = place.file() else {
            return Removal::Done;
        };
        let Ok(status) = file::status_of(file.as_fd()) else {
            return Removal::Done;
        };
        let is_ours = match self.inode {
            Some(inode) => status.identity.numbers() == inode,
            None => status.user == user_id(),
        };
        let was_made = looks_made(&status) && is_stamped(&status);
        if !is_ours || !was_made || PointKind::of(&status) != Some(self.kind) {
            return Removal::Done;
        }
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Removal::InUse;
        }
        // A directory with something in it is not removed by the kernel: it has become somebody's.
        let _ = place.remove(self.kind);
        Removal::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_the_way_to_the_file_and_back() {
        let record = |kind, inode, path: &str| Record {
            kind,
            is_found: path == "/found",
            inode,
            path: path.into(),
        };
        let intent = record(PointKind::Directory, None, "/a b\n/.git");
        let made = record(PointKind::Directory, Some((8, 1, 77)), "/a b\n/.git");
        let other = record(PointKind::File, None, "/x");
        let found = record(PointKind::Directory, Some((8, 1, 78)), "/found");
        let all = [&intent, &other, &found, &made].map(Record::to_bytes);
        let mut bytes = all.concat();
        assert_eq!(
            Record::read_all(&bytes),
            [other.clone(), found.clone(), made]
        );
        bytes.truncate(bytes.len() - 1);
        assert_eq!(Record::read_all(&bytes), [intent, other, found]);
        assert_eq!(Record::read_all(b"z - /x\0d - x\0d 1 /x\0\0"), []);
    }
}
