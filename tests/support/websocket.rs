//! As much of RFC 6455 as a client needs, written out so that a test can also break it on purpose.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, SyncSender};

use super::link::Incoming;

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The longest frame the server may send: the real client refuses one over 16 MiB, the issue says 1 MiB.
const LONGEST_FRAME: u64 = 1 << 20;
/// Any mask does; a fixed one makes failures repeatable.
const MASK: [u8; 4] = [0x5a, 0x17, 0xc3, 0x88];

/// A masked client frame.
pub fn frame(opcode: u8, last: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 14);
    bytes.push(opcode | if last { 0x80 } else { 0 });
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | short as u8),
        medium @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((medium as u16).to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    let begin = bytes.len();
    bytes.extend_from_slice(payload);
    for group in bytes[begin..].chunks_mut(4) {
        for (byte, mask) in group.iter_mut().zip(MASK) {
            *byte ^= mask;
        }
    }
    bytes
}

/// How pings are answered.
pub struct Pong {
    /// Where the answer goes.
    pub out: Sender<Vec<u8>>,
    /// Whether there is one.
    pub is_wanted: Arc<AtomicBool>,
}

/// Reads until the server hangs up; answers pings.
pub fn read_messages(mut stream: impl Read, arrived: &SyncSender<Incoming>, pong: &Pong) {
    let mut message: Option<Vec<u8>> = None;
    loop {
        let (opcode, last, payload) = match read_frame(&mut stream) {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(violation) => {
                let _ = arrived.send(Incoming::Violation(violation));
                return;
            }
        };
        let event = match (opcode, message.take()) {
            (TEXT, None) if last => Incoming::Message(payload),
            (TEXT, None) => {
                message = Some(payload);
                continue;
            }
            (CONTINUATION, Some(mut whole)) => {
                whole.extend(payload);
                if !last {
                    message = Some(whole);
                    continue;
                }
                Incoming::Message(whole)
            }
            (PING, open) => {
                message = open;
                if pong.is_wanted.load(Ordering::Relaxed) {
                    let _ = pong.out.send(frame(PONG, true, &payload));
                }
                continue;
            }
            (PONG, open) => {
                message = open;
                Incoming::Pong(payload)
            }
            (CLOSE, _) => Incoming::Close(match payload[..] {
                [high, low, ..] => u16::from_be_bytes([high, low]),
                _ => 1005,
            }),
            (other, open) => Incoming::Violation(format!(
                "frame with opcode {other} while a message is {}",
                if open.is_some() { "open" } else { "not open" }
            )),
        };
        if arrived.send(event).is_err() {
            return;
        }
    }
}

fn read_frame(stream: &mut impl Read) -> Result<Option<(u8, bool, Vec<u8>)>, String> {
    let mut head = [0; 2];
    if stream.read_exact(&mut head).is_err() {
        return Ok(None);
    }
    if head[0] & 0x70 != 0 {
        return Err("reserved bits set with no extension agreed".into());
    }
    if head[1] & 0x80 != 0 {
        return Err("a server must not mask".into());
    }
    let length = match head[1] {
        126 => {
            let mut long = [0; 2];
            stream.read_exact(&mut long).map_err(torn)?;
            u64::from(u16::from_be_bytes(long))
        }
        127 => {
            let mut long = [0; 8];
            stream.read_exact(&mut long).map_err(torn)?;
            u64::from_be_bytes(long)
        }
        short => u64::from(short),
    };
    if length > LONGEST_FRAME {
        return Err(format!("a frame of {length} bytes"));
    }
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).map_err(torn)?;
    Ok(Some((head[0] & 0x0f, head[0] & 0x80 != 0, payload)))
}

/// How the violation begins that a connection is which ends in the middle of a message.
pub const CUT: &str = "the connection ended inside a frame";

fn torn(error: std::io::Error) -> String {
    format!("{CUT}: {error}")
}
