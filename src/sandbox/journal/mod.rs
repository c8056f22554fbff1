//! Mount points that have to be on the host while a sandbox runs, and are taken away after it.
//!
//! What is missing in a writable root, and must stay missing, is covered by a mount, and a mount needs something to lie
//! on. We make it ourselves, an empty directory or file without permission to write, and note that down first:
//!
//! * Each run that needs mount points has two files in a private directory, which no sandbox can see. The *lock* is held
//!   for as long as the run lives, by us and by the sandbox, which inherits the descriptor and can read by it, no more; so
//!   a run that nobody holds is over, however it ended. Whoever comes next takes away what it left: the end of another
//!   run, the next second of a server that knows of something left, or the next start of one.
//! * What the run has made, and what it has found and uses, stands in the other file, the *records*. A mount point is in
//!   use while the records of a live run name it. Who makes mount points or takes them away has the journal's *turn*, a
//!   lock on the directory, so that nothing is taken away while somebody begins to use it.
//! * A run of another journal, such as that of a server in a container with the same workspace, is known by a shared lock
//!   on the mount point itself. Any program that can open it can hold one too. What is taken for use by that only stays a
//!   while longer: to remove what a sandbox still needs would be worse. No sandbox can open its own mount points, which
//!   something else is mounted on.
//! * Servers in several mount namespaces may share a journal, as with a home directory that a container has as well. A run
//!   names its namespace: who does not find at its path what a run of another has made leaves it to a server there, for
//!   a week.
//! * A record says which inode was made. What has been put in its place, or has got content, is somebody's and stays.
//!
//! Where no private directory can be had, runs go on all the same: protection comes before tidiness, and only a killed
//! server then leaves mount points behind.

mod directory;
mod point;

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use self::directory::Directory;
use self::point::Record;
use self::point::{Held, Made, PointLocation};
pub use self::point::{MountPoint, PointKind};
use crate::sys::file::Identity;

/// How long the end of a run waits for a sandbox whose processes are dying; they have been killed already, but a busy
/// machine may take long to let them die, and who hears of the end is to find nothing left.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same at a start, which others wait for, for sandboxes of servers that are gone.
const START_PATIENCE: Duration = Duration::from_millis(500);

/// Where runs are noted down.
#[derive(Clone, Debug)]
pub struct Journal {
    directory: Option<Arc<Directory>>,
    /// Why there is no directory.
    why_not: Option<String>,
    /// What is there by the name of such a directory and was not taken, and why.
    foreign: Vec<String>,
}

impl Journal {
    /// The journal of this user, after what earlier runs have left is taken away.
    pub fn open() -> Self {
        Self::open_in(&directory::candidates())
    }

    /// A journal in the first of these directories that is, or becomes, private and can be written.
    pub fn open_in(candidates: &[PathBuf]) -> Self {
        let (mut faults, mut foreign) = (Vec::new(), Vec::new());
        for candidate in candidates {
            let fault = match Directory::open(candidate) {
                Ok(directory) => {
                    let directory = Arc::new(directory);
                    directory.sweep_after_others(START_PATIENCE);
                    return Self {
                        directory: Some(directory),
                        why_not: None,
                        foreign,
                    };
                }
                Err(error) => format!("{}: {error}", candidate.display()),
            };
            if candidate.symlink_metadata().is_ok() {
                foreign.push(fault.clone());
            }
            faults.push(fault);
        }
        Self {
            directory: None,
            why_not: Some(faults.join("; ")),
            foreign,
        }
    }

    /// What was found by the name of the journal and is not used, each with its reason: somebody else may have put it
    /// there.
    pub fn foreign(&self) -> &[String] {
        &self.foreign
    }

    /// The private directory, which no sandbox may see.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref().map(Directory::path)
    }

    /// Why there is none: each candidate with its reason.
    pub fn why_not(&self) -> Option<&str> {
        self.why_not.as_deref()
    }

    /// Takes away what runs have left that are over.
    pub fn sweep(&self) {
        if let Some(directory) = &self.directory {
            directory.sweep();
        }
    }

    /// Makes the mount points in `wanted`, and holds those in `existing`, which may be another run's. What can neither be
    /// made here nor in the sandbox is left out.
    ///
    /// # Errors
    /// A mount point that a program could make, and we cannot. Nothing is left then.
    pub(crate) fn claim(
        &self,
        wanted: &[MountPoint],
        existing: &[PathBuf],
    ) -> Result<Claim, (PathBuf, io::Error)> {
        let mut claim = Claim {
            run: None,
            held: Vec::new(),
            directory: self.directory.clone(),
        };
        let made =
            |path: &&PathBuf| PointLocation::open(path).is_ok_and(|place| place.made().is_some());
        let existing: Vec<_> = existing.iter().filter(made).collect();
        if wanted.is_empty() && existing.is_empty() {
            return Ok(claim);
        }
        let in_journal = |error| (self.directory().unwrap_or(Path::new("")).to_owned(), error);
        // To be over before the claim is dropped, which has a turn of its own.
        let turn = self.directory.as_ref().map(|directory| directory.turn());
        let turn = turn.transpose().map_err(in_journal)?;
        claim.held = existing
            .iter()
            .filter_map(|path| Held::existing(path))
            .collect();
        if wanted.is_empty() && claim.held.is_empty() {
            return Ok(claim);
        }
        if let Some(directory) = &self.directory {
            let intents = wanted.iter().map(|point| Record::of(point, None));
            let found = claim.held.iter().map(Held::record);
            let begun = directory.begin(&intents.chain(found).collect::<Vec<_>>());
            claim.run = Some(begun.map_err(in_journal)?);
        }
        for point in wanted {
            let made = Held::make(point).map_err(|error| (point.path.clone(), error))?;
            if let Made::Yes(held) | Made::Before(held) = made {
                claim.held.push(held);
            }
        }
        claim.confirm(wanted).map_err(in_journal)?;
        drop(turn);
        Ok(claim)
    }
}

/// Whether a path is a mount point that a run still holds, whoever's that is, or what a sandbox shows in its place.
pub fn is_in_use(path: &Path) -> bool {
    let Ok(place) = PointLocation::open(path) else {
        return false;
    };
    // Nobody else locks an empty directory that cannot be written.
    let is_locked = || {
        let file = place.file();
        file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
    };
    place.made().is_some() && (place.is_cover().unwrap_or(false) || is_locked())
}

/// A run, as it is noted down.
#[derive(Debug)]
struct Run {
    /// That of the lock.
    name: std::ffi::CString,
    lock: File,
    records: File,
}

/// The mount points of one run. They go when this is dropped, which is when its last process has ended.
#[derive(Debug)]
pub struct Claim {
    run: Option<Run>,
    held: Vec<Held>,
    directory: Option<Arc<Directory>>,
}

impl Claim {
    /// A descriptor for the sandbox to keep open until its last process ends. Nothing can be written by it. None if there
    /// are no mount points.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn keep_alive(&self) -> io::Result<Option<OwnedFd>> {
        let run = self.run.as_ref();
        run.map(|run| run.lock.try_clone().map(OwnedFd::from))
            .transpose()
    }

    /// What is held: where, and which inode.
    pub fn points(&self) -> impl Iterator<Item = (&Path, Identity)> {
        self.held
            .iter()
            .map(|held| (held.point.path.as_path(), held.identity))
    }

    /// The paths of what was made, here or by another run that still goes on.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.held.iter().map(|held| held.point.path.as_path())
    }

    /// Notes down what was made, and that the rest was not; a run without mount points needs no file.
    fn confirm(&mut self, wanted: &[MountPoint]) -> io::Result<()> {
        let (Some(run), Some(directory)) = (&mut self.run, &self.directory) else {
            return Ok(());
        };
        if self.held.is_empty() {
            directory.remove(&run.name);
            self.run = None;
            return Ok(());
        }
        let held = self.held.iter().map(|held| (&held.point.path, held));
        let held: HashMap<_, _> = held.collect();
        let records: Vec<u8> = wanted
            .iter()
            .map(|point| match held.get(&point.path) {
                Some(held) => held.record(),
                None => Record::not_made(point),
            })
            .flat_map(|record| record.to_bytes())
            .collect();
        run.records.write_all(&records)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let held = std::mem::take(&mut self.held);
        let records: Vec<Record> = held.iter().map(Held::record).collect();
        // Our own locks must not count.
        drop(held);
        match (self.run.take(), &self.directory) {
            (Some(Run { name, lock, .. }), Some(directory)) => {
                drop(lock);
                directory.finish(&name, PATIENCE);
            }
            _ => records.iter().for_each(|record| {
                record.remove(&[]);
            }),
        }
    }
}

#[cfg(test)]
mod tests;
