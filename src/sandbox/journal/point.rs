//! One mount point, made or found, and locked; and the line of a run's records by which it can be known again.

use std::collections::HashSet;
use std::ffi::{CString, OsStr};
use std::fs::{File, FileTimes, TryLockError};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{io, thread};

use super::directory::Unlocking;
use crate::sys::directory::Names;
use crate::sys::file::{self, Access, FileType, Identity, LastLink, ROOTED, Status};
use crate::sys::process::user_id;

/// Attempts to lock a mount point while a run of another journal takes it away, a millisecond each.
const ATTEMPTS: usize = 50;

/// When every mount point says that it was last changed, in seconds since 1970: no file of anybody else does, and no
/// sandbox of a bwrap can make one that it may not write say so. A number by chance.
const STAMP: u64 = 413_792_046;

/// What is wanted where nothing is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPoint {
    /// Canonical; all but the last component exist.
    pub path: PathBuf,
    /// What is to be made.
    pub kind: PointKind,
}

/// What a mount point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointKind {
    /// An empty directory.
    Directory,
    /// An empty file.
    File,
}

impl PointKind {
    /// Permission bits: nobody writes it.
    const fn mode(self) -> u32 {
        match self {
            Self::Directory => 0o555,
            Self::File => 0o444,
        }
    }

    pub(crate) fn of(status: &Status) -> Option<Self> {
        match status.kind {
            FileType::Directory => Some(Self::Directory),
            FileType::Regular => Some(Self::File),
            _ => None,
        }
    }
}

/// Whether a file could have been made as a mount point.
fn looks_made(status: &Status) -> bool {
    let is_empty = status.kind == FileType::Directory || status.size == 0;
    PointKind::of(status).is_some() && status.mode & 0o222 == 0 && is_empty
}

/// Whether a file was made as a mount point, and has not been changed since.
fn is_stamped(status: &Status) -> bool {
    u64::try_from(status.modified_ms).is_ok_and(|millis| millis / 1000 == STAMP)
}

fn stamp() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(STAMP)
}

/// A mount point, with a shared lock on it for those who keep another journal.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) point: MountPoint,
    pub(crate) identity: Identity,
    /// Whether this run made it.
    pub(crate) is_ours: bool,
    /// Holds the lock. Without one, if somebody else has an exclusive lock.
    _file: Unlocking,
}

/// What became of the wish for a mount point.
pub(crate) enum Made {
    /// It was made.
    Yes(Held),
    /// Something is there meanwhile.
    Before(Held),
    /// Nobody with our rights, or less, can make it.
    Impossible,
}

impl Held {
    /// What stands for it in the records of its run.
    pub(crate) fn record(&self) -> Record {
        match self.is_ours {
            true => Record::of(&self.point, Some(self.identity)),
            false => Record::found(&self.point, self.identity),
        }
    }

    /// Makes what is wanted, or takes what somebody has made meanwhile.
    pub(crate) fn make(point: &MountPoint) -> io::Result<Made> {
        for attempt in 1..=ATTEMPTS {
            let place = PointLocation::open(&point.path)?;
            let is_ours = match place.make(point.kind) {
                Ok(()) => true,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
                Err(error) => return place.explain(error),
            };
            // Whoever keeps the lock for so long does not take it away.
            let needs_lock = !is_ours && attempt < ATTEMPTS;
            if let Some(held) = place.hold(point, is_ours, needs_lock)? {
                return Ok(if is_ours {
                    Made::Yes(held)
                } else {
                    Made::Before(held)
                });
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Holds what is there, if it looks like a mount point; otherwise it needs no holding.
    pub(crate) fn existing(path: &Path) -> Option<Self> {
        let place = PointLocation::open(path).ok()?;
        let point = MountPoint {
            path: path.to_owned(),
            kind: place.made()?,
        };
        place.hold(&point, false, false).ok().flatten()
    }
}

/// A name in an open directory.
pub(crate) struct PointLocation {
    directory: OwnedFd,
    name: CString,
}

impl PointLocation {
    /// Opens the directory of an absolute path, with no link on the way.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(file::invalid());
        };
        let parent = CString::new(parent.as_os_str().as_bytes())?;
        Ok(Self {
            directory: file::locate_without_links(ROOTED, &parent)?,
            name: CString::new(name.as_bytes())?,
        })
    }

    /// What kind of mount point is there; none if it does not look like one.
    pub(crate) fn made(&self) -> Option<PointKind> {
        let status = self.status().ok()?;
        PointKind::of(&status).filter(|_| looks_made(&status))
    }

    pub(crate) fn status(&self) -> io::Result<Status> {
        file::status_at(self.directory.as_fd(), &self.name, LastLink::Keep)
    }

    /// Whether what is there covers a mount point, as seen in the sandbox: something empty of another file system.
    pub(crate) fn is_cover(&self) -> io::Result<bool> {
        let (around, cover) = (file::status_of(self.directory.as_fd())?, self.status()?);
        if cover.identity.is_on_device_of(around.identity) {
            return Ok(false);
        }
        Ok(Names::default().next_in(self.file()?.as_fd())?.is_none())
    }

    /// Opens what is there to be locked.
    pub(crate) fn file(&self) -> io::Result<File> {
        let access = Access::READ | Access::NO_LINK | Access::NO_WAIT;
        file::open_at(self.directory.as_fd(), &self.name, access, 0).map(File::from)
    }

    pub(crate) fn remove(&self, kind: PointKind) -> io::Result<()> {
        match kind {
            PointKind::Directory => file::remove_directory_at(self.directory.as_fd(), &self.name),
            PointKind::File => file::unlink_at(self.directory.as_fd(), &self.name),
        }
    }

    fn make(&self, kind: PointKind) -> io::Result<()> {
        let directory = self.directory.as_fd();
        match kind {
            PointKind::Directory => file::make_directory_at(directory, &self.name, kind.mode()),
            PointKind::File => {
                let access = Access::READ | Access::CREATE_NEW;
                file::open_at(directory, &self.name, access, kind.mode()).map(drop)
            }
        }
    }

    /// Locks what is there. None if it has been taken away, or may be just now.
    fn hold(
        &self,
        point: &MountPoint,
        is_ours: bool,
        needs_lock: bool,
    ) -> io::Result<Option<Held>> {
        let file = match self.file() {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if is_ours {
            file.set_times(FileTimes::new().set_modified(stamp()))?;
        }
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) if needs_lock => return Ok(None),
            Ok(()) | Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let status = file::status_of(file.as_fd())?;
        let is_there = self
            .status()
            .is_ok_and(|found| found.identity == status.identity);
        if !is_there {
            return Ok(None);
        }
        Ok(Some(Held {
            point: MountPoint {
                path: point.path.clone(),
                kind: PointKind::of(&status).unwrap_or(point.kind),
            },
            identity: status.identity,
            is_ours,
            _file: Unlocking(file),
        }))
    }

    /// A refusal by the permissions of somebody else's directory, or by a file system that is read-only, meets a program
    /// in the sandbox as well. In a directory of our own it could change the permissions first.
    fn explain(&self, error: io::Error) -> io::Result<Made> {
        let is_forbidden = matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM));
        if error.raw_os_error() == Some(libc::EROFS) {
            return Ok(Made::Impossible);
        }
        if is_forbidden && file::status_of(self.directory.as_fd())?.user != user_id() {
            return Ok(Made::Impossible);
        }
        Err(error)
    }
}

/// What a run has made, was about to make, or uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    kind: PointKind,
    /// Whether the run has only found it.
    is_found: bool,
    /// None before it was made.
    inode: Option<(u32, u32, u64)>,
    path: PathBuf,
}

/// Whether a mount point is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// It is gone, or has become somebody's.
    Done,
    /// It is not where it was made, or cannot be seen from here.
    Missing,
    /// Another run uses it.
    InUse,
}

impl Record {
    pub(crate) fn of(point: &MountPoint, identity: Option<Identity>) -> Self {
        Self {
            kind: point.kind,
            is_found: false,
            inode: identity.map(Identity::numbers),
            path: point.path.clone(),
        }
    }

    /// Of what another run has made, or somebody.
    pub(crate) fn found(point: &MountPoint, identity: Identity) -> Self {
        Self {
            is_found: true,
            ..Self::of(point, Some(identity))
        }
    }

    /// What stands for the intent to make something that was there, or cannot be made: no inode is zero.
    pub(crate) fn not_made(point: &MountPoint) -> Self {
        Self {
            inode: Some((0, 0, 0)),
            ..Self::of(point, None)
        }
    }

    /// `d 254:1:77 /path` and a NUL; `-` where there is no inode yet, and a capital letter for what was found.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
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
    pub(crate) fn read_all(bytes: &[u8]) -> Vec<Self> {
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
    pub(crate) fn remove(&self, in_use: &[Self]) -> Removal {
        if self.is_found {
            return Removal::Done;
        }
        if in_use.iter().any(|one| self.can_be(one)) {
            return Removal::InUse;
        }
        let found = PointLocation::open(&self.path).and_then(|place| {
            let file = place.file()?;
            let status = file::status_of(file.as_fd())?;
            Ok((place, file, status))
        });
        let Ok((place, file, status)) = found else {
            return Removal::Missing;
        };
        let is_ours = match self.inode {
            Some(inode) => status.identity.numbers() == inode,
            None => status.user == user_id(),
        };
        if !is_ours {
            return Removal::Missing;
        }
        let was_made = looks_made(&status) && is_stamped(&status);
        if !was_made || PointKind::of(&status) != Some(self.kind) {
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
