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
use crate::serve::confinement::refuse_sandbox;

/// Decodes a request of the method `fs/NAME`; none if there is no such method.
pub(in crate::serve) fn decode(
    name: &str,
    params: Option<&RawValue>,
) -> Option<Result<FileRequest, RpcError>> {
    Some(match name {
        "readFile" => with(params, read_file),
        "writeFile" => with(params, write_file),
        "createDirectory" => with(params, create_directory),
        "getMetadata" => with(params, get_metadata),
        "readDirectory" => with(params, read_directory),
        "remove" => with(params, remove),
        "copy" => with(params, copy),
        "canonicalize" => with(params, canonicalize),
        "open" => with(params, open),
        "readBlock" => with(params, read_block),
        "writeBlock" => with(params, write_block),
        "close" => with(params, close),
        "walk" => with(params, walk),
        "rename" => with(params, rename),
        "setPermissions" => with(params, set_permissions),
        "symlink" => with(params, symlink),
        "readLink" => with(params, read_link),
        _ => return None,
    })
}

fn with<'a, P: Deserialize<'a>>(
    params: Option<&'a RawValue>,
    decode: fn(P) -> Result<FileRequest, RpcError>,
) -> Result<FileRequest, RpcError> {
    decode(decode_params(params)?)
}

/// What a path names on this machine; the member `sandbox` comes with every path.
fn place(path: &str, sandbox: Option<&RawValue>) -> Result<WirePath, RpcError> {
    let path = WirePath::parse(path)?;
    refuse_sandbox(sandbox, "nothing was done")?;
    Ok(path)
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
        path: place(&params.path, params.sandbox)?.path,
        links: links(params.follow_symlinks),
        max_message: params.max_message_bytes.unwrap_or(MAX_MESSAGE as u64),
    })
}

fn write_file(params: WriteFileParams<'_>) -> Result<FileRequest, RpcError> {
    let path = place(&params.path, params.sandbox)?.path;
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
        path: place(&params.path, params.sandbox)?.path,
        recursive: params.recursive.unwrap_or(true),
        links: links(params.follow_symlinks),
    })
}

fn get_metadata(params: GetMetadataParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::GetMetadata {
        path: place(&params.path, params.sandbox)?.path,
        links: links(params.follow_symlinks),
    })
}

fn read_directory(params: PathParams<'_>) -> Result<FileRequest, RpcError> {
    let path = place(&params.path, params.sandbox)?.path;
    Ok(FileRequest::ReadDirectory { path })
}

fn canonicalize(params: PathParams<'_>) -> Result<FileRequest, RpcError> {
    let path = place(&params.path, params.sandbox)?;
    Ok(FileRequest::Canonicalize { path })
}

fn remove(params: RemoveParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::Remove {
        path: place(&params.path, params.sandbox)?.path,
        options: RemoveOptions {
            recursive: params.recursive.unwrap_or(true),
            force: params.force.unwrap_or(true),
            links: links(params.follow_symlinks),
        },
    })
}

fn copy(params: CopyParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::Copy {
        source: place(&params.source_path, params.sandbox)?,
        destination: WirePath::parse(&params.destination_path)?.path,
        options: CopyOptions {
            recursive: params.recursive,
            keep_special: params.preserve_setuid.unwrap_or(false),
        },
    })
}

fn open(params: OpenParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::Open {
        path: place(&params.path, params.sandbox)?.path,
        handle: params.handle_id.into_owned(),
        mode: match params.mode {
            OpenMode::Read => Mode::Read,
            OpenMode::Replace => Mode::Replace,
            OpenMode::Update => Mode::Update,
        },
    })
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
        path: place(&params.path, params.sandbox)?,
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
        source: place(&params.source_path, params.sandbox)?.path,
        destination: WirePath::parse(&params.destination_path)?.path,
        overwrites: params.overwrite.unwrap_or(true),
    })
}

fn set_permissions(params: SetPermissionsParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::SetPermissions {
        path: place(&params.path, params.sandbox)?.path,
        mode: params.mode,
        links: links(params.follow_symlinks),
    })
}

fn read_link(params: PathParams<'_>) -> Result<FileRequest, RpcError> {
    let path = place(&params.path, params.sandbox)?.path;
    Ok(FileRequest::ReadLink { path })
}

fn symlink(params: SymlinkParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::Symlink {
        path: place(&params.path, params.sandbox)?.path,
        target: target(&params.target)?,
    })
}

/// What a link is to say. A URI is a path of this machine; other text is taken as it is, since a
/// relative target is relative to the link, and `..` in it may lead through another link.
fn target(text: &str) -> Result<PathBuf, RpcError> {
    let scheme = text.get(.."file:".len());
    if scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:")) {
        return Ok(WirePath::parse(text)?.path);
    }
    if text.contains('\0') {
        let message = "the target of a link cannot contain a NUL byte";
        return Err(RpcError::invalid_params(message));
    }
    Ok(Path::new(text).to_owned())
}
