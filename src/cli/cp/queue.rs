//! What is to be copied, and who takes it next.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::transfer::{Claim, Transfer};
use crate::env::FileKind;

/// Something to be copied from one path to another.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) kind: FileKind,
    pub(super) from: PathBuf,
    pub(super) to: PathBuf,
    /// Whether it is written as it is, without a part: a device.
    pub(super) in_place: bool,
    /// Whether a link is taken for what it leads to, as one that was named so.
    pub(super) follows: bool,
}

/// What a thread does next.
pub(super) enum Work {
    Job(Job),
    /// The block at this offset.
    Block(Arc<Transfer>, u64),
}

/// Why nothing more is to be done before all is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// This signal has come.
    Signal(i32),
    /// An environment is lost.
    Lost,
}

/// The work of one copy, shared by its threads.
///
/// Blocks of files that are open come first, then files and links, and directories last: so few
/// files are open, and no more names are held than those of the directories on the way down.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    files: VecDeque<Job>,
    directories: Vec<Job>,
    transfers: Vec<Arc<Transfer>>,
    /// Threads that are doing something, which may add to the work.
    busy: usize,
    /// Threads that have not ended.
    threads: usize,
    stop: Option<Stop>,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, jobs: impl IntoIterator<Item = Job>) {
        let mut state = self.state();
        for job in jobs {
            match job.kind {
                FileKind::Directory => state.directories.push(job),
                _ => state.files.push_back(job),
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Opens a file's blocks for everyone.
    pub(super) fn open(&self, transfer: Transfer) {
        self.state().transfers.push(Arc::new(transfer));
        self.changed.notify_all();
    }

    /// Takes a file away whose blocks are all copied.
    pub(super) fn close(&self, transfer: &Arc<Transfer>) {
        let mut state = self.state();
        state.transfers.retain(|open| !Arc::ptr_eq(open, transfer));
    }

    /// The next piece of work, for a thread that ends when there is none. After it was done,
    /// [`Queue::done`].
    pub(super) fn next(&self) -> Option<Work> {
        let mut state = self.state();
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
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The piece is done: it may have been the last, or have made room for one more besides the
    /// one that this thread takes next.
    pub(super) fn done(&self) {
        let mut state = self.state();
        state.busy -= 1;
        match state.busy {
            0 => self.changed.notify_all(),
            _ => self.changed.notify_one(),
        }
    }

    /// Ends everything after the pieces that are under way.
    pub(super) fn stop(&self, why: Stop) {
        self.state().stop.get_or_insert(why);
        self.changed.notify_all();
    }

    pub(super) fn stopped(&self) -> Option<Stop> {
        self.state().stop
    }

    /// Whether all directories have been read, so that all names are known.
    pub(super) fn is_listed(&self) -> bool {
        let state = self.state();
        state.directories.is_empty() && state.files.is_empty()
    }

    /// Files whose copying was stopped.
    pub(super) fn abandoned(&self) -> Vec<Arc<Transfer>> {
        std::mem::take(&mut self.state().transfers)
    }

    /// One thread more, or less.
    pub(super) fn thread_begins(&self) {
        self.state().threads += 1;
    }

    pub(super) fn thread_ends(&self) {
        self.state().threads -= 1;
        self.changed.notify_all();
    }

    /// Waits until all threads have ended, at most for `limit`.
    pub(super) fn wait_for_threads(&self, limit: Duration) -> bool {
        let state = self.state();
        let waited = self
            .changed
            .wait_timeout_while(state, limit, |state| state.threads > 0);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
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
        let job = self.files.pop_front().or_else(|| self.directories.pop())?;
        Some(Work::Job(job))
    }
}
