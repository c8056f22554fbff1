//! The file methods: what a policy is held against, what is done, and the reply. A new one is a
//! function here and its line in [`METHODS`]. Results that list names
//! are written as JSON name by name.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::discovery::{discover_roots, read_config, scope_of_roots};
use super::{BlockWrite, Fault, File, FileMethod, FileWork, Scope, TREE, reading, writing};
use crate::env::local::files::{
    self, CopyOptions, FileError, Found, Links, Listed, Mode, RemoveOptions, Skipped, WalkOptions,
};
use crate::memory::{Kind, Reserved, UNCOUNTED};
use crate::rpc::base64;
use crate::rpc::encode::json;
use crate::rpc::error::{ErrorKind, RpcError};
use crate::rpc::methods::Method;
use crate::rpc::methods::discovery::{DiscoverRoots, ReadConfig};
use crate::rpc::methods::fs::{
    self, CanonicalizeReply, CloseParams, CopyParams, CopyReply, CreateDirectoryParams,
    DirectoryEntry, GetMetadataParams, GetMetadataReply, OpenMode, OpenParams, OpenReply,
    PathParams, ReadBlockParams, ReadFileParams, ReadLinkReply, RemoveParams, RenameParams,
    SetPermissionsParams, SkippedEntry, SymlinkParams, WalkEntry, WalkError, WalkParams,
    WriteBlockParams, WriteFileParams,
};
use crate::rpc::path_uri::WirePath;
use crate::rpc::transport::MAX_MESSAGE;
use crate::sandbox::journal;
use crate::sandbox::policy::{Access, PROTECTED};
use crate::serve::metrics::{Flow, METRICS};
use crate::sys::file::FileType;

/// All of them. Those without a scope are about a file that is open already.
pub(crate) static METHODS: &[(&str, &dyn FileMethod)] = &[
    row(&File::<fs::ReadFile>(
        Some(|it| Scope {
            max_message: Some(max_message(it)),
            ..reading(it.sandbox, &it.path)
        }),
        read_file,
    )),
    row(&File::<fs::WriteFile>(
        Some(|it| writing(it.sandbox, &it.path)),
        write_file,
    )),
    row(&File::<fs::CreateDirectory>(
        Some(|it| writing(it.sandbox, &it.path)),
        create_directory,
    )),
    row(&File::<fs::GetMetadata>(
        Some(|it| reading(it.sandbox, &it.path)),
        get_metadata,
    )),
    row(&File::<fs::ReadDirectory>(
        Some(|it| reading(it.sandbox, &it.path)),
        read_directory,
    )),
    row(&File::<fs::Remove>(
        Some(|it| Scope {
            with_below: true,
            limit: TREE,
            ..writing(it.sandbox, &it.path)
        }),
        remove,
    )),
    row(&File::<fs::Copy>(
        Some(|it| Scope {
            wanted: Access::Read,
            destination: Some(&it.destination_path),
            limit: TREE,
            ..writing(it.sandbox, &it.source_path)
        }),
        copy,
    )),
    row(&File::<fs::Canonicalize>(
        Some(|it| reading(it.sandbox, &it.path)),
        canonicalize,
    )),
    row(&File::<fs::Open>(
        Some(|it| Scope {
            handle: Some((&it.handle_id, mode(it.mode))),
            ..match it.mode {
                OpenMode::Read => reading(it.sandbox, &it.path),
                OpenMode::Replace | OpenMode::Update => writing(it.sandbox, &it.path),
            }
        }),
        open,
    )),
    row(&File::<fs::ReadBlock>(None, read_block)),
    row(&File::<fs::WriteBlock>(None, write_block)),
    row(&File::<fs::Close>(None, close)),
    row(&File::<fs::Walk>(
        Some(|it| Scope {
            limit: TREE,
            ..reading(it.sandbox, &it.path)
        }),
        walk,
    )),
    row(&File::<fs::Rename>(
        Some(|it| Scope {
            with_below: true,
            destination: Some(&it.destination_path),
            changes_mode: it.as_replaced.unwrap_or(false),
            ..writing(it.sandbox, &it.source_path)
        }),
        rename,
    )),
    row(&File::<fs::SetPermissions>(
        Some(|it| Scope {
            changes_mode: true,
            ..writing(it.sandbox, &it.path)
        }),
        set_permissions,
    )),
    row(&File::<fs::Symlink>(
        Some(|it| writing(it.sandbox, &it.path)),
        symlink,
    )),
    row(&File::<fs::ReadLink>(
        Some(|it| reading(it.sandbox, &it.path)),
        read_link,
    )),
    row(&File::<ReadConfig>(None, read_config)),
    row(&File::<DiscoverRoots>(Some(scope_of_roots), discover_roots)),
];

/// A row of the table: the method's name, and how its requests are decoded.
const fn row<M: Method>(method: &'static File<M>) -> (&'static str, &'static dyn FileMethod) {
    (M::NAME, method)
}

fn read_file(params: ReadFileParams<'_>) -> Result<FileWork, RpcError> {
    let path = native(&params.path)?;
    let (links, max_message) = (links(params.follow_symlinks), max_message(&params));
    Ok(FileWork::answering(move |service, responder| {
        service.read_file(responder, &path, links, max_message)
    }))
}

fn write_file(params: WriteFileParams<'_>) -> Result<FileWork, RpcError> {
    let path = native(&params.path)?;
    // From where it was received straight to where it waits: there is no other copy.
    let data = base64::decode(&params.data_base64).map_err(|error| {
        let message = format!("fs/writeFile requires valid base64 dataBase64: {error}");
        RpcError::invalid_request(message)
    })?;
    METRICS.flowed(Flow::FilesWritten, data.len());
    let links = links(params.follow_symlinks);
    let write = match params.atomic {
        Some(true) => files::replace,
        _ => files::write,
    };
    Ok(FileWork::done::<fs::WriteFile>(move |_| {
        write(&path, &data, links)
    }))
}

fn create_directory(params: CreateDirectoryParams<'_>) -> Result<FileWork, RpcError> {
    let path = native(&params.path)?;
    let recursive = params.recursive.unwrap_or(true);
    let links = links(params.follow_symlinks);
    Ok(FileWork::done::<fs::CreateDirectory>(move |_| {
        files::make_directory(&path, recursive, links)
    }))
}

fn get_metadata(params: GetMetadataParams<'_>) -> Result<FileWork, RpcError> {
    let path = native(&params.path)?;
    let links = links(params.follow_symlinks);
    Ok(FileWork::replying::<fs::GetMetadata>(move |_| {
        let found = files::metadata(&path, links)?;
        Ok(GetMetadataReply {
            is_directory: found.status.kind == FileType::Directory,
            is_file: found.status.kind == FileType::Regular,
            is_symlink: found.is_link,
            size: Some(found.status.size),
            created_at_ms: found.status.created_ms.unwrap_or(0),
            modified_at_ms: found.status.modified_ms,
            mode: Some(found.status.mode),
        })
    }))
}

fn read_directory(params: PathParams<'_>) -> Result<FileWork, RpcError> {
    let path = native(&params.path)?;
    Ok(FileWork::answering(move |service, responder| {
        service.reply_long(responder, &list_directory(&path)?.json);
        Ok(())
    }))
}

fn remove(params: RemoveParams<'_>) -> Result<FileWork, RpcError> {
    let path = native(&params.path)?;
    let options = RemoveOptions {
        recursive: params.recursive.unwrap_or(true),
        force: params.force.unwrap_or(true),
        links: links(params.follow_symlinks),
    };
    Ok(FileWork::done::<fs::Remove>(move |_| {
        files::remove(&path, options)
    }))
}

fn copy(params: CopyParams<'_>) -> Result<FileWork, RpcError> {
    let source = WirePath::parse(&params.source_path)?;
    let destination = native(&params.destination_path)?;
    let options = CopyOptions {
        recursive: params.recursive,
        keep_special: params.preserve_setuid.unwrap_or(false),
    };
    Ok(FileWork::replying::<fs::Copy>(move |_| {
        let skipped = files::copy(&source.path, &destination, options)?;
        let tell = |entry: Skipped| SkippedEntry {
            path: source.style.render(&entry.path),
            reason: format!("a {} is not copied", entry.kind),
        };
        Ok(CopyReply {
            skipped: skipped.into_iter().map(tell).collect(),
        })
    }))
}

fn canonicalize(params: PathParams<'_>) -> Result<FileWork, RpcError> {
    let path = WirePath::parse(&params.path)?;
    Ok(FileWork::replying::<fs::Canonicalize>(move |_| {
        let real = files::canonicalize(&path.path)?;
        Ok(CanonicalizeReply {
            path: path.style.render(&real),
        })
    }))
}

fn open(params: OpenParams<'_>) -> Result<FileWork, RpcError> {
    let path = native(&params.path)?;
    let (mode, links) = (mode(params.mode), links(params.follow_symlinks));
    let handle = params.handle_id.into_owned();
    Ok(FileWork::replying::<fs::Open>(move |service| {
        service.open(&handle, &path, mode, links)?;
        Ok(OpenReply {
            handle_id: handle.into(),
        })
    }))
}

fn mode(mode: OpenMode) -> Mode {
    match mode {
        OpenMode::Read => Mode::Read,
        OpenMode::Replace => Mode::Replace,
        OpenMode::Update => Mode::Update,
    }
}

fn read_block(params: ReadBlockParams<'_>) -> Result<FileWork, RpcError> {
    let handle = params.handle_id.into_owned();
    let (offset, length) = (params.offset, params.len);
    Ok(match params.raw {
        false => FileWork::answering(move |service, responder| {
            service.read_block(responder, &handle, offset, length)
        }),
        true => FileWork {
            answers_raw: true,
            ..FileWork::answering(move |service, responder| {
                service.read_raw_block(responder, &handle, offset, length)
            })
        },
    })
}

fn write_block(params: WriteBlockParams<'_>) -> Result<FileWork, RpcError> {
    let data = base64::decode(&params.chunk)
        .map_err(|error| RpcError::invalid_params(error.to_string()))?;
    let write = BlockWrite {
        handle: params.handle_id.into_owned(),
        offset: params.offset,
    };
    Ok(write.with(data))
}

fn close(params: CloseParams<'_>) -> Result<FileWork, RpcError> {
    let handle = params.handle_id.into_owned();
    Ok(FileWork::done::<fs::Close>(move |service| {
        service.open.close(&handle);
        Ok(())
    }))
}

fn walk(params: WalkParams<'_>) -> Result<FileWork, RpcError> {
    let path = WirePath::parse(&params.path)?;
    let options = WalkOptions {
        depth: params.options.max_depth,
        directories: params.options.max_directories,
        entries: params.options.max_entries,
        follow: params.options.follow_directory_symlinks,
        prune_hidden: params.options.prune_hidden_directories,
    };
    Ok(FileWork::answering(move |service, responder| {
        service.reply_long(responder, &list_tree(&path, options)?.json);
        Ok(())
    }))
}

fn rename(params: RenameParams<'_>) -> Result<FileWork, RpcError> {
    let source = native(&params.source_path)?;
    let destination = native(&params.destination_path)?;
    let overwrites = params.overwrite.unwrap_or(true);
    let links = links(params.follow_symlinks);
    let as_replaced = params.as_replaced.unwrap_or(false);
    if as_replaced && !overwrites {
        let message = "asReplaced needs overwrite: true";
        return Err(RpcError::invalid_params(message));
    }
    Ok(FileWork::done::<fs::Rename>(move |_| match as_replaced {
        true => files::rename_as_replaced(&source, &destination, links),
        false => files::rename(&source, &destination, overwrites, links),
    }))
}

fn set_permissions(params: SetPermissionsParams<'_>) -> Result<FileWork, RpcError> {
    let path = native(&params.path)?;
    let (mode, links) = (params.mode, links(params.follow_symlinks));
    Ok(FileWork::done::<fs::SetPermissions>(move |_| {
        files::set_permissions(&path, mode, links)
    }))
}

fn symlink(params: SymlinkParams<'_>) -> Result<FileWork, RpcError> {
    let path = native(&params.path)?;
    let target = target(&params.target)?;
    let links = links(params.follow_symlinks);
    Ok(FileWork::done::<fs::Symlink>(move |_| {
        files::make_link(&target, &path, links)
    }))
}

/// What a link is to say. A URI is a path of this machine; other text is taken as it is, since a
/// relative target is relative to the link, and `..` in it may lead through another link.
fn target(text: &str) -> Result<PathBuf, RpcError> {
    let scheme = text.get(.."file:".len());
    if scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:")) {
        return native(text);
    }
    if text.contains('\0') {
        let message = "the target of a link cannot contain a NUL byte";
        return Err(RpcError::invalid_params(message));
    }
    Ok(Path::new(text).to_owned())
}

fn read_link(params: PathParams<'_>) -> Result<FileWork, RpcError> {
    let path = native(&params.path)?;
    Ok(FileWork::replying::<fs::ReadLink>(move |_| {
        Ok(ReadLinkReply {
            target: files::read_link(&path)?,
        })
    }))
}

/// What a path names on this machine.
fn native(path: &str) -> Result<PathBuf, RpcError> {
    Ok(WirePath::parse(path)?.path)
}

/// What `followSymlinks` says.
fn links(follow: Option<bool>) -> Links {
    if follow.unwrap_or(true) {
        Links::Follow
    } else {
        Links::Refuse
    }
}

/// The longest message that the client of an `fs/readFile` takes.
fn max_message(params: &ReadFileParams<'_>) -> u64 {
    params.max_message_bytes.unwrap_or(MAX_MESSAGE as u64)
}

/// What a message needs besides the names below its limit: the longest one, and the rest.
const ENVELOPE: usize = 64 * 1024;
/// Above so many bytes nothing more is listed; the last name may have exceeded it by its own
/// length.
const ROOM: usize = MAX_MESSAGE - ENVELOPE;

/// A list of names as JSON, with the memory that it takes.
struct NameList {
    json: Vec<u8>,
    room: Reserved,
}

impl NameList {
    fn beginning_with(json: &[u8]) -> Self {
        Self {
            json: json.to_vec(),
            room: Reserved::none(Kind::Answers),
        }
    }

    /// Makes sure of memory for one name more, and for the rest of the message.
    fn has_room(&mut self) -> bool {
        let (len, capacity) = (self.json.len(), self.json.capacity());
        if capacity - len >= ENVELOPE {
            return true;
        }
        // Not doubled: what is above the limit in the end would be nobody's.
        let larger = capacity + (capacity / 8).max(2 * ENVELOPE);
        let its = larger.saturating_sub(UNCOUNTED);
        self.room.set(its) && self.json.try_reserve_exact(larger - len).is_ok()
    }
}

/// The reply of `fs/readDirectory`.
fn list_directory(path: &Path) -> Result<NameList, Fault> {
    let mut list = NameList::beginning_with(b"{\"entries\":[");
    let mut is_too_large = false;
    let mut has_room = true;
    files::list(path, |listed| {
        is_too_large |= list.json.len() > ROOM;
        has_room = has_room && (is_too_large || list.has_room());
        let name = OsStr::from_bytes(listed.name.to_bytes());
        if has_room && !is_too_large && !is_mount_point(listed.kind, &path.join(name)) {
            write_listed(&mut list.json, &listed);
        }
    })?;
    if is_too_large {
        return Err(RpcError::invalid_request(format!(
            "the names in this directory do not fit in a message of {MAX_MESSAGE} bytes; \
             fs/walk gives as many as are asked for"
        ))
        .into());
    }
    if !has_room {
        return Err(RpcError::new(
            ErrorKind::Busy,
            "the names in this directory need more memory than is free for answers; try again \
             later, or ask fs/walk for fewer",
        )
        .into());
    }
    end_array(&mut list.json);
    list.json.push(b'}');
    Ok(list)
}

/// Whether a directory is there only because some sandbox has to mount something on it: it will
/// go, and is none of the client's.
fn is_mount_point(kind: Option<FileType>, path: &Path) -> bool {
    let has_such_a_name = || {
        path.file_name()
            .is_some_and(|name| PROTECTED.iter().any(|one| name == *one))
    };
    kind == Some(FileType::Directory) && has_such_a_name() && journal::is_in_use(path)
}

fn write_listed(out: &mut Vec<u8>, listed: &Listed<'_>) {
    let name = listed.name.to_bytes();
    let text = String::from_utf8_lossy(name);
    let entry = DirectoryEntry {
        is_directory: listed.kind == Some(FileType::Directory),
        is_file: listed.kind == Some(FileType::Regular),
        is_symlink: listed.is_link,
        file_name_base64: matches!(text, Cow::Owned(_)).then(|| base64::encode(name)),
        file_name: text,
    };
    json(out, &entry);
    out.push(b',');
}

/// The reply of `fs/walk`.
fn list_tree(top: &WirePath, options: WalkOptions) -> Result<NameList, FileError> {
    let mut list = NameList::beginning_with(b"{\"entries\":[");
    let mut others = NameList::beginning_with(b"");
    let mut is_too_large = false;
    let report = files::walk(&top.path, options, |found| {
        let used = list.json.len() + others.json.len();
        is_too_large |= used > ROOM || !list.has_room();
        match found.kind {
            _ if is_too_large => return false,
            _ if is_mount_point(found.kind, found.path) => {}
            Some(FileType::Regular | FileType::Directory) => {
                write_found(&mut list.json, top, &found);
            }
            // Clients know two kinds only.
            _ if others.has_room() => write_found(&mut others.json, top, &found),
            _ => is_too_large = true,
        }
        !is_too_large
    })?;
    end_array(&mut list.json);
    list.json.extend_from_slice(b",\"errors\":[");
    for (path, message) in &report.errors {
        let used = list.json.len() + others.json.len();
        is_too_large |= used > ROOM || !list.has_room();
        if is_too_large {
            break;
        }
        let out = &mut list.json;
        let error = WalkError {
            path: top.style.render(path).into(),
            message: message.into(),
        };
        json(out, &error);
        out.push(b',');
    }
    let mut out = std::mem::take(&mut list.json);
    end_array(&mut out);
    out.extend_from_slice(b",\"truncated\":");
    json(&mut out, &(report.is_truncated || is_too_large));
    if !others.json.is_empty() {
        out.reserve_exact(others.json.len() + ENVELOPE);
        out.extend_from_slice(b",\"others\":[");
        out.extend_from_slice(&others.json);
        end_array(&mut out);
    }
    out.push(b'}');
    Ok(NameList { json: out, ..list })
}

fn write_found(out: &mut Vec<u8>, top: &WirePath, found: &Found<'_>) {
    let entry = WalkEntry {
        path: top.style.render(found.path).into(),
        kind: found.kind.map_or("unknown", FileType::name).into(),
        is_symlink: found.is_link && found.kind != Some(FileType::Link),
    };
    json(out, &entry);
    out.push(b',');
}

/// Every item has a comma behind it; the last one's becomes the end.
fn end_array(out: &mut Vec<u8>) {
    if out.last() == Some(&b',') {
        out.pop();
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Prepared, Purpose};
    use super::*;

    /// A change is carried out even if its client has gone, and its error is explained by what may
    /// be written.
    #[test]
    fn what_changes_something_says_so() {
        let changes = [
            ("fs/writeFile", json!({"dataBase64": ""})),
            ("fs/createDirectory", json!({})),
            ("fs/remove", json!({})),
            ("fs/copy", json!({"recursive": false})),
            ("fs/open", json!({"handleId": "h", "mode": "replace"})),
            ("fs/open", json!({"handleId": "h", "mode": "update"})),
            ("fs/rename", json!({})),
            ("fs/setPermissions", json!({"mode": 0})),
            ("fs/symlink", json!({"target": "t"})),
        ];
        let paths = json!({"path": "/a", "sourcePath": "/a", "destinationPath": "/b"});
        let sandbox = json!({"permissions": {"type": "managed", "network": "restricted",
            "file_system": {"type": "restricted", "entries": []}},
            "windowsSandboxLevel": "disabled"});
        for (name, _) in METHODS {
            let mut params = paths.clone();
            params["sandbox"] = sandbox.clone();
            let its = changes.iter().filter(|(its, _)| its == name);
            for (_, more) in its.clone() {
                let mut params = params.clone();
                let more = more.as_object().unwrap().clone();
                params.as_object_mut().unwrap().extend(more);
                assert_eq!(purpose(name, &params), Some(Purpose::Write), "{name}");
            }
            if its.count() == 0 {
                let purpose = purpose(name, &params);
                assert_ne!(purpose, Some(Purpose::Write), "{name} is missing above");
            }
        }
    }

    /// What a request is for, if it is understood and confined.
    fn purpose(name: &str, params: &serde_json::Value) -> Option<Purpose> {
        let (_, method) = METHODS.iter().find(|(its, _)| *its == name)?;
        let params = serde_json::value::to_raw_value(params).ok()?;
        match method.prepare(Some(&params)).ok()? {
            Prepared::Confined(confinement) => Some(confinement.purpose),
            Prepared::Plain(_) => None,
        }
    }
}
