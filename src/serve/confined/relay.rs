//! From a helper's answer to the client, as it is.
//!
//! The content of a large file passes in pieces, so that a slow client holds up the helper and not
//! memory. Everything else is held whole, as it is where nothing is confined.

use std::time::Duration;

use super::channel::{Channel, ChannelError};
use crate::log;
use crate::rpc::encode::{json, number};
use crate::rpc::transport::LongMessage;
use crate::serve::dispatch::Later;
use crate::serve::files::FileService;

/// Above so many bytes the content of a file is passed on before all of it is there.
const STREAM_FROM: usize = 1024 * 1024;
/// Bytes of a piece.
const PIECE: usize = 256 * 1024;
/// What the answer to a read begins with, behind its id.
const CONTENT: &[u8] = b"{\"dataBase64\":\"";

/// Whether the content of a file is passed in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passing {
    Whole,
    Pieces,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relayed {
    /// The client has it.
    Whole,
    /// It has broken off, and the client has been told, or is gone. The helper is of no more use.
    BrokenOff,
}

/// Waits for the answer, which may take as long as `limit`, and passes it on. After an error
/// nothing has been passed on.
pub(super) fn relay(
    channel: &mut Channel,
    later: &Later,
    service: &FileService,
    passing: Passing,
    limit: Duration,
) -> Result<Relayed, ChannelError> {
    let most = (passing == Passing::Pieces).then_some(STREAM_FROM);
    if channel.receive(limit, most)? {
        later.add_encoded(channel.answer());
        return Ok(Relayed::Whole);
    }
    let mut start = Vec::new();
    later.begin_result(&mut start, CONTENT);
    if !channel.answer().starts_with(&start) {
        // Not a file's content: an error, or a list.
        channel.receive(limit, None)?;
        later.add_encoded(channel.answer());
        return Ok(Relayed::Whole);
    }
    let Some(message) = service.begin_long() else {
        return Ok(Relayed::BrokenOff);
    };
    Ok(pass_content(channel, message, start.len(), limit))
}

/// Passes an answer on that begins with `start` bytes which are not content. Should it not come
/// to its end, the message gets one that no client takes for the content's; see `files/stream.rs`.
fn pass_content(
    channel: &mut Channel,
    mut message: LongMessage,
    start: usize,
    limit: Duration,
) -> Relayed {
    let mut passed = 0;
    loop {
        // Base64 has no quotes. From the one behind it on, the answer waits for its end.
        let behind = start.saturating_sub(passed);
        let answer = &channel.answer()[behind..];
        let content = behind + memchr::memchr(b'"', answer).unwrap_or(answer.len());
        for piece in channel.answer()[..content].chunks(PIECE) {
            if !message.add(|out| out.extend_from_slice(piece)) {
                return Relayed::BrokenOff;
            }
        }
        passed += content;
        channel.consume(content);
        match channel.receive(limit, Some(PIECE)) {
            Ok(true) if channel.answer().starts_with(b"\"") => {
                let is_sent = message.finish(|out| out.extend_from_slice(channel.answer()));
                return if is_sent {
                    Relayed::Whole
                } else {
                    Relayed::BrokenOff
                };
            }
            // More content, perhaps with the end behind it.
            Ok(_) => {}
            Err(error) => {
                log::warn!("reading a file in its sandbox failed in the middle: {error}");
                message.finish(|out| {
                    out.extend_from_slice(b"!\",\"incomplete\":{\"bytes\":");
                    number(out, ((passed - start) / 4 * 3) as i64);
                    out.extend_from_slice(b",\"message\":");
                    json(out, &format!("the helper in the sandbox failed: {error}"));
                    out.extend_from_slice(b"}}}");
                });
                return Relayed::BrokenOff;
            }
        }
    }
}

/// Waits for the answer to `fs/open`, keeps the file that comes with it as `handle`, and passes
/// the answer on.
pub(super) fn keep_opened(
    channel: &mut Channel,
    later: &Later,
    service: &mut FileService,
    handle: &str,
    limit: Duration,
) -> Result<Relayed, ChannelError> {
    channel.receive(limit, None)?;
    let mut success = Vec::new();
    later.begin_result(&mut success, b"");
    let is_success = channel.answer().starts_with(&success);
    match (channel.take_passed(), is_success) {
        (Some(file), true) => service.keep(handle, file),
        (None, false) => {}
        _ => return Err(ChannelError::Nonsense("its answer and its file do not fit")),
    }
    later.add_encoded(channel.answer());
    Ok(Relayed::Whole)
}
