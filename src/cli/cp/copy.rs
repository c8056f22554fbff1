//! What a thread of a copy does.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::hard_links::{Claim, FirstName, HardLinks};
use super::progress::Progress;
use super::queue::{Directory, Forgotten, Job, Queue, Sort, Stop, Work};
use super::side::{BLOCK, Block, Blocks, CopyError, Found, Purpose, Side};
use super::transfer::{CHANGED, File, PartNames, SHORTER, Transfer, trusted};
use crate::env::{EnvironmentError, FileKind, Listing, NewMetadata};
use crate::sys::sync::Mutex;

/// The permission bits that are kept: what they let others do, and no more.
const KEPT: u32 = 0o777;
/// What we need of a file until it is finished.
const OWN: u32 = 0o600;
/// What nobody else has of it until then: who can write to a part decides what comes of it.
const NOT_YET: u32 = 0o022;
/// What we need of a directory until it is finished.
const OWN_DIRECTORY: u32 = 0o700;

/// The longest path that is copied, in bytes: the kernel's limit. So a tree without bottom has one.
const LONGEST_PATH: usize = 4096;
/// How many parts are looked at for one to go on with.
const MAX_CANDIDATES: usize = 8;

/// What a link is known by while it has another name.
pub(crate) const NOTHING: Found = Found {
    kind: FileKind::Symlink,
    is_link: true,
    size: None,
    modified: None,
    mode: None,
    version: None,
    is_sparse: false,
    id: None,
    links: 1,
};

/// A part that is open to be written, and its path.
type OpenPart = (Box<dyn Blocks>, PathBuf);

/// One copy: what its threads share.
pub(crate) struct Copy {
    pub(crate) source: Box<dyn Side>,
    pub(crate) target: Box<dyn Side>,
    pub(crate) queue: Queue,
    pub(crate) progress: Arc<Progress>,
    pub(crate) continues: bool,
    pub(crate) is_verbose: bool,
    /// Whether extended attributes are kept, which both sides have.
    pub(crate) keeps_attributes: bool,
    pub(crate) hard_links: Mutex<HardLinks>,
    /// What was lost, once an environment is.
    pub(crate) lost: Mutex<Option<EnvironmentError>>,
}

impl Copy {
    /// Works until there is nothing to be done.
    pub(crate) fn work(&self) {
        while let Some(work) = self.queue.next() {
            let (share, done) = match work {
                Work::Job(job) => (job.parent.clone(), self.perform(job)),
                Work::List(forgotten) => {
                    let share = Arc::clone(&forgotten.directory);
                    (Some(share), self.list_again(&forgotten))
                }
                Work::Block(transfer, offset) => self.copy_block(transfer, offset),
            };
            if let Err(error) = done {
                self.report(error);
            }
            Directory::give_back(share, |directory| self.settle_directory(directory));
            self.queue.done();
        }
    }

    fn report(&self, error: CopyError) {
        match error {
            CopyError::File(why) | CopyError::Irreplaceable(why) => self.progress.fail(why),
            // Whatever is under way fails for the same reason.
            CopyError::Full(why) => {
                if self.queue.stop(Stop::Full) {
                    self.progress.fail(why);
                }
            }
            CopyError::Lost(error) => {
                let mut lost = self.lost.lock();
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
        let Job {
            from, to, parent, ..
        } = job;
        if from.as_os_str().len() >= LONGEST_PATH || to.as_os_str().len() >= LONGEST_PATH {
            let why = format!("its path has {LONGEST_PATH} bytes or more; left out");
            return Err(self.fault(&from, &why));
        }
        // One that an earlier copy has left is of the source's choice, and leads where it wants.
        let there = self.target.look(&to, false)?;
        if there.as_ref().is_some_and(|there| there.is_link) {
            let name = self.target.name(&to);
            return Err(CopyError::of(name, "a link, and the source is a directory"));
        }
        // Nobody else sees on the way what is not for everyone, nor if we are stopped.
        let open = found.mode.map(|mode| (mode & KEPT) | OWN_DIRECTORY);
        if (there.as_ref()).is_none_or(|there| there.kind != FileKind::Directory) {
            self.target.make_directory(&to, self.settable(open))?;
        }
        let Listing { entries } = self.source.list(&from)?;
        let directory = Arc::new(Directory {
            from,
            to,
            found,
            // What was there before is somebody's own, unless the copy that we go on with has made
            // it.
            is_ours: there.is_none_or(|there| self.continues && there.mode == open),
            parent,
        });
        for sort in [Sort::Directories, Sort::Files] {
            let names = entries.only(|_, kind| sort.has(kind));
            self.queue.add(&directory, sort, names);
        }
        Directory::give_back(Some(directory), |directory| {
            self.settle_directory(directory)
        });
        Ok(())
    }

    /// Lists a directory again of which not all names could be held.
    fn list_again(&self, forgotten: &Forgotten) -> Result<(), CopyError> {
        let Forgotten {
            directory, sort, ..
        } = forgotten;
        let listing = self.source.list(&directory.from)?;
        let names = listing.entries.only(|name, kind| forgotten.has(name, kind));
        self.queue.add(directory, *sort, names);
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
            let part = self.draw(&PartNames::of(&to, &self.source.name(&from), &NOTHING))?;
            self.target.make_link(&target, &part)?;
            if let Err(error) = self.target.replace(&part, &to) {
                // The error that is told is the one that led here.
                let _ = self.target.remove(&part);
                return Err(error);
            }
        }
        self.tell(&from, &to);
        Ok(())
    }

    fn file(&self, job: Job) -> Result<(), CopyError> {
        let found = self.found(&job.from)?;
        if found.is_link && !job.follows {
            return self.link(job);
        }
        // Of several files that are named on the command line, each is copied for itself.
        if job.parent.is_none() || !self.target.abilities().makes_hard_links {
            return self.copy_file(job, found, None);
        }
        let claimed = self.hard_links.lock().claim(job, &found);
        match claimed {
            Claim::Alone(job) => self.copy_file(job, found, None),
            Claim::Link(job, first) => self.hard_link(&first, job, found),
            Claim::Waits => Ok(()),
            Claim::First(job, first) => {
                let copied = self.copy_file(job, found, Some(first.clone()));
                // Unless it is under way, or was told before.
                copied.inspect_err(|_| self.finish_links(&first, None))
            }
        }
    }

    /// Makes one more name of a file that was copied, or where that cannot be another copy of it.
    fn hard_link(&self, first: &Path, job: Job, found: Found) -> Result<(), CopyError> {
        let link = || {
            let Err(error) = self.target.hard_link(first, &job.to) else {
                return Ok(());
            };
            // The name is taken, or something else is wrong, which shows again.
            if self.target.look(&job.to, false)?.is_none() {
                return Err(error);
            }
            let part = self.draw(&PartNames::of(
                &job.to,
                &self.source.name(&job.from),
                &NOTHING,
            ))?;
            self.target.hard_link(first, &part)?;
            let replaced = self.target.replace(&part, &job.to);
            // If both were names of one file already, it is still there.
            let _ = self.target.remove(&part);
            replaced
        };
        match link() {
            Ok(()) => {
                self.tell(&job.from, &job.to);
                Ok(())
            }
            Err(error @ CopyError::Lost(_)) => Err(error),
            Err(_) => self.copy_file(job, found, None),
        }
    }

    /// Lets the names become links that have waited for the first one of their file, or the next of
    /// them be the first.
    fn finish_links(&self, first: &FirstName, copied: Option<&Path>) {
        let waiting = (self.hard_links.lock()).finish(first, copied.map(Path::to_owned));
        for job in waiting {
            let share = job.parent.clone();
            if let Err(error) = self.perform(job) {
                self.report(error);
            }
            Directory::give_back(share, |directory| self.settle_directory(directory));
        }
    }

    fn copy_file(&self, job: Job, found: Found, first: Option<FirstName>) -> Result<(), CopyError> {
        let Job {
            from,
            to,
            in_place,
            parent,
            ..
        } = job;
        self.progress.expect(found.size.unwrap_or(0));
        let parts = match self.target.abilities().renames && !in_place {
            true => Some(PartNames::of(&to, &self.source.name(&from), &found)),
            false => None,
        };
        // A device is nobody's copy.
        let new = match in_place {
            true => NewMetadata::default(),
            false => NewMetadata {
                permissions: self.settable(found.mode.map(|mode| mode & KEPT)),
                modified: found.modified,
                size: None,
            },
        };
        let takes_metadata = self.target.abilities().takes_metadata;
        let keeps_holes = found.is_sparse && takes_metadata && parts.is_some();
        let file = |part| File {
            from: from.clone(),
            found: found.clone(),
            first: first.clone(),
            part,
            last: to.clone(),
            parent: parent.clone(),
        };
        let is_small = found
            .size
            .is_some_and(|size| 0 < size && size <= BLOCK as u64);
        if is_small && !keeps_holes && !self.keeps_attributes {
            let part = self.new_part(parts.as_ref(), &to)?;
            return self.small_file(file(part), new, found.size);
        }
        let Some(source) = self.source.open_source(&from, &found)? else {
            let part = self.new_part(parts.as_ref(), &to)?;
            return self.small_file(file(part), new, None);
        };
        let old = match &parts {
            Some(parts) if self.continues => self.old_part(&*source, parts, &found)?,
            _ => None,
        };
        let (opened, start) = match old {
            Some((part, start)) => (Some(part), start),
            None => {
                let part = self.new_part(parts.as_ref(), &to)?;
                match self.target.open(&part, purpose(&part, &to)) {
                    Ok(opened) => (opened.map(|opened| (opened, part)), 0),
                    Err(error) => return self.write_over(&file(part), error),
                }
            }
        };
        // An old server on one side: whole files or nothing.
        let Some((target, part)) = opened else {
            let part = self.new_part(parts.as_ref(), &to)?;
            return self.small_file(file(part), new, None);
        };
        let mut later = new;
        if keeps_holes {
            later.size = found.size;
        }
        // Elsewhere it is its owner's alone from the start.
        if parts.is_some() && !takes_metadata {
            let now = new.permissions.map(|mode| (mode | OWN) & !NOT_YET);
            let private = NewMetadata {
                permissions: now,
                ..NewMetadata::default()
            };
            if let Err(error) = target.settle(private) {
                return Err(self.discard(&file(part), error));
            }
            later.permissions = new.permissions.filter(|_| new.permissions != now);
        }
        self.progress.skip(start);
        let sides = (source, target);
        self.queue
            .open(Transfer::new(sides, file(part), later, start));
        Ok(())
    }

    fn draw(&self, parts: &PartNames) -> Result<PathBuf, CopyError> {
        let drawn = parts.draw();
        drawn.map_err(|error| CopyError::system(self.target.name(parts.directory()), &error))
    }

    /// The path of what is to be written: a new part, or the file itself.
    fn new_part(&self, parts: Option<&PartNames>, last: &Path) -> Result<PathBuf, CopyError> {
        parts.map_or_else(|| Ok(last.to_owned()), |parts| self.draw(parts))
    }

    /// A part that an earlier copy has left, open to be written, and up to where it is good: what
    /// must be there, if its last block is right. One that is not to be had is none.
    fn old_part(
        &self,
        source: &dyn Blocks,
        parts: &PartNames,
        found: &Found,
    ) -> Result<Option<(OpenPart, u64)>, CopyError> {
        // A shorter file has no part that is worth anything.
        let is_long = found.size.is_some_and(|size| trusted(size) > 0);
        if !is_long || !self.target.abilities().updates {
            return Ok(None);
        }
        let listing = or_none(self.target.list(parts.directory()).map(Some))?.unwrap_or_default();
        let candidates = listing
            .entries
            .iter()
            .filter(|(name, kind)| *kind == FileKind::Regular && parts.has(name))
            .take(MAX_CANDIDATES);
        let mut best: Option<(PathBuf, u64)> = None;
        for (name, _) in candidates {
            let part = parts.directory().join(name);
            let start = or_none(self.good_until(source, &part, found).map(Some))?.unwrap_or(0);
            if start > best.as_ref().map_or(0, |(_, start)| *start) {
                best = Some((part, start));
            }
        }
        let Some((part, start)) = best else {
            return Ok(None);
        };
        let opened = or_none(self.target.open(&part, Purpose::OldPart))?;
        Ok(opened.map(|opened| ((opened, part), start)))
    }

    fn good_until(
        &self,
        source: &dyn Blocks,
        part: &Path,
        found: &Found,
    ) -> Result<u64, CopyError> {
        let size = match self.target.look(part, false)? {
            Some(part)
                if part.kind == FileKind::Regular
                    && part.mode.is_none_or(|mode| mode & NOT_YET == 0) =>
            {
                part.size.min(found.size)
            }
            _ => None,
        };
        let start = trusted(size.unwrap_or(0));
        let Some(last) = start.checked_sub(BLOCK as u64) else {
            return Ok(0);
        };
        let Some(before) = self.target.open_source(part, &NOTHING)? else {
            return Ok(0);
        };
        let (mut ours, mut theirs) = (Block::default(), Block::default());
        source.read(last, false, &mut theirs)?;
        before.read(last, false, &mut ours)?;
        let is_right = ours.data().len() == BLOCK && ours.data() == theirs.data();
        Ok(if is_right { start } else { 0 })
    }

    /// All of a file at once, which has no more bytes than `most`.
    fn small_file(&self, file: File, new: NewMetadata, size: Option<u64>) -> Result<(), CopyError> {
        let most = size.map(|_| BLOCK);
        let data = self.source.read_whole(&file.from, &file.found, most)?;
        if size.is_some() && data.len() > BLOCK {
            let why = "it has grown while it was copied; copy it again";
            return Err(self.fault(&file.from, why));
        }
        if size.is_some_and(|size| (data.len() as u64) < size) {
            return Err(self.fault(&file.from, SHORTER));
        }
        let purpose = purpose(&file.part, &file.last);
        let written = self.target.write_whole(&file.part, purpose, &data, new);
        self.progress.add(data.len() as u64);
        self.give_name(&file, written)
    }

    /// Also the share of a file that is done in its directory.
    fn copy_block(
        &self,
        transfer: Arc<Transfer>,
        offset: u64,
    ) -> (Option<Arc<Directory>>, Result<(), CopyError>) {
        let (bytes, is_over) = transfer.copy(offset);
        self.progress.add(bytes);
        if is_over {
            self.queue.close(&transfer);
        }
        // Whoever lets go last finishes it; the queue holds it until it is over.
        let Some(transfer) = Arc::into_inner(transfer) else {
            return (None, Ok(()));
        };
        let name = self.source.name(&transfer.file.from);
        let (from, part) = (&transfer.file.from, &transfer.file.part);
        // Before the mode, which may keep even us out.
        let kept = self.keep_attributes(from, part);
        let (file, copied) = transfer.close(&name);
        let copied = copied.and(kept);
        let named = self.give_name(&file, copied);
        (file.parent, named)
    }

    /// Gives a file its name when it is all there.
    fn give_name(&self, file: &File, copied: Result<(), CopyError>) -> Result<(), CopyError> {
        let named = copied.and_then(|()| match file.part == file.last {
            true => Ok(()),
            false => self.target.replace(&file.part, &file.last),
        });
        let done = match named {
            Ok(()) => {
                self.tell(&file.from, &file.last);
                Ok(())
            }
            Err(error) => {
                let error = self.discard(file, error);
                self.write_over(file, error)
            }
        };
        if let Some(first) = &file.first {
            self.finish_links(first, done.is_ok().then_some(&file.last));
        }
        done
    }

    /// Copies a file once more over the one that is there, if that is all that can be done.
    fn write_over(&self, file: &File, error: CopyError) -> Result<(), CopyError> {
        let is_file = |found: &Found| found.kind == FileKind::Regular && !found.is_link;
        let there = match &error {
            CopyError::Irreplaceable(_) => self.target.look(&file.last, false)?,
            _ => None,
        };
        if there.filter(is_file).is_none() {
            return Err(error);
        }
        let opened = match self.source.open_source(&file.from, &file.found)? {
            Some(source) => {
                let target = self.target.open(&file.last, Purpose::Over)?;
                target.map(|target| (source, target))
            }
            None => None,
        };
        match opened {
            None => {
                let data = self.source.read_whole(&file.from, &file.found, None)?;
                let new = NewMetadata::default();
                self.target
                    .write_whole(&file.last, Purpose::Over, &data, new)?;
            }
            Some((source, target)) => {
                let (mut block, mut offset) = (Block::default(), 0);
                loop {
                    let is_last = source.read(offset, false, &mut block)?.is_last;
                    if !block.data().is_empty() {
                        target.write(offset, block.data())?;
                    }
                    offset += block.data().len() as u64;
                    if is_last {
                        break;
                    }
                    if self.queue.stopped().is_some() {
                        let name = self.target.name(&file.last);
                        return Err(CopyError::of(name, "stopped; it is incomplete"));
                    }
                }
                // What is there by now is no copy of anything.
                let sized = file.found.size.filter(|size| *size > 0);
                if sized.is_some_and(|size| size != offset) {
                    let why = format!("{CHANGED}; what was written over is incomplete");
                    return Err(self.fault(&file.from, &why));
                }
                source.close()?;
                if self.target.abilities().takes_metadata {
                    // Who may write to a file may not set its time, unless it is theirs.
                    let _ = target.settle(NewMetadata {
                        modified: file.found.modified,
                        ..NewMetadata::default()
                    });
                }
                target.close()?;
            }
        }
        self.tell(&file.from, &file.last);
        Ok(())
    }

    fn keep_attributes(&self, from: &Path, to: &Path) -> Result<(), CopyError> {
        if !self.keeps_attributes {
            return Ok(());
        }
        let attributes = self.source.attributes(from)?;
        match attributes.is_empty() {
            true => Ok(()),
            false => self.target.set_attributes(to, &attributes),
        }
    }

    /// A mode, if the target can set one.
    fn settable(&self, mode: Option<u32>) -> Option<u32> {
        mode.filter(|_| self.target.abilities().sets_modes)
    }

    /// Removes what nobody can use: a part whose file has an error, as on a full disk.
    fn discard(&self, file: &File, error: CopyError) -> CopyError {
        if file.part != file.last && !matches!(error, CopyError::Lost(_)) {
            // The error that is told is the one that led here.
            let _ = self.target.remove(&file.part);
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
    pub(crate) fn leave_parts(&self) {
        let mut is_worth_it = false;
        for transfer in self.queue.abandoned() {
            if trusted(transfer.written()) > 0 && self.target.abilities().updates {
                is_worth_it = true;
            } else if transfer.file.part != transfer.file.last {
                // What is left behind hurts nobody.
                let _ = self.target.remove(&transfer.file.part);
            }
        }
        if is_worth_it {
            self.progress
                .say("stopped; the same command with --continue goes on from here");
        }
    }

    /// Removes the parts of files whose copying was stopped.
    pub(crate) fn remove_parts(&self) {
        for transfer in self.queue.abandoned() {
            if transfer.file.part != transfer.file.last {
                // What is left behind hurts nobody.
                let _ = self.target.remove(&transfer.file.part);
            }
        }
    }

    /// Gives a directory that we have made its time and mode, when all is in it.
    fn settle_directory(&self, directory: &Directory) {
        let Directory {
            from,
            to,
            found,
            is_ours,
            ..
        } = directory;
        if !is_ours || self.queue.stopped().is_some() {
            return;
        }
        let mode = found.mode.map(|mode| mode & KEPT);
        let new = NewMetadata {
            modified: found.modified,
            // It has the right one already, unless we ourselves needed more.
            permissions: self.settable(mode.filter(|mode| mode & OWN_DIRECTORY != OWN_DIRECTORY)),
            size: None,
        };
        let kept = self.keep_attributes(from, to);
        if let Err(error) = kept.and_then(|()| self.target.settle_directory(to, new)) {
            self.report(error);
        }
    }
}

/// None where a file is the trouble.
fn or_none<T>(result: Result<Option<T>, CopyError>) -> Result<Option<T>, CopyError> {
    match result {
        Err(CopyError::File(_) | CopyError::Irreplaceable(_) | CopyError::Full(_)) => Ok(None),
        result => result,
    }
}

/// What a new file is opened for.
fn purpose(part: &Path, last: &Path) -> Purpose {
    match part == last {
        true => Purpose::InPlace,
        false => Purpose::NewPart,
    }
}

/// The last name of a path; none for `/`, `.` and what ends in `..`.
pub(crate) fn last_name(path: &Path) -> Option<OsString> {
    let is_here = path.as_os_str().as_encoded_bytes().ends_with(b"/.");
    path.file_name()
        .filter(|_| !is_here)
        .map(std::borrow::ToOwned::to_owned)
}
