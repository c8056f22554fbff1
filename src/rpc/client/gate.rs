//! When the reader may read on: memory for what a slow consumer has not taken yet.
//!
//! Output that arrives is queued until somebody asks for it. Above [`SOFT`] bytes the reader stops,
//! the socket fills, and the server lets its programs wait: no byte is lost and nothing is read
//! twice. But answers come through the same socket, and the consumer may itself wait for one, or
//! for the output of another process; so while anybody waits for something the reader goes on, up
//! to [`HARD`] bytes. Beyond that it stops whoever waits, and a call that waits runs into its time
//! limit: an error, never a lost byte.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Queued bytes above which the reader stops while nobody waits.
pub(super) const SOFT: usize = 4 * 1024 * 1024;
/// Queued bytes above which it always stops.
pub(super) const HARD: usize = 64 * 1024 * 1024;

/// What an event costs besides its bytes.
pub(super) const EVENT_COST: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queued: usize,
    waiting: usize,
    is_ended: bool,
}

impl State {
    fn is_open(&self) -> bool {
        self.is_ended || self.queued <= SOFT || (self.waiting > 0 && self.queued <= HARD)
    }
}

/// Somebody waits for what the reader brings.
pub(super) struct Waiter<'a>(&'a Gate);

impl Gate {
    pub(super) fn add(&self, bytes: usize) {
        self.lock().queued += bytes;
    }

    pub(super) fn release(&self, bytes: usize) {
        let mut state = self.lock();
        state.queued = state.queued.saturating_sub(bytes);
        self.tell(&state);
    }

    /// From now on, until the result is dropped.
    pub(super) fn waiter(&self) -> Waiter<'_> {
        let mut state = self.lock();
        state.waiting += 1;
        self.tell(&state);
        Waiter(self)
    }

    /// Lets the reader go, to its own end.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.is_ended = true;
        self.tell(&state);
    }

    /// For the reader: waits until it may read. False when it still may not after `limit`.
    pub(super) fn wait(&self, limit: Duration) -> bool {
        let state = self.lock();
        let is_shut = |state: &mut State| !state.is_open();
        let waited = self.changed.wait_timeout_while(state, limit, is_shut);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_open()
    }

    fn tell(&self, state: &State) {
        if state.is_open() {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shuts_above_the_limit_unless_somebody_waits() {
        let gate = Gate::default();
        gate.add(SOFT);
        assert!(gate.wait(Duration::ZERO));
        gate.add(1);
        assert!(!gate.wait(Duration::ZERO));
        let waiter = gate.waiter();
        assert!(gate.wait(Duration::ZERO));
        gate.add(HARD);
        assert!(!gate.wait(Duration::ZERO));
        drop(waiter);
        gate.release(HARD + 1);
        assert!(gate.wait(Duration::ZERO));
        gate.add(HARD);
        gate.end();
        assert!(gate.wait(Duration::ZERO));
    }
}
