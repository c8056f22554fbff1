//! Websocket frames as a server writes them: not masked.

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// The longest header that a server writes.
const MAX_HEADER: usize = 10;
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
pub(super) fn text(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; MAX_HEADER]);
    write(out);
    let payload_start = start + MAX_HEADER;
    let payload_len = out.len() - payload_start;
    if payload_len > MAX_PAYLOAD {
        let payload = out.split_off(payload_start);
        out.truncate(start);
        fragments(out, &payload);
        return;
    }
    put_header(out, start, &header(OpCode::Data(Data::Text), true));
}

/// Appends one frame of a text message in several. `write` appends at most `MAX_PAYLOAD` bytes.
pub(super) fn piece(
    out: &mut Vec<u8>,
    is_first: bool,
    is_last: bool,
    write: impl FnOnce(&mut Vec<u8>),
) {
    let kind = if is_first { Data::Text } else { Data::Continue };
    let start = out.len();
    out.extend_from_slice(&[0; MAX_HEADER]);
    write(out);
    put_header(out, start, &header(OpCode::Data(kind), is_last));
}

/// Writes the header of the payload that begins `MAX_HEADER` bytes behind `start`, and moves the
/// payload up to it.
fn put_header(out: &mut Vec<u8>, start: usize, header: &FrameHeader) {
    let payload_start = start + MAX_HEADER;
    let payload_len = out.len() - payload_start;
    let header_len = header.len(payload_len as u64);
    if header_len < MAX_HEADER {
        // musl moves a block onto itself byte by byte, so a move by nothing is left out.
        out.copy_within(payload_start.., start + header_len);
        out.truncate(start + header_len + payload_len);
    }
    let place = &mut &mut out[start..start + header_len];
    format(header, payload_len, place);
}

fn fragments(out: &mut Vec<u8>, payload: &[u8]) {
    let count = payload.len().div_ceil(MAX_PAYLOAD);
    out.reserve(payload.len() + count * MAX_HEADER);
    for (index, part) in payload.chunks(MAX_PAYLOAD).enumerate() {
        let kind = if index == 0 {
            Data::Text
        } else {
            Data::Continue
        };
        let header = header(OpCode::Data(kind), index + 1 == count);
        format(&header, part.len(), out);
        out.extend_from_slice(part);
    }
}

/// Appends a ping without payload.
pub(super) fn ping(out: &mut Vec<u8>) {
    control(out, Control::Ping, &[]);
}

/// Appends the answer to a ping.
pub(super) fn pong(out: &mut Vec<u8>, payload: &[u8]) {
    control(out, Control::Pong, payload);
}

/// Appends a close frame.
pub(super) fn close(out: &mut Vec<u8>, why: Goodbye) {
    control(out, Control::Close, &why.code().to_be_bytes());
}

fn control(out: &mut Vec<u8>, kind: Control, payload: &[u8]) {
    format(&header(OpCode::Control(kind), true), payload.len(), out);
    out.extend_from_slice(payload);
}

fn header(opcode: OpCode, is_final: bool) -> FrameHeader {
    FrameHeader {
        is_final,
        opcode,
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
    use std::io::Cursor;

    /// Splits what was written into (final, opcode, payload).
    fn frames(mut bytes: &[u8]) -> Vec<(bool, OpCode, Vec<u8>)> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let mut cursor = Cursor::new(bytes);
            let (header, len) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            let start = cursor.position() as usize;
            let end = start + len as usize;
            frames.push((header.is_final, header.opcode, bytes[start..end].to_vec()));
            bytes = &bytes[end..];
        }
        frames
    }

    #[test]
    fn every_header_length_frames_its_payload() {
        for len in [0, 1, 125, 126, 65_535, 65_536, MAX_PAYLOAD] {
            let mut out = b"before".to_vec();
            text(&mut out, |out| out.extend(std::iter::repeat_n(b'x', len)));
            assert_eq!(&out[..6], b"before");
            let frames = frames(&out[6..]);
            assert_eq!(frames.len(), 1, "{len}");
            assert_eq!(frames[0], (true, OpCode::Data(Data::Text), vec![b'x'; len]));
        }
    }

    #[test]
    fn a_long_message_is_cut_and_only_its_last_frame_is_final() {
        let payload: Vec<u8> = (0..MAX_PAYLOAD * 2 + 5).map(|n| n as u8).collect();
        let mut out = Vec::new();
        text(&mut out, |out| out.extend_from_slice(&payload));
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
        assert_eq!(joined, payload);
    }

    #[test]
    fn pieces_join_to_one_message() {
        let mut out = Vec::new();
        piece(&mut out, true, false, |out| out.extend_from_slice(b"one "));
        ping(&mut out);
        piece(&mut out, false, false, |out| {
            out.extend_from_slice(&[b'x'; 70_000])
        });
        piece(&mut out, false, true, |_| ());
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
        let mut out = Vec::new();
        ping(&mut out);
        pong(&mut out, b"hi");
        close(&mut out, Goodbye::Away);
        let frames = frames(&out);
        assert_eq!(frames[0], (true, OpCode::Control(Control::Ping), vec![]));
        assert_eq!(frames[1].2, b"hi");
        assert_eq!(frames[2].2, 1001_u16.to_be_bytes());
    }
}
