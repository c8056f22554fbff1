//! What a message from a server says, as far as a measurement needs to know.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::failure::Failure;

/// How far into a message its method and the start of its chunk are looked for.
const PREFIX: usize = 256;
/// How far before a message's end the chunk's closing quote is looked for.
const SUFFIX: usize = 128;

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
/// output notification. Base64 holds no quote, so its end is the first quote near the message's end.
pub fn output_bytes(message: &[u8]) -> Option<u64> {
    const CHUNK: &[u8] = b"\"chunk\":\"";
    let prefix = &message[..message.len().min(PREFIX)];
    find(prefix, b"\"process/output\"")?;
    let start = find(prefix, CHUNK)? + CHUNK.len();
    let from = start.max(message.len().saturating_sub(SUFFIX));
    let end = from + message[from..].iter().position(|&byte| byte == b'"')?;
    Some(decoded(&message[start..end]))
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

/// How many bytes a piece of padded base64 stands for.
pub fn decoded(base64: &[u8]) -> u64 {
    let padding = base64
        .iter()
        .rev()
        .take(2)
        .filter(|&&byte| byte == b'=')
        .count();
    (base64.len() / 4 * 3 - padding.min(base64.len() / 4 * 3)) as u64
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
