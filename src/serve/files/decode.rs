//! From parameters to a request.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::FileRequest;
use crate::env::local::files::{
    CopyOptions, FileError, Links, MAX_BLOCK, Mode, RemoveOptions, WalkOptions,
};
use crate::rpc::base64;
use crate::rpc::error::RpcError;
use crate::rpc::message::decode_params;
use crate::rpc::path_uri::WirePath;
use crate::rpc::protocol::files::{
    CloseParams, CopyParams, CreateDirectoryParams, GetMetadataParams, OpenMode, OpenParams,
    PathParams, RawBytes, RawWriteBlockParams, ReadBlockParams, ReadFileParams, RemoveParams,
    RenameParams, SetPermissionsParams, SymlinkParams, WalkParams, WriteBlockParams,
    WriteFileParams,
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
        "readFile" => with(params, heeds, read_file),
        "writeFile" => with(params, heeds, write_file),
        "createDirectory" => with(params, heeds, create_directory),
        "getMetadata" => with(params, heeds, get_metadata),
        "readDirectory" => with(params, heeds, read_directory),
        "remove" => with(params, heeds, remove),
        "copy" => with(params, heeds, copy),
        "canonicalize" => with(params, heeds, canonicalize),
        "open" => with(params, heeds, open),
        "readBlock" => plain(params, read_block),
        "writeBlock" => plain(params, write_block),
        "close" => plain(params, close),
        "walk" => with(params, heeds, walk),
        "rename" => with(params, heeds, rename),
        "setPermissions" => with(params, heeds, set_permissions),
        "symlink" => with(params, heeds, symlink),
        "readLink" => with(params, heeds, read_link),
        _ => return None,
    })
}

/// Parameters that may bring a policy along.
trait Confinable<'a> {
    fn sandbox(&self) -> Option<&'a RawValue>;
    /// The first path.
    fn path(&self) -> &str;
    fn purpose(&self) -> Purpose;
    fn handle(&self) -> Option<(&str, Mode)> {
        None
    }
    fn max_message(&self) -> Option<u64> {
        None
    }
}

macro_rules! confinable {
    ($($params:ident . $path:ident : $purpose:ident),+ $(,)?) => {
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
        })+
    };
}

confinable!(
    WriteFileParams.path: Write,
    CreateDirectoryParams.path: Write,
    GetMetadataParams.path: Read,
    PathParams.path: Read,
    RemoveParams.path: Write,
    CopyParams.source_path: Write,
    WalkParams.path: Read,
    RenameParams.source_path: Write,
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
        Some((&self.handle_id, mode(self.mode)))
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
            path: place(params.path())?,
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

/// What a path names on this machine.
fn place(path: &str) -> Result<WirePath, RpcError> {
    Ok(WirePath::parse(path)?)
}

/// What `followSymlinks` says.
fn links(follow: Option<bool>) -> Links {
    if follow.unwrap_or(true) {
        Links::Follow
    } else {
        Links::Refuse
    }
}

fn read_file(params: ReadFileParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::ReadFile {
        path: place(&params.path)?.path,
        links: links(params.follow_symlinks),
        max_message: params.max_message_bytes.unwrap_or(MAX_MESSAGE as u64),
    })
}

fn write_file(params: WriteFileParams<'_>) -> Result<FileRequest, RpcError> {
    let path = place(&params.path)?.path;
    // From where it was received straight to where it waits: there is no other copy.
    let data = base64::decode(&params.data_base64).map_err(|error| {
        let message = format!("fs/writeFile requires valid base64 dataBase64: {error}");
        RpcError::invalid_request(message)
    })?;
    Ok(FileRequest::WriteFile {
        path,
        data,
        links: links(params.follow_symlinks),
        is_atomic: params.atomic.unwrap_or(false),
    })
}

fn create_directory(params: CreateDirectoryParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::CreateDirectory {
        path: place(&params.path)?.path,
        recursive: params.recursive.unwrap_or(true),
        links: links(params.follow_symlinks),
    })
}

fn get_metadata(params: GetMetadataParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::GetMetadata {
        path: place(&params.path)?.path,
        links: links(params.follow_symlinks),
    })
}

fn read_directory(params: PathParams<'_>) -> Result<FileRequest, RpcError> {
    let path = place(&params.path)?.path;
    Ok(FileRequest::ReadDirectory { path })
}

fn canonicalize(params: PathParams<'_>) -> Result<FileRequest, RpcError> {
    let path = place(&params.path)?;
    Ok(FileRequest::Canonicalize { path })
}

fn remove(params: RemoveParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::Remove {
        path: place(&params.path)?.path,
        options: RemoveOptions {
            recursive: params.recursive.unwrap_or(true),
            force: params.force.unwrap_or(true),
            links: links(params.follow_symlinks),
        },
    })
}

fn copy(params: CopyParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::Copy {
        source: place(&params.source_path)?,
        destination: place(&params.destination_path)?.path,
        options: CopyOptions {
            recursive: params.recursive,
            keep_special: params.preserve_setuid.unwrap_or(false),
        },
    })
}

fn open(params: OpenParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::Open {
        path: place(&params.path)?.path,
        handle: params.handle_id.into_owned(),
        mode: mode(params.mode),
    })
}

fn mode(mode: OpenMode) -> Mode {
    match mode {
        OpenMode::Read => Mode::Read,
        OpenMode::Replace => Mode::Replace,
        OpenMode::Update => Mode::Update,
    }
}

fn read_block(params: ReadBlockParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::ReadBlock {
        handle: params.handle_id.into_owned(),
        offset: params.offset,
        length: params.len,
        is_raw: params.raw,
    })
}

fn write_block(params: WriteBlockParams<'_>) -> Result<FileRequest, RpcError> {
    let data = base64::decode(&params.chunk)
        .map_err(|error| RpcError::invalid_params(error.to_string()))?;
    Ok(FileRequest::WriteBlock {
        handle: params.handle_id.into_owned(),
        offset: params.offset,
        data,
    })
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

fn close(params: CloseParams<'_>) -> Result<FileRequest, RpcError> {
    let handle = params.handle_id.into_owned();
    Ok(FileRequest::Close { handle })
}

fn walk(params: WalkParams<'_>) -> Result<FileRequest, RpcError> {
    let options = params.options;
    Ok(FileRequest::Walk {
        path: place(&params.path)?,
        options: WalkOptions {
            depth: options.max_depth,
            directories: options.max_directories,
            entries: options.max_entries,
            follow: options.follow_directory_symlinks,
            prune_hidden: options.prune_hidden_directories,
        },
    })
}

fn rename(params: RenameParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::Rename {
        source: place(&params.source_path)?.path,
        destination: place(&params.destination_path)?.path,
        overwrites: params.overwrite.unwrap_or(true),
    })
}

fn set_permissions(params: SetPermissionsParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::SetPermissions {
        path: place(&params.path)?.path,
        mode: params.mode,
        links: links(params.follow_symlinks),
    })
}

fn read_link(params: PathParams<'_>) -> Result<FileRequest, RpcError> {
    let path = place(&params.path)?.path;
    Ok(FileRequest::ReadLink { path })
}

fn symlink(params: SymlinkParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::Symlink {
        path: place(&params.path)?.path,
        target: target(&params.target)?,
    })
}

/// What a link is to say. A URI is a path of this machine; other text is taken as it is, since a
/// relative target is relative to the link, and `..` in it may lead through another link.
fn target(text: &str) -> Result<PathBuf, RpcError> {
    let scheme = text.get(.."file:".len());
    if scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:")) {
        return Ok(place(text)?.path);
    }
    if text.contains('\0') {
        let message = "the target of a link cannot contain a NUL byte";
        return Err(RpcError::invalid_params(message));
    }
    Ok(Path::new(text).to_owned())
}
