//! Bytes whose place can be read off them, so that loss, doubling and exchange all show.

/// The byte string starting at `offset`, so long as `buffer`: 64-bit words, each its number times an odd constant.
pub fn fill(offset: u64, buffer: &mut [u8]) {
    let mut at = offset;
    let mut rest = buffer;
    while !rest.is_empty() {
        let word = (at / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
        let skip = (at % 8) as usize;
        let count = rest.len().min(8 - skip);
        let (now, later) = rest.split_at_mut(count);
        now.copy_from_slice(&word[skip..skip + count]);
        at += count as u64;
        rest = later;
    }
}
