//! Carrying messages: websocket frames and lines of text, over any stream.
//!
//! A connection is two halves that share nothing but the stream.
//!
//! * The reader ([`WebSocketReader`], [`LineReader`]) belongs to one thread,
//!   which sleeps in a read and hands out one message at a time, borrowed
//!   from its buffer.
//! * [`Outbound`] belongs to everyone. Whichever thread has a message writes it
//!   into the buffer and sends what the stream takes at once, so an answer
//!   needs no second thread. Who finds the stream full does not wait: one
//!   thread takes over the rest and polls for room.

mod frame;
mod lines;
mod outbound;
mod payload;
mod websocket;

pub use frame::{Goodbye, Role};
pub use lines::LineReader;
pub use outbound::{Flush, Framing, LongMessage, Offer, Outbound};
pub use payload::{Payload, PayloadBuffer, PayloadError};
pub use websocket::WebSocketReader;

use std::time::{Duration, Instant};

use super::message::OwnedRequestId;
use crate::memory;

/// The largest message taken from a peer, in bytes: the reference's limit.
pub const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// What a reader has come upon.
#[derive(Debug)]
pub enum Received {
    /// A whole message; it is in the reader until the next call.
    Message,
    /// The payload of the last message, as [`Reader::expect`] has asked for.
    Payload(Result<Vec<u8>, PayloadError>),
    /// A message that was thrown away unread, and the id of the request that it was, if its beginning
    /// has told it.
    Refused(Refusal, Option<OwnedRequestId>),
    /// Nothing within the time allowed.
    Idle,
    /// The peer is gone, or has broken the framing; nothing more will come.
    Closed(String),
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is larger than [`most`].
    TooLarge,
    /// The memory for large messages is used up at the moment.
    Busy,
    /// It has not gone on, and others wait for the memory that it has.
    Stalled,
}

/// The largest message that is taken, in bytes: there is memory for one at least.
pub fn most() -> usize {
    MAX_MESSAGE.min(memory::limit())
}

/// Bytes of a message that is refused which are looked through for its id.
const HEAD: usize = 4096;

/// How long a message that holds memory may bring less than [`PROGRESS`] bytes, while others are
/// refused for want of it.
const STALL: Duration = Duration::from_secs(10);
/// What a slow line carries in that time, in bytes.
const PROGRESS: usize = 64 * 1024;

/// How the message that is arriving gets on.
struct Pace {
    /// What had come of it.
    bytes: usize,
    since: Instant,
    /// How many had been refused.
    refusals: usize,
}

impl Pace {
    fn new(bytes: usize) -> Self {
        Self {
            bytes,
            since: Instant::now(),
            refusals: memory::refusals(),
        }
    }

    /// Whether it has to make room for others, so many bytes of it being here.
    fn is_stalled(&mut self, bytes: usize) -> bool {
        let has_moved = bytes < self.bytes || bytes - self.bytes >= PROGRESS;
        let is_over = self.since.elapsed() >= STALL;
        let is_stalled = is_over && !has_moved && memory::refusals() != self.refusals;
        if has_moved || is_over {
            *self = Self::new(bytes);
        }
        is_stalled
    }

    /// How long until that has to be looked at again: in whole seconds, so that a socket need not be
    /// told another limit for every message.
    fn left(&self) -> Duration {
        let left = STALL.saturating_sub(self.since.elapsed());
        Duration::from_secs(left.as_secs() + 1)
    }
}

/// One thread's end of a connection.
pub trait Reader {
    /// The next message, or what happened instead. What was added to the
    /// outbound half is sent before this waits.
    fn receive(&mut self, timeout: Duration) -> Received;

    /// The message of the last [`Received::Message`].
    fn message(&self) -> &[u8];

    /// Whether something of what follows that message is here already.
    fn has_more(&self) -> bool;

    /// Says what follows the last message, before anything else is received.
    fn expect(&mut self, payload: Payload);

    /// Forgets the last message, and gives back the memory that a long one needed.
    fn shrink(&mut self);

    /// When the peer was last heard of.
    fn last_heard(&self) -> Instant;
}
