//! Loops over the bytes of long messages, with vector instructions: at this program's level of
//! optimisation the compiler makes none. Which the processor has is asked at run time.

/// Takes a websocket's mask off `bytes`, or lays it over them; the first byte of both belong together.
pub fn mask(bytes: &mut [u8], mask: [u8; 4]) {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has the instructions.
        return unsafe { avx2::mask(bytes, mask) };
    }
    mask_by_words(bytes, mask);
}

/// How many bytes at the start of `text` a JSON string can have as they are: all before a quotation
/// mark, a backslash or a control character.
pub fn plain_len(text: &[u8]) -> usize {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has the instructions.
        return unsafe { avx2::plain_len(text) };
    }
    plain_len_by_bytes(text)
}

fn mask_by_words(bytes: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from(u32::from_ne_bytes(mask));
    let wide = wide << 32 | wide;
    let (words, rest) = bytes.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

fn plain_len_by_bytes(text: &[u8]) -> usize {
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..0x20);
    text.iter().position(is_special).unwrap_or(text.len())
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8,
        _mm256_or_si256, _mm256_set1_epi8, _mm256_set1_epi32, _mm256_storeu_si256,
        _mm256_xor_si256,
    };

    #[target_feature(enable = "avx2")]
    pub(super) fn mask(bytes: &mut [u8], mask: [u8; 4]) {
        let wide = _mm256_set1_epi32(i32::from_ne_bytes(mask));
        let (vectors, rest) = bytes.as_chunks_mut::<32>();
        for vector in vectors {
            let place: *mut __m256i = vector.as_mut_ptr().cast();
            // SAFETY: there are 32 bytes, and neither instruction asks for an alignment.
            unsafe {
                let masked = _mm256_xor_si256(_mm256_loadu_si256(place), wide);
                _mm256_storeu_si256(place, masked);
            }
        }
        super::mask_by_words(rest, mask);
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn plain_len(text: &[u8]) -> usize {
        let quote = _mm256_set1_epi8(b'"' as i8);
        let backslash = _mm256_set1_epi8(b'\\' as i8);
        let control = _mm256_set1_epi8(0x1f);
        let special = |half: &[u8; 32]| {
            // SAFETY: there are 32 bytes, and the instruction asks for no alignment.
            let bytes = unsafe { _mm256_loadu_si256(half.as_ptr().cast()) };
            let is_quote = _mm256_cmpeq_epi8(bytes, quote);
            let is_backslash = _mm256_cmpeq_epi8(bytes, backslash);
            let is_control = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, control), bytes);
            _mm256_or_si256(_mm256_or_si256(is_quote, is_backslash), is_control)
        };
        let (pairs, rest) = text.as_chunks::<64>();
        for (index, pair) in pairs.iter().enumerate() {
            let (halves, _) = pair.as_chunks::<32>();
            let [first, second] = [special(&halves[0]), special(&halves[1])];
            if _mm256_movemask_epi8(_mm256_or_si256(first, second)) != 0 {
                return index * 64 + super::plain_len_by_bytes(pair);
            }
        }
        text.len() - rest.len() + super::plain_len_by_bytes(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_laid_over_any_number_of_bytes_from_any_place_on() {
        let plain: Vec<u8> = (0..200_u8).collect();
        let key = [0x11, 0x80, 0, 0xff];
        for start in 0..40 {
            for end in start..plain.len() {
                let mut masked = plain.clone();
                mask(&mut masked[start..end], key);
                for (at, byte) in masked.iter().enumerate() {
                    let is_in = (start..end).contains(&at);
                    let key = if is_in { key[(at - start) % 4] } else { 0 };
                    assert_eq!(*byte, plain[at] ^ key, "{at} of {start}..{end}");
                }
            }
        }
    }

    #[test]
    fn what_ends_a_plain_text_is_found_wherever_it_is() {
        for len in 0..200 {
            for special in 0..=255 {
                let mut text = vec![b'x'; 200];
                text[len] = special;
                text.extend_from_slice(b"\"");
                let is_special = special < 0x20 || special == b'"' || special == b'\\';
                let expected = if is_special { len } else { 200 };
                assert_eq!(plain_len(&text), expected, "{special} at {len}");
                assert_eq!(plain_len_by_bytes(&text), expected, "{special} at {len}");
            }
            assert_eq!(plain_len(&vec![0xff; len]), len);
        }
    }

    #[test]
    fn both_ways_to_mask_agree() {
        for len in 0..150 {
            let mut one = vec![0xa5; len];
            let mut other = one.clone();
            mask(&mut one, [1, 2, 3, 4]);
            mask_by_words(&mut other, [1, 2, 3, 4]);
            assert_eq!(one, other);
        }
    }
}
