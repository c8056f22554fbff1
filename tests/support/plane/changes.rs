//! What changes at a control plane, for those who wait for it.

use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// How often something has changed.
#[derive(Default)]
pub(super) struct Changes {
    count: Mutex<u64>,
    told: Condvar,
}

impl Changes {
    /// Something is not what it was; said after it, with no lock held that a condition takes.
    pub(super) fn tell(&self) {
        *self.count.lock().unwrap() += 1;
        self.told.notify_all();
    }

    /// Waits until `condition` holds, which is asked anew after each change; whether it does within `limit`.
    pub(super) fn until(&self, limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
        let begun = Instant::now();
        loop {
            // Before the condition is asked, so that no change falls between the two.
            let seen = *self.count.lock().unwrap();
            if condition() {
                return true;
            }
            let left = limit.saturating_sub(begun.elapsed());
            let count = self.count.lock().unwrap();
            let wait = self
                .told
                .wait_timeout_while(count, left, |count| *count == seen);
            if wait.unwrap().1.timed_out() {
                return false;
            }
        }
    }
}
