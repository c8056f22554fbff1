//! The one message of the relay, in the binary form of Protocol Buffers.
//!
//! ```text
//! 1 version: u32 (1)   2 stream_id: string   3 ack: u32   4 ack_bits: u32
//! one of  5 data { 1 seq: u32, 2 segment_index: u32, 3 segment_count: u32, 4 payload: bytes }
//!         6 ack {}   7 resume { 1 next_seq: u32 }   8 reset { 1 reason: string }
//!         9 heartbeat {}   10 handshake { 1 payload: bytes }
//! ```
//!
//! Everything of a frame is borrowed from where it was received, and no length in it is believed
//! before that many bytes are there. What says which frames have arrived is passed over: the
//! websocket loses none.

use std::fmt;

/// The version that this is.
const VERSION: u64 = 1;
/// The longest name of a stream, in bytes.
const MAX_STREAM_ID: usize = 128;
/// The longest reason of a reset, in bytes.
pub(crate) const MAX_REASON: usize = 256;
/// The longest varint: 64 bits, seven a byte.
const MAX_VARINT: usize = 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// The stream that it is of.
    pub(crate) stream: &'a str,
    pub(crate) body: Body<'a>,
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    /// A message, or a segment of one.
    Data(Data<'a>),
    /// Nothing but which frames have arrived.
    Ack,
    /// The data frames from this number on are wanted.
    Resume(u32),
    /// The stream is over, and why.
    Reset(&'a str),
    /// A sign of life.
    Heartbeat,
    /// The beginning of the encrypted form, which is not spoken here.
    Handshake,
}

/// A segment of a message; the reference's messages are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Data<'a> {
    /// Its number in the stream, from 0 in each direction.
    pub(crate) seq: u32,
    /// Which segment of its message it is, from 0.
    pub(crate) index: u32,
    /// How many segments the message has.
    pub(crate) count: u32,
    pub(crate) payload: &'a [u8],
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameError {
    /// They end in the middle of something, or a number is too long.
    Torn,
    /// A field is not of the type that it should be.
    WireType,
    /// Of another version.
    Version,
    /// The name of the stream is empty, padded, too long or no text.
    Stream,
    /// There is no body, or none that is known.
    NoBody,
    /// The payload is empty, or the segment is outside of its message.
    Data,
    /// The reason of a reset is empty, too long or no text.
    Reason,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Torn => "it is cut off",
            Self::WireType => "a field has a wrong type",
            Self::Version => "its version is not 1",
            Self::Stream => "its stream id is not 1 to 128 bytes of text without blanks around",
            Self::NoBody => "it has no known body",
            Self::Data => "its data is empty or its segment outside of the message",
            Self::Reason => "the reason of its reset is not 1 to 256 bytes of text",
        })
    }
}

impl std::error::Error for FrameError {}

impl<'a> Frame<'a> {
    /// Reads a frame. Unknown fields are passed over, and of a field that comes twice the last
    /// one counts, as the format wants it.
    ///
    /// # Errors
    /// The bytes are no valid frame.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let mut fields = Fields(bytes);
        let (mut version, mut stream, mut body) = (0, &[][..], None);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => version = value.number()?,
                2 => stream = value.bytes()?,
                3 | 4 => drop(value.short()?),
                5 => body = Some(Body::Data(data(value.bytes()?)?)),
                6 => body = Some(value.bytes().map(|_| Body::Ack)?),
                7 => body = Some(Body::Resume(only_number(value.bytes()?)?)),
                8 => body = Some(Body::Reset(reason(value.bytes()?)?)),
                9 => body = Some(value.bytes().map(|_| Body::Heartbeat)?),
                10 => body = Some(value.bytes().map(|_| Body::Handshake)?),
                _ => {}
            }
        }
        if version != VERSION {
            return Err(FrameError::Version);
        }
        Ok(Self {
            stream: text(stream, MAX_STREAM_ID)
                .filter(|id| id.trim() == *id)
                .ok_or(FrameError::Stream)?,
            body: body.ok_or(FrameError::NoBody)?,
        })
    }

    /// Appends the frame to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, 1, VERSION);
        put_bytes(out, 2, self.stream.as_bytes());
        match &self.body {
            Body::Data(data) => {
                let mut head = Vec::with_capacity(32);
                put_number(&mut head, 1, data.seq.into());
                put_number(&mut head, 2, data.index.into());
                put_number(&mut head, 3, data.count.into());
                put_key(&mut head, 4, LENGTH);
                put_varint(&mut head, data.payload.len() as u64);
                put_key(out, 5, LENGTH);
                put_varint(out, (head.len() + data.payload.len()) as u64);
                out.extend_from_slice(&head);
                out.extend_from_slice(data.payload);
            }
            Body::Ack => put_bytes(out, 6, &[]),
            Body::Resume(next) => {
                let mut inner = Vec::new();
                put_number(&mut inner, 1, (*next).into());
                put_bytes(out, 7, &inner);
            }
            Body::Reset(reason) => {
                let mut inner = Vec::new();
                put_bytes(&mut inner, 1, reason.as_bytes());
                put_bytes(out, 8, &inner);
            }
            Body::Heartbeat => put_bytes(out, 9, &[]),
            Body::Handshake => put_bytes(out, 10, &[]),
        }
    }
}

fn data(bytes: &[u8]) -> Result<Data<'_>, FrameError> {
    let mut fields = Fields(bytes);
    let mut data = Data {
        seq: 0,
        index: 0,
        count: 0,
        payload: &[],
    };
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => data.seq = value.short()?,
            2 => data.index = value.short()?,
            3 => data.count = value.short()?,
            4 => data.payload = value.bytes()?,
            _ => {}
        }
    }
    if data.payload.is_empty() || data.index >= data.count {
        return Err(FrameError::Data);
    }
    Ok(data)
}

fn only_number(bytes: &[u8]) -> Result<u32, FrameError> {
    let mut fields = Fields(bytes);
    let mut only = 0;
    while let Some((number, value)) = fields.next()? {
        if number == 1 {
            only = value.short()?;
        }
    }
    Ok(only)
}

fn reason(bytes: &[u8]) -> Result<&str, FrameError> {
    let mut fields = Fields(bytes);
    let mut reason = &[][..];
    while let Some((number, value)) = fields.next()? {
        if number == 1 {
            reason = value.bytes()?;
        }
    }
    text(reason, MAX_REASON).ok_or(FrameError::Reason)
}

fn text(bytes: &[u8], longest: usize) -> Option<&str> {
    let is_fit = (1..=longest).contains(&bytes.len());
    std::str::from_utf8(bytes).ok().filter(|_| is_fit)
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

/// The fields of a message, one after the other.
struct Fields<'a>(&'a [u8]);

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Fixed,
}

impl<'a> Value<'a> {
    fn number(&self) -> Result<u64, FrameError> {
        match self {
            Self::Number(number) => Ok(*number),
            _ => Err(FrameError::WireType),
        }
    }

    /// A number of 32 bits; of a longer one the low bits count, as the format wants it.
    fn short(&self) -> Result<u32, FrameError> {
        self.number().map(|number| number as u32)
    }

    fn bytes(&self) -> Result<&'a [u8], FrameError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(FrameError::WireType),
        }
    }
}

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, FrameError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            VARINT => Value::Number(self.varint()?),
            FIXED64 => self.take(8).map(|_| Value::Fixed)?,
            LENGTH => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            FIXED32 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(FrameError::WireType),
        };
        Ok(Some((key >> 3, value)))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], FrameError> {
        let length = usize::try_from(length).map_err(|_| FrameError::Torn)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(FrameError::Torn)?;
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, FrameError> {
        let mut number = 0;
        for (at, byte) in self.0.iter().take(MAX_VARINT).enumerate() {
            // Bits beyond the 64th fall off.
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.0 = &self.0[at + 1..];
                return Ok(number);
            }
        }
        Err(FrameError::Torn)
    }
}

/// Zero is what an absent number means.
fn put_number(out: &mut Vec<u8>, field: u64, number: u64) {
    if number != 0 {
        put_key(out, field, VARINT);
        put_varint(out, number);
    }
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_key(out, field, LENGTH);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_key(out: &mut Vec<u8>, field: u64, wire_type: u64) {
    put_varint(out, field << 3 | wire_type);
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests;
