//! From the parameters of a file method to work for the file queue, or for a helper.

use std::time::Duration;

use serde_json::value::RawValue;

use super::FileService;
use super::fault::Fault;
use crate::env::local::files::{FileError, MAX_BLOCK, Mode};
use crate::rpc::error::RpcError;
use crate::rpc::message::decode_params;
use crate::rpc::methods::fs::{self, RawBytes, RawWriteBlockParams};
use crate::rpc::methods::{Empty, Method};
use crate::rpc::path_uri::WirePath;
use crate::rpc::transport::give_back_block;
use crate::sandbox::policy::{Access, Purpose};
use crate::serve::reply::Responder;

/// How long a helper may take for one file: as long as a very slow disk.
const ONE_FILE: Duration = Duration::from_secs(120);
/// What work takes besides what its parameters hold, about.
const OVERHEAD: usize = 256;

/// A method of the table.
pub(in crate::serve) trait FileMethod: Sync {
    fn name(&self) -> &'static str;

    /// Decodes a request.
    fn prepare(&self, params: Option<&RawValue>) -> Result<Prepared, RpcError>;

    /// Decodes a request for who is in its confinement already. With the first path as the client
    /// wrote it.
    fn prepare_inside(&self, params: Option<&RawValue>) -> Result<(FileWork, String), RpcError>;
}

/// A request that was decoded.
pub(in crate::serve) enum Prepared {
    /// One without a policy.
    Plain(FileWork),
    /// One under a policy; it is decoded once more where it is done.
    Confined(Confinement),
}

/// The method `M`: the scope of a request, and the work that it asks for.
pub(super) struct File<M: Method>(
    pub(super) Option<for<'p> fn(&'p M::Params<'_>) -> Scope<'p>>,
    pub(super) fn(M::Params<'_>) -> Result<FileWork, RpcError>,
);

impl<M: Method> FileMethod for File<M> {
    fn name(&self) -> &'static str {
        M::NAME
    }

    fn prepare(&self, params: Option<&RawValue>) -> Result<Prepared, RpcError> {
        let decoded: M::Params<'_> = decode_params(params)?;
        if let Some(scope) = self.0
            && let Some(confinement) = scope(&decoded).confinement()?
        {
            // What is to be written is decoded in the confinement, and only there.
            return Ok(Prepared::Confined(confinement));
        }
        let mut work = (self.1)(decoded)?;
        // No more than the text that it was decoded from.
        work.bytes = OVERHEAD + params.map_or(0, |params| params.get().len());
        Ok(Prepared::Plain(work))
    }

    fn prepare_inside(&self, params: Option<&RawValue>) -> Result<(FileWork, String), RpcError> {
        let decoded: M::Params<'_> = decode_params(params)?;
        let Some(scope) = self.0 else {
            return Err(RpcError::failed("not a request under a policy"));
        };
        let path = scope(&decoded).path.to_owned();
        Ok(((self.1)(decoded)?, path))
    }
}

/// What the policy of a request is held against.
pub(super) struct Scope<'p> {
    /// The policy's JSON, if there is one.
    pub(super) sandbox: Option<&'p RawValue>,
    /// The first path.
    pub(super) path: &'p str,
    pub(super) purpose: Purpose,
    /// What has to be permitted of the first path.
    pub(super) wanted: Access,
    /// Whether that has to be permitted of what is below it, too.
    pub(super) with_below: bool,
    /// The path that something is to come to besides.
    pub(super) destination: Option<&'p str>,
    /// The handle that is to be opened, and what for.
    pub(super) handle: Option<(&'p str, Mode)>,
    /// The longest message that the client takes, if the answer may be long.
    pub(super) max_message: Option<u64>,
    pub(super) changes_mode: bool,
    /// How long it may take.
    pub(super) limit: Duration,
}

/// The scope of a request that looks at what is at a path.
pub(super) fn reading<'p>(sandbox: Option<&'p RawValue>, path: &'p str) -> Scope<'p> {
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
pub(super) fn writing<'p>(sandbox: Option<&'p RawValue>, path: &'p str) -> Scope<'p> {
    Scope {
        purpose: Purpose::Write,
        wanted: Access::Write,
        ..reading(sandbox, path)
    }
}

impl Scope<'_> {
    fn confinement(self) -> Result<Option<Confinement>, RpcError> {
        let Some(sandbox) = self.sandbox else {
            return Ok(None);
        };
        Ok(Some(Confinement {
            sandbox: sandbox.to_owned(),
            path: WirePath::parse(self.path)?,
            destination: self.destination.map(WirePath::parse).transpose()?,
            purpose: self.purpose,
            wanted: self.wanted,
            with_below: self.with_below,
            handle: self.handle.map(|(id, mode)| (id.to_owned(), mode)),
            max_message: self.max_message,
            changes_mode: self.changes_mode,
            limit: self.limit,
        }))
    }
}

/// The same of a request with a policy, with its paths understood.
pub(in crate::serve) struct Confinement {
    pub(in crate::serve) sandbox: Box<RawValue>,
    pub(in crate::serve) path: WirePath,
    pub(in crate::serve) destination: Option<WirePath>,
    pub(in crate::serve) purpose: Purpose,
    pub(in crate::serve) wanted: Access,
    pub(in crate::serve) with_below: bool,
    pub(in crate::serve) handle: Option<(String, Mode)>,
    pub(in crate::serve) max_message: Option<u64>,
    pub(in crate::serve) changes_mode: bool,
    pub(in crate::serve) limit: Duration,
}

type Act = dyn FnOnce(&mut FileService, &Responder) -> Result<(), Fault> + Send;

/// What a request wants done with files.
pub(in crate::serve) struct FileWork {
    pub(super) act: Box<Act>,
    /// About how much memory it holds.
    pub(in crate::serve) bytes: usize,
    /// Whether its answer is sent at once, whatever waits.
    pub(in crate::serve) is_urgent: bool,
    /// Whether raw bytes follow its answer.
    pub(in crate::serve) answers_raw: bool,
}

impl FileWork {
    /// Work of the method `M`, whose reply says nothing but that it is done.
    pub(super) fn done<M: for<'a> Method<Reply<'a> = Empty>>(
        act: impl FnOnce(&mut FileService) -> Result<(), FileError> + Send + 'static,
    ) -> Self {
        Self::replying::<M>(|service| act(service).map(|()| Empty {}))
    }

    /// Work that ends in the reply of the method `M`.
    pub(super) fn replying<M: Method>(
        act: impl FnOnce(&mut FileService) -> Result<M::Reply<'static>, FileError> + Send + 'static,
    ) -> Self {
        Self::answering(|service, responder| {
            responder.answer::<M>(&act(service)?);
            Ok(())
        })
    }

    /// Work that answers by itself if it succeeds.
    pub(super) fn answering(
        act: impl FnOnce(&mut FileService, &Responder) -> Result<(), Fault> + Send + 'static,
    ) -> Self {
        Self {
            act: Box::new(act),
            bytes: OVERHEAD,
            is_urgent: false,
            answers_raw: false,
        }
    }

    pub(super) fn run(self, service: &mut FileService, responder: &Responder) -> Result<(), Fault> {
        (self.act)(service, responder)
    }
}

/// Parameters above this size have a chunk in them, which is not looked through twice.
const SMALL: usize = 64 * 1024;

/// How many bytes follow a request of this method, whatever else is wrong with it.
pub(in crate::serve) fn payload_len(method: &str, params: Option<&RawValue>) -> Option<u64> {
    let params = params.filter(|_| method == fs::WriteBlock::NAME)?.get();
    let announces = || memchr::memmem::find(params.as_bytes(), b"\"rawBytes\"").is_some();
    if params.len() > SMALL && !announces() {
        return None;
    }
    let announced: RawBytes = serde_json::from_str(params).ok()?;
    announced.raw_bytes
}

/// An `fs/writeBlock` whose bytes are still to come.
pub(in crate::serve) struct BlockWrite {
    pub(super) handle: String,
    pub(super) offset: u64,
}

impl BlockWrite {
    /// Decodes one that so many bytes follow; how many are to be taken.
    pub(in crate::serve) fn decode(
        params: Option<&RawValue>,
        len: u64,
    ) -> Result<(Self, usize), RpcError> {
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
    pub(in crate::serve) fn with(self, data: Vec<u8>) -> FileWork {
        let bytes = data.capacity();
        let act = move |service: &mut FileService| {
            let file = service.open.find(&self.handle);
            let written = file.and_then(|file| file.write(self.offset, &data));
            give_back_block(data);
            written
        };
        FileWork {
            bytes: OVERHEAD + bytes,
            is_urgent: true,
            ..FileWork::done::<fs::WriteBlock>(act)
        }
    }
}
