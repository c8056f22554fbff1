//! An open file on the server: blocks, asked for by several threads at once.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::connection::{Answer, CallError, Connection};
use super::files::decode;
use super::types::{FileBlock, Links, OpenFor};
use super::{ClientError, ExecServerClient, wire};
use crate::rpc::{base64, encode};

/// The largest block, in bytes: the protocol's limit.
pub const MAX_BLOCK: usize = 1024 * 1024;

/// An open file. It belongs to the connection: when that is lost the file is closed, and must be
/// opened again. Dropping it closes it.
pub struct RemoteFile {
    connection: Arc<Connection>,
    handle: String,
    limit: Duration,
    /// Whether the server gives blocks as they are, and takes them so.
    gives_raw: bool,
    takes_raw: bool,
    is_closed: bool,
    /// Keeps the client.
    _client: ExecServerClient,
}

#[derive(Deserialize)]
struct BlockReply<'a> {
    #[serde(borrow)]
    chunk: Cow<'a, str>,
    eof: bool,
}

impl ExecServerClient {
    /// Opens a file for blocks.
    ///
    /// # Errors
    /// The file's, or the connection's, or the server does not know this purpose.
    pub fn open(
        &self,
        path: &str,
        purpose: OpenFor,
        links: Links,
    ) -> Result<RemoteFile, ClientError> {
        let limit = self.call_timeout();
        loop {
            let (session, connection) = self.shared().ready()?;
            let handle = session.fresh_name();
            let mut params = json!({ "handleId": handle, "path": session.facts.path(path) });
            match purpose {
                OpenFor::Reading => {}
                OpenFor::Replacing => params["mode"] = "replace".into(),
                OpenFor::Updating => {
                    session.facts.needs("fs/open.update")?;
                    params["mode"] = "update".into();
                }
            }
            if links == Links::Refuse && session.facts.has("fs/open.followSymlinks") {
                params["followSymlinks"] = false.into();
            }
            let write = |out: &mut Vec<u8>| encode::json(out, &params);
            match connection.call("fs/open", write, Some(limit)) {
                Ok(_) => {
                    return Ok(RemoteFile {
                        connection,
                        handle,
                        limit,
                        gives_raw: session.facts.has("fs/readBlock.raw"),
                        takes_raw: session.facts.has("fs/writeBlock.rawBytes"),
                        is_closed: false,
                        _client: self.clone(),
                    });
                }
                Err(CallError::NotSent(_)) => {}
                Err(CallError::Failed(error)) => return Err(error),
            }
        }
    }
}

impl RemoteFile {
    /// Up to `len` bytes, [`MAX_BLOCK`] at most, from `offset` on.
    ///
    /// # Errors
    /// The file's, or the connection's.
    pub fn read_block(&self, offset: u64, len: usize) -> Result<FileBlock, ClientError> {
        let method = "fs/readBlock";
        let mut params = json!({
            "handleId": self.handle, "offset": offset, "len": len,
        });
        if self.gives_raw {
            params["raw"] = true.into();
            let write = |out: &mut Vec<u8>| encode::json(out, &params);
            let block = self.connection.call_for_block(method, write, self.limit);
            let block = block.map_err(explain)?;
            let reply: wire::RawBlock = wire::result(method, &block.json)?;
            return at_most(len, block.bytes, reply.eof);
        }
        let json = self.call(method, |out| encode::json(out, &params))?;
        let reply: BlockReply<'_> = wire::borrowed_result(method, &json)?;
        at_most(len, decode(method, &reply.chunk)?, reply.eof)
    }

    /// Writes 1 byte to [`MAX_BLOCK`] at `offset`.
    ///
    /// # Errors
    /// The file's, or the connection's.
    pub fn write_block(&self, offset: u64, data: &[u8]) -> Result<(), ClientError> {
        let method = "fs/writeBlock";
        if self.takes_raw {
            let params = json!({
                "handleId": self.handle, "offset": offset, "rawBytes": data.len(),
            });
            let write = |out: &mut Vec<u8>| encode::json(out, &params);
            let limit = Some(self.limit);
            let written = self
                .connection
                .call_with_payload(method, write, data, limit);
            return written.map(drop).map_err(explain);
        }
        let written = self.call(method, |out| {
            out.extend_from_slice(b"{\"handleId\":");
            encode::json(out, &self.handle);
            out.extend_from_slice(b",\"offset\":");
            encode::json(out, &offset);
            out.extend_from_slice(b",\"chunk\":\"");
            base64::encode_into(data, out);
            out.extend_from_slice(b"\"}");
        });
        written.map(drop)
    }

    /// Closes it and says whether that went well.
    ///
    /// # Errors
    /// What was written may not be there.
    pub fn close(mut self) -> Result<(), ClientError> {
        self.is_closed = true;
        let params = json!({ "handleId": self.handle });
        self.call("fs/close", |out| encode::json(out, &params))
            .map(drop)
    }

    fn call(&self, method: &str, params: impl FnOnce(&mut Vec<u8>)) -> Result<Answer, ClientError> {
        let answer = self.connection.call(method, params, Some(self.limit));
        answer.map_err(explain)
    }
}

/// A block, if it is not longer than what was asked for.
fn at_most(len: usize, data: Vec<u8>, is_last: bool) -> Result<FileBlock, ClientError> {
    match data.len() {
        count if count > len => Err(ClientError::Protocol(format!(
            "fs/readBlock gave {count} bytes where {len} were asked for"
        ))),
        _ => Ok(FileBlock { data, is_last }),
    }
}

fn explain(error: CallError) -> ClientError {
    match error {
        CallError::NotSent(why) => ClientError::Disconnected(format!(
            "the file was open on a connection that was lost ({why}); open it again"
        )),
        CallError::Failed(error) => error,
    }
}

impl Drop for RemoteFile {
    fn drop(&mut self) {
        if !self.is_closed {
            let params = json!({ "handleId": self.handle });
            let write = |out: &mut Vec<u8>| encode::json(out, &params);
            self.connection.post("fs/close", write);
        }
    }
}

impl fmt::Debug for RemoteFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteFile").field(&self.handle).finish()
    }
}
