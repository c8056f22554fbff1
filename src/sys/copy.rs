//! `memcpy` and `memmove`, where the C library's are slow for the few bytes at a time that messages
//! are put together of.
//!
//! musl copies everything by `rep movs`, which takes long to begin: a list of 10,000 names spent 4
//! of 10 ms in it. Short copies are a handful of overlapping loads and stores here; long ones are
//! the processor's own as before.

use std::arch::asm;
use std::ptr::{read_unaligned, write_unaligned};

/// From here on the processor's own copying is as fast.
const LONG: usize = 128;

/// As the C library's.
///
/// # Safety
/// `from` can be read and `to` written for `count` bytes; they do not overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: as the caller promises.
    unsafe {
        match count {
            0..LONG => short(to, from, count),
            _ => forwards(to, from, count),
        }
    }
    to
}

/// As the C library's.
///
/// # Safety
/// `from` can be read and `to` written for `count` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // Also true of a target that lies before the source, which is copied forwards.
    let is_behind = (to as usize).wrapping_sub(from as usize) >= count;
    // SAFETY: as the caller promises.
    unsafe {
        match count {
            0..LONG => short(to, from, count),
            _ if is_behind => forwards(to, from, count),
            _ => backwards(to, from, count),
        }
    }
    to
}

/// Loads everything before it stores anything, so both may overlap.
///
/// # Safety
/// `from` can be read and `to` written for `count` bytes, fewer than [`LONG`].
#[inline(always)]
unsafe fn short(to: *mut u8, from: *const u8, count: usize) {
    /// The first and the last `T` of the bytes, and so all of them.
    macro_rules! ends {
        ($of:ty) => {{
            let last = count - size_of::<$of>();
            let head = read_unaligned(from.cast::<$of>());
            let tail = read_unaligned(from.add(last).cast::<$of>());
            write_unaligned(to.cast::<$of>(), head);
            write_unaligned(to.add(last).cast::<$of>(), tail);
        }};
    }
    // SAFETY: every access lies within `count` bytes, as the arms say.
    unsafe {
        match count {
            0 => {}
            1 => *to = *from,
            2..4 => ends!(u16),
            4..8 => ends!(u32),
            8..16 => ends!(u64),
            16..=32 => ends!(u128),
            33..=64 => ends!([u128; 2]),
            _ => ends!([u128; 4]),
        }
    }
}

/// # Safety
/// As for `memcpy`, with at least [`LONG`] bytes; but `to` may lie before `from` and overlap it.
#[inline(always)]
unsafe fn forwards(to: *mut u8, from: *const u8, count: usize) {
    const WORD: usize = size_of::<u64>();
    // SAFETY: the ends are words within `count` bytes. They are loaded before anything is stored;
    // between them whole words, aligned where they are stored, are written from the first to the
    // last.
    unsafe {
        let last = count - WORD;
        let head = read_unaligned(from.cast::<u64>());
        let tail = read_unaligned(from.add(last).cast::<u64>());
        let skipped = WORD - to as usize % WORD;
        asm!(
            "rep movsq",
            inout("rcx") (count - skipped) / WORD => _,
            inout("rdi") to.add(skipped) => _,
            inout("rsi") from.add(skipped) => _,
            options(nostack, preserves_flags)
        );
        write_unaligned(to.cast::<u64>(), head);
        write_unaligned(to.add(last).cast::<u64>(), tail);
    }
}

/// # Safety
/// As for `memmove`, with at least one byte.
#[inline(always)]
unsafe fn backwards(to: *mut u8, from: *const u8, count: usize) {
    // SAFETY: writes what the caller has promised, from the last byte to the first; the direction
    // is set back, as every function expects it.
    unsafe {
        asm!(
            "std",
            "rep movsb",
            "cld",
            inout("rcx") count => _,
            inout("rdi") to.add(count - 1) => _,
            inout("rsi") from.add(count - 1) => _,
            options(nostack)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte that tells where it was.
    fn mark(place: usize) -> u8 {
        (place * 7 + place / 256 * 13 + 1) as u8
    }

    fn marked(len: usize) -> Vec<u8> {
        (0..len).map(mark).collect()
    }

    #[test]
    fn every_length_arrives_whole_and_touches_nothing_else() {
        const AROUND: usize = 24;
        let from = marked(600);
        for count in 0..400 {
            for (to_offset, from_offset) in [(0, 0), (1, 0), (0, 1), (3, 5), (7, 2), (8, 8)] {
                let mut to = vec![0xEE; count + 2 * AROUND];
                let (target, source) = (AROUND + to_offset, from_offset);
                // SAFETY: both have room for it.
                unsafe { memcpy(to[target..].as_mut_ptr(), from[source..].as_ptr(), count) };
                for (place, byte) in to.iter().enumerate() {
                    let expected = match place.checked_sub(target) {
                        Some(index) if index < count => mark(source + index),
                        _ => 0xEE,
                    };
                    assert_eq!(*byte, expected, "{count} to {to_offset} from {from_offset}");
                }
            }
        }
    }

    #[test]
    fn what_overlaps_is_moved_in_either_direction() {
        for count in 0..400 {
            for distance in [0, 1, 2, 3, 7, 8, 9, 15, 16, 31, 64, 127, 128, 200, 399] {
                for is_up in [true, false] {
                    let (target, source) = if is_up { (distance, 0) } else { (0, distance) };
                    let mut bytes = marked(count + distance);
                    let start = bytes.as_mut_ptr();
                    // SAFETY: both lie within the vector.
                    unsafe { memmove(start.add(target), start.add(source), count) };
                    for (place, byte) in bytes.iter().enumerate() {
                        let expected = match place.checked_sub(target) {
                            Some(index) if index < count => mark(source + index),
                            _ => mark(place),
                        };
                        assert_eq!(*byte, expected, "{count} by {distance}, up: {is_up}");
                    }
                }
            }
        }
    }
}
