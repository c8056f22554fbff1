//! What is to be copied, and who takes it next.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::side::Found;
use super::transfer::{Claim, Transfer};
use crate::env::{FileKind, Names};
use crate::sys::sync::{Condvar, Mutex};

/// Memory for names that wait. Above it the names of some directories are forgotten, to be asked
/// for again when it is their turn.
const NAMES: usize = 16 * 1024 * 1024;

/// Something to be copied from one path to another.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) kind: FileKind,
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
    /// Whether it is written as it is, without a part: a device.
    pub(crate) in_place: bool,
    /// Whether a link is taken for what it leads to, as one that was named so.
    pub(crate) follows: bool,
    /// The directory that it is in, if that is copied too.
    pub(crate) parent: Option<Arc<Directory>>,
}

/// A directory that is being copied, and is there on both sides. Whatever of it waits or is under way has a share in it; who
/// gives back the last one settles it.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
    pub(crate) found: Found,
    /// Whether we have made it, so that its time and mode are ours to set.
    pub(crate) is_ours: bool,
    /// The one that it is in, if that is copied too.
    pub(crate) parent: Option<Arc<Directory>>,
}

impl Directory {
    /// Gives back a share: `settle` is called for each directory in which nothing is left to be
    /// done, the innermost first, since a mode may lock what is below.
    pub(crate) fn give_back(share: Option<Arc<Self>>, mut settle: impl FnMut(&Self)) {
        let mut share = share;
        while let Some(mut done) = share.and_then(Arc::into_inner) {
            settle(&done);
            share = done.parent.take();
        }
    }
}

/// What a thread does next.
pub(crate) enum Work {
    Job(Job),
    /// The block at this offset.
    Block(Arc<Transfer>, u64),
    /// To list a directory whose names were forgotten.
    List(Forgotten),
}

/// What of a directory waits together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Directories,
    /// And links, and whatever else is no directory.
    Files,
}

impl Sort {
    pub(crate) fn has(self, kind: FileKind) -> bool {
        (kind == FileKind::Directory) == (self == Self::Directories)
    }
}

/// Names that were forgotten.
pub(crate) struct Forgotten {
    pub(crate) directory: Arc<Directory>,
    pub(crate) sort: Sort,
    /// The last that was taken before.
    behind: Option<OsString>,
}

impl Forgotten {
    /// Whether a name is still to be taken.
    pub(crate) fn has(&self, name: &OsStr, kind: FileKind) -> bool {
        self.sort.has(kind) && self.behind.as_deref().is_none_or(|behind| behind < name)
    }
}

/// Why nothing more is to be done before all is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// This signal has come.
    Signal(i32),
    /// An environment is lost.
    Lost,
    /// There is no room at the destination.
    Full,
}

/// The work of one copy, shared by its threads.
///
/// Blocks of files that are open come first, then files and links, and directories last: so few
/// files are open, and no more names are held than those of the directories on the way down.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What was named.
    named: Option<Job>,
    files: VecDeque<Batch>,
    directories: Vec<Batch>,
    /// Bytes of the names in both.
    held: usize,
    transfers: Vec<Arc<Transfer>>,
    /// Threads that are doing something, which may add to the work.
    busy: usize,
    /// Threads that have not ended.
    threads: usize,
    stop: Option<Stop>,
}

/// Names of one directory that wait.
struct Batch {
    directory: Arc<Directory>,
    sort: Sort,
    waiting: Waiting,
}

enum Waiting {
    /// In order, and the index of the next, which there is.
    Names(Names, usize),
    /// They are to be listed again, from behind this one on.
    Forgotten(Option<OsString>),
}

impl Queue {
    /// Begins with this.
    pub(crate) fn begin(&self, job: Job) {
        self.state.lock().named = Some(job);
        self.changed.notify_all();
    }

    /// Adds names of a directory, all of one sort.
    pub(crate) fn add(&self, directory: &Arc<Directory>, sort: Sort, names: Names) {
        if names.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        state.held += names.size();
        let batch = Batch {
            directory: Arc::clone(directory),
            sort,
            waiting: Waiting::Names(names, 0),
        };
        // What was listed last comes first, and is the last to be forgotten.
        match sort {
            Sort::Files => state.files.push_front(batch),
            Sort::Directories => state.directories.push(batch),
        }
        state.forget();
        drop(state);
        self.changed.notify_all();
    }

    /// Opens a file's blocks for everyone.
    pub(crate) fn open(&self, transfer: Transfer) {
        self.state.lock().transfers.push(Arc::new(transfer));
        self.changed.notify_all();
    }

    /// Takes a file away whose blocks are all copied.
    pub(crate) fn close(&self, transfer: &Arc<Transfer>) {
        let mut state = self.state.lock();
        state.transfers.retain(|open| !Arc::ptr_eq(open, transfer));
    }

    /// The next piece of work, for a thread that ends when there is none. After it was done,
    /// [`Queue::done`].
    pub(crate) fn next(&self) -> Option<Work> {
        let mut state = self.state.lock();
        loop {
            if state.stop.is_some() {
                return None;
            }
            if let Some(work) = state.take() {
                state.busy += 1;
                return Some(work);
            }
            if state.busy == 0 {
                return None;
            }
            state = self.changed.wait(state);
        }
    }

    /// The piece is done: it may have been the last, or have made room for one more besides the
    /// one that this thread takes next.
    pub(crate) fn done(&self) {
        let mut state = self.state.lock();
        state.busy -= 1;
        match state.busy {
            0 => self.changed.notify_all(),
            _ => self.changed.notify_one(),
        }
    }

    /// Ends everything after the pieces that are under way; whether nothing else has before.
    pub(crate) fn stop(&self, why: Stop) -> bool {
        let mut state = self.state.lock();
        let is_first = state.stop.is_none();
        state.stop.get_or_insert(why);
        self.changed.notify_all();
        is_first
    }

    pub(crate) fn stopped(&self) -> Option<Stop> {
        self.state.lock().stop
    }

    /// Whether all directories have been read, so that all names are known.
    pub(crate) fn is_listed(&self) -> bool {
        let state = self.state.lock();
        state.named.is_none() && state.directories.is_empty() && state.files.is_empty()
    }

    /// Files whose copying was stopped.
    pub(crate) fn abandoned(&self) -> Vec<Arc<Transfer>> {
        std::mem::take(&mut self.state.lock().transfers)
    }

    /// One thread more, or less.
    pub(crate) fn thread_begins(&self) {
        self.state.lock().threads += 1;
    }

    pub(crate) fn thread_ends(&self) {
        self.state.lock().threads -= 1;
        self.changed.notify_all();
    }

    /// Waits until all threads have ended, at most for `limit`.
    pub(crate) fn wait_for_threads(&self, limit: Duration) -> bool {
        let state = self.state.lock();
        let waited = self
            .changed
            .wait_timeout_while(state, limit, |state| state.threads > 0);
        let (state, _) = waited;
        state.threads == 0
    }
}

impl State {
    fn take(&mut self) -> Option<Work> {
        for transfer in &self.transfers {
            if let Claim::Block(offset) = transfer.claim() {
                return Some(Work::Block(Arc::clone(transfer), offset));
            }
        }
        if let Some(job) = self.named.take() {
            return Some(Work::Job(job));
        }
        let batch = match self.files.front_mut() {
            Some(batch) => batch,
            None => self.directories.last_mut()?,
        };
        if let Some(job) = batch.take() {
            return Some(Work::Job(job));
        }
        let batch = match self.files.is_empty() {
            false => self.files.pop_front(),
            true => self.directories.pop(),
        }?;
        self.held -= batch.size();
        batch.last()
    }

    /// Keeps the memory for names within its limit, but for those that are taken next: forgets
    /// others, first of directories that come last.
    fn forget(&mut self) {
        let Self {
            files, directories, ..
        } = self;
        let kept = usize::from(files.is_empty());
        let later = directories.len().saturating_sub(kept);
        let others = directories[..later].iter_mut();
        for batch in others.chain(files.iter_mut().skip(1).rev()) {
            if self.held <= NAMES {
                return;
            }
            self.held -= batch.size();
            batch.forget();
        }
    }
}

impl Batch {
    fn size(&self) -> usize {
        match &self.waiting {
            Waiting::Names(names, _) => names.size(),
            Waiting::Forgotten(_) => 0,
        }
    }

    /// The next of several names; none where the batch has to go for it.
    fn take(&mut self) -> Option<Job> {
        let Waiting::Names(names, next) = &mut self.waiting else {
            return None;
        };
        if *next + 1 >= names.len() {
            return None;
        }
        let (name, kind) = names.get(*next)?;
        *next += 1;
        Some(job(name, kind, Arc::clone(&self.directory)))
    }

    /// What is left of it, with its share in the directory.
    fn last(self) -> Option<Work> {
        let Self {
            directory, sort, ..
        } = self;
        match self.waiting {
            Waiting::Names(names, next) => {
                let (name, kind) = names.get(next)?;
                Some(Work::Job(job(name, kind, directory)))
            }
            Waiting::Forgotten(behind) => Some(Work::List(Forgotten {
                directory,
                sort,
                behind,
            })),
        }
    }

    fn forget(&mut self) {
        if let Waiting::Names(names, next) = &self.waiting {
            let before = next.checked_sub(1).and_then(|before| names.get(before));
            let behind = before.map(|(name, _)| name.to_owned());
            self.waiting = Waiting::Forgotten(behind);
        }
    }
}

/// What becomes of a name in a directory.
fn job(name: &OsStr, kind: FileKind, parent: Arc<Directory>) -> Job {
    Job {
        kind,
        from: parent.from.join(name),
        to: parent.to.join(name),
        in_place: false,
        follows: false,
        parent: Some(parent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> Arc<Directory> {
        Arc::new(Directory {
            from: name.into(),
            to: name.into(),
            found: Found {
                kind: FileKind::Directory,
                is_link: false,
                size: None,
                modified: None,
                mode: None,
                version: None,
                is_sparse: false,
                id: None,
                links: 1,
            },
            is_ours: true,
            parent: None,
        })
    }

    fn names(count: usize, length: usize, kind: FileKind) -> Names {
        let mut names = Names::default();
        for number in 0..count {
            assert!(names.push(format!("{number:0length$}").as_ref(), kind));
        }
        names
    }

    fn job_of(work: Option<Work>) -> String {
        match work {
            Some(Work::Job(job)) => job.from.to_str().unwrap().to_owned(),
            _ => panic!("no job"),
        }
    }

    #[test]
    fn files_come_before_directories_and_what_was_listed_last_first() {
        let queue = Queue::default();
        let (one, other) = (directory("1"), directory("2"));
        for at in [&one, &other] {
            queue.add(at, Sort::Directories, names(2, 1, FileKind::Directory));
            queue.add(at, Sort::Files, names(1, 1, FileKind::Regular));
        }
        let taken: Vec<_> = (0..6).map(|_| job_of(queue.next())).collect();
        assert_eq!(taken, ["2/0", "1/0", "2/0", "2/1", "1/0", "1/1"]);
    }

    #[test]
    fn names_above_the_limit_are_forgotten_and_asked_for_again() {
        let queue = Queue::default();
        let (first, second) = (directory("first"), directory("second"));
        let many = || names(NAMES / 100, 80, FileKind::Directory);
        queue.add(&first, Sort::Directories, many());
        let taken = job_of(queue.next());
        queue.add(&second, Sort::Directories, many());
        assert_eq!(queue.state.lock().held, many().size());
        for number in 0..NAMES / 100 {
            assert_eq!(job_of(queue.next()), format!("second/{number:080}"));
        }
        let Some(Work::List(forgotten)) = queue.next() else {
            panic!("they were kept");
        };
        assert_eq!(queue.state.lock().held, 0);
        assert!(Arc::ptr_eq(&forgotten.directory, &first));
        let last = taken.strip_prefix("first/").unwrap();
        let next = format!("{:080}", 1);
        assert!(!forgotten.has(last.as_ref(), FileKind::Directory));
        assert!(forgotten.has(next.as_ref(), FileKind::Directory));
        assert!(!forgotten.has(next.as_ref(), FileKind::Regular));
    }
}
