//! The receive buffer of one connection.

use std::io;
use std::time::{Duration, Instant};

use super::stream::Source;
use crate::blocks;
use crate::memory::{self, Kind, Reserved, UNCOUNTED};

/// An idle connection's buffer: one small request.
const IDLE: usize = 256;
/// That of one with little to do: a page.
const SMALL: usize = 4 * 1024;
/// A busy one's: dozens of requests in one system call.
const LARGE: usize = UNCOUNTED;
/// What is kept between large messages: one with a block of a file.
const KEPT: usize = 2 * 1024 * 1024;

/// After so many small messages in a row, what a large one needed is given back.
const CALM: u32 = 64;

/// Bytes that have arrived and are not used yet.
#[derive(Debug)]
pub struct InBuffer {
    data: Vec<u8>,
    start: usize,
    end: usize,
    /// For what it has beyond [`LARGE`], or will have when what is announced has come.
    reserved: Reserved,
    /// Small messages since the last large one.
    calm: u32,
    last_heard: Instant,
}

impl Default for InBuffer {
    fn default() -> Self {
        Self {
            data: Vec::new(),
            start: 0,
            end: 0,
            reserved: Reserved::none(Kind::Messages),
            calm: 0,
            last_heard: Instant::now(),
        }
    }
}

impl InBuffer {
    /// What has arrived.
    pub fn bytes(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    /// The same, to be changed in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.data[self.start..self.end]
    }

    /// When the last bytes came.
    pub fn last_heard(&self) -> Instant {
        self.last_heard
    }

    /// Bytes came that went elsewhere.
    pub(crate) fn note_heard(&mut self) {
        self.last_heard = Instant::now();
    }

    /// Forgets the first `count` bytes.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        if self.data.len() > LARGE {
            self.calm = if count > LARGE { 0 } else { self.calm + 1 };
            if self.calm >= CALM || self.data.len() > KEPT || memory::is_scarce() {
                self.shrink_to(SMALL);
            }
        }
    }

    /// Gives back memory that an idle connection does not need.
    pub fn shrink(&mut self) {
        self.shrink_to(IDLE);
    }

    /// Gives back memory that a large message needed; keeps at least so much.
    fn shrink_to(&mut self, least: usize) {
        self.calm = 0;
        let left = self.end - self.start;
        let sizes = [least, SMALL, LARGE];
        let size = sizes
            .into_iter()
            .find(|size| left <= *size)
            .unwrap_or(LARGE);
        if left <= size && size < self.data.len() {
            self.move_to(vec![0; size]);
            self.reserve(size);
        }
    }

    /// Makes sure of room for so many bytes in all, which the buffer then takes as they come; false
    /// if there is none.
    pub fn reserve(&mut self, bytes: usize) -> bool {
        let bytes = bytes.max(self.data.len());
        self.reserved.set(bytes.saturating_sub(LARGE))
    }

    /// Whether others have less room for what is here.
    pub fn is_counted(&self) -> bool {
        self.reserved.bytes() > 0
    }

    /// Reads once, making room first. `Ok(0)` is the end of the stream.
    ///
    /// `wanted` is the size of what the caller is collecting, from the first
    /// byte of [`InBuffer::bytes`]: the buffer grows towards it as bytes
    /// arrive, never on a mere announcement. `OutOfMemory` when there is no room for more.
    pub fn fill(
        &mut self,
        source: &mut dyn Source,
        wanted: usize,
        timeout: Duration,
    ) -> io::Result<usize> {
        if self.end == self.data.len() {
            self.compact();
        }
        if self.end == self.data.len() {
            self.grow(wanted)?;
        }
        let count = source.read(&mut self.data[self.end..], timeout)?;
        self.end += count;
        self.last_heard = Instant::now();
        Ok(count)
    }

    /// Goes on in another block, which has room for what is here.
    fn move_to(&mut self, mut other: Vec<u8>) {
        let left = self.end - self.start;
        other[..left].copy_from_slice(self.bytes());
        let former = std::mem::replace(&mut self.data, other);
        if former.len() > LARGE {
            blocks::give_back(former);
        }
        (self.start, self.end) = (0, left);
    }

    fn compact(&mut self) {
        if self.start > 0 {
            self.data.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }

    fn grow(&mut self, wanted: usize) -> io::Result<()> {
        let size = match self.data.len() {
            size if size < SMALL => SMALL,
            size if size < LARGE => LARGE,
            size => (size * 2).min(wanted.max(size + 1)),
        };
        let reserved = self.reserved.bytes() + LARGE;
        if size > reserved && !self.reserve(size) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        // One that is there already need not be grown into.
        if self.reserved.bytes() + LARGE >= wanted
            && let Some(block) = blocks::kept(wanted)
        {
            self.move_to(block);
            return Ok(());
        }
        self.data
            .try_reserve_exact(size - self.data.len())
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        self.data.resize(size, 0);
        Ok(())
    }
}
