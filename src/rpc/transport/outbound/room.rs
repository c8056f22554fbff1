//! Waiting until the peer has taken something.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::state::{Progress, State};
use super::{ANSWER_LIMIT, FLUSH_TICK, Outbound};

impl Outbound {
    /// Waits until the client has taken enough of its answers. False, and the
    /// end of the connection, when it takes nothing for as long as `patience`.
    pub fn wait_for_room(self: &Arc<Self>, patience: Duration) -> bool {
        self.wait_until_below(ANSWER_LIMIT, patience)
    }

    /// The same for who answers much and leaves room for others: waits until at most `limit`
    /// bytes are unsent.
    pub fn wait_until_below(self: &Arc<Self>, limit: usize, patience: Duration) -> bool {
        let mut state = self.lock();
        if state.unsent() > limit {
            // What was only added has nobody yet who sends it.
            drop(state);
            self.flush();
            state = self.lock();
        }
        let mut progress = Progress::new(&state);
        while state.unsent() > limit && !state.is_dead {
            state = self.wait(state, FLUSH_TICK);
            if progress.is_over(&state, patience) {
                self.die(&mut state);
                return false;
            }
        }
        true
    }

    /// Sends what is left until `deadline`; whether all of it went.
    pub fn drain(self: &Arc<Self>, deadline: Instant) -> bool {
        self.flush();
        let mut state = self.lock();
        while (state.unsent() > 0 || state.has_long) && !state.is_dead {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.wait(state, left);
        }
        !state.is_dead
    }

    pub(super) fn wait<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        limit: Duration,
    ) -> MutexGuard<'a, State> {
        state.waiting += 1;
        let waited = self.room.wait_timeout(state, limit);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state
    }
}
