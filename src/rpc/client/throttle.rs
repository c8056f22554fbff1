//! When the reader may read on: memory for what a slow consumer has not taken yet.
//!
//! Output that arrives is queued until somebody asks for it. Above [`SOFT`] bytes the reader stops,
//! the socket fills, and the server lets its programs wait: no byte is lost and nothing is read
//! twice. But answers come through the same socket, and the consumer may itself wait for one, or
//! for the output of another process; so while anybody waits for something the reader goes on, up
//! to [`HARD`] bytes. Beyond that it stops whoever waits, and a call that waits runs into its time
//! limit: an error, never a lost byte.
//!
//! Long answers count by themselves, from their arrival until their caller has read them, which no
//! caller waits with: so of many that come together few are held at a time.

use std::sync::Arc;
use std::time::Duration;

use crate::sys::sync::{Condvar, Mutex};

/// Queued bytes above which the reader stops while nobody waits.
const SOFT: usize = 4 * 1024 * 1024;
/// Queued bytes above which it always stops.
const HARD: usize = 64 * 1024 * 1024;

/// Bytes of answers above which the reader stops until some are read.
const ANSWERS: usize = 8 * 1024 * 1024;
/// Shorter answers are not counted: there are no more of them than callers.
const LONG: usize = 64 * 1024;

/// What an event costs besides its bytes.
pub(crate) const EVENT_COST: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct ReadThrottle {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queued: usize,
    /// Bytes of long answers that are not read yet.
    answers: usize,
    waiting: usize,
    is_ended: bool,
}

impl State {
    fn is_open(&self) -> bool {
        let has_room = self.queued <= SOFT || (self.waiting > 0 && self.queued <= HARD);
        self.is_ended || (has_room && self.answers <= ANSWERS)
    }
}

/// A long answer that is not read yet, of so many bytes.
#[derive(Debug)]
pub(crate) struct Held {
    throttle: Arc<ReadThrottle>,
    bytes: usize,
}

/// Somebody waits for what the reader brings.
pub(crate) struct Waiter<'a>(&'a ReadThrottle);

impl ReadThrottle {
    pub(crate) fn add(&self, bytes: usize) {
        self.state.lock().queued += bytes;
    }

    pub(crate) fn release(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.queued = state.queued.saturating_sub(bytes);
        self.tell(&state);
    }

    /// Counts an answer until the result is dropped; none for a short one.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        if bytes < LONG {
            return None;
        }
        self.state.lock().answers += bytes;
        let throttle = Arc::clone(self);
        Some(Held { throttle, bytes })
    }

    /// From now on, until the result is dropped.
    pub(crate) fn waiter(&self) -> Waiter<'_> {
        let mut state = self.state.lock();
        state.waiting += 1;
        self.tell(&state);
        Waiter(self)
    }

    /// Lets the reader go, to its own end.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        state.is_ended = true;
        self.tell(&state);
    }

    /// For the reader: waits until it may read. False when it still may not after `limit`.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let state = self.state.lock();
        let is_shut = |state: &mut State| !state.is_open();
        let waited = self.changed.wait_timeout_while(state, limit, is_shut);
        waited.0.is_open()
    }

    fn tell(&self, state: &State) {
        if state.is_open() {
            self.changed.notify_all();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.throttle.state.lock();
        state.answers -= self.bytes;
        self.throttle.tell(&state);
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.state.lock().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shuts_above_the_limit_unless_somebody_waits() {
        let throttle = ReadThrottle::default();
        throttle.add(SOFT);
        assert!(throttle.wait(Duration::ZERO));
        throttle.add(1);
        assert!(!throttle.wait(Duration::ZERO));
        let waiter = throttle.waiter();
        assert!(throttle.wait(Duration::ZERO));
        throttle.add(HARD);
        assert!(!throttle.wait(Duration::ZERO));
        drop(waiter);
        throttle.release(HARD + 1);
        assert!(throttle.wait(Duration::ZERO));
        throttle.add(HARD);
        throttle.end();
        assert!(throttle.wait(Duration::ZERO));
    }

    #[test]
    fn it_shuts_for_long_answers_until_they_are_read() {
        let throttle = Arc::new(ReadThrottle::default());
        assert!(throttle.hold(LONG - 1).is_none());
        let first = throttle.hold(ANSWERS);
        assert!(throttle.wait(Duration::ZERO));
        let second = throttle.hold(LONG);
        let _waiter = throttle.waiter();
        assert!(!throttle.wait(Duration::ZERO));
        drop(first);
        assert!(throttle.wait(Duration::ZERO));
        drop(second);
        assert_eq!(throttle.state.lock().answers, 0);
    }
}
