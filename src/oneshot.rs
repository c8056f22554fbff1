//! One answer from one thread to another, for which that one waits.
//!
//! A channel of the standard library does it too, at four allocations an answer and 8 kB of code
//! for each type that is answered with.

use std::sync::Arc;
use std::time::Duration;

use crate::sys::sync::{Condvar, Mutex};

/// Where the answer comes from. Dropped without one, it wakes who waits.
pub struct Sender<T>(Arc<Shared<T>>);

/// Where it arrives.
pub struct Receiver<T>(Arc<Shared<T>>);

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvError {
    /// The time is up.
    TimedOut,
    /// Whoever was to give it has gone.
    Gone,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

enum State<T> {
    Open,
    Given(T),
    Gone,
}

/// Both ends of an answer that is still to be given.
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State::Open),
        changed: Condvar::new(),
    });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

impl<T> Sender<T> {
    /// Sends the answer; nobody needs to wait for it any more.
    pub fn send(self, answer: T) {
        *self.0.state.lock() = State::Given(answer);
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        if matches!(*state, State::Open) {
            *state = State::Gone;
        }
        drop(state);
        self.0.changed.notify_one();
    }
}

impl<T> Receiver<T> {
    /// The answer, within `limit`, or whenever it comes.
    ///
    /// # Errors
    /// There is none in time, or there will be none.
    pub fn wait(self, limit: Option<Duration>) -> Result<T, RecvError> {
        let is_open = |state: &mut State<T>| matches!(state, State::Open);
        let state = self.0.state.lock();
        let changed = &self.0.changed;
        let mut state = match limit {
            Some(limit) => changed.wait_timeout_while(state, limit, is_open).0,
            None => changed.wait_while(state, is_open),
        };
        match std::mem::replace(&mut *state, State::Gone) {
            State::Given(answer) => Ok(answer),
            State::Open => Err(RecvError::TimedOut),
            State::Gone => Err(RecvError::Gone),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Option<Duration> = Some(Duration::from_secs(10));

    #[test]
    fn an_answer_arrives_from_another_thread() {
        let (sender, receiver) = channel();
        let thread = std::thread::spawn(move || sender.send(7));
        assert_eq!(receiver.wait(LONG), Ok(7));
        thread.join().unwrap();
    }

    #[test]
    fn who_waits_learns_that_no_answer_will_come() {
        let (sender, receiver) = channel::<()>();
        let thread = std::thread::spawn(move || drop(sender));
        assert_eq!(receiver.wait(None), Err(RecvError::Gone));
        thread.join().unwrap();
    }

    #[test]
    fn the_wait_ends_with_its_time() {
        let (sender, receiver) = channel::<()>();
        assert_eq!(
            receiver.wait(Some(Duration::ZERO)),
            Err(RecvError::TimedOut)
        );
        sender.send(());
    }
}
