//! Memory for blocks of files, kept between their uses.
//!
//! The C library gives every megabyte back to the kernel at once, and the 256 page faults of a
//! fresh one cost as much as copying it. So who is done with a block gives its memory back here,
//! and who needs some gets what was used last, which the processor's cache may still have.

use std::sync::MutexGuard;

use super::frame::MAX_PAYLOAD;

use crate::sys::sync::Mutex;

/// How many are kept: as many as our own client has under way.
const KEPT: usize = 16;
/// Less than this costs nothing to get anew.
const LEAST: usize = 64 * 1024;

static FREE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Room for a block of `len` bytes, which are to be overwritten: they are those of an older one.
pub fn take_block(len: usize) -> Vec<u8> {
    let kept = if len < LEAST { None } else { free().pop() };
    match kept {
        Some(mut block) => {
            block.resize(len, 0);
            block
        }
        // Pages of zeros cost nothing until bytes arrive.
        None => vec![0; len],
    }
}

/// Takes a block back.
pub fn give_back_block(block: Vec<u8>) {
    if (LEAST..=2 * MAX_PAYLOAD).contains(&block.capacity()) {
        let mut free = free();
        if free.len() < KEPT {
            free.push(block);
        }
    }
}

/// Gives back to the system what nobody has needed for a while.
pub fn shrink_blocks() {
    let unused = std::mem::take(&mut *free());
    drop(unused);
}

fn free() -> MutexGuard<'static, Vec<Vec<u8>>> {
    FREE.lock()
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
        assert!(free().len() <= KEPT);
        give_back_block(Vec::with_capacity(3 * MAX_PAYLOAD));
        assert!(
            free()
                .iter()
                .all(|block| block.capacity() <= 2 * MAX_PAYLOAD)
        );
    }
}
