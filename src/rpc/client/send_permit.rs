//! Raw bytes are sent by one thread after the other: so there is one buffer of them at a time, and
//! who adds them sends them.

use std::sync::MutexGuard;
use std::time::Duration;

use crate::sys::sync::{Condvar, Mutex};

#[derive(Debug, Default)]
pub(super) struct SendPermits {
    is_taken: Mutex<bool>,
    free: Condvar,
}

/// Whose turn it is, until it is dropped.
pub(super) struct SendPermit<'a>(&'a SendPermits);

impl SendPermits {
    /// Waits for a turn; none when there was none within `limit`.
    pub(super) fn take(&self, limit: Duration) -> Option<SendPermit<'_>> {
        let waited = self
            .free
            .wait_timeout_while(self.lock(), limit, |is_taken| *is_taken);
        let (mut is_taken, _) = waited;
        (!std::mem::replace(&mut *is_taken, true)).then(|| SendPermit(self))
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_taken.lock()
    }
}

impl Drop for SendPermit<'_> {
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
        let send_permits = SendPermits::default();
        let first = send_permits.take(Duration::ZERO);
        assert!(first.is_some());
        assert!(send_permits.take(Duration::from_millis(1)).is_none());
        drop(first);
        let second = send_permits.take(Duration::ZERO);
        assert!(second.is_some() && send_permits.take(Duration::ZERO).is_none());
    }
}
