//! Websocket frames as they are written: masked by a client, plain by a server.

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use super::mask::{self, Masks};

/// The longest header without a mask.
const PLAIN_HEADER: usize = 10;
/// The longest header with one.
const MASKED_HEADER: usize = PLAIN_HEADER + 4;
/// Longer messages are cut: the real client refuses a frame above 16 MiB.
pub(super) const MAX_PAYLOAD: usize = 1024 * 1024;

/// What a message consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Binary,
}

impl Kind {
    /// What its first frame says, and the others.
    fn of(self, is_first: bool) -> Data {
        match self {
            _ if !is_first => Data::Continue,
            Self::Text => Data::Text,
            Self::Binary => Data::Binary,
        }
    }
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
    /// Another connection took this one's place.
    Replaced,
}

impl Goodbye {
    fn code(self) -> u16 {
        match self {
            Self::Normal => CloseCode::Normal,
            Self::Away => CloseCode::Away,
            Self::Protocol => CloseCode::Protocol,
            Self::Replaced => CloseCode::Policy,
        }
        .into()
    }
}

/// Appends a message whose payload `write` appends, cut into frames.
pub(super) fn message(
    out: &mut Vec<u8>,
    masks: &mut Masks,
    kind: Kind,
    write: impl FnOnce(&mut Vec<u8>),
) {
    let frame = Frame::begin(out, masks.next());
    write(out);
    if frame.payload_len(out) > MAX_PAYLOAD {
        let payload = out.split_off(frame.payload_start());
        out.truncate(frame.start);
        fragments(out, masks, kind, &payload);
        return;
    }
    frame.finish(out, OpCode::Data(kind.of(true)), true);
}

/// Appends one frame of a message in several. `write` appends at most `MAX_PAYLOAD` bytes.
pub(super) fn piece(
    out: &mut Vec<u8>,
    masks: &mut Masks,
    kind: Kind,
    (is_first, is_last): (bool, bool),
    write: impl FnOnce(&mut Vec<u8>),
) {
    let kind = kind.of(is_first);
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
            mask::apply(&mut out[payload_start..], mask);
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

fn fragments(out: &mut Vec<u8>, masks: &mut Masks, kind: Kind, payload: &[u8]) {
    let count = payload.len().div_ceil(MAX_PAYLOAD);
    out.reserve(payload.len() + count * MASKED_HEADER);
    for (index, part) in payload.chunks(MAX_PAYLOAD).enumerate() {
        let kind = kind.of(index == 0);
        append(out, masks, OpCode::Data(kind), index + 1 == count, part);
    }
}

/// Appends a ping without payload.
pub(super) fn ping(out: &mut Vec<u8>, masks: &mut Masks) {
    append(out, masks, OpCode::Control(Control::Ping), true, &[]);
}

/// Appends the answer to a ping.
pub(super) fn pong(out: &mut Vec<u8>, masks: &mut Masks, payload: &[u8]) {
    append(out, masks, OpCode::Control(Control::Pong), true, payload);
}

/// Appends a close frame.
pub(super) fn close(out: &mut Vec<u8>, masks: &mut Masks, why: Goodbye) {
    let code = why.code().to_be_bytes();
    append(out, masks, OpCode::Control(Control::Close), true, &code);
}

/// Appends a frame whose payload is known.
fn append(out: &mut Vec<u8>, masks: &mut Masks, opcode: OpCode, is_final: bool, payload: &[u8]) {
    let mask = masks.next();
    format(&header(opcode, is_final, mask), payload.len(), out);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        mask::apply(&mut out[start..], mask);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::transport::Role;
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
                mask::apply(&mut payload, mask);
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
                message(&mut out, &mut Masks::new(role), Kind::Text, |out| {
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
            message(&mut out, &mut Masks::new(role), Kind::Text, |out| {
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
    fn pieces_join_to_one_message() {
        let mut out = Vec::new();
        let masks = &mut Masks::new(Role::Client);
        piece(&mut out, masks, Kind::Text, (true, false), |out| {
            out.extend_from_slice(b"one ")
        });
        ping(&mut out, masks);
        piece(&mut out, masks, Kind::Text, (false, false), |out| {
            out.extend_from_slice(&[b'x'; 70_000])
        });
        piece(&mut out, masks, Kind::Text, (false, true), |_| ());
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
}
