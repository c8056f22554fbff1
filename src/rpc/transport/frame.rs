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

/// Appends a text message whose payload `write` appends, cut into frames.
pub(super) fn text(out: &mut Vec<u8>, masks: &mut Masks, write: impl FnOnce(&mut Vec<u8>)) {
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
pub(super) fn piece(
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

/// Appends a binary message.
pub(super) fn binary(out: &mut Vec<u8>, masks: &mut Masks, payload: &[u8]) {
    message(out, masks, Data::Binary, payload);
}

/// Appends the header of a server's binary message in one frame, whose payload is to follow.
pub(super) fn binary_header(out: &mut Vec<u8>, payload_len: usize) {
    let header = header(OpCode::Data(Data::Binary), true, None);
    format(&header, payload_len, out);
}

/// Appends a message whose payload is known, cut into frames.
fn message(out: &mut Vec<u8>, masks: &mut Masks, first: Data, payload: &[u8]) {
    let count = payload.len().div_ceil(MAX_PAYLOAD);
    out.reserve(payload.len() + count * MASKED_HEADER);
    for (index, part) in payload.chunks(MAX_PAYLOAD).enumerate() {
        let kind = if index == 0 { first } else { Data::Continue };
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
    match mask {
        Some(mask) => mask::append(out, payload, mask),
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
}
