//! Memory for large blocks of bytes, kept between their uses: blocks of files, input of processes,
//! and the messages that they come in.
//!
//! The C library gives every block above some kilobytes back to the kernel at once, and the page
//! faults of a fresh one cost as much as copying it: they were a third of what input cost. So who is
//! done with a block gives its memory back here, and who needs some gets what was used last, which
//! the processor's cache may still have.

use crate::memory;
use crate::sys::sync::Mutex;

/// Less than this costs nothing to get anew.
const LEAST: usize = 16 * 1024;
/// A larger one is not kept.
const LARGEST: usize = 16 * 1024 * 1024;
/// All that are kept together, in bytes; and an eighth of what clients may make the server hold.
const KEPT: usize = 32 * 1024 * 1024;

struct Blocks {
    /// The one used last is the last.
    free: Vec<Vec<u8>>,
    /// What they have together, in bytes.
    kept: usize,
    /// Whether one was taken since it was last asked.
    is_used: bool,
}

static BLOCKS: Mutex<Blocks> = Mutex::new(Blocks::new());

impl Blocks {
    const fn new() -> Self {
        Self {
            free: Vec::new(),
            kept: 0,
            is_used: false,
        }
    }

    /// One with room for `len` bytes, and no more than a quarter beyond that: who holds it accounts
    /// for what is in it.
    fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        let fits = |block: &Vec<u8>| (len..=len + len / 4).contains(&block.capacity());
        self.is_used = true;
        let found = self.free.iter().rposition(fits)?;
        let block = self.free.remove(found);
        self.kept -= block.capacity();
        Some(block)
    }

    /// Keeps a block, in place of those that were used before all others if there are too many.
    fn keep(&mut self, block: Vec<u8>) {
        if !(LEAST..=LARGEST).contains(&block.capacity()) {
            return;
        }
        self.kept += block.capacity();
        self.free.push(block);
        while self.kept > KEPT.min(memory::limit() / 8) {
            self.kept -= self.free.remove(0).capacity();
        }
    }

    fn take_all(&mut self) -> Vec<Vec<u8>> {
        self.kept = 0;
        std::mem::take(&mut self.free)
    }
}

/// Room for a block of `len` bytes, which are to be overwritten: they are those of an older one.
pub fn take(len: usize) -> Vec<u8> {
    // Pages of zeros cost nothing until bytes arrive.
    kept(len).unwrap_or_else(|| vec![0; len])
}

/// The same; none where there is no memory for it.
pub fn try_take(len: usize) -> Option<Vec<u8>> {
    kept(len).or_else(|| {
        let mut block = Vec::new();
        block.try_reserve_exact(len).ok()?;
        block.resize(len, 0);
        Some(block)
    })
}

/// The same; none where no such block is kept.
pub fn kept(len: usize) -> Option<Vec<u8>> {
    let mut block = find(len)?;
    block.resize(len, 0);
    Some(block)
}

/// An empty one with room for `len` bytes; none where there is no memory for it.
pub fn try_empty(len: usize) -> Option<Vec<u8>> {
    let mut block = find(len).unwrap_or_default();
    block.clear();
    block.try_reserve_exact(len).ok()?;
    Some(block)
}

fn find(len: usize) -> Option<Vec<u8>> {
    if len < LEAST {
        return None;
    }
    BLOCKS.lock().take(len)
}

/// Takes a block back.
pub fn give_back(block: Vec<u8>) {
    if block.capacity() >= LEAST {
        BLOCKS.lock().keep(block);
    }
}

/// Whether there are any that nobody uses.
pub fn are_kept() -> bool {
    BLOCKS.lock().kept > 0
}

/// Gives back to the system what is not in use.
pub fn shrink() {
    let unused = BLOCKS.lock().take_all();
    drop(unused);
}

/// The same, if nobody has needed any since the last call.
pub fn shrink_if_unused() {
    let mut blocks = BLOCKS.lock();
    if !std::mem::take(&mut blocks.is_used) {
        let unused = blocks.take_all();
        drop(blocks);
        drop(unused);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_the_length_that_was_asked_for_whoever_had_it_before() {
        give_back(vec![7; 1 << 20]);
        for len in [0, 1, LEAST, LEAST + 1, 1 << 20] {
            for block in [take(len), try_take(len).unwrap()] {
                assert_eq!(block.len(), len);
                give_back(block);
            }
            let block = try_empty(len).unwrap();
            assert!(block.is_empty() && block.capacity() >= len);
        }
    }

    #[test]
    fn what_is_kept_is_taken_again_for_about_as_many_bytes() {
        let mut blocks = Blocks::new();
        blocks.keep(vec![0; 1 << 20]);
        for len in [LEAST, (1 << 20) / 5 * 3, (1 << 20) + 1] {
            assert!(blocks.take(len).is_none(), "{len}");
        }
        let block = blocks.take((1 << 20) / 8 * 7).unwrap();
        assert_eq!((block.capacity(), blocks.kept), (1 << 20, 0));
    }

    #[test]
    fn no_more_is_kept_than_may_be_and_what_was_used_last_stays() {
        let mut blocks = Blocks::new();
        blocks.keep(Vec::with_capacity(LARGEST + 1));
        blocks.keep(Vec::with_capacity(LEAST - 1));
        assert_eq!(blocks.free.len(), 0);
        for number in 1..=100 {
            blocks.keep(vec![0; 1 << 20]);
            assert_eq!(blocks.kept, number.min(32) << 20);
        }
        blocks.keep(vec![0; LARGEST]);
        assert_eq!((blocks.kept, blocks.free.len()), (KEPT, 17));
        assert!(blocks.take(LARGEST).is_some());
        assert_eq!(blocks.take_all().len(), 16);
        assert_eq!(blocks.kept, 0);
    }
}
