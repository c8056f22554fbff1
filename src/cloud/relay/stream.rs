//! One client of a relay: its frames on one side, its connection on the other.
//!
//! The connection is the server's own, with a thread, over a pair of sockets that carry lines. So
//! it has the limits and the back pressure of every other connection: what we do not read here
//! waits there.
//!
//! A message is one frame, numbered from 0 in each direction. The websocket loses nothing and
//! keeps the order, so nothing is acknowledged and nothing is sent twice.

use std::fmt;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::destination::EndReason;
use super::frame::{Body, Data};
use crate::memory::{Reserved, UNCOUNTED};
use crate::rpc::transport::MAX_MESSAGE;
use crate::sys::socket::send_now;

/// Above this much that its connection has not taken, a client is too fast: the largest message,
/// so that others may come behind one.
const INBOX: usize = MAX_MESSAGE;
/// What is read from the connection at once.
const PIECE: usize = 64 * 1024;

/// A client of a relay.
pub(crate) struct Stream {
    socket: Arc<UnixStream>,
    /// The number of the client's next message.
    next_received: u32,
    /// The number of the connection's next message.
    next_sent: u32,
    /// For the connection.
    inbox: Backlog,
    /// From the connection: messages, each with a line feed, and the beginning of one.
    outbox: Backlog,
    /// How much of the outbox is known to have no line feed.
    searched: usize,
    /// Whether the connection has said its last.
    has_ended: bool,
    /// Why it has, if it tells.
    end_reason: EndReason,
}

/// Why a stream cannot go on. `Display` is the reason of its reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamError {
    /// A message in several frames.
    Segments,
    /// Too many large messages are being received at the moment.
    Busy,
    /// Faster than it is worked off, from a peer that cannot be told to wait.
    Overrun,
    /// A message before this one has not come.
    Gap,
    /// There are no more numbers.
    Exhausted,
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Segments => "a message in segments is not taken; send it in one frame",
            Self::Busy => "too many large messages at once; try again",
            Self::Overrun => "messages come faster than they are worked off",
            Self::Gap => "a frame before this one is missing",
            Self::Exhausted => "the stream has no more sequence numbers",
        })
    }
}

impl std::error::Error for StreamError {}

impl Stream {
    /// A stream, and the connection's end of the pair.
    pub(crate) fn new() -> io::Result<(Self, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let stream = Self {
            socket: Arc::new(ours),
            next_received: 0,
            next_sent: 0,
            inbox: Backlog::default(),
            outbox: Backlog::default(),
            searched: 0,
            has_ended: false,
            end_reason: EndReason::default(),
        };
        Ok((stream, theirs))
    }

    /// What to poll.
    pub(crate) fn socket(&self) -> &Arc<UnixStream> {
        &self.socket
    }

    /// Whether the connection may say more.
    pub(crate) fn wants_to_read(&self) -> bool {
        !self.has_ended
    }

    /// Whether the connection has not taken all that there is for it.
    pub(crate) fn wants_to_write(&self) -> bool {
        !self.inbox.bytes.is_empty()
    }

    /// Whether the connection is over and the client has got all of it.
    pub(crate) fn is_over(&self) -> bool {
        self.has_ended && self.outbox.bytes.is_empty()
    }

    /// Where the connection may tell why it ends, before it does.
    pub(crate) fn end_reason(&self) -> EndReason {
        Arc::clone(&self.end_reason)
    }

    /// Why the connection is over.
    pub(crate) fn why_over(&self) -> String {
        let told = self.end_reason.get().map(String::as_str);
        told.unwrap_or("the connection has ended").to_owned()
    }

    /// Whether a message of the connection is to be sent.
    pub(crate) fn has_message(&self) -> bool {
        let unseen = &self.outbox.waiting()[self.searched..];
        memchr::memchr(b'\n', unseen).is_some()
    }

    /// Takes what the client says.
    pub(crate) fn receive(&mut self, body: &Body<'_>) -> Result<(), StreamError> {
        let Body::Data(data) = body else {
            return Ok(());
        };
        let seq = data.seq;
        if (data.index, data.count) != (0, 1) {
            return Err(StreamError::Segments);
        }
        if self.inbox.waiting().len() >= INBOX {
            return Err(StreamError::Overrun);
        }
        if seq > self.next_received {
            return Err(StreamError::Gap);
        }
        // A message that comes twice counts once.
        if seq < self.next_received {
            return Ok(());
        }
        self.next_received = seq.checked_add(1).ok_or(StreamError::Exhausted)?;
        self.inbox.append_line(data.payload)?;
        self.feed();
        Ok(())
    }

    /// Gives the connection what it takes now.
    pub(crate) fn feed(&mut self) {
        while !self.inbox.waiting().is_empty() {
            match send_now(self.socket.as_fd(), self.inbox.waiting()) {
                Ok(count) => self.inbox.consume(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // It takes nothing any more; its own end is read in time.
                Err(_) => self.inbox = Backlog::default(),
            }
        }
    }

    /// Takes what the connection has said, a piece at most. False if that was nothing.
    pub(crate) fn read(&mut self) -> Result<bool, StreamError> {
        let mut piece = [0; PIECE];
        match (&*self.socket).read(&mut piece) {
            Ok(count @ 1..) => self.outbox.append(&piece[..count]).map(|()| true),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(false)
            }
            Ok(0) | Err(_) => {
                self.has_ended = true;
                Ok(true)
            }
        }
    }

    /// Hands to `write` what is to be sent to the client now.
    pub(crate) fn emit(&mut self, mut write: impl FnMut(Body<'_>)) -> Result<(), StreamError> {
        loop {
            let waiting = self.outbox.waiting();
            let Some(at) = memchr::memchr(b'\n', &waiting[self.searched..]) else {
                self.searched = waiting.len();
                break;
            };
            let end = self.searched + at;
            if end > 0 {
                let following = self.next_sent.checked_add(1);
                let following = following.ok_or(StreamError::Exhausted)?;
                write(Body::Data(Data {
                    seq: self.next_sent,
                    index: 0,
                    count: 1,
                    payload: &waiting[..end],
                }));
                self.next_sent = following;
            }
            self.outbox.consume(end + 1);
            self.searched = 0;
        }
        if self.has_ended {
            // A message without its end is none.
            self.outbox = Backlog::default();
            self.searched = 0;
        }
        Ok(())
    }
}

impl Drop for Stream {
    /// The connection sees its end, also while somebody polls its socket.
    fn drop(&mut self) {
        // Already disconnected is as good.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// Bytes that wait, counted against the common limit.
#[derive(Default)]
struct Backlog {
    bytes: Vec<u8>,
    /// How many of them are done with.
    used: usize,
    room: Reserved,
}

impl Backlog {
    fn waiting(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        self.make_room(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Appends a message and a line feed. Between the tokens of JSON a line feed is as good as a
    /// blank, and inside of them there is none.
    fn append_line(&mut self, message: &[u8]) -> Result<(), StreamError> {
        self.make_room(message.len() + 1)?;
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(message);
        for byte in &mut self.bytes[begin..] {
            if *byte == b'\n' {
                *byte = b' ';
            }
        }
        self.bytes.push(b'\n');
        Ok(())
    }

    fn make_room(&mut self, count: usize) -> Result<(), StreamError> {
        if self.used > self.bytes.len() / 2 {
            self.bytes.drain(..std::mem::take(&mut self.used));
        }
        let all = self.bytes.len() + count;
        let has_room = self.room.set(all.saturating_sub(UNCOUNTED));
        match has_room && self.bytes.try_reserve(count).is_ok() {
            true => Ok(()),
            false => Err(StreamError::Busy),
        }
    }

    fn consume(&mut self, count: usize) {
        self.used += count;
        if self.used == self.bytes.len() {
            *self = Self::default();
        }
    }
}
