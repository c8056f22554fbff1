//! From parameters to a request.

mod methods;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::FileRequest;
use crate::env::local::files::{FileError, MAX_BLOCK, Mode};
use crate::rpc::error::RpcError;
use crate::rpc::message::decode_params;
use crate::rpc::path_uri::WirePath;
use crate::rpc::protocol::files::{
    CopyParams, CreateDirectoryParams, GetMetadataParams, OpenMode, OpenParams, PathParams,
    RawBytes, RawWriteBlockParams, ReadFileParams, RemoveParams, RenameParams,
    SetPermissionsParams, SymlinkParams, WalkParams, WriteFileParams,
};
use crate::rpc::transport::MAX_MESSAGE;
use crate::sandbox::policy::Purpose;

/// What a request asks for.
pub(in crate::serve) enum Asked<'a> {
    /// Something with files, and no confinement.
    Plain(FileRequest),
    /// Something under a policy; it is decoded once more where it is done.
    Confined(Confinement<'a>),
}

/// The policy that a request brings along, and what it is to be held against.
pub(in crate::serve) struct Confinement<'a> {
    /// Its JSON.
    pub(in crate::serve) sandbox: &'a RawValue,
    /// The first path of the request.
    pub(in crate::serve) path: WirePath,
    /// The path that something is to come to besides.
    pub(in crate::serve) destination: Option<WirePath>,
    pub(in crate::serve) purpose: Purpose,
    /// The handle that is to be opened, and what for.
    pub(in crate::serve) handle: Option<(String, Mode)>,
    /// The longest message that the client takes, if the answer may be long.
    pub(in crate::serve) max_message: Option<u64>,
}

/// Decodes a request of the method `fs/NAME`; none if there is no such method.
pub(in crate::serve) fn decode<'a>(
    name: &str,
    params: Option<&'a RawValue>,
) -> Option<Result<Asked<'a>, RpcError>> {
    let decoded = each(name, params, true)?;
    Some(decoded.map(|decoded| match decoded {
        Decoded::Plain(request, _) => Asked::Plain(request),
        Decoded::Confined(confinement) => Asked::Confined(confinement),
    }))
}

/// The same for who sees to the confinement itself: what to do, and the first path as the client
/// wrote it.
pub(in crate::serve) fn decode_plain(
    name: &str,
    params: Option<&RawValue>,
) -> Option<Result<(FileRequest, String), RpcError>> {
    let decoded = each(name, params, false)?;
    Some(decoded.and_then(|decoded| match decoded {
        Decoded::Plain(request, Some(path)) => Ok((request, path)),
        _ => Err(RpcError::failed("not a request under a policy")),
    }))
}

enum Decoded<'a> {
    /// With its first path, where that is asked for.
    Plain(FileRequest, Option<String>),
    Confined(Confinement<'a>),
}

fn each<'a>(
    name: &str,
    params: Option<&'a RawValue>,
    heeds: bool,
) -> Option<Result<Decoded<'a>, RpcError>> {
    Some(match name {
        "readFile" => with(params, heeds, methods::read_file),
        "writeFile" => with(params, heeds, methods::write_file),
        "createDirectory" => with(params, heeds, methods::create_directory),
        "getMetadata" => with(params, heeds, methods::get_metadata),
        "readDirectory" => with(params, heeds, methods::read_directory),
        "remove" => with(params, heeds, methods::remove),
        "copy" => with(params, heeds, methods::copy),
        "canonicalize" => with(params, heeds, methods::canonicalize),
        "open" => with(params, heeds, methods::open),
        "readBlock" => plain(params, methods::read_block),
        "writeBlock" => plain(params, methods::write_block),
        "close" => plain(params, methods::close),
        "walk" => with(params, heeds, methods::walk),
        "rename" => with(params, heeds, methods::rename),
        "setPermissions" => with(params, heeds, methods::set_permissions),
        "symlink" => with(params, heeds, methods::symlink),
        "readLink" => with(params, heeds, methods::read_link),
        _ => return None,
    })
}

/// Parameters that may bring a policy along.
trait Confinable<'a> {
    fn sandbox(&self) -> Option<&'a RawValue>;
    /// The first path.
    fn path(&self) -> &str;
    fn purpose(&self) -> Purpose;
    /// The path that something is to come to besides.
    fn destination(&self) -> Option<&str> {
        None
    }
    fn handle(&self) -> Option<(&str, Mode)> {
        None
    }
    fn max_message(&self) -> Option<u64> {
        None
    }
}

macro_rules! confinable {
    ($($params:ident . $path:ident $(=> $destination:ident)? : $purpose:ident),+ $(,)?) => {
        $(impl<'a> Confinable<'a> for $params<'a> {
            fn sandbox(&self) -> Option<&'a RawValue> {
                self.sandbox
            }
            fn path(&self) -> &str {
                &self.$path
            }
            fn purpose(&self) -> Purpose {
                Purpose::$purpose
            }
            $(fn destination(&self) -> Option<&str> {
                Some(&self.$destination)
            })?
        })+
    };
}

confinable!(
    WriteFileParams.path: Write,
    CreateDirectoryParams.path: Write,
    GetMetadataParams.path: Read,
    PathParams.path: Read,
    RemoveParams.path: Write,
    CopyParams.source_path => destination_path: Write,
    WalkParams.path: Read,
    RenameParams.source_path => destination_path: Write,
    SetPermissionsParams.path: Write,
    SymlinkParams.path: Write,
);

impl<'a> Confinable<'a> for ReadFileParams<'a> {
    fn sandbox(&self) -> Option<&'a RawValue> {
        self.sandbox
    }
    fn path(&self) -> &str {
        &self.path
    }
    fn purpose(&self) -> Purpose {
        Purpose::Read
    }
    fn max_message(&self) -> Option<u64> {
        Some(self.max_message_bytes.unwrap_or(MAX_MESSAGE as u64))
    }
}

impl<'a> Confinable<'a> for OpenParams<'a> {
    fn sandbox(&self) -> Option<&'a RawValue> {
        self.sandbox
    }
    fn path(&self) -> &str {
        &self.path
    }
    fn purpose(&self) -> Purpose {
        match self.mode {
            OpenMode::Read => Purpose::Read,
            OpenMode::Replace | OpenMode::Update => Purpose::Write,
        }
    }
    fn handle(&self) -> Option<(&str, Mode)> {
        Some((&self.handle_id, methods::mode(self.mode)))
    }
}

fn with<'a, P: Deserialize<'a> + Confinable<'a>>(
    params: Option<&'a RawValue>,
    heeds: bool,
    decode: fn(P) -> Result<FileRequest, RpcError>,
) -> Result<Decoded<'a>, RpcError> {
    let params: P = decode_params(params)?;
    if let (Some(sandbox), true) = (params.sandbox(), heeds) {
        // What is to be written is decoded in the confinement, and only there.
        return Ok(Decoded::Confined(Confinement {
            sandbox,
            path: methods::place(params.path())?,
            destination: params.destination().map(methods::place).transpose()?,
            purpose: params.purpose(),
            handle: params.handle().map(|(id, mode)| (id.to_owned(), mode)),
            max_message: params.max_message(),
        }));
    }
    let path = (!heeds).then(|| params.path().to_owned());
    Ok(Decoded::Plain(decode(params)?, path))
}

fn plain<'a, P: Deserialize<'a>>(
    params: Option<&'a RawValue>,
    decode: fn(P) -> Result<FileRequest, RpcError>,
) -> Result<Decoded<'a>, RpcError> {
    Ok(Decoded::Plain(decode(decode_params(params)?)?, None))
}

/// Parameters above this size have a chunk in them, which is not looked through twice.
const SMALL: usize = 64 * 1024;

/// How many bytes follow a request of this method, whatever else is wrong with it.
pub(in crate::serve) fn payload_len(method: &str, params: Option<&RawValue>) -> Option<u64> {
    let params = params.filter(|_| method == "fs/writeBlock")?.get();
    let announces = || memchr::memmem::find(params.as_bytes(), b"\"rawBytes\"").is_some();
    if params.len() > SMALL && !announces() {
        return None;
    }
    let announced: RawBytes = serde_json::from_str(params).ok()?;
    announced.raw_bytes
}

/// Decodes an `fs/writeBlock` that so many bytes follow; they are filled in when they are here.
pub(in crate::serve) fn decode_raw_write(
    params: Option<&RawValue>,
    len: u64,
) -> Result<(FileRequest, usize), RpcError> {
    let params: RawWriteBlockParams<'_> = decode_params(params)?;
    if params.chunk.is_some() {
        let message = "chunk and rawBytes exclude each other";
        return Err(RpcError::invalid_params(message));
    }
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if !(1..=MAX_BLOCK).contains(&len) {
        return Err(FileError::WriteLength.into());
    }
    let request = FileRequest::WriteBlock {
        handle: params.handle_id.into_owned(),
        offset: params.offset,
        data: Vec::new(),
    };
    Ok((request, len))
}
