//! One client of a relay: its frames on one side, its connection on the other.
//!
//! The connection is the server's own, with a thread, over a pair of sockets that carry lines. So
//! it has the limits and the back pressure of every other connection: what we do not read here
//! waits there.

use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use super::flow::{Flow, FlowError};
use super::frame::Body;
use crate::net::Charge;
use crate::rpc::transport::MAX_MESSAGE;
use crate::sys::socket::send_now;

/// Above this much that its connection has not taken, no message is taken from a client that
/// sends it again.
const INBOX: usize = 1024 * 1024;
/// The same for one that does not: the largest message, so that others may come behind one.
const TRUSTING_INBOX: usize = MAX_MESSAGE;
/// What is read from the connection at once.
const PIECE: usize = 64 * 1024;

/// A client of a relay.
pub(super) struct Stream {
    socket: Arc<UnixStream>,
    flow: Flow,
    /// For the connection.
    inbox: Backlog,
    /// From the connection: messages, each with a line feed, and the beginning of one.
    outbox: Backlog,
    /// How much of the outbox is known to have no line feed.
    searched: usize,
    /// Whether the connection has said its last.
    has_ended: bool,
}

/// Bytes that wait, counted against the common limit.
#[derive(Default)]
struct Backlog {
    bytes: Vec<u8>,
    /// How many of them are done with.
    used: usize,
    charge: Charge,
}

impl Backlog {
    fn waiting(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), FlowError> {
        if self.used > self.bytes.len() / 2 {
            self.bytes.drain(..std::mem::take(&mut self.used));
        }
        if !self.charge.set(self.bytes.len() + bytes.len()) {
            return Err(FlowError::Busy);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn consume(&mut self, count: usize) {
        self.used += count;
        if self.used == self.bytes.len() {
            *self = Self::default();
        }
    }
}

impl Stream {
    /// A stream, and the connection's end of the pair.
    pub(super) fn new() -> io::Result<(Self, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let stream = Self {
            socket: Arc::new(ours),
            flow: Flow::new(),
            inbox: Backlog::default(),
            outbox: Backlog::default(),
            searched: 0,
            has_ended: false,
        };
        Ok((stream, theirs))
    }

    /// What to poll.
    pub(super) fn socket(&self) -> &Arc<UnixStream> {
        &self.socket
    }

    /// Whether a message of the connection could be taken.
    pub(super) fn wants_to_read(&self) -> bool {
        !self.has_ended && self.flow.can_send()
    }

    /// Whether the connection has not taken all that there is for it.
    pub(super) fn wants_to_write(&self) -> bool {
        !self.inbox.bytes.is_empty()
    }

    /// When something is to be done, whatever else happens.
    pub(super) fn due(&self) -> Option<Instant> {
        self.flow.due()
    }

    /// Whether the connection is over and the client has got all of it.
    pub(super) fn is_over(&self) -> bool {
        self.has_ended && self.outbox.bytes.is_empty() && self.flow.is_settled()
    }

    /// Whether all that has been read from the connection is with the flow, and more could be.
    pub(super) fn has_said_all(&self) -> bool {
        let unseen = &self.outbox.waiting()[self.searched..];
        let holds_message = memchr::memchr(b'\n', unseen).is_some();
        (self.wants_to_read() && !holds_message) || self.is_over()
    }

    /// Takes what the client says.
    pub(super) fn receive(
        &mut self,
        ack: u32,
        body: &Body<'_>,
        now: Instant,
    ) -> Result<(), FlowError> {
        let most = match self.flow.is_reliable() {
            true => INBOX,
            false => TRUSTING_INBOX,
        };
        let has_room = self.inbox.waiting().len() < most;
        let inbox = &mut self.inbox;
        let mut kept = Ok(());
        self.flow.receive(ack, body, now, has_room, |mut message| {
            // Between the tokens of JSON a line feed is as good as a blank, and inside of them
            // there is none.
            for byte in &mut message {
                if *byte == b'\n' {
                    *byte = b' ';
                }
            }
            message.push(b'\n');
            if kept.is_ok() {
                kept = inbox.append(&message);
            }
        })?;
        kept?;
        self.feed();
        Ok(())
    }

    /// Takes what the client says of what it has got, and nothing that it wants.
    pub(super) fn acknowledge(&mut self, ack: u32, body: &Body<'_>) -> Result<(), FlowError> {
        let body = match body {
            Body::Data(_) => &Body::Heartbeat,
            other => other,
        };
        self.flow.receive(ack, body, Instant::now(), false, drop)
    }

    /// Gives the connection what it takes now.
    pub(super) fn feed(&mut self) {
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
    pub(super) fn read(&mut self) -> Result<bool, FlowError> {
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
    pub(super) fn emit(
        &mut self,
        now: Instant,
        mut write: impl FnMut(u32, Body<'_>),
    ) -> Result<(), FlowError> {
        loop {
            self.flow.emit(now, &mut write)?;
            if !self.flow.can_send() {
                return Ok(());
            }
            match self.next_message() {
                Some(message) => self.flow.send(message),
                None => return Ok(()),
            }
        }
    }

    fn next_message(&mut self) -> Option<Vec<u8>> {
        loop {
            let waiting = self.outbox.waiting();
            let unseen = &waiting[self.searched..];
            let Some(at) = memchr::memchr(b'\n', unseen) else {
                self.searched = waiting.len();
                if self.has_ended {
                    // A message without its end is none.
                    self.outbox = Backlog::default();
                    self.searched = 0;
                }
                return None;
            };
            let end = self.searched + at;
            let message = waiting[..end].to_vec();
            self.outbox.consume(end + 1);
            self.searched = 0;
            if !message.is_empty() {
                return Some(message);
            }
        }
    }
}

impl Drop for Stream {
    /// The connection sees its end, also while somebody polls its socket.
    fn drop(&mut self) {
        // Already disconnected is as good.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}
