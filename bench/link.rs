//! One connection to a server: whole messages out, whole messages in, on either transport.
//!
//! The client side sets `TCP_NODELAY` and leaves the kernel's delayed acknowledgement alone, as
//! ordinary clients do: a server that relies on a quick one must show it.

use std::io::Write;
use std::net::TcpStream;
use std::ops::Range;
use std::process::{ChildStdin, ChildStdout};
use std::time::Duration;

use crate::failure::{During, Failure};
use crate::frame;
use crate::inbox::Inbox;

/// How long a websocket may be silent while an answer is due. A stalled pipe has no such limit of
/// its own; the step's deadline ends it.
const SILENCE: Duration = Duration::from_secs(15);

enum Wire {
    Websocket(TcpStream),
    Pipes(ChildStdin, ChildStdout),
}

/// A connection that speaks whole messages.
pub struct Link {
    wire: Wire,
    inbox: Inbox,
    outbox: Vec<u8>,
    /// How much of the unread bytes is known to hold no end of line.
    scanned: usize,
}

impl Link {
    /// Connects to `HOST:PORT` and upgrades.
    pub fn websocket(address: &str) -> Result<Self, Failure> {
        let mut stream =
            TcpStream::connect(address).during(format_args!("connecting to {address}"))?;
        stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(SILENCE)))
            .and_then(|()| stream.set_write_timeout(Some(SILENCE)))
            .during("setting up the socket")?;
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\r\n",
            frame::KEY
        );
        stream
            .write_all(request.as_bytes())
            .during("asking for the upgrade")?;
        let mut inbox = Inbox::new();
        let head =
            frame::http_head(&mut inbox, &mut stream).during("waiting for the upgrade's answer")?;
        if !head.starts_with("HTTP/1.1 101") || !head.contains(frame::ACCEPT) {
            return Err(Failure::Unexpected(format!(
                "the upgrade was refused: {}",
                head.lines().next().unwrap_or_default()
            )));
        }
        Ok(Self::over(Wire::Websocket(stream), inbox))
    }

    /// Speaks lines over a child's standard streams.
    pub fn pipes(stdin: ChildStdin, stdout: ChildStdout) -> Self {
        Self::over(Wire::Pipes(stdin, stdout), Inbox::new())
    }

    fn over(wire: Wire, inbox: Inbox) -> Self {
        Self {
            wire,
            inbox,
            outbox: Vec::new(),
            scanned: 0,
        }
    }

    /// Puts a message behind those that the next [`Link::flush`] sends in one write.
    pub fn queue(&mut self, message: &[u8]) {
        match self.wire {
            Wire::Websocket(_) => frame::masked(&mut self.outbox, frame::TEXT, message),
            Wire::Pipes(..) => {
                self.outbox.extend_from_slice(message);
                self.outbox.push(b'\n');
            }
        }
    }

    /// Sends what was queued.
    pub fn flush(&mut self) -> Result<(), Failure> {
        match &mut self.wire {
            Wire::Websocket(stream) => stream.write_all(&self.outbox),
            Wire::Pipes(stdin, _) => stdin.write_all(&self.outbox),
        }
        .during("sending")?;
        self.outbox.clear();
        Ok(())
    }

    /// Sends one message.
    pub fn send(&mut self, message: &[u8]) -> Result<(), Failure> {
        self.queue(message);
        self.flush()
    }

    /// The next message, waited for.
    pub fn receive(&mut self) -> Result<&[u8], Failure> {
        let found = loop {
            if let Some(found) = self.next_buffered()? {
                break found;
            }
            self.fill()?;
        };
        Ok(self.inbox.at(found))
    }

    /// Hands over the next message in the pieces in which it arrives, in any number of frames: one
    /// of many megabytes, gathered first, would cost the client more than a fast server.
    pub fn receive_pieces(&mut self, mut piece: impl FnMut(&[u8])) -> Result<(), Failure> {
        if matches!(self.wire, Wire::Pipes(..)) {
            self.scanned = 0;
            loop {
                let unread = self.inbox.unread();
                let end = end_of_line(unread);
                let length = end.unwrap_or(unread.len());
                piece(&unread[..length]);
                self.inbox.take(0, length + usize::from(end.is_some()));
                if end.is_some() {
                    return Ok(());
                }
                self.fill()?;
            }
        }
        loop {
            let Some(head) = frame::head(self.inbox.unread()) else {
                self.fill()?;
                continue;
            };
            if frame::is_control(head.opcode) {
                match frame::first(self.inbox.unread()) {
                    Some(head) => self.control(&head)?,
                    None => self.fill()?,
                }
                continue;
            }
            self.inbox.take(0, head.header);
            let mut left = head.payload;
            while left > 0 {
                if self.inbox.unread().is_empty() {
                    self.fill()?;
                }
                let length = left.min(self.inbox.unread().len());
                piece(&self.inbox.unread()[..length]);
                self.inbox.take(0, length);
                left -= length;
            }
            if head.last {
                return Ok(());
            }
        }
    }

    fn fill(&mut self) -> Result<(), Failure> {
        match &mut self.wire {
            Wire::Websocket(stream) => self.inbox.fill(stream),
            Wire::Pipes(_, stdout) => self.inbox.fill(stdout),
        }
        .during("waiting for the server")
    }

    /// The next message if it has been read already; never waits.
    pub fn buffered(&mut self) -> Result<Option<&[u8]>, Failure> {
        let found = self.next_buffered()?;
        Ok(found.map(|found| self.inbox.at(found)))
    }

    fn next_buffered(&mut self) -> Result<Option<Range<usize>>, Failure> {
        if matches!(self.wire, Wire::Pipes(..)) {
            return Ok(self.next_line());
        }
        while let Some(head) = frame::first(self.inbox.unread()) {
            if frame::is_control(head.opcode) {
                self.control(&head)?;
                continue;
            }
            if !head.last {
                return Err(Failure::Unexpected(
                    "a message in several frames, far larger than any expected".to_owned(),
                ));
            }
            return Ok(Some(self.inbox.take(head.header, head.payload)));
        }
        Ok(None)
    }

    /// Does what a control frame, which is there in full, asks for.
    fn control(&mut self, head: &frame::Head) -> Result<(), Failure> {
        let payload = self.inbox.take(head.header, head.payload);
        match head.opcode {
            frame::PING => {
                frame::masked(&mut self.outbox, frame::PONG, self.inbox.at(payload));
                self.flush()
            }
            frame::CLOSE => Err(Failure::Unexpected("the server closed".to_owned())),
            _ => Ok(()),
        }
    }

    fn next_line(&mut self) -> Option<Range<usize>> {
        let unread = self.inbox.unread();
        let Some(more) = end_of_line(&unread[self.scanned..]) else {
            self.scanned = unread.len();
            return None;
        };
        let end = self.scanned + more;
        self.scanned = 0;
        let line = self.inbox.take(0, end + 1);
        Some(line.start..line.end - 1)
    }
}

/// Where the first newline is. Whole blocks are tested without an early way out, which the compiler
/// turns into vector code; byte by byte the search would cost as much as a fast server's work.
fn end_of_line(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 64;
    let mut from = 0;
    for block in bytes.chunks(BLOCK) {
        if block.iter().fold(false, |any, &byte| any | (byte == b'\n')) {
            return block
                .iter()
                .position(|&byte| byte == b'\n')
                .map(|at| from + at);
        }
        from += block.len();
    }
    None
}
