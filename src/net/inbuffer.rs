//! The receive buffer of one connection, and the limit over all connections on memory for large
//! messages.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::stream::Source;

/// An idle connection's buffer: a page.
const SMALL: usize = 4 * 1024;
/// A busy one's: dozens of requests in one system call.
const LARGE: usize = 64 * 1024;

/// After so many small messages in a row, what a large one needed is given back.
const CALM: u32 = 64;

/// Bytes that have arrived and are not used yet.
#[derive(Debug)]
pub struct InBuffer {
    data: Vec<u8>,
    start: usize,
    end: usize,
    charge: Charge,
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
            charge: Charge::default(),
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
            if self.calm >= CALM {
                self.shrink();
            }
        }
    }

    /// Gives back memory that a large message needed.
    pub fn shrink(&mut self) {
        self.calm = 0;
        self.compact();
        let size = if self.end <= SMALL { SMALL } else { LARGE };
        if self.end <= size && size < self.data.len() {
            self.data.truncate(size);
            self.data.shrink_to_fit();
            self.charge.set(size);
        }
    }

    /// Reads once, making room first. `Ok(0)` is the end of the stream.
    ///
    /// `wanted` is the size of what the caller is collecting, from the first
    /// byte of [`InBuffer::bytes`]: the buffer grows towards it as bytes
    /// arrive, never on a mere announcement. `OutOfMemory` when the common
    /// limit on large messages forbids it.
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

    fn compact(&mut self) {
        if self.start > 0 {
            self.data.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }

    fn grow(&mut self, wanted: usize) -> io::Result<()> {
        let size = match self.data.len() {
            0 => SMALL,
            size if size < LARGE => LARGE,
            size => (size * 2).min(wanted.max(size + LARGE)),
        };
        if !self.charge.set(size) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.data.resize(size, 0);
        Ok(())
    }
}

/// What one connection may hold without being counted.
const FREE: usize = 1024 * 1024;
/// A single message may have 64 MiB, and a thousand connections could each send one. Small buffers
/// are not counted; their number is limited already. This is what all connections may hold together
/// beyond that.
const TOTAL: usize = 256 * 1024 * 1024;

static USED: AtomicUsize = AtomicUsize::new(0);

/// What one buffer has drawn from the common limit; given back on drop.
#[derive(Debug, Default)]
pub struct Charge(usize);

impl Charge {
    /// Accounts for a buffer of `bytes`; false when the limit forbids it.
    pub fn set(&mut self, bytes: usize) -> bool {
        let wanted = bytes.saturating_sub(FREE);
        if wanted > self.0 {
            let more = wanted - self.0;
            let before = USED.fetch_add(more, Ordering::Relaxed);
            if before + more > TOTAL {
                USED.fetch_sub(more, Ordering::Relaxed);
                return false;
            }
        } else {
            USED.fetch_sub(self.0 - wanted, Ordering::Relaxed);
        }
        self.0 = wanted;
        true
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        USED.fetch_sub(self.0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_common_and_given_back() {
        let mut first = Charge::default();
        let mut second = Charge::default();
        assert!(first.set(FREE));
        assert!(first.set(TOTAL));
        assert!(!second.set(FREE + TOTAL / 2));
        assert!(second.set(FREE));
        drop(first);
        assert!(second.set(FREE + TOTAL / 2));
    }
}
