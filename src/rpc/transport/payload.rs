//! Raw bytes that follow a message, so that bulk needs no base64.
//!
//! A message announces how many. On a connection of lines they come right behind its line feed, on a
//! websocket as one binary message. Nothing comes between a message and its payload.

use std::io;
use std::time::Duration;

use super::frame::MAX_PAYLOAD;
use crate::net::Source;
use crate::sys::sync::Mutex;

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
            data: try_block(len)?,
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

// Memory for blocks of files is kept between their uses. The C library gives every megabyte back to
// the kernel at once, and the 256 page faults of a fresh one cost as much as copying it. So who is done
// with a block gives its memory back here, and who needs some gets what was used last, which the
// processor's cache may still have.

/// How many are kept: as many as our own client has under way.
const KEPT: usize = 16;
/// Less than this costs nothing to get anew.
const LEAST: usize = 64 * 1024;

static FREE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Room for a block of `len` bytes, which are to be overwritten: they are those of an older one.
pub fn take_block(len: usize) -> Vec<u8> {
    // Pages of zeros cost nothing until bytes arrive.
    kept_block(len).unwrap_or_else(|| vec![0; len])
}

/// The same; none where there is no memory for it.
fn try_block(len: usize) -> Option<Vec<u8>> {
    kept_block(len).or_else(|| {
        let mut block = Vec::new();
        block.try_reserve_exact(len).ok()?;
        block.resize(len, 0);
        Some(block)
    })
}

/// A block that somebody has given back.
fn kept_block(len: usize) -> Option<Vec<u8>> {
    if len < LEAST {
        return None;
    }
    let mut block = FREE.lock().pop()?;
    let more = len.saturating_sub(block.len());
    block.try_reserve_exact(more).ok()?;
    block.resize(len, 0);
    Some(block)
}

/// Takes a block back.
pub fn give_back_block(block: Vec<u8>) {
    if (LEAST..=2 * MAX_PAYLOAD).contains(&block.capacity()) {
        let mut free = FREE.lock();
        if free.len() < KEPT {
            free.push(block);
        }
    }
}

/// Gives back to the system what nobody has needed for a while.
pub fn shrink_blocks() {
    let unused = std::mem::take(&mut *FREE.lock());
    drop(unused);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_the_length_that_was_asked_for_whoever_had_it_before() {
        give_back_block(vec![7; MAX_PAYLOAD]);
        for len in [0, 1, LEAST, LEAST + 1, MAX_PAYLOAD] {
            let block = take_block(len);
            assert_eq!(block.len(), len);
            give_back_block(block);
        }
        for _ in 0..2 * KEPT {
            give_back_block(vec![7; LEAST]);
        }
        assert!(FREE.lock().len() <= KEPT);
        give_back_block(Vec::with_capacity(3 * MAX_PAYLOAD));
        assert!(
            FREE.lock()
                .iter()
                .all(|block| block.capacity() <= 2 * MAX_PAYLOAD)
        );
    }
}
