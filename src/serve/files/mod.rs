//! The `fs/*` methods: what a request asks for ([`decode`]), what is done, and the answer.
//!
//! A request is decoded by the connection's reader, down to the bytes that are
//! to be written, and then waits in the [queue](super::file_queue) for its turn.

mod decode;
mod fault;
mod listing;
mod stream;

pub(super) use fault::OPERATION;

pub(super) use decode::{Asked, Confinement, decode, decode_plain, decode_raw_write, payload_len};

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use self::fault::Fault;
use super::dispatch::Responder;
use crate::env::local::files::{
    self, BlockFile, CopyOptions, FileError, Links, Mode, OpenFiles, RemoveOptions, Skipped,
    WalkOptions,
};
use crate::rpc::base64;
use crate::rpc::encode::{json, number};
use crate::rpc::error::RpcError;
use crate::rpc::path_uri::{PathStyle, WirePath};
use crate::rpc::protocol::files::{
    CanonicalizeResult, CopyResult, GetMetadataResult, OpenResult, ReadLinkResult, SkippedEntry,
};
use crate::rpc::protocol::process::Empty;
use crate::rpc::transport::{LongMessage, Outbound, PayloadBuffer, give_back_block};
use crate::sys::file::FileType;
use crate::sys::pass::send_descriptor;

/// Room for small answers that is kept between requests.
const KEEP: usize = 64 * 1024;

/// What a client wants done with files.
pub(super) enum FileRequest {
    ReadFile {
        path: PathBuf,
        links: Links,
        /// The longest message the client takes.
        max_message: u64,
    },
    WriteFile {
        path: PathBuf,
        data: Vec<u8>,
        links: Links,
        is_atomic: bool,
    },
    CreateDirectory {
        path: PathBuf,
        recursive: bool,
        links: Links,
    },
    GetMetadata {
        path: PathBuf,
        links: Links,
    },
    ReadDirectory {
        path: PathBuf,
    },
    Remove {
        path: PathBuf,
        options: RemoveOptions,
    },
    Copy {
        source: WirePath,
        destination: PathBuf,
        options: CopyOptions,
    },
    Canonicalize {
        path: WirePath,
    },
    Open {
        handle: String,
        path: PathBuf,
        mode: Mode,
        links: Links,
    },
    ReadBlock {
        handle: String,
        offset: u64,
        length: usize,
        /// Whether the bytes follow the answer as they are.
        is_raw: bool,
    },
    WriteBlock {
        handle: String,
        offset: u64,
        data: Vec<u8>,
    },
    Close {
        handle: String,
    },
    Walk {
        path: WirePath,
        options: WalkOptions,
    },
    Rename {
        source: PathBuf,
        destination: PathBuf,
        overwrites: bool,
        links: Links,
    },
    SetPermissions {
        path: PathBuf,
        mode: u32,
        links: Links,
    },
    Symlink {
        path: PathBuf,
        target: PathBuf,
        links: Links,
    },
    ReadLink {
        path: PathBuf,
    },
}

impl FileRequest {
    /// About how much memory it holds.
    pub(super) fn bytes(&self) -> usize {
        let path = |path: &PathBuf| path.capacity();
        let held = match self {
            Self::WriteFile { path: at, data, .. } => path(at) + data.capacity(),
            Self::WriteBlock { handle, data, .. } => handle.capacity() + data.capacity(),
            Self::ReadFile { path: at, .. }
            | Self::CreateDirectory { path: at, .. }
            | Self::GetMetadata { path: at, .. }
            | Self::ReadDirectory { path: at }
            | Self::ReadLink { path: at }
            | Self::Remove { path: at, .. }
            | Self::SetPermissions { path: at, .. } => path(at),
            Self::Canonicalize { path: at } | Self::Walk { path: at, .. } => path(&at.path),
            Self::Open {
                handle, path: at, ..
            } => handle.capacity() + path(at),
            Self::ReadBlock { handle, .. } | Self::Close { handle } => handle.capacity(),
            Self::Copy {
                source,
                destination,
                ..
            } => path(&source.path) + path(destination),
            Self::Rename {
                source,
                destination,
                ..
            } => path(source) + path(destination),
            Self::Symlink {
                path: at, target, ..
            } => path(at) + path(target),
        };
        held + size_of::<Self>()
    }
}

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
    pub(super) fn answer(
        &mut self,
        responder: &Responder,
        request: FileRequest,
        path: Option<String>,
    ) {
        if let Err(fault) = self.carry_out(responder, request) {
            let error = match path {
                Some(path) => fault.with_data(path),
                None => fault.plain(),
            };
            responder.add(Err::<&Empty, _>(&error));
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

    fn carry_out(&mut self, responder: &Responder, request: FileRequest) -> Result<(), Fault> {
        let done = || responder.add(Ok(&Empty {}));
        match request {
            FileRequest::ReadFile {
                path,
                links,
                max_message,
            } => self.read_file(responder, &path, links, max_message)?,
            FileRequest::WriteFile {
                path,
                data,
                links,
                is_atomic,
            } => {
                if is_atomic {
                    files::replace(&path, &data, links)?;
                } else {
                    files::write(&path, &data, links)?;
                }
                done();
            }
            FileRequest::CreateDirectory {
                path,
                recursive,
                links,
            } => {
                files::make_directory(&path, recursive, links)?;
                done();
            }
            FileRequest::GetMetadata { path, links } => {
                let found = files::metadata(&path, links)?;
                responder.add(Ok(&GetMetadataResult {
                    is_directory: found.status.kind == FileType::Directory,
                    is_file: found.status.kind == FileType::Regular,
                    is_symlink: found.is_link,
                    size: found.status.size,
                    created_at_ms: found.status.created_ms.unwrap_or(0),
                    modified_at_ms: found.status.modified_ms,
                    mode: found.status.mode,
                }));
            }
            FileRequest::ReadDirectory { path } => {
                let result = listing::read_directory(&path)?;
                responder.add_with(|out| out.extend_from_slice(&result));
            }
            FileRequest::Remove { path, options } => {
                files::remove(&path, options)?;
                done();
            }
            FileRequest::Copy {
                source,
                destination,
                options,
            } => {
                let skipped = files::copy(&source.path, &destination, options)?;
                responder.add(Ok(&CopyResult {
                    skipped: tell_skipped(skipped, source.style),
                }));
            }
            FileRequest::Canonicalize { path } => {
                let real = files::canonicalize(&path.path)?;
                responder.add(Ok(&CanonicalizeResult {
                    path: path.style.render(&real),
                }));
            }
            FileRequest::Open {
                handle,
                path,
                mode,
                links,
            } => {
                match &self.hand_over {
                    None => self.open.open(handle.clone(), &path, mode, links)?,
                    Some(socket) => {
                        let file = BlockFile::open(&path, mode, links)?;
                        let sent = send_descriptor(socket.as_fd(), b'\n', file.as_fd());
                        sent.map_err(FileError::System)?;
                    }
                }
                responder.add(Ok(&OpenResult { handle_id: &handle }));
            }
            FileRequest::ReadBlock {
                handle,
                offset,
                length,
                is_raw: false,
            } => self.read_block(responder, &handle, offset, length)?,
            FileRequest::ReadBlock {
                handle,
                offset,
                length,
                is_raw: true,
            } => self.read_raw_block(responder, &handle, offset, length)?,
            FileRequest::WriteBlock {
                handle,
                offset,
                data,
            } => {
                let written = self
                    .open
                    .find(&handle)
                    .and_then(|file| file.write(offset, &data));
                give_back_block(data);
                written?;
                done();
            }
            FileRequest::Close { handle } => {
                self.open.close(&handle);
                done();
            }
            FileRequest::Walk { path, options } => {
                let result = listing::walk(&path, options)?;
                responder.add_with(|out| out.extend_from_slice(&result));
            }
            FileRequest::Rename {
                source,
                destination,
                overwrites,
                links,
            } => {
                files::rename(&source, &destination, overwrites, links)?;
                done();
            }
            FileRequest::SetPermissions { path, mode, links } => {
                files::set_permissions(&path, mode, links)?;
                done();
            }
            FileRequest::Symlink {
                path,
                target,
                links,
            } => {
                files::make_link(&target, &path, links)?;
                done();
            }
            FileRequest::ReadLink { path } => {
                responder.add(Ok(&ReadLinkResult {
                    target: files::read_link(&path)?,
                }));
            }
        }
        Ok(())
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
        responder.add_with(|out| {
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
    ) -> Result<(), RpcError> {
        let raw = &mut self.raw;
        let block = self.open.find(handle)?.read(offset, length, raw.begin())?;
        let count = raw.bytes().len();
        responder.add_with_buffer(raw, |out| {
            out.extend_from_slice(b"{\"eof\":");
            json(out, &block.is_last);
            out.extend_from_slice(b",\"rawBytes\":");
            number(out, count as i64);
            out.push(b'}');
        });
        Ok(())
    }
}

fn tell_skipped(skipped: Vec<Skipped>, style: PathStyle) -> Vec<SkippedEntry> {
    skipped
        .into_iter()
        .map(|entry| SkippedEntry {
            path: style.render(&entry.path),
            reason: format!("a {} is not copied", entry.kind),
        })
        .collect()
}
