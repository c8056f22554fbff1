//! Waiting until the peer has taken something.

use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use super::state::{Progress, State};
use super::{ANSWER_LIMIT, FLUSH_TICK, Outbound};
use crate::sys::poll::{self, PollFd, WRITABLE};

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

    /// For who has much to send and may wait: sends until all is gone that is unsent now, so that
    /// the buffer is free for what comes next, and no thread has to be started for the rest. False
    /// when the connection is dead, or its peer has taken nothing for as long as `patience`.
    pub fn send_waiting(self: &Arc<Self>, patience: Duration) -> bool {
        let mut state = self.lock();
        let mark = state.total_sent + state.unsent() as u64;
        let mut progress = Progress::new(&state);
        let mut has_duty = false;
        loop {
            self.push(&mut state);
            let is_over = state.total_sent >= mark || state.is_dead;
            if is_over || progress.is_over(&state, patience) {
                break;
            }
            has_duty |= !std::mem::replace(&mut state.has_flusher, true);
            // What is behind a long message comes when that is finished.
            if !has_duty || state.pending() == 0 {
                state = self.wait(state, FLUSH_TICK);
                continue;
            }
            drop(state);
            // Should it fail, the stream is broken, and the next push finds that out.
            let _ = poll::wait(&mut [PollFd::new(self.fd(), WRITABLE)], Some(FLUSH_TICK));
            state = self.lock();
        }
        let is_sent = state.total_sent >= mark;
        drop(state);
        if has_duty {
            self.give_up_duty();
        }
        is_sent
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
        let (mut state, _) = self.room.wait_timeout(state, limit);
        state.waiting -= 1;
        state
    }
}

#[cfg(test)]
mod tests {
    use super::super::long::tests::pair;
    use super::*;
    use std::io::Read;
    use std::thread;

    /// More than a socket takes at once.
    const MUCH: usize = 64 * 1024 * 1024;

    #[test]
    fn who_sends_waiting_leaves_nothing_unsent_and_starts_no_thread() {
        let (outbound, mut client) = pair();
        let reader = thread::spawn(move || {
            let mut text = Vec::new();
            client.read_to_end(&mut text).unwrap();
            text.len()
        });
        outbound.add(|out| out.resize(out.len() + MUCH, b'x'));
        assert!(outbound.send_waiting(Duration::from_secs(20)));
        assert_eq!(outbound.unsent(), 0);
        assert!(!outbound.lock().has_flusher);
        outbound.stop_sending();
        assert_eq!(reader.join().unwrap(), MUCH + 1);
    }

    #[test]
    fn a_peer_that_takes_nothing_is_not_waited_for_and_keeps_the_connection() {
        let (outbound, mut client) = pair();
        outbound.add(|out| out.resize(out.len() + MUCH, b'x'));
        assert!(!outbound.send_waiting(Duration::from_millis(100)));
        assert!(!outbound.is_dead());
        // The rest is somebody else's now.
        let mut text = vec![0; MUCH + 1];
        client.read_exact(&mut text).unwrap();
        assert!(!outbound.is_dead());
    }
}
