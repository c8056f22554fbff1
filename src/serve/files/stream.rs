//! `fs/readFile`: from the file to base64 to the connection, a piece at a time.
//!
//! A file that ends within the first piece is answered like anything else. A
//! longer one becomes a long message, of which a few pieces are in memory, or small ones where there
//! is no room for them.
//!
//! Once the message has begun it can no longer become an error. Should the
//! file fail after that, its text ends in a `!`, which is no base64, so that no
//! client takes the part for the whole; behind it `incomplete` says how many
//! bytes are good and what happened. The connection goes on.

use std::path::Path;

use super::{AROUND, Fault, FileService, SHORT};
use crate::env::local::files::{Content, FileError, Part};
use crate::log;
use crate::rpc::base64;
use crate::rpc::encode::{json, number};
use crate::rpc::error::{Reason, RpcError};
use crate::serve::metrics::{Flow, METRICS};
use crate::serve::reply::Responder;

/// Bytes of a file that are read before the answer begins; a multiple of 3, as every piece but
/// the last must be, so that the base64 of the pieces joins.
const FIRST: usize = 768 * 1024;
/// Bytes of a file in a piece, of which a few may be unsent.
const PIECE: usize = 192 * 1024;
/// What a message needs besides base64 and its id.
const ENVELOPE: u64 = 64;

impl FileService {
    pub(crate) fn read_file(
        &mut self,
        responder: &Responder,
        path: &Path,
        mut content: Content,
        max_message: u64,
    ) -> Result<(), Fault> {
        let used = ENVELOPE + responder.id().len() as u64;
        let most = max_message.saturating_sub(used) / 4 * 3;
        if content.size() > most {
            return Err(too_long(content.size(), max_message).into());
        }
        content.limit(most);
        // Without room the buffer stays a small one, and so does every piece.
        let room = match content.size() > SHORT as u64 {
            true => {
                let most = content.size().min(FIRST as u64) as usize;
                self.room(most + base64::encoded_len(most))
            }
            false => None,
        };
        let (first, piece) = match room {
            Some(_) => (FIRST, PIECE),
            None => (SHORT, SHORT),
        };
        let first = content.fill(&mut self.buffer, first);
        // It has grown, or did not tell its size.
        let first = first.map_err(|error| match error {
            FileError::TooLargeToRead => too_long(content.taken(), max_message).into(),
            error => Fault::from(error),
        })?;
        let buffer = &self.buffer;
        METRICS.flowed(Flow::FilesRead, buffer.len());
        let len = base64::encoded_len(buffer.len()) + AROUND;
        match first {
            Part::Last => responder.write_long(len, |out| {
                out.extend_from_slice(b"{\"dataBase64\":\"");
                base64::encode_into(buffer, out);
                out.extend_from_slice(b"\"}");
            })?,
            Part::Full => self.stream(responder, path, content, piece),
        }
        Ok(())
    }

    /// Sends what is in the buffer and then the rest of the file.
    fn stream(&mut self, responder: &Responder, path: &Path, mut content: Content, piece: usize) {
        let Some(mut message) = self.begin_long() else {
            return;
        };
        let buffer = &mut self.buffer;
        if !message.add(|out| responder.begin_reply(out, b"{\"dataBase64\":\"")) {
            return;
        }
        for piece in buffer.chunks(piece) {
            if !message.add(|out| base64::encode_into(piece, out)) {
                return;
            }
        }
        let mut sent = buffer.len() as u64;
        let failure = loop {
            let part = match content.fill(buffer, piece) {
                Ok(part) => part,
                Err(error) => break Some(error),
            };
            sent += buffer.len() as u64;
            METRICS.flowed(Flow::FilesRead, buffer.len());
            if !message.add(|out| base64::encode_into(buffer, out)) {
                return;
            }
            if part == Part::Last {
                break None;
            }
        };
        message.finish(|out| {
            if let Some(error) = failure {
                log::warn!("reading {} failed in the middle: {error}", path.display());
                out.extend_from_slice(b"!\",\"incomplete\":{\"bytes\":");
                number(out, sent as i64);
                out.extend_from_slice(b",\"message\":");
                json(out, &error.to_string());
                out.extend_from_slice(b"}}}");
            } else {
                out.extend_from_slice(b"\"}}");
            }
        });
    }
}

fn too_long(size: u64, max_message: u64) -> RpcError {
    RpcError::invalid_request(format!(
        "the file has {size} bytes or more, which as base64 exceed a message of {max_message} \
         bytes; read it with fs/open and fs/readBlock"
    ))
    .because(Reason::TooLarge)
}
