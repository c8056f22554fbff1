//! The parameters of each method, checked and put into its request.

use std::path::{Path, PathBuf};

use crate::env::local::files::{CopyOptions, Links, Mode, RemoveOptions, WalkOptions};
use crate::rpc::base64;
use crate::rpc::error::RpcError;
use crate::rpc::path_uri::WirePath;
use crate::rpc::protocol::files::{
    CloseParams, CopyParams, CreateDirectoryParams, GetMetadataParams, OpenMode, OpenParams,
    PathParams, ReadBlockParams, ReadFileParams, RemoveParams, RenameParams, SetPermissionsParams,
    SymlinkParams, WalkParams, WriteBlockParams, WriteFileParams,
};
use crate::rpc::transport::MAX_MESSAGE;
use crate::serve::files::FileRequest;

/// What a path names on this machine.
pub(super) fn place(path: &str) -> Result<WirePath, RpcError> {
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

pub(super) fn read_file(params: ReadFileParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::ReadFile {
        path: place(&params.path)?.path,
        links: links(params.follow_symlinks),
        max_message: params.max_message_bytes.unwrap_or(MAX_MESSAGE as u64),
    })
}

pub(super) fn write_file(params: WriteFileParams<'_>) -> Result<FileRequest, RpcError> {
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

pub(super) fn create_directory(params: CreateDirectoryParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::CreateDirectory {
        path: place(&params.path)?.path,
        recursive: params.recursive.unwrap_or(true),
        links: links(params.follow_symlinks),
    })
}

pub(super) fn get_metadata(params: GetMetadataParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::GetMetadata {
        path: place(&params.path)?.path,
        links: links(params.follow_symlinks),
    })
}

pub(super) fn read_directory(params: PathParams<'_>) -> Result<FileRequest, RpcError> {
    let path = place(&params.path)?.path;
    Ok(FileRequest::ReadDirectory { path })
}

pub(super) fn canonicalize(params: PathParams<'_>) -> Result<FileRequest, RpcError> {
    let path = place(&params.path)?;
    Ok(FileRequest::Canonicalize { path })
}

pub(super) fn remove(params: RemoveParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::Remove {
        path: place(&params.path)?.path,
        options: RemoveOptions {
            recursive: params.recursive.unwrap_or(true),
            force: params.force.unwrap_or(true),
            links: links(params.follow_symlinks),
        },
    })
}

pub(super) fn copy(params: CopyParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::Copy {
        source: place(&params.source_path)?,
        destination: place(&params.destination_path)?.path,
        options: CopyOptions {
            recursive: params.recursive,
            keep_special: params.preserve_setuid.unwrap_or(false),
        },
    })
}

pub(super) fn open(params: OpenParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::Open {
        path: place(&params.path)?.path,
        handle: params.handle_id.into_owned(),
        mode: mode(params.mode),
        links: links(params.follow_symlinks),
    })
}

pub(super) fn mode(mode: OpenMode) -> Mode {
    match mode {
        OpenMode::Read => Mode::Read,
        OpenMode::Replace => Mode::Replace,
        OpenMode::Update => Mode::Update,
    }
}

pub(super) fn read_block(params: ReadBlockParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::ReadBlock {
        handle: params.handle_id.into_owned(),
        offset: params.offset,
        length: params.len,
        is_raw: params.raw,
    })
}

pub(super) fn write_block(params: WriteBlockParams<'_>) -> Result<FileRequest, RpcError> {
    let data = base64::decode(&params.chunk)
        .map_err(|error| RpcError::invalid_params(error.to_string()))?;
    Ok(FileRequest::WriteBlock {
        handle: params.handle_id.into_owned(),
        offset: params.offset,
        data,
    })
}

pub(super) fn close(params: CloseParams<'_>) -> Result<FileRequest, RpcError> {
    let handle = params.handle_id.into_owned();
    Ok(FileRequest::Close { handle })
}

pub(super) fn walk(params: WalkParams<'_>) -> Result<FileRequest, RpcError> {
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

pub(super) fn rename(params: RenameParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::Rename {
        source: place(&params.source_path)?.path,
        destination: place(&params.destination_path)?.path,
        overwrites: params.overwrite.unwrap_or(true),
        links: links(params.follow_symlinks),
    })
}

pub(super) fn set_permissions(params: SetPermissionsParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::SetPermissions {
        path: place(&params.path)?.path,
        mode: params.mode,
        links: links(params.follow_symlinks),
    })
}

pub(super) fn read_link(params: PathParams<'_>) -> Result<FileRequest, RpcError> {
    let path = place(&params.path)?.path;
    Ok(FileRequest::ReadLink { path })
}

pub(super) fn symlink(params: SymlinkParams<'_>) -> Result<FileRequest, RpcError> {
    Ok(FileRequest::Symlink {
        path: place(&params.path)?.path,
        target: target(&params.target)?,
        links: links(params.follow_symlinks),
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
