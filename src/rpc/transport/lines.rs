//! Reading messages that are lines of text, as on standard input.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::payload::Incoming;
use super::{HEAD, MAX_MESSAGE, Outbound, Payload, PayloadError, Reader, Received, Refusal, most};
use crate::net::{InBuffer, Source};
use crate::rpc::message::{OwnedRequestId, id_in};

/// The reading half of a connection whose messages are lines.
///
/// Blank lines are passed over, a carriage return before the line feed is
/// blank space to JSON, and a last line without line feed counts.
pub struct LineReader<S> {
    source: S,
    buffer: InBuffer,
    outbound: Arc<Outbound>,
    message: Range<usize>,
    /// Bytes at the start of the buffer that the last message took.
    used: usize,
    /// How far the buffer is known to have no line feed.
    searched: usize,
    refusal: Option<(Refusal, Option<OwnedRequestId>)>,
    /// The payload that is arriving.
    payload: Option<Incoming>,
    /// Bytes of an unwanted one that are still to come.
    to_skip: u64,
    /// Whether it is one that there is no memory for, which is told at its end.
    lacks_memory: bool,
    is_at_end: bool,
}

impl<S: Source> LineReader<S> {
    /// Reads lines from `source`; `outbound` is flushed before each wait.
    pub fn new(source: S, outbound: Arc<Outbound>) -> Self {
        Self {
            source,
            outbound,
            buffer: InBuffer::default(),
            message: 0..0,
            used: 0,
            searched: 0,
            refusal: None,
            payload: None,
            to_skip: 0,
            lacks_memory: false,
            is_at_end: false,
        }
    }

    /// Takes the next whole line that is not blank out of the buffer, if there is one.
    fn take_line(&mut self) -> Option<Received> {
        // A loop: a recursion would let a client choose the depth of our stack.
        while !self.buffer.bytes().is_empty() {
            match self.take_any_line()? {
                Line::Blank => {}
                Line::Received(received) => return Some(received),
            }
        }
        None
    }

    fn take_any_line(&mut self) -> Option<Line> {
        let unseen = &self.buffer.bytes()[self.searched..];
        let end = memchr::memchr(b'\n', unseen).map(|at| self.searched + at);
        let (end, used) = match end {
            Some(end) => (end, end + 1),
            None if self.is_at_end => (self.buffer.bytes().len(), self.buffer.bytes().len()),
            None => {
                self.searched = self.buffer.bytes().len();
                if self.searched > most() {
                    self.refuse(Refusal::TooLarge);
                }
                if self.refusal.is_some() {
                    self.forget(self.searched);
                }
                return None;
            }
        };
        self.searched = 0;
        if end > most() {
            self.refuse(Refusal::TooLarge);
        }
        if let Some((why, id)) = self.refusal.take() {
            self.forget(used);
            return Some(Line::Received(Received::Refused(why, id)));
        }
        if self.buffer.bytes()[..end].trim_ascii().is_empty() {
            self.forget(used);
            return Some(Line::Blank);
        }
        self.used = used;
        self.message = 0..end;
        Some(Line::Received(Received::Message))
    }

    /// Takes or skips what has come of a payload. None when more must come first, which is none
    /// of the next line.
    fn take_payload(&mut self) -> Option<Received> {
        let here = self.buffer.bytes();
        if let Some(payload) = &mut self.payload {
            let taken = payload.take(here);
            self.forget(taken);
            let payload = self.payload.take_if(|payload| payload.left() == 0)?;
            return Some(Received::Payload(Ok(payload.into_data())));
        }
        let skipped = (here.len() as u64).min(self.to_skip);
        self.to_skip -= skipped;
        self.forget(skipped as usize);
        let lacks_memory = self.to_skip == 0 && std::mem::take(&mut self.lacks_memory);
        lacks_memory.then_some(Received::Payload(Err(PayloadError::Memory)))
    }

    /// What is whole by now.
    fn take_now(&mut self) -> Received {
        let received = match self.awaits_payload() {
            true => self.take_payload(),
            false => self.take_line(),
        };
        received.unwrap_or(Received::Idle)
    }

    fn awaits_payload(&self) -> bool {
        self.payload.is_some() || self.to_skip > 0
    }

    /// Reads once, to where the bytes belong.
    fn fill(&mut self, timeout: Duration) -> io::Result<usize> {
        if let Some(payload) = &mut self.payload {
            let count = payload.fill(&mut self.source, usize::MAX, timeout)?;
            self.buffer.note_heard();
            return Ok(count);
        }
        // One byte more than allowed, so that a line of just the limit fits with its end.
        let wanted = MAX_MESSAGE + 1;
        self.buffer.fill(&mut self.source, wanted, timeout)
    }

    /// Takes no more of the line that is arriving, whose beginning is in the buffer.
    fn refuse(&mut self, why: Refusal) {
        let here = self.buffer.bytes();
        let head = &here[..here.len().min(HEAD)];
        self.refusal.get_or_insert_with(|| (why, id_in(head)));
    }

    fn release_last(&mut self) {
        let used = std::mem::take(&mut self.used);
        self.forget(used);
        self.message = 0..0;
    }

    fn forget(&mut self, count: usize) {
        self.buffer.consume(count);
        self.searched = 0;
    }
}

/// What a line turned out to be.
enum Line {
    Blank,
    Received(Received),
}

impl<S: Source> Reader for LineReader<S> {
    fn receive(&mut self, timeout: Duration) -> Received {
        self.release_last();
        let began = Instant::now();
        loop {
            if self.awaits_payload()
                && let Some(received) = self.take_payload()
            {
                return received;
            }
            if self.awaits_payload() {
                if self.is_at_end {
                    return Received::Closed("end of input in the middle of a payload".into());
                }
            } else if let Some(received) = self.take_line() {
                return received;
            }
            if self.is_at_end {
                return Received::Closed("end of input".into());
            }
            // The answers to all that has arrived go out at once, and before any wait.
            self.outbound.flush();
            match self.fill(timeout) {
                Ok(0) => self.is_at_end = true,
                // A peer that trickles must not put off every deadline.
                Ok(_) if began.elapsed() >= timeout => return self.take_now(),
                Ok(_) => {}
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        self.buffer.shrink();
                        return Received::Idle;
                    }
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::OutOfMemory => {
                        self.refuse(Refusal::Busy);
                        self.forget(self.buffer.bytes().len());
                    }
                    io::ErrorKind::BrokenPipe => {
                        self.outbound.kill();
                        return Received::Closed("nobody reads the answers any more".into());
                    }
                    _ => return Received::Closed(format!("reading failed: {error}")),
                },
            }
        }
    }

    fn message(&self) -> &[u8] {
        &self.buffer.bytes()[self.message.clone()]
    }

    fn has_more(&self) -> bool {
        self.buffer.bytes().len() > self.used
    }

    fn expect(&mut self, payload: Payload) {
        match payload {
            Payload::Take(len) => match Incoming::new(len) {
                Some(payload) => self.payload = Some(payload),
                None => {
                    self.to_skip = len as u64;
                    self.lacks_memory = true;
                }
            },
            Payload::Skip(len) => self.to_skip = len,
        }
    }

    fn shrink(&mut self) {
        self.release_last();
        self.buffer.shrink();
    }

    fn last_heard(&self) -> Instant {
        self.buffer.last_heard()
    }
}
