//! Who is who on a websocket, and the masks that a client lays over its frames.

use std::hash::{BuildHasher, RandomState};

/// Which end of a websocket we are. A client masks its frames, a server must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Who was connected to.
    Server,
    /// Who connected.
    Client,
}

/// Where the masks of our frames come from; a server has none.
///
/// A mask keeps intermediaries from taking our bytes for HTTP. It is no secret from the peer, so
/// a small generator will do, with a seed that nobody outside can guess.
#[derive(Debug, Default)]
pub(super) struct Masks(Option<u64>);

impl Masks {
    pub(super) fn new(role: Role) -> Self {
        Self(match role {
            Role::Server => None,
            // The standard library draws its keys from the kernel. The state must not be zero.
            Role::Client => Some(RandomState::new().hash_one(0_u8) | 1),
        })
    }

    /// The mask of the next frame.
    pub(super) fn next(&mut self) -> Option<[u8; 4]> {
        let state = self.0.as_mut()?;
        loop {
            // Marsaglia's xorshift with a final multiplication (xorshift64*).
            *state ^= *state >> 12;
            *state ^= *state << 25;
            *state ^= *state >> 27;
            let mask = (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32;
            if mask != 0 {
                return Some(mask.to_ne_bytes());
            }
        }
    }
}

/// A mask as it goes on behind so many bytes of its frame.
pub(super) fn behind(mut mask: [u8; 4], count: usize) -> [u8; 4] {
    mask.rotate_left(count % 4);
    mask
}

/// Appends a payload with a mask laid over it, in pieces that stay in the fastest cache.
pub(super) fn append(out: &mut Vec<u8>, payload: &[u8], mask: [u8; 4]) {
    const PIECE: usize = 8 * 1024;
    for piece in payload.chunks(PIECE) {
        let start = out.len();
        out.extend_from_slice(piece);
        apply(&mut out[start..], mask);
    }
}

/// Lays a mask over a payload or takes it off, eight bytes at a time.
pub(super) fn apply(payload: &mut [u8], mask: [u8; 4]) {
    let mut wide = [0; 8];
    wide[..4].copy_from_slice(&mask);
    wide[4..].copy_from_slice(&mask);
    let wide = u64::from_ne_bytes(wide);
    let (chunks, rest) = payload.as_chunks_mut();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_client_has_a_fresh_mask_for_every_frame_and_a_server_none() {
        let mut masks = Masks::new(Role::Client);
        let distinct: HashSet<_> = (0..1000).map(|_| masks.next().unwrap()).collect();
        assert!(distinct.len() > 990 && !distinct.contains(&[0; 4]));
        assert_ne!(Masks::new(Role::Client).0, Masks::new(Role::Client).0);
        assert_eq!(Masks::new(Role::Server).next(), None);
    }

    #[test]
    fn a_payload_in_pieces_is_masked_as_a_whole() {
        let plain: Vec<u8> = (0..20_001_u32).map(|n| n as u8).collect();
        let mask = [1, 2, 3, 4];
        let mut whole = plain.clone();
        apply(&mut whole, mask);
        let mut appended = b"before".to_vec();
        append(&mut appended, &plain, mask);
        assert!(appended[6..] == whole);
        let mut cut = plain;
        for (start, end) in [(0, 5), (5, 6), (6, 9_999), (9_999, 20_001)] {
            apply(&mut cut[start..end], behind(mask, start));
        }
        assert!(cut == whole);
    }

    #[test]
    fn a_mask_laid_twice_is_gone() {
        for len in [0, 1, 7, 8, 9, 31] {
            let plain: Vec<u8> = (0..len).collect();
            let mut payload = plain.clone();
            apply(&mut payload, [1, 2, 3, 4]);
            for (at, byte) in payload.iter().enumerate() {
                assert_eq!(*byte, plain[at] ^ [1, 2, 3, 4][at % 4]);
            }
            apply(&mut payload, [1, 2, 3, 4]);
            assert_eq!(payload, plain);
        }
    }
}
