//! The file methods: what a request asks for ([`methods`]), and who carries it out.
//!
//! A request is decoded by the connection's reader, down to the bytes that are
//! to be written, and then waits in the [queue](super::file_queue) for its turn.

mod fault;
mod listing;
mod methods;
mod stream;
mod work;

pub(super) use self::fault::OPERATION;
pub(super) use self::methods::METHODS;
pub(super) use self::work::{BlockWrite, Confinement, FileMethod, FileWork, Prepared, payload_len};

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use self::fault::Fault;
use super::reply::Responder;
use crate::env::local::files::{BlockFile, FileError, Links, Mode, OpenFiles};
use crate::rpc::base64;
use crate::rpc::encode::{json, number};
use crate::rpc::error::RpcError;
use crate::rpc::transport::{LongMessage, Outbound, PayloadBuffer};
use crate::sys::pass::send_descriptor;

/// Room for small answers that is kept between requests.
const KEEP: usize = 64 * 1024;

/// Carries out one connection's file requests.
pub(super) struct FileService {
    outbound: Arc<Outbound>,
    /// How long a client may take nothing of a long answer.
    patience: Duration,
    open: OpenFiles,
    /// Where files that are opened go instead: to who asked for them.
    hand_over: Option<OwnedFd>,
    buffer: Vec<u8>,
    /// A block on its way out.
    raw: PayloadBuffer,
}

impl FileService {
    pub(super) fn new(outbound: Arc<Outbound>, patience: Duration) -> Self {
        Self {
            outbound,
            patience,
            open: OpenFiles::default(),
            hand_over: None,
            buffer: Vec::new(),
            raw: PayloadBuffer::default(),
        }
    }

    /// A service that keeps no file open: each that is opened is sent by `socket`, on an empty
    /// line before the answer.
    pub(super) fn handing_over(
        outbound: Arc<Outbound>,
        patience: Duration,
        socket: OwnedFd,
    ) -> Self {
        Self {
            hand_over: Some(socket),
            ..Self::new(outbound, patience)
        }
    }

    /// Does what a request asks for, and adds the answer. `path` is the first path as the client
    /// wrote it, for a request under a policy: its error carries data.
    pub(super) fn answer(&mut self, responder: &Responder, work: FileWork, path: Option<String>) {
        if let Err(fault) = work.run(self, responder) {
            responder.fail(&match path {
                Some(path) => fault.with_data(path),
                None => fault.plain(),
            });
        }
    }

    /// Whether a file could be opened as `handle`: nothing is to happen to it otherwise.
    pub(super) fn check_free(&self, handle: &str) -> Result<(), RpcError> {
        Ok(self.open.check_free(handle)?)
    }

    /// Keeps a file that was opened elsewhere as `handle`, which is free.
    pub(super) fn keep(&mut self, handle: &str, file: BlockFile) {
        self.open.insert(handle.to_owned(), file);
    }

    /// Begins an answer in pieces; none when the connection is dead.
    pub(super) fn begin_long(&self) -> Option<LongMessage> {
        self.outbound.begin_long(self.patience)
    }

    /// Gives back memory that only a burst has needed.
    pub(super) fn shrink(&mut self) {
        if self.buffer.capacity() > KEEP {
            self.buffer = Vec::new();
        }
        self.raw.shrink(KEEP);
    }

    fn open(
        &mut self,
        handle: &str,
        path: &Path,
        mode: Mode,
        links: Links,
    ) -> Result<(), FileError> {
        match &self.hand_over {
            None => self.open.open(handle.to_owned(), path, mode, links),
            Some(socket) => {
                let file = BlockFile::open(path, mode, links)?;
                send_descriptor(socket.as_fd(), b'\n', file.as_fd()).map_err(FileError::System)
            }
        }
    }

    fn read_block(
        &mut self,
        responder: &Responder,
        handle: &str,
        offset: u64,
        length: usize,
    ) -> Result<(), Fault> {
        let buffer = &mut self.buffer;
        buffer.clear();
        let block = self.open.find(handle)?.read(offset, length, buffer)?;
        responder.write(|out| {
            out.reserve(base64::encoded_len(buffer.len()) + 64);
            out.extend_from_slice(b"{\"chunk\":\"");
            base64::encode_into(buffer, out);
            out.extend_from_slice(b"\",\"eof\":");
            json(out, &block.is_last);
            out.push(b'}');
        });
        Ok(())
    }

    fn read_raw_block(
        &mut self,
        responder: &Responder,
        handle: &str,
        offset: u64,
        length: usize,
    ) -> Result<(), Fault> {
        let raw = &mut self.raw;
        let block = self.open.find(handle)?.read(offset, length, raw.begin())?;
        let count = raw.bytes().len();
        responder.write_with_payload(raw, |out| {
            out.extend_from_slice(b"{\"eof\":");
            json(out, &block.is_last);
            out.extend_from_slice(b",\"rawBytes\":");
            number(out, count as i64);
            out.push(b'}');
        });
        Ok(())
    }
}
