//! Whether something was mounted, or unmounted, since a sandbox was made.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::sys::poll::{self, EXCEPTIONAL, PollFd};

/// Counts the changes of the list of mounts.
#[derive(Debug)]
pub(super) struct Mounts(Mutex<Count>);

#[derive(Debug)]
struct Count {
    /// None where there is no `/proc`.
    list: Option<File>,
    changes: u64,
}

impl Mounts {
    pub(super) fn open() -> Self {
        Self(Mutex::new(Count {
            list: File::open("/proc/self/mountinfo").ok(),
            changes: 0,
        }))
    }

    /// How often the list is known to have changed. Where that cannot be known, it always has.
    pub(super) fn changes(&self) -> u64 {
        let mut count = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_changed = count.list.as_ref().is_none_or(|list| {
            let mut fds = [PollFd::new(list.as_fd(), EXCEPTIONAL)];
            poll::wait(&mut fds, Some(Duration::ZERO)).is_err() || fds[0].is_ready()
        });
        count.changes += u64::from(has_changed);
        count.changes
    }
}
