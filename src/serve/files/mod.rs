//! The file methods: what a request asks for ([`methods`]), and who carries it out.
//!
//! A request is decoded by the connection's reader, down to the bytes that are
//! to be written, and then waits in the [queue](super::file_queue) for its turn.

mod discovery;
mod methods;
mod stream;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;

use super::metrics::{Flow, METRICS};
use super::reply::Responder;
use crate::blocks;
use crate::env::local::files::{BlockFile, FileError, Links, MAX_BLOCK, Mode, OpenFiles};
use crate::memory::{Kind, Reserved};
use crate::rpc::base64;
use crate::rpc::encode::{json, number};
use crate::rpc::error::{ErrorData, ErrorKind, RpcError};
use crate::rpc::message::{decode_params, decode_params_of};
use crate::rpc::methods::fs::{self, RawBytes, RawWriteBlockParams};
use crate::rpc::methods::{Empty, Method};
use crate::rpc::path_uri::WirePath;
use crate::rpc::transport::{LongMessage, Outbound, PayloadBuffer};
use crate::sandbox::policy::{Access, Purpose};
use crate::sys::pass::send_descriptor;

pub(crate) use self::methods::METHODS;

/// Answers above so many bytes go in pieces of as many.
const LONG: usize = 256 * 1024;
/// What is around the bytes of a file in a result.
const AROUND: usize = 64;
/// The same where there is no room for answers. A multiple of 3, so that the base64 of pieces joins.
const SHORT: usize = 24 * 1024;
/// Room for small answers that is kept between requests.
const KEEP: usize = 64 * 1024;
/// How long a request waits for room for its answer before it is refused.
const ROOM_PATIENCE: Duration = Duration::from_secs(5);

/// Carries out one connection's file requests.
pub(crate) struct FileService {
    outbound: Arc<Outbound>,
    /// How long a client may take nothing of a long answer.
    patience: Duration,
    open: OpenFiles,
    /// Where files that are opened go instead: to who asked for them.
    hand_over: Option<OwnedFd>,
    buffer: Vec<u8>,
    /// A block on its way out.
    raw: PayloadBuffer,
    /// What both have between requests, if that is much.
    kept: Reserved,
}

impl FileService {
    pub(crate) fn new(outbound: Arc<Outbound>, patience: Duration) -> Self {
        Self {
            outbound,
            patience,
            open: OpenFiles::default(),
            hand_over: None,
            buffer: Vec::new(),
            raw: PayloadBuffer::default(),
            kept: Reserved::none(Kind::Answers),
        }
    }

    /// A service that keeps no file open: each that is opened is sent by `socket`, on an empty
    /// line before the answer.
    pub(crate) fn handing_over(
        outbound: Arc<Outbound>,
        patience: Duration,
        socket: OwnedFd,
    ) -> Self {
        Self {
            hand_over: Some(socket),
            ..Self::new(outbound, patience)
        }
    }

    /// Does what a request asks for, and adds the answer.
    pub(crate) fn answer(&mut self, responder: &Responder, mut work: FileWork) {
        let path = work.path.take();
        if let Err(fault) = (work.act)(self, responder) {
            responder.fail(&fault.about(path));
        }
        self.count_kept();
    }

    /// Counts the buffers that stay, or gives them back where there is no room.
    fn count_kept(&mut self) {
        if Kind::Answers.is_spent() {
            self.shrink();
        }
        let kept = self.buffer.capacity() + self.raw.capacity();
        self.kept.count(kept.saturating_sub(2 * KEEP));
    }

    /// Room for an answer that is read into a buffer of so many bytes; none if there is not as much.
    fn room(&self, bytes: usize) -> Option<Reserved> {
        Reserved::of(Kind::Answers, bytes.saturating_sub(self.kept.bytes()))
    }

    /// The same for an answer that cannot be shorter.
    fn whole_room(&self, bytes: usize) -> Result<Reserved, RpcError> {
        if bytes <= KEEP {
            return Ok(Reserved::none(Kind::Answers));
        }
        let more = bytes.saturating_sub(self.kept.bytes());
        Reserved::within(Kind::Answers, more, ROOM_PATIENCE).ok_or_else(|| {
            let message = "too many large answers are made or not read by their clients; \
                           try again later";
            RpcError::new(ErrorKind::Busy, message)
        })
    }

    /// Whether a file could be opened as `handle`: nothing is to happen to it otherwise.
    pub(crate) fn check_free(&self, handle: &str) -> Result<(), RpcError> {
        Ok(self.open.check_free(handle)?)
    }

    /// Keeps a file that was opened elsewhere as `handle`, which is free.
    pub(crate) fn keep(&mut self, handle: &str, file: BlockFile) {
        self.open.insert(handle.to_owned(), file);
    }

    /// Begins an answer in pieces; none when the connection is dead.
    pub(crate) fn begin_long(&self) -> Option<LongMessage> {
        self.outbound.begin_long(self.patience)
    }

    /// Adds an answer that may be long: piece by piece, at the pace of the client and without
    /// another copy of it.
    pub(crate) fn add_long(&self, responder: &Responder, parts: [&[u8]; 3]) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let piece = match Kind::Answers.is_spent() {
            true => SHORT,
            false => LONG,
        };
        if len <= piece {
            return responder.add_encoded(&parts.concat());
        }
        let Some(mut message) = self.begin_long() else {
            return;
        };
        for piece in parts.into_iter().flat_map(|part| part.chunks(piece)) {
            if !message.add(|out| out.extend_from_slice(piece)) {
                return;
            }
        }
        message.finish(|_| ());
    }

    /// Adds a reply that may be long, of which the JSON is here.
    fn reply_long(&self, responder: &Responder, reply: &[u8]) {
        let mut start = Vec::new();
        responder.begin_reply(&mut start, b"");
        self.add_long(responder, [&start, reply, b"}"]);
    }

    /// Closes every file that is open.
    pub(crate) fn close_all(&mut self) {
        self.open = OpenFiles::default();
    }

    /// Gives back memory that only a burst has needed; whether there was any.
    pub(crate) fn shrink(&mut self) -> bool {
        let is_large = self.buffer.capacity() > KEEP;
        if is_large {
            self.buffer = Vec::new();
        }
        let is_large = self.raw.shrink(KEEP) || is_large;
        self.kept.set(0);
        is_large
    }

    fn open(
        &mut self,
        handle: &str,
        path: &Path,
        (mode, version): (Mode, Option<String>),
        links: Links,
    ) -> Result<(), FileError> {
        match &self.hand_over {
            None => self
                .open
                .open(handle.to_owned(), path, mode, links, version),
            Some(socket) => {
                let file = BlockFile::open(path, mode, links, version)?;
                send_descriptor(socket.as_fd(), b'\n', file.as_fd()).map_err(FileError::System)
            }
        }
    }

    fn read_block(
        &mut self,
        responder: &Responder,
        handle: &str,
        (offset, length, skips_holes): (u64, usize, bool),
    ) -> Result<(), Fault> {
        let most = length.min(MAX_BLOCK);
        let _room = self.whole_room(most + base64::encoded_len(most))?;
        let buffer = &mut self.buffer;
        buffer.clear();
        let file = self.open.find(handle)?;
        let block = file.read(offset, length, skips_holes, buffer)?;
        METRICS.flowed(Flow::FilesRead, buffer.len());
        let len = base64::encoded_len(buffer.len()) + AROUND;
        Ok(responder.write_long(len, |out| {
            out.extend_from_slice(b"{\"chunk\":\"");
            base64::encode_into(buffer, out);
            out.extend_from_slice(b"\",\"eof\":");
            json(out, &block.is_last);
            end_block(out, block.data_at);
        })?)
    }

    fn read_raw_block(
        &mut self,
        responder: &Responder,
        handle: &str,
        (offset, length, skips_holes): (u64, usize, bool),
    ) -> Result<(), Fault> {
        let _room = self.whole_room(length.min(MAX_BLOCK))?;
        let raw = &mut self.raw;
        let file = self.open.find(handle)?;
        let block = file.read(offset, length, skips_holes, raw.begin())?;
        let count = raw.bytes().len();
        METRICS.flowed(Flow::FilesRead, count);
        Ok(responder.write_with_payload(raw, |out| {
            out.extend_from_slice(b"{\"eof\":");
            json(out, &block.is_last);
            out.extend_from_slice(b",\"rawBytes\":");
            number(out, count as i64);
            end_block(out, block.data_at);
        })?)
    }
}

/// Ends the reply of `fs/readBlock`: with where the hole ends that it has found.
fn end_block(out: &mut Vec<u8>, data_at: Option<u64>) {
    if let Some(data_at) = data_at {
        out.extend_from_slice(b",\"dataAt\":");
        json(out, &data_at);
    }
    out.push(b'}');
}

/// How long a helper may take for one file: as long as a very slow disk.
const ONE_FILE: Duration = Duration::from_secs(120);
/// How long a helper may take for a tree.
const TREE: Duration = Duration::from_secs(3600);

/// A method of the table.
pub(crate) trait FileMethod: Sync {
    /// Decodes a request.
    fn prepare(&self, params: Option<&str>) -> Result<Prepared, RpcError>;

    /// Decodes a request for who is in its confinement already.
    fn prepare_inside(&self, params: Option<&str>) -> Result<FileWork, RpcError>;
}

/// A request that was decoded.
pub(crate) enum Prepared {
    /// One without a policy.
    Plain(FileWork),
    /// One under a policy; it is decoded once more where it is done.
    Confined(FileConfinement),
}

/// The method `M`: the scope of a request, and the work that it asks for.
pub(crate) struct File<M: Method>(
    pub(crate) Option<for<'p> fn(&'p M::Params<'_>) -> Scope<'p>>,
    pub(crate) fn(M::Params<'_>) -> Result<FileWork, RpcError>,
);

impl<M: Method> FileMethod for File<M> {
    fn prepare(&self, params: Option<&str>) -> Result<Prepared, RpcError> {
        let decoded = decode_params_of::<M>(params)?;
        let mut path = None;
        if let Some(scope) = self.0 {
            let scope = scope(&decoded);
            let its_path = scope.path;
            if let Some(confinement) = scope.confinement()? {
                // What is to be written is decoded in the confinement, and only there.
                return Ok(Prepared::Confined(confinement));
            }
            path = Some(its_path.to_owned());
        }
        let mut work = (self.1)(decoded)?;
        work.path = path;
        Ok(Prepared::Plain(work))
    }

    fn prepare_inside(&self, params: Option<&str>) -> Result<FileWork, RpcError> {
        let decoded = decode_params_of::<M>(params)?;
        let Some(scope) = self.0 else {
            return Err(RpcError::failed("not a request under a policy"));
        };
        let path = scope(&decoded).path.to_owned();
        let mut work = (self.1)(decoded)?;
        work.path = Some(path);
        Ok(work)
    }
}

/// What the policy of a request is held against.
pub(crate) struct Scope<'p> {
    /// The policy's JSON, if there is one.
    pub(crate) sandbox: Option<&'p RawValue>,
    /// The first path.
    pub(crate) path: &'p str,
    pub(crate) purpose: Purpose,
    /// What has to be permitted of the first path.
    pub(crate) wanted: Access,
    /// Whether that has to be permitted of what is below it, too.
    pub(crate) with_below: bool,
    /// The path that something is to come to besides.
    pub(crate) destination: Option<&'p str>,
    /// The handle that is to be opened, what for, and the version that the file must be of.
    pub(crate) handle: Option<(&'p str, Mode, Option<&'p str>)>,
    /// The longest message that the client takes, if the answer may be long.
    pub(crate) max_message: Option<u64>,
    /// Whether it changes a file by its path, which Landlock does not confine.
    pub(crate) changes_mode: bool,
    /// How long it may take.
    pub(crate) limit: Duration,
}

/// The scope of a request that looks at what is at a path.
pub(crate) fn reading<'p>(sandbox: Option<&'p RawValue>, path: &'p str) -> Scope<'p> {
    Scope {
        sandbox,
        path,
        purpose: Purpose::Read,
        wanted: Access::Read,
        with_below: false,
        destination: None,
        handle: None,
        max_message: None,
        changes_mode: false,
        limit: ONE_FILE,
    }
}

/// The scope of a request that changes something at a path.
pub(crate) fn writing<'p>(sandbox: Option<&'p RawValue>, path: &'p str) -> Scope<'p> {
    Scope {
        purpose: Purpose::Write,
        wanted: Access::Write,
        ..reading(sandbox, path)
    }
}

impl Scope<'_> {
    fn confinement(self) -> Result<Option<FileConfinement>, RpcError> {
        let Some(sandbox) = self.sandbox else {
            return Ok(None);
        };
        Ok(Some(FileConfinement {
            sandbox: sandbox.to_owned(),
            path: WirePath::parse(self.path)?,
            destination: self.destination.map(WirePath::parse).transpose()?,
            purpose: self.purpose,
            wanted: self.wanted,
            with_below: self.with_below,
            handle: self.handle.map(|(id, mode, version)| HandleToOpen {
                id: id.to_owned(),
                mode,
                version: version.map(str::to_owned),
            }),
            max_message: self.max_message,
            changes_mode: self.changes_mode,
            limit: self.limit,
        }))
    }
}

/// The same of a request with a policy, with its paths understood.
pub(crate) struct FileConfinement {
    pub(crate) sandbox: Box<RawValue>,
    pub(crate) path: WirePath,
    pub(crate) destination: Option<WirePath>,
    pub(crate) purpose: Purpose,
    pub(crate) wanted: Access,
    pub(crate) with_below: bool,
    pub(crate) handle: Option<HandleToOpen>,
    pub(crate) max_message: Option<u64>,
    pub(crate) changes_mode: bool,
    pub(crate) limit: Duration,
}

/// A handle that a request opens under a policy.
pub(crate) struct HandleToOpen {
    pub(crate) id: String,
    pub(crate) mode: Mode,
    /// What the file must be whenever it is read.
    pub(crate) version: Option<String>,
}

type Act = dyn FnOnce(&mut FileService, &Responder) -> Result<(), Fault> + Send;

/// What a request wants done with files.
pub(crate) struct FileWork {
    pub(crate) act: Box<Act>,
    /// The first path of the request as the client wrote it, for its error.
    pub(crate) path: Option<String>,
    /// Whether its answer is sent at once, whatever waits.
    pub(crate) is_urgent: bool,
    /// Whether raw bytes follow its answer.
    pub(crate) answers_raw: bool,
}

impl FileWork {
    /// Work of the method `M`, whose reply says nothing but that it is done.
    pub(crate) fn done<M: for<'a> Method<Reply<'a> = Empty>>(
        act: impl FnOnce(&mut FileService) -> Result<(), FileError> + Send + 'static,
    ) -> Self {
        Self::replying::<M>(|service| act(service).map(|()| Empty {}))
    }

    /// Work that ends in the reply of the method `M`.
    pub(crate) fn replying<M: Method>(
        act: impl FnOnce(&mut FileService) -> Result<M::Reply<'static>, FileError> + Send + 'static,
    ) -> Self {
        Self::answering(|service, responder| {
            responder.answer::<M>(&act(service)?);
            Ok(())
        })
    }

    /// Work that answers by itself if it succeeds.
    pub(crate) fn answering(
        act: impl FnOnce(&mut FileService, &Responder) -> Result<(), Fault> + Send + 'static,
    ) -> Self {
        Self {
            act: Box::new(act),
            path: None,
            is_urgent: false,
            answers_raw: false,
        }
    }
}

/// Parameters above this size have a chunk in them, which is not looked through twice.
const SMALL: usize = 64 * 1024;

/// How many bytes follow a request of this method, whatever else is wrong with it.
pub(crate) fn payload_len(method: &str, params: Option<&str>) -> Option<u64> {
    let params = params.filter(|_| method == fs::WriteBlock::NAME)?;
    let announces = || memchr::memmem::find(params.as_bytes(), b"\"rawBytes\"").is_some();
    if params.len() > SMALL && !announces() {
        return None;
    }
    let announced: RawBytes = serde_json::from_str(params).ok()?;
    announced.raw_bytes
}

/// An `fs/writeBlock` whose bytes are still to come.
pub(crate) struct BlockWrite {
    pub(crate) handle: String,
    pub(crate) offset: u64,
}

impl BlockWrite {
    /// Decodes one that so many bytes follow; how many are to be taken.
    pub(crate) fn decode(params: Option<&str>, len: u64) -> Result<(Self, usize), RpcError> {
        let params: RawWriteBlockParams<'_> = decode_params(params)?;
        if params.chunk.is_some() {
            let message = "chunk and rawBytes exclude each other";
            return Err(RpcError::invalid_params(message));
        }
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if !(1..=MAX_BLOCK).contains(&len) {
            return Err(FileError::WriteLength.into());
        }
        let write = Self {
            handle: params.handle_id.into_owned(),
            offset: params.offset,
        };
        Ok((write, len))
    }

    /// The work, with the bytes.
    pub(crate) fn with(self, data: Vec<u8>) -> FileWork {
        METRICS.flowed(Flow::FilesWritten, data.len());
        let act = move |service: &mut FileService| {
            let file = service.open.find(&self.handle);
            let written = file.and_then(|file| file.write(self.offset, &data));
            blocks::give_back(data);
            written
        };
        FileWork {
            is_urgent: true,
            ..FileWork::done::<fs::WriteBlock>(act)
        }
    }
}

/// The step at which a request fails that the file system refuses.
pub(crate) const OPERATION: &str = "operation";

/// An error, and the kernel's number for it where there is one.
pub(crate) struct Fault {
    error: RpcError,
    errno: Option<i32>,
}

impl Fault {
    /// The error of a request about `path`, if it has one.
    fn about(self, path: Option<String>) -> RpcError {
        let reason = self.error.data.reason;
        self.error.with_data(ErrorData {
            stage: Some(OPERATION),
            errno: self.errno,
            path,
            ..reason.into()
        })
    }
}

impl From<FileError> for Fault {
    fn from(error: FileError) -> Self {
        let errno = match &error {
            FileError::System(error) => error.raw_os_error(),
            _ => None,
        };
        Self {
            error: error.into(),
            errno,
        }
    }
}

impl From<RpcError> for Fault {
    fn from(error: RpcError) -> Self {
        Self { error, errno: None }
    }
}
