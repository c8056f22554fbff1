//! Raw bytes are sent by one thread after the other: so there is one buffer of them at a time, and
//! who adds them sends them.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Turns {
    is_taken: Mutex<bool>,
    free: Condvar,
}

/// Whose turn it is, until it is dropped.
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    /// Waits for a turn; none when there was none within `limit`.
    pub(super) fn take(&self, limit: Duration) -> Option<Turn<'_>> {
        let waited = self
            .free
            .wait_timeout_while(self.lock(), limit, |is_taken| *is_taken);
        let (mut is_taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (!std::mem::replace(&mut *is_taken, true)).then(|| Turn(self))
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.lock() = false;
        self.0.free.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_at_a_time() {
        let turns = Turns::default();
        let first = turns.take(Duration::ZERO);
        assert!(first.is_some());
        assert!(turns.take(Duration::from_millis(1)).is_none());
        drop(first);
        let second = turns.take(Duration::ZERO);
        assert!(second.is_some() && turns.take(Duration::ZERO).is_none());
    }
}
