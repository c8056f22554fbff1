//! Raw bytes that follow a message, so that bulk needs no base64.
//!
//! A message announces how many. On a connection of lines they come right behind its line feed, on a
//! websocket as one binary message. Nothing comes between a message and its payload.

use std::io;
use std::time::Duration;

use crate::blocks;
use crate::net::Source;

/// What follows the message that was received last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// So many bytes, at least one, to be handed out as [`super::Received::Payload`].
    Take(usize),
    /// So many bytes that nobody wants.
    Skip(u64),
}

/// Why a payload was not taken. The connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadError {
    /// A websocket's next message was text, which is handed out next.
    Missing,
    /// A websocket's binary message had another length.
    Length,
    /// There is no memory for it.
    Memory,
}

/// A payload that is arriving.
#[derive(Debug)]
pub(crate) struct Incoming {
    data: Vec<u8>,
    filled: usize,
}

impl Incoming {
    /// None where there is no memory for it.
    pub(crate) fn new(len: usize) -> Option<Self> {
        Some(Self {
            data: blocks::try_take(len)?,
            filled: 0,
        })
    }

    /// Bytes that are missing.
    pub(crate) fn left(&self) -> usize {
        self.data.len() - self.filled
    }

    pub(crate) fn filled(&self) -> usize {
        self.filled
    }

    /// Takes what it needs of `bytes`; how many.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.left());
        self.data[self.filled..self.filled + count].copy_from_slice(&bytes[..count]);
        self.filled += count;
        count
    }

    /// Reads at most `limit` bytes from where they come from straight to where they stay.
    pub(crate) fn fill(
        &mut self,
        source: &mut dyn Source,
        limit: usize,
        timeout: Duration,
    ) -> io::Result<usize> {
        let end = self.filled + limit.min(self.left());
        let count = source.read(&mut self.data[self.filled..end], timeout)?;
        self.filled += count;
        Ok(count)
    }

    /// What has come from the byte `start` on.
    pub(crate) fn since(&mut self, start: usize) -> &mut [u8] {
        &mut self.data[start..self.filled]
    }

    pub(crate) fn into_data(self) -> Vec<u8> {
        self.data
    }
}

/// A payload that is to be sent, with room in front for what announces it, so that the whole can
/// become a connection's buffer without being copied.
#[derive(Debug, Default)]
pub struct PayloadBuffer {
    data: Vec<u8>,
}

impl PayloadBuffer {
    /// Room for a message of usual length and the headers of both frames.
    pub(crate) const ROOM: usize = 256;

    /// The buffer to append a new payload to; what it has already is to stay.
    pub fn begin(&mut self) -> &mut Vec<u8> {
        self.data.clear();
        self.data.resize(Self::ROOM, 0);
        &mut self.data
    }

    /// The payload.
    pub fn bytes(&self) -> &[u8] {
        self.data.get(Self::ROOM..).unwrap_or_default()
    }

    /// Puts `head` directly in front of the payload and exchanges the buffer for `other`; where
    /// in it the head begins, or none when there is no room.
    pub(crate) fn exchange(&mut self, head: &[u8], other: &mut Vec<u8>) -> Option<usize> {
        let start = Self::ROOM.checked_sub(head.len())?;
        self.data.get_mut(start..Self::ROOM)?.copy_from_slice(head);
        std::mem::swap(&mut self.data, other);
        Some(start)
    }

    /// What its memory is.
    pub fn capacity(&self) -> usize {
        self.data.capacity()
    }

    /// Gives its memory back, if it is more than `keep` bytes; whether it is.
    pub fn shrink(&mut self, keep: usize) -> bool {
        let is_large = self.data.capacity() > keep;
        if is_large {
            self.data = Vec::new();
        }
        is_large
    }
}
