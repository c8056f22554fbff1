//! The bytes that arrived and are not read yet.
//!
//! Messages are looked at in place: a client that copies hides a fast server behind itself.

use std::io::{self, Read};
use std::ops::Range;

/// Room that a read must find; also the largest read of a pipe.
const ROOM: usize = 64 * 1024;
const INITIAL: usize = 512 * 1024;

/// A receive buffer that moves bytes only when its end is reached.
pub struct Inbox {
    bytes: Vec<u8>,
    head: usize,
    tail: usize,
}

impl Inbox {
    pub fn new() -> Self {
        Self {
            bytes: vec![0; INITIAL],
            head: 0,
            tail: 0,
        }
    }

    /// Everything received and not yet consumed.
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.head..self.tail]
    }

    /// Takes `skip + length` bytes off the front, and says where the last `length` of them are
    /// until the next [`Inbox::fill`].
    pub fn take(&mut self, skip: usize, length: usize) -> Range<usize> {
        let start = self.head + skip;
        self.head = start + length;
        start..self.head
    }

    /// The bytes that [`Inbox::take`] pointed at.
    pub fn at(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// Reads once. End of file is an error: no measurement ends by it.
    pub fn fill(&mut self, source: &mut impl Read) -> io::Result<()> {
        if self.head == self.tail {
            self.head = 0;
            self.tail = 0;
        }
        if self.bytes.len() - self.tail < ROOM {
            self.bytes.copy_within(self.head..self.tail, 0);
            self.tail -= self.head;
            self.head = 0;
            if self.bytes.len() - self.tail < ROOM {
                self.bytes.resize(self.bytes.len() * 2, 0);
            }
        }
        loop {
            match source.read(&mut self.bytes[self.tail..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.tail += count;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
