//! What a connection has yet to send.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::OUTPUT_LIMIT;
use crate::rpc::transport::frame;
use crate::rpc::transport::mask::Masks;
use crate::sys::event::WakeEvent;

/// What is yet to be sent, and how that goes.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) buffer: Vec<u8>,
    /// How much of the buffer is sent already.
    pub(super) sent: usize,
    /// Whether a long message is on its way.
    pub(super) has_long: bool,
    /// Whole messages that wait for its end.
    pub(super) behind: Vec<u8>,
    /// Whether somebody has the duty to flush.
    pub(super) has_flusher: bool,
    pub(super) is_dead: bool,
    /// Bytes that the stream has taken so far.
    pub(super) total_sent: u64,
    /// Whether the stream was full at the last attempt.
    pub(super) was_full: bool,
    /// How often a full stream had room again.
    pub(super) drained: u64,
    pub(super) wakers: Vec<Arc<WakeEvent>>,
    /// Threads that wait for room: waking nobody costs a system call too.
    pub(super) waiting: usize,
    /// What the last ping said that is not answered yet, because too much is unsent.
    pub(super) owed_pong: Option<Vec<u8>>,
    /// For the frames that are added.
    pub(super) masks: Masks,
}

impl State {
    pub(super) fn new(masks: Masks) -> Self {
        Self {
            masks,
            ..Self::default()
        }
    }

    /// Keeps a waker, once, for when there is room.
    pub(super) fn remember(&mut self, waker: &Arc<WakeEvent>) {
        if !self.wakers.iter().any(|known| Arc::ptr_eq(known, waker)) {
            self.wakers.push(Arc::clone(waker));
        }
    }

    pub(super) fn unsent(&self) -> usize {
        self.pending() + self.behind.len()
    }

    /// What could be sent now.
    pub(super) fn pending(&self) -> usize {
        self.buffer.len() - self.sent
    }

    /// What the limit on output counts: not the pieces of a long message, which has its own.
    pub(super) fn ahead_of_output(&self) -> usize {
        if self.has_long {
            self.behind.len()
        } else {
            self.pending()
        }
    }

    /// Where the next whole message goes, and what masks it.
    pub(super) fn end(&mut self) -> (&mut Vec<u8>, &mut Masks) {
        let out = if self.has_long {
            &mut self.behind
        } else {
            &mut self.buffer
        };
        (out, &mut self.masks)
    }

    /// Adds the pong that is owed, unless the peer takes too little; whether it did.
    pub(super) fn settle_pong(&mut self) -> bool {
        if self.pending() > OUTPUT_LIMIT {
            return false;
        }
        let Some(payload) = self.owed_pong.take() else {
            return false;
        };
        self.compact();
        frame::pong(&mut self.buffer, &mut self.masks, &payload);
        true
    }

    /// Makes room in the buffer where that costs little.
    pub(super) fn compact(&mut self) {
        if self.sent >= self.buffer.len() / 2 && self.sent > 0 {
            let sent = std::mem::take(&mut self.sent);
            self.buffer.drain(..sent);
        }
    }
}

/// Whether the client takes anything.
pub(super) struct Progress {
    total_sent: u64,
    since: Instant,
}

impl Progress {
    pub(super) fn new(state: &State) -> Self {
        Self {
            total_sent: state.total_sent,
            since: Instant::now(),
        }
    }

    /// Whether it has taken nothing for as long as `patience`.
    pub(super) fn is_over(&mut self, state: &State, patience: Duration) -> bool {
        if state.total_sent != self.total_sent {
            *self = Self::new(state);
        }
        self.since.elapsed() >= patience
    }
}
