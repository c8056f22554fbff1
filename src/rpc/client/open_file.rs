//! An open file on the server: blocks, asked for by several threads at once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::connection::{Answer, CallError, Connection};
use super::files::{decode, follow};
use super::types::{FileBlock, Links, OpenFor};
use super::{ClientError, ExecServerClient, wire};
use crate::rpc::methods::Method;
use crate::rpc::methods::fs::{
    Close, CloseParams, Open, OpenMode, OpenParams, RawBlockReply, ReadBlock, ReadBlockParams,
    WriteBlock,
};
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
            let mode = match purpose {
                OpenFor::Reading => OpenMode::Read,
                OpenFor::Replacing => OpenMode::Replace,
                OpenFor::Updating => OpenMode::Update,
            };
            if mode == OpenMode::Update {
                session.facts.needs("fs/open.update")?;
            }
            let can_refuse = session.facts.has("fs/open.followSymlinks");
            let params = OpenParams {
                handle_id: (&*handle).into(),
                path: session.facts.path(path).into(),
                mode,
                follow_symlinks: follow(links).filter(|_| can_refuse),
                ..OpenParams::default()
            };
            let write = |out: &mut Vec<u8>| encode::json(out, &params);
            match connection.call(Open::NAME, &write, Some(limit)) {
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
        let params = ReadBlockParams {
            handle_id: (&*self.handle).into(),
            offset,
            len,
            raw: self.gives_raw,
        };
        if self.gives_raw {
            let write = |out: &mut Vec<u8>| encode::json(out, &params);
            let block = self
                .connection
                .call_for_block(ReadBlock::NAME, &write, self.limit);
            let block = block.map_err(explain)?;
            let reply: RawBlockReply = wire::result(ReadBlock::NAME, &block.json)?;
            return at_most(len, block.bytes, reply.eof);
        }
        let answer = self.call::<ReadBlock>(&params)?;
        let reply = answer.reply::<ReadBlock>()?;
        at_most(len, decode(ReadBlock::NAME, &reply.chunk)?, reply.eof)
    }

    /// Writes 1 byte to [`MAX_BLOCK`] at `offset`.
    ///
    /// # Errors
    /// The file's, or the connection's.
    pub fn write_block(&self, offset: u64, data: &[u8]) -> Result<(), ClientError> {
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"{\"handleId\":");
            encode::json(out, &self.handle);
            out.extend_from_slice(b",\"offset\":");
            encode::json(out, &offset);
            if self.takes_raw {
                out.extend_from_slice(b",\"rawBytes\":");
                encode::json(out, &data.len());
            } else {
                out.extend_from_slice(b",\"chunk\":\"");
                base64::encode_into(data, out);
                out.push(b'"');
            }
            out.push(b'}');
        };
        let payload = if self.takes_raw { data } else { &[] };
        self.connection
            .call_with_payload(WriteBlock::NAME, &write, payload, Some(self.limit))
            .map(drop)
            .map_err(explain)
    }

    /// Closes it and says whether that went well.
    ///
    /// # Errors
    /// What was written may not be there.
    pub fn close(mut self) -> Result<(), ClientError> {
        self.is_closed = true;
        self.call::<Close>(&self.close_params()).map(drop)
    }

    fn close_params(&self) -> CloseParams<'_> {
        CloseParams {
            handle_id: (&*self.handle).into(),
        }
    }

    fn call<M: Method>(&self, params: &M::Params<'_>) -> Result<Answer, ClientError> {
        let params = |out: &mut Vec<u8>| encode::json(out, params);
        let answer = self.connection.call(M::NAME, &params, Some(self.limit));
        answer.map_err(explain)
    }
}

/// A block, if it is not longer than what was asked for.
fn at_most(len: usize, data: Vec<u8>, is_last: bool) -> Result<FileBlock, ClientError> {
    match data.len() {
        count if count > len => Err(ClientError::Protocol(format!(
            "{} gave {count} bytes where {len} were asked for",
            ReadBlock::NAME
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
            self.connection.post::<Close>(&self.close_params());
        }
    }
}

impl fmt::Debug for RemoteFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteFile").field(&self.handle).finish()
    }
}
