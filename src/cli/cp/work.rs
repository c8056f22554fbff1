//! What a thread of a copy does.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::part::{part_of, trusted};
use super::progress::Progress;
use super::queue::{Job, Queue, Stop, Work};
use super::side::{BLOCK, Block, Blocks, CopyError, Found, Names, Side};
use super::transfer::{Closed, Transfer};
use crate::env::{EnvironmentError, FileKind, OpenFor};

/// The permission bits that are kept: what they let others do, and no more.
const KEPT: u32 = 0o777;
/// What we need of a file until it is finished.
const OWN: u32 = 0o600;
/// The same of a directory.
const OWN_DIRECTORY: u32 = 0o700;

/// What a link is known by while it has another name.
const NOTHING: Found = Found {
    kind: FileKind::Symlink,
    is_link: true,
    size: None,
    modified_ms: None,
    mode: None,
};

/// A part that is open to be written, and from where on.
type OpenPart = (Box<dyn Blocks>, u64);

/// One copy: what its threads share.
pub(super) struct Copy {
    pub(super) source: Box<dyn Side>,
    pub(super) target: Box<dyn Side>,
    pub(super) queue: Queue,
    pub(super) progress: Arc<Progress>,
    pub(super) continues: bool,
    pub(super) is_verbose: bool,
    /// Directories that we have made, whose time and mode are set when all is in them.
    pub(super) directories: Mutex<Vec<(PathBuf, Found)>>,
    /// What was lost, once an environment is.
    pub(super) lost: Mutex<Option<EnvironmentError>>,
}

impl Copy {
    /// Works until there is nothing to be done.
    pub(super) fn work(&self) {
        while let Some(work) = self.queue.next() {
            let done = match work {
                Work::Job(job) => self.perform(job),
                Work::Block(transfer, offset) => self.copy_block(transfer, offset),
            };
            if let Err(error) = done {
                self.report(error);
            }
            self.queue.done();
        }
    }

    fn report(&self, error: CopyError) {
        match error {
            CopyError::File(why) => self.progress.fail(why),
            CopyError::Lost(error) => {
                let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
                lost.get_or_insert(error);
                self.queue.stop(Stop::Lost);
            }
        }
    }

    fn perform(&self, job: Job) -> Result<(), CopyError> {
        match job.kind {
            FileKind::Directory => self.directory(job),
            FileKind::Symlink => self.link(job),
            FileKind::Regular => self.file(job),
            // What some servers say of links, too.
            FileKind::Other => match self.source.look(&job.from, false)? {
                Some(found) if found.is_link => self.link(job),
                _ => Err(self.fault(&job.from, "not a file, directory or link; left out")),
            },
        }
    }

    fn fault(&self, from: &Path, why: &str) -> CopyError {
        CopyError::of(self.source.name(from), why)
    }

    fn directory(&self, job: Job) -> Result<(), CopyError> {
        let found = self.found(&job.from)?;
        if found.is_link && !job.follows {
            return self.link(job);
        }
        let Job { from, to, .. } = job;
        // One that an earlier copy has left is of the source's choice, and leads where it wants.
        let there = self.target.look(&to, false)?;
        if there.is_some_and(|there| there.is_link) {
            let name = self.target.name(&to);
            return Err(CopyError::of(name, "a link, and the source is a directory"));
        }
        self.target.make_directory(&to)?;
        let open = found.mode.map(|mode| (mode & KEPT) | OWN_DIRECTORY);
        if there.is_none() {
            // Nobody else sees on the way what is not for everyone, nor if we are stopped.
            self.set_mode(&to, open)?;
        }
        let Names {
            known: mut names,
            unnamed,
        } = self.source.list(&from)?;
        for name in unnamed {
            self.report(self.fault(&from.join(name), "the name is not UTF-8; left out"));
        }
        // So that two runs do the same.
        names.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        self.queue.add(names.into_iter().map(|(name, kind)| Job {
            kind,
            from: from.join(&name),
            to: to.join(&name),
            in_place: false,
            follows: false,
        }));
        // What was there before is somebody's own, unless the copy that we go on with has made it.
        let is_ours = there.is_none_or(|there| self.continues && there.mode == open);
        if is_ours {
            let mut directories = self
                .directories
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            directories.push((to, found));
        }
        Ok(())
    }

    /// What is behind a path. Some servers list a link as what it leads to, and tell only here
    /// that it is one: to follow it could lead round in circles.
    fn found(&self, path: &Path) -> Result<Found, CopyError> {
        let found = self.source.look(path, true)?;
        found.ok_or_else(|| self.fault(path, "No such file or directory"))
    }

    fn link(&self, job: Job) -> Result<(), CopyError> {
        let Job { from, to, .. } = job;
        if !self.source.abilities().reads_links {
            return Err(self.fault(
                &from,
                "a link, and its server does not tell where to; left out",
            ));
        }
        if !self.target.abilities().makes_links {
            return Err(self.fault(&from, "a link, and the other side makes none; left out"));
        }
        let target = self.source.link_target(&from)?;
        if let Err(error) = self.target.make_link(&target, &to) {
            if !self.target.abilities().renames {
                return Err(error);
            }
            // The name is taken, or something else is wrong, which shows again.
            let part = part_of(&to, &self.source.name(&from), &NOTHING);
            self.target.make_link(&target, &part)?;
            if let Err(error) = self.target.rename(&part, &to) {
                // The error that is told is the one that led here.
                let _ = self.target.remove(&part);
                return Err(error);
            }
        }
        self.tell(&from, &to);
        Ok(())
    }

    fn file(&self, job: Job) -> Result<(), CopyError> {
        let mut found = self.found(&job.from)?;
        if found.is_link && !job.follows {
            return self.link(job);
        }
        let Job {
            from, to, in_place, ..
        } = job;
        self.progress.expect(found.size.unwrap_or(0));
        let part = match self.target.abilities().renames && !in_place {
            true => part_of(&to, &self.source.name(&from), &found),
            false => to.clone(),
        };
        if in_place {
            // A device is nobody's copy.
            (found.mode, found.modified_ms) = (None, None);
        }
        if found
            .size
            .is_some_and(|size| 0 < size && size <= BLOCK as u64)
        {
            return self.small_file(from, part, to, found);
        }
        let opened = match self.source.open(&from, OpenFor::Reading)? {
            Some(source) => self
                .open_part(&*source, &part)?
                .map(|(target, start)| (source, target, start)),
            None => None,
        };
        // An old server on one side: whole files or nothing.
        let Some((source, target, start)) = opened else {
            return self.small_file(from, part, to, found);
        };
        if part != to {
            // Nobody reads on the way what is not for everyone.
            self.set_mode(&part, found.mode.map(|mode| (mode & KEPT) | OWN))?;
        }
        self.progress.skip(start);
        let paths = (from, part, to);
        self.queue
            .open(Transfer::new((source, target), paths, found, start));
        Ok(())
    }

    /// Opens what is to be written, and from where on; none if the side has no
    /// such thing.
    fn open_part(&self, source: &dyn Blocks, part: &Path) -> Result<Option<OpenPart>, CopyError> {
        let start = self.good_until(source, part)?;
        let purpose = match start {
            0 => OpenFor::Replacing,
            _ => OpenFor::Updating,
        };
        Ok(self
            .target
            .open(part, purpose)?
            .map(|target| (target, start)))
    }

    /// Up to where an earlier part is good: what must be there, if its last block is right.
    fn good_until(&self, source: &dyn Blocks, part: &Path) -> Result<u64, CopyError> {
        if !self.continues || !self.target.abilities().updates {
            return Ok(0);
        }
        let size = match self.target.look(part, false)? {
            Some(found) if found.kind == FileKind::Regular => found.size.unwrap_or(0),
            _ => return Ok(0),
        };
        let start = trusted(size);
        let Some(last) = start.checked_sub(BLOCK as u64) else {
            return Ok(0);
        };
        let Some(before) = self.target.open(part, OpenFor::Reading)? else {
            return Ok(0);
        };
        let (mut ours, mut theirs) = (Block::default(), Block::default());
        source.read(last, &mut theirs)?;
        before.read(last, &mut ours)?;
        let is_right = ours.data().len() == BLOCK && ours.data() == theirs.data();
        Ok(if is_right { start } else { 0 })
    }

    fn small_file(
        &self,
        from: PathBuf,
        part: PathBuf,
        last: PathBuf,
        found: Found,
    ) -> Result<(), CopyError> {
        let data = self.source.read_whole(&from)?;
        let written = self.target.write_whole(&part, &data);
        self.progress.add(data.len() as u64);
        let closed = Closed {
            from,
            found,
            part,
            last,
        };
        match written {
            Ok(()) => self.settle(closed, found.mode.map(|mode| mode & KEPT)),
            Err(error) => Err(self.discard(&closed, error)),
        }
    }

    fn copy_block(&self, transfer: Arc<Transfer>, offset: u64) -> Result<(), CopyError> {
        let (bytes, is_over) = transfer.copy(offset);
        self.progress.add(bytes);
        if is_over {
            self.queue.close(&transfer);
        }
        // Whoever lets go last finishes it; the queue holds it until it is over.
        match Arc::into_inner(transfer) {
            Some(transfer) => self.finish(transfer),
            None => Ok(()),
        }
    }

    fn finish(&self, transfer: Transfer) -> Result<(), CopyError> {
        let name = self.source.name(&transfer.from);
        let (closed, copied) = transfer.close(&name);
        if let Err(error) = copied {
            return Err(self.discard(&closed, error));
        }
        let mode = closed.found.mode.map(|mode| mode & KEPT);
        // It has the right one already, unless we ourselves needed more.
        let mode = mode.filter(|mode| closed.part == closed.last || mode & OWN != OWN);
        self.settle(closed, mode)
    }

    /// Gives a file that is all there its mode, its time and its name.
    fn settle(&self, closed: Closed, mode: Option<u32>) -> Result<(), CopyError> {
        let Closed {
            from,
            found,
            part,
            last,
        } = &closed;
        // The mode last: it may keep even us out.
        let settled = self
            .set_modified(part, found)
            .and_then(|()| self.set_mode(part, mode))
            .and_then(|()| match part == last {
                true => Ok(()),
                false => self.target.rename(part, last),
            });
        if let Err(error) = settled {
            return Err(self.discard(&closed, error));
        }
        self.tell(from, last);
        Ok(())
    }

    fn set_mode(&self, path: &Path, mode: Option<u32>) -> Result<(), CopyError> {
        match mode {
            Some(mode) if self.target.abilities().sets_modes => self.target.set_mode(path, mode),
            _ => Ok(()),
        }
    }

    fn set_modified(&self, path: &Path, found: &Found) -> Result<(), CopyError> {
        match found.modified_ms {
            Some(modified_ms) => self.target.set_modified(path, modified_ms),
            None => Ok(()),
        }
    }

    /// Removes what nobody can use: a part whose file has an error, as on a full disk.
    fn discard(&self, closed: &Closed, error: CopyError) -> CopyError {
        if closed.part != closed.last && matches!(error, CopyError::File(_)) {
            // The error that is told is the one that led here.
            let _ = self.target.remove(&closed.part);
        }
        error
    }

    fn tell(&self, from: &Path, to: &Path) {
        self.progress.add_file();
        if self.is_verbose {
            let (from, to) = (self.source.name(from), self.target.name(to));
            self.progress.say(format_args!("{from} -> {to}"));
        }
    }

    /// Says what can be done about files whose copying was stopped, and removes parts that are
    /// too short to go on from.
    pub(super) fn leave_parts(&self) {
        let mut is_worth_it = false;
        for transfer in self.queue.abandoned() {
            if trusted(transfer.written()) > 0 && self.target.abilities().updates {
                is_worth_it = true;
            } else if transfer.part != transfer.last {
                // What is left behind hurts nobody.
                let _ = self.target.remove(&transfer.part);
            }
        }
        if is_worth_it {
            self.progress
                .say("stopped; the same command with --continue goes on from here");
        }
    }

    /// Sets the modes of directories, the innermost first, since a mode may lock what is below.
    pub(super) fn settle_directories(&self) {
        let mut directories = self
            .directories
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        directories.sort_unstable_by_key(|(path, _)| std::cmp::Reverse(path.components().count()));
        for (path, found) in directories.drain(..) {
            let mode = found.mode.map(|mode| mode & KEPT);
            // It has the right one already, unless we ourselves needed more.
            let mode = mode.filter(|mode| mode & OWN_DIRECTORY != OWN_DIRECTORY);
            let settled = self
                .set_modified(&path, &found)
                .and_then(|()| self.set_mode(&path, mode));
            if let Err(error) = settled {
                self.report(error);
            }
        }
    }
}

/// The last name of a path; none for `/`, `.` and what ends in `..`.
pub(super) fn last_name(path: &Path) -> Option<OsString> {
    let is_here = path.as_os_str().as_encoded_bytes().ends_with(b"/.");
    path.file_name()
        .filter(|_| !is_here)
        .map(std::borrow::ToOwned::to_owned)
}
