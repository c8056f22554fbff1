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
pub use payload::{
    Payload, PayloadBuffer, PayloadError, give_back_block, shrink_blocks, take_block,
};
pub use websocket::WebSocketReader;

/// The largest message taken from a peer, in bytes: the reference's limit.
pub const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// What a reader has come upon.
#[derive(Debug)]
pub enum Received {
    /// A whole message; it is in the reader until the next call.
    Message,
    /// The payload of the last message, as [`Reader::expect`] has asked for.
    Payload(Result<Vec<u8>, PayloadError>),
    /// A message that was thrown away unread.
    Refused(Refusal),
    /// Nothing within the time allowed.
    Idle,
    /// The peer is gone, or has broken the framing; nothing more will come.
    Closed(String),
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is larger than [`MAX_MESSAGE`].
    TooLarge,
    /// Too many large messages are being received at the moment.
    Busy,
}

/// One thread's end of a connection.
pub trait Reader {
    /// The next message, or what happened instead. What was added to the
    /// outbound half is sent before this waits.
    fn receive(&mut self, timeout: std::time::Duration) -> Received;

    /// The message of the last [`Received::Message`].
    fn message(&self) -> &[u8];

    /// Says what follows the last message, before anything else is received.
    fn expect(&mut self, payload: Payload);

    /// Forgets the last message, and gives back the memory that a long one needed.
    fn shrink(&mut self);

    /// When the peer was last heard of.
    fn last_heard(&self) -> std::time::Instant;
}
