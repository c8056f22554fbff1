//! Websocket frames as they are written: their headers, and the masks that a client lays over them.
//!
//! A message is written behind room for its header, and the header is put in front of it when its
//! length is known.

use std::hash::{BuildHasher, RandomState};

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use crate::sys::vector;

/// Which end of a websocket we are. A client masks its frames, a server must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Who was connected to.
    Server,
    /// Who connected.
    Client,
}

/// Why we end a websocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goodbye {
    /// The peer said goodbye first.
    Normal,
    /// The server ends.
    Away,
    /// The peer has broken the framing.
    Protocol,
    /// The peer has sent a text that is not UTF-8.
    NotText,
    /// Another connection took this one's place.
    Replaced,
}

impl Goodbye {
    fn code(self) -> u16 {
        match self {
            Self::Normal => CloseCode::Normal,
            Self::Away => CloseCode::Away,
            Self::Protocol => CloseCode::Protocol,
            Self::NotText => CloseCode::Invalid,
            Self::Replaced => CloseCode::Policy,
        }
        .into()
    }
}

/// The longest header without a mask.
const PLAIN_HEADER: usize = 10;
/// The longest header with one.
const MASKED_HEADER: usize = PLAIN_HEADER + 4;
/// Longer messages are cut: the real client refuses a frame above 16 MiB.
pub(crate) const MAX_PAYLOAD: usize = 1024 * 1024;

/// Appends a text message whose payload `write` appends, cut into frames.
pub(crate) fn text(out: &mut Vec<u8>, masks: &mut Masks, write: impl FnOnce(&mut Vec<u8>)) {
    let frame = Frame::begin(out, masks.next());
    write(out);
    if frame.payload_len(out) > MAX_PAYLOAD {
        let payload = out.split_off(frame.payload_start());
        out.truncate(frame.start);
        message(out, masks, Data::Text, &payload);
        return;
    }
    frame.finish(out, OpCode::Data(Data::Text), true);
}

/// Appends one frame of a text message in several. `write` appends at most `MAX_PAYLOAD` bytes.
pub(crate) fn piece(
    out: &mut Vec<u8>,
    masks: &mut Masks,
    is_first: bool,
    is_last: bool,
    write: impl FnOnce(&mut Vec<u8>),
) {
    let kind = if is_first { Data::Text } else { Data::Continue };
    let frame = Frame::begin(out, masks.next());
    write(out);
    frame.finish(out, OpCode::Data(kind), is_last);
}

/// A frame whose payload is being written, behind room for the longest header.
struct Frame {
    start: usize,
    room: usize,
    mask: Option<[u8; 4]>,
}

impl Frame {
    fn begin(out: &mut Vec<u8>, mask: Option<[u8; 4]>) -> Self {
        let start = out.len();
        let room = match mask {
            None => {
                out.extend_from_slice(&[0; PLAIN_HEADER]);
                PLAIN_HEADER
            }
            Some(_) => {
                out.extend_from_slice(&[0; MASKED_HEADER]);
                MASKED_HEADER
            }
        };
        Self { start, room, mask }
    }

    fn payload_start(&self) -> usize {
        self.start + self.room
    }

    fn payload_len(&self, out: &[u8]) -> usize {
        out.len() - self.payload_start()
    }

    /// Masks the payload, moves it up to its header, and writes that.
    fn finish(self, out: &mut Vec<u8>, opcode: OpCode, is_final: bool) {
        let payload_start = self.payload_start();
        let payload_len = self.payload_len(out);
        if let Some(mask) = self.mask {
            vector::mask(&mut out[payload_start..], mask);
        }
        let header = header(opcode, is_final, self.mask);
        let header_len = header.len(payload_len as u64);
        if header_len < self.room {
            // musl moves a block onto itself byte by byte, so a move by nothing is left out.
            out.copy_within(payload_start.., self.start + header_len);
            out.truncate(self.start + header_len + payload_len);
        }
        let place = &mut &mut out[self.start..self.start + header_len];
        format(&header, payload_len, place);
    }
}

/// Appends a binary message.
pub(crate) fn binary(out: &mut Vec<u8>, masks: &mut Masks, payload: &[u8]) {
    message(out, masks, Data::Binary, payload);
}

/// Appends the header of a server's binary message in one frame, whose payload is to follow.
pub(crate) fn binary_header(out: &mut Vec<u8>, payload_len: usize) {
    let header = header(OpCode::Data(Data::Binary), true, None);
    format(&header, payload_len, out);
}

/// Appends a message whose payload is known, cut into frames.
fn message(out: &mut Vec<u8>, masks: &mut Masks, first: Data, payload: &[u8]) {
    // An empty message is a frame, too.
    let count = payload.len().div_ceil(MAX_PAYLOAD).max(1);
    out.reserve(payload.len() + count * MASKED_HEADER);
    let mut parts = payload.chunks(MAX_PAYLOAD);
    for index in 0..count {
        let part = parts.next().unwrap_or_default();
        let kind = if index == 0 { first } else { Data::Continue };
        append(out, masks, OpCode::Data(kind), index + 1 == count, part);
    }
}

/// Appends a ping without payload.
pub(crate) fn ping(out: &mut Vec<u8>, masks: &mut Masks) {
    append(out, masks, OpCode::Control(Control::Ping), true, &[]);
}

/// Appends the answer to a ping.
pub(crate) fn pong(out: &mut Vec<u8>, masks: &mut Masks, payload: &[u8]) {
    append(out, masks, OpCode::Control(Control::Pong), true, payload);
}

/// Appends a close frame.
pub(crate) fn close(out: &mut Vec<u8>, masks: &mut Masks, why: Goodbye) {
    let code = why.code().to_be_bytes();
    append(out, masks, OpCode::Control(Control::Close), true, &code);
}

/// Appends a frame whose payload is known.
fn append(out: &mut Vec<u8>, masks: &mut Masks, opcode: OpCode, is_final: bool, payload: &[u8]) {
    let mask = masks.next();
    format(&header(opcode, is_final, mask), payload.len(), out);
    match mask {
        Some(mask) => append_masked(out, payload, mask),
        None => out.extend_from_slice(payload),
    }
}

fn header(opcode: OpCode, is_final: bool, mask: Option<[u8; 4]>) -> FrameHeader {
    FrameHeader {
        is_final,
        opcode,
        mask,
        ..FrameHeader::default()
    }
}

fn format(header: &FrameHeader, payload_len: usize, mut out: &mut impl std::io::Write) {
    // Writing to memory fails only when it is too short, and `header.len` gave its size.
    let _ = header.format(payload_len as u64, &mut out);
}

/// Where the masks of our frames come from; a server has none.
///
/// A mask keeps intermediaries from taking our bytes for HTTP. It is no secret from the peer, so
/// a small generator will do, with a seed that nobody outside can guess.
#[derive(Debug, Default)]
pub(crate) struct Masks(Option<u64>);

impl Masks {
    pub(crate) fn new(role: Role) -> Self {
        Self(match role {
            Role::Server => None,
            // The standard library draws its keys from the kernel. The state must not be zero.
            Role::Client => Some(RandomState::new().hash_one(0_u8) | 1),
        })
    }

    /// The mask of the next frame.
    pub(crate) fn next(&mut self) -> Option<[u8; 4]> {
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
pub(crate) fn mask_behind(mut mask: [u8; 4], count: usize) -> [u8; 4] {
    mask.rotate_left(count % 4);
    mask
}

/// Appends a payload with a mask laid over it, in pieces that stay in the fastest cache.
fn append_masked(out: &mut Vec<u8>, payload: &[u8], mask: [u8; 4]) {
    const PIECE: usize = 8 * 1024;
    for piece in payload.chunks(PIECE) {
        let start = out.len();
        out.extend_from_slice(piece);
        vector::mask(&mut out[start..], mask);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::io::Cursor;

    const ROLES: [Role; 2] = [Role::Server, Role::Client];

    /// Splits what was written into (final, opcode, payload), and takes the masks off.
    fn frames(mut bytes: &[u8]) -> Vec<(bool, OpCode, Vec<u8>)> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let mut cursor = Cursor::new(bytes);
            let (header, len) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            let start = cursor.position() as usize;
            let end = start + len as usize;
            let mut payload = bytes[start..end].to_vec();
            if let Some(mask) = header.mask {
                vector::mask(&mut payload, mask);
            }
            frames.push((header.is_final, header.opcode, payload));
            bytes = &bytes[end..];
        }
        frames
    }

    #[test]
    fn every_header_length_frames_its_payload() {
        for len in [0, 1, 125, 126, 65_535, 65_536, MAX_PAYLOAD] {
            for role in ROLES {
                let mut out = b"before".to_vec();
                text(&mut out, &mut Masks::new(role), |out| {
                    out.extend(std::iter::repeat_n(b'x', len))
                });
                assert_eq!(&out[..6], b"before");
                let frames = frames(&out[6..]);
                assert_eq!(frames.len(), 1, "{len}");
                assert_eq!(frames[0], (true, OpCode::Data(Data::Text), vec![b'x'; len]));
            }
        }
    }

    #[test]
    fn a_long_message_is_cut_and_only_its_last_frame_is_final() {
        let payload: Vec<u8> = (0..MAX_PAYLOAD * 2 + 5).map(|n| n as u8).collect();
        for role in ROLES {
            let mut out = Vec::new();
            text(&mut out, &mut Masks::new(role), |out| {
                out.extend_from_slice(&payload)
            });
            let frames = frames(&out);
            let shape: Vec<_> = frames.iter().map(|frame| (frame.0, frame.1)).collect();
            assert_eq!(
                shape,
                [
                    (false, OpCode::Data(Data::Text)),
                    (false, OpCode::Data(Data::Continue)),
                    (true, OpCode::Data(Data::Continue)),
                ]
            );
            let joined: Vec<u8> = frames.into_iter().flat_map(|frame| frame.2).collect();
            assert!(joined == payload, "{role:?}");
        }
    }

    #[test]
    fn an_empty_binary_message_is_one_frame() {
        let mut out = Vec::new();
        binary(&mut out, &mut Masks::new(Role::Server), b"");
        assert_eq!(out, [0x82, 0]);
    }

    #[test]
    fn pieces_join_to_one_message() {
        let mut out = Vec::new();
        let masks = &mut Masks::new(Role::Client);
        piece(&mut out, masks, true, false, |out| {
            out.extend_from_slice(b"one ")
        });
        ping(&mut out, masks);
        piece(&mut out, masks, false, false, |out| {
            out.extend_from_slice(&[b'x'; 70_000])
        });
        piece(&mut out, masks, false, true, |_| ());
        let shape: Vec<_> = frames(&out)
            .into_iter()
            .map(|frame| (frame.0, frame.1, frame.2.len()))
            .collect();
        assert_eq!(
            shape,
            [
                (false, OpCode::Data(Data::Text), 4),
                (true, OpCode::Control(Control::Ping), 0),
                (false, OpCode::Data(Data::Continue), 70_000),
                (true, OpCode::Data(Data::Continue), 0),
            ]
        );
    }

    #[test]
    fn control_frames_are_final_and_short() {
        for role in ROLES {
            let mut out = Vec::new();
            let masks = &mut Masks::new(role);
            ping(&mut out, masks);
            pong(&mut out, masks, b"hi");
            close(&mut out, masks, Goodbye::Away);
            let frames = frames(&out);
            assert_eq!(frames[0], (true, OpCode::Control(Control::Ping), vec![]));
            assert_eq!(frames[1].2, b"hi");
            assert_eq!(frames[2].2, 1001_u16.to_be_bytes());
        }
    }

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
        vector::mask(&mut whole, mask);
        let mut appended = b"before".to_vec();
        append_masked(&mut appended, &plain, mask);
        assert!(appended[6..] == whole);
        let mut cut = plain;
        for (start, end) in [(0, 5), (5, 6), (6, 9_999), (9_999, 20_001)] {
            vector::mask(&mut cut[start..end], mask_behind(mask, start));
        }
        assert!(cut == whole);
    }
}
