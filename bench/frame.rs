//! Websocket framing, both ends, as little of it as the measurements need.

use std::io::{self, Read};

use crate::inbox::Inbox;

/// The key of RFC 6455's own example. A fixed one lets the canned server answer without SHA-1.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What a server must answer to [`KEY`].
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub const TEXT: u8 = 1;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// Not zero, so that a server has the real work of unmasking.
const MASK: [u8; 4] = [0x5a, 0xc3, 0x96, 0x2d];

/// What a frame's first bytes say of it.
pub struct Head {
    pub opcode: u8,
    pub last: bool,
    /// Bytes before the payload, the mask included.
    pub header: usize,
    pub payload: usize,
}

/// Whether a frame with this opcode is about the connection, and no part of a message.
pub fn is_control(opcode: u8) -> bool {
    opcode & 0x08 != 0
}

/// The first frame of `bytes`, if it is there in full.
pub fn first(bytes: &[u8]) -> Option<Head> {
    head(bytes).filter(|head| {
        let end = head.header.checked_add(head.payload);
        end.is_some_and(|end| bytes.len() >= end)
    })
}

/// The head of the first frame of `bytes`, if that much is there.
pub fn head(bytes: &[u8]) -> Option<Head> {
    let (&flags, &length) = (bytes.first()?, bytes.get(1)?);
    let masked: usize = if length & 0x80 == 0 { 0 } else { 4 };
    let (size, payload) = match length & 0x7f {
        126 => (
            4,
            usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
        ),
        127 => (
            10,
            usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?,
        ),
        short => (2, usize::from(short)),
    };
    let header = size + masked;
    (bytes.len() >= header).then_some(Head {
        opcode: flags & 0x0f,
        last: flags & 0x80 != 0,
        header,
        payload,
    })
}

/// Appends one unmasked frame, as a server sends it.
pub fn plain(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    start(out, opcode, payload.len(), 0);
    out.extend_from_slice(payload);
}

/// Appends one masked frame, as a client sends it.
pub fn masked(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    start(out, opcode, payload.len(), 0x80);
    out.extend_from_slice(&MASK);
    let from = out.len();
    out.extend_from_slice(payload);
    let mut words = out[from..].chunks_exact_mut(4);
    for word in &mut words {
        for (byte, key) in word.iter_mut().zip(MASK) {
            *byte ^= key;
        }
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(MASK) {
        *byte ^= key;
    }
}

fn start(out: &mut Vec<u8>, opcode: u8, length: usize, mask_bit: u8) {
    out.push(0x80 | opcode);
    if let Some(short) = u8::try_from(length).ok().filter(|&short| short < 126) {
        out.push(mask_bit | short);
    } else if let Ok(medium) = u16::try_from(length) {
        out.push(mask_bit | 126);
        out.extend_from_slice(&medium.to_be_bytes());
    } else {
        out.push(mask_bit | 127);
        out.extend_from_slice(&(length as u64).to_be_bytes());
    }
}

/// Reads a head of HTTP up to and with its empty line, and gives it back.
pub fn http_head(inbox: &mut Inbox, source: &mut impl Read) -> io::Result<String> {
    loop {
        let end = inbox
            .unread()
            .windows(4)
            .position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let range = inbox.take(0, end + 4);
            return Ok(String::from_utf8_lossy(inbox.at(range)).into_owned());
        }
        inbox.fill(source)?;
    }
}
