//! What a message from a server says, as far as a measurement needs to know.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::failure::Failure;

/// How far into a message its method and the start of its chunk are looked for.
const PREFIX: usize = 256;
/// How far before a message's end the chunk's closing quote is looked for.
const SUFFIX: usize = 128;
/// How much of a message's end is kept: before the quote there may be padding.
const TAIL: usize = SUFFIX + PADDING;
/// The most that base64 is padded with.
const PADDING: usize = 2;

/// One message.
pub enum Event<'a> {
    /// The answer to a request.
    Answer { id: u64, result: &'a str },
    /// The refusal of a request; the codes and texts are the server's.
    Refused { code: i64, message: String },
    /// Output of a process, still in base64.
    Output { chunk: &'a str },
    /// A process ended.
    Exited { code: i64 },
    /// Nothing more will come from this process.
    Closed { process: &'a str },
    /// Anything that no measurement asks about.
    Other,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    id: Option<i64>,
    method: Option<&'a str>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    code: i64,
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Params<'a> {
    process_id: &'a str,
    chunk: Option<&'a str>,
    exit_code: Option<i64>,
}

/// Reads a small message in full.
pub fn event(message: &[u8]) -> Result<Event<'_>, Failure> {
    let unreadable = |error: serde_json::Error| {
        Failure::Unexpected(format!(
            "unreadable message ({error}): {}",
            String::from_utf8_lossy(&message[..message.len().min(PREFIX)])
        ))
    };
    let envelope: Envelope<'_> = serde_json::from_slice(message).map_err(unreadable)?;
    if let Some(Refusal { code, message }) = envelope.error {
        return Ok(Event::Refused { code, message });
    }
    if let (Some(id), Some(result)) = (envelope.id, envelope.result) {
        return Ok(Event::Answer {
            id: u64::try_from(id).unwrap_or(0),
            result: result.get(),
        });
    }
    let (Some(method), Some(params)) = (envelope.method, envelope.params) else {
        return Ok(Event::Other);
    };
    if !method.starts_with("process/") {
        return Ok(Event::Other);
    }
    let params: Params<'_> = serde_json::from_str(params.get()).map_err(unreadable)?;
    Ok(match method {
        "process/output" => Event::Output {
            chunk: params.chunk.unwrap_or_default(),
        },
        "process/exited" => Event::Exited {
            code: params.exit_code.unwrap_or(-1),
        },
        "process/closed" => Event::Closed {
            process: params.process_id,
        },
        _ => Event::Other,
    })
}

/// How many bytes of output a message carries, without a look at them; `None` if it is not an
/// output notification.
pub fn output_bytes(message: &[u8]) -> Option<u64> {
    const CHUNK: &[u8] = b"\"chunk\":\"";
    let prefix = &message[..message.len().min(PREFIX)];
    find(prefix, b"\"process/output\"")?;
    let tail = &message[message.len().saturating_sub(TAIL)..];
    base64_bytes(message.len(), prefix, tail, CHUNK)
}

/// The length and both ends of a message that is too large to keep.
#[derive(Default)]
pub struct Outline {
    length: usize,
    prefix: Vec<u8>,
    tail: Vec<u8>,
}

impl Outline {
    /// Takes the next piece of the message.
    pub fn add(&mut self, piece: &[u8]) {
        self.length += piece.len();
        let missing = (PREFIX - self.prefix.len()).min(piece.len());
        self.prefix.extend_from_slice(&piece[..missing]);
        let last = &piece[piece.len().saturating_sub(TAIL)..];
        let excess = (self.tail.len() + last.len()).saturating_sub(TAIL);
        self.tail.drain(..excess);
        self.tail.extend_from_slice(last);
    }

    /// How many bytes of a file the message carries as the answer to `fs/readFile`.
    pub fn file_bytes(&self) -> Result<u64, Failure> {
        let bytes = base64_bytes(self.length, &self.prefix, &self.tail, b"\"dataBase64\":\"");
        if let Some(bytes) = bytes {
            return Ok(bytes);
        }
        match event(&self.prefix)? {
            Event::Refused { code, message } => Err(Failure::Refused { code, message }),
            _ => Err(Failure::Unexpected(
                "an answer without the file's bytes".to_owned(),
            )),
        }
    }
}

/// How many bytes the base64 behind `key` stands for, by the ends of the message alone. Base64 holds
/// no quote, so its end is the first quote near the message's end.
fn base64_bytes(length: usize, prefix: &[u8], tail: &[u8], key: &[u8]) -> Option<u64> {
    let start = find(prefix, key)? + key.len();
    let dropped = length - tail.len();
    let from = start.max(length.saturating_sub(SUFFIX)) - dropped;
    let end = from + tail.get(from..)?.iter().position(|&byte| byte == b'"')?;
    let last = &tail[start.saturating_sub(dropped)..end];
    Some(decoded(dropped + end - start, last))
}

/// How many bytes padded base64 of this length stands for, by the last of it.
pub fn decoded(length: usize, last: &[u8]) -> u64 {
    let padding = last.iter().rev().take(PADDING);
    let padding = padding.filter(|&&byte| byte == b'=').count();
    let whole = length / 4 * 3;
    (whole - padding.min(whole)) as u64
}

/// Whether `message` is the good answer to request `id`; cheaper than [`event`].
pub fn answers(message: &[u8], id: u64) -> bool {
    const ID: &[u8] = b"\"id\":";
    let Some(at) = find(message, ID) else {
        return false;
    };
    let digits = message[at + ID.len()..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    let seen = digits.fold(0u64, |sum, &digit| {
        sum.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))
    });
    seen == id && find(message, b"\"result\"").is_some()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
