//! The file methods: what a policy is held against, what is done, and the reply. A new one is a
//! function here and its line in [`METHODS`]. Results that list names
//! are written as JSON name by name.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::discovery::{discover_roots, read_config, scope_of_roots};
use super::{BlockWrite, Fault, File, FileMethod, FileWork, Scope, TREE, reading, writing};
use crate::blocks;
use crate::env::local::files::{
    self, Attribute, Content, CopyOptions, FileError, Found, Links, Listed, Mode, NewMetadata,
    RemoveOptions, Skipped, WalkOptions,
};
use crate::memory::{Kind, Reserved, UNCOUNTED};
use crate::rpc::base64;
use crate::rpc::encode::{inner_text, json};
use crate::rpc::error::{ErrorKind, RpcError};
use crate::rpc::methods::Method;
use crate::rpc::methods::discovery::{DiscoverRoots, ReadConfig};
use crate::rpc::methods::fs::{
    self, CanonicalizeReply, CloseParams, CopyParams, CopyReply, CreateDirectoryParams,
    GetMetadataParams, GetMetadataReply, HardLinkParams, OpenMode, OpenParams, OpenReply,
    PathParams, ReadBlockParams, ReadFileParams, ReadLinkReply, RemoveParams, RenameParams,
    SetMetadataParams, SetPermissionsParams, SkippedEntry, SymlinkParams, WalkError, WalkParams,
    WriteBlockParams, WriteFileParams,
};
use crate::rpc::path_uri::{PathStyle, WirePath, push_uri_path};
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
        Some(|it| Scope {
            changes_mode: it.permissions.is_some(),
            ..writing(it.sandbox, &it.path)
        }),
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
            handle: Some((&it.handle_id, mode(it.mode), it.version.as_deref())),
            ..match it.mode {
                OpenMode::Read => reading(it.sandbox, &it.path),
                OpenMode::Replace | OpenMode::Update | OpenMode::Create => {
                    writing(it.sandbox, &it.path)
                }
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
    row(&File::<fs::HardLink>(
        // Who has one more name of a file may write to it by that.
        Some(|it| Scope {
            destination: Some(&it.destination_path),
            ..writing(it.sandbox, &it.source_path)
        }),
        hard_link,
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
    row(&File::<fs::SetMetadata>(
        Some(|it| Scope {
            changes_mode: true,
            ..writing(it.sandbox, &it.path)
        }),
        set_metadata,
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
    let version = params.version.map(Cow::into_owned);
    Ok(FileWork::answering(move |service, responder| {
        let content = Content::open(&path, links, version)?;
        service.read_file(responder, &path, content, max_message)
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
    if params.overwrite == Some(false) {
        if params.atomic == Some(true) {
            return Err(RpcError::invalid_params("atomic needs overwrite: true"));
        }
        let new = params.metadata.map(new_metadata).transpose()?;
        let new = new.unwrap_or_default();
        return Ok(FileWork::done::<fs::WriteFile>(move |_| {
            let made = files::create(&path, &data, new, links);
            blocks::give_back(data);
            made
        }));
    }
    if params.metadata.is_some() {
        return Err(RpcError::invalid_params("metadata needs overwrite: false"));
    }
    let write = match params.atomic {
        Some(true) => files::replace,
        _ => files::write,
    };
    Ok(FileWork::done::<fs::WriteFile>(move |_| {
        let written = write(&path, &data, links);
        blocks::give_back(data);
        written
    }))
}

fn create_directory(params: CreateDirectoryParams<'_>) -> Result<FileWork, RpcError> {
    let path = native(&params.path)?;
    let recursive = params.recursive.unwrap_or(true);
    let links = links(params.follow_symlinks);
    let permissions = params.permissions.map(permission_bits).transpose()?;
    Ok(FileWork::done::<fs::CreateDirectory>(move |_| {
        files::make_directory(&path, recursive, links, permissions)
    }))
}

/// The permissions of a file, without what makes programs of it that run as somebody else.
fn permission_bits(bits: u32) -> Result<u32, RpcError> {
    match bits {
        0..=0o777 => Ok(bits),
        _ => Err(RpcError::invalid_params(format!(
            "permissions {bits} are more than 511 (octal 777)"
        ))),
    }
}

/// What a file is to have, as it was sent.
fn new_metadata(sent: fs::NewMetadata) -> Result<NewMetadata, RpcError> {
    let modified = match sent.modified_at_ms {
        Some(ms) => {
            let rest = i64::from(sent.modified_ns.unwrap_or(0));
            let whole = ms.checked_mul(NANOS_OF_MILLI);
            let sum = whole.and_then(|whole| whole.checked_add(rest));
            let is_time = rest < NANOS_OF_MILLI;
            let wrong = "modifiedAtMs or modifiedNs is no time that a file can have";
            let sum = sum.filter(|_| is_time);
            Some(sum.ok_or_else(|| RpcError::invalid_params(wrong))?)
        }
        None => None,
    };
    Ok(NewMetadata {
        permissions: sent.permissions.map(permission_bits).transpose()?,
        modified,
        size: sent.size,
    })
}

/// Attributes as they are told. Names that are no text are not.
fn told(attributes: Vec<Attribute>) -> BTreeMap<String, String> {
    let texts = attributes.into_iter().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        Some((name, base64::encode(&value)))
    });
    texts.collect()
}

fn set_metadata(params: SetMetadataParams<'_>) -> Result<FileWork, RpcError> {
    let path = native(&params.path)?;
    let (new, links) = (
        new_metadata(params.metadata)?,
        links(params.follow_symlinks),
    );
    let attributes = (params.attributes.into_iter())
        .map(|(name, value)| attribute(name, &value))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(FileWork::done::<fs::SetMetadata>(move |_| {
        files::set_metadata(&path, new, &attributes, links)
    }))
}

/// An attribute as it was sent.
fn attribute(name: String, value: &str) -> Result<Attribute, RpcError> {
    let wrong = |why: &str| RpcError::invalid_params(format!("attribute `{name}`: {why}"));
    let value = base64::decode(value).map_err(|error| wrong(&error.to_string()))?;
    match CString::new(name.as_bytes()) {
        Ok(name) if files::is_common(&name) => Ok((name, value)),
        _ => Err(wrong("neither user.* nor access rules")),
    }
}

fn get_metadata(params: GetMetadataParams<'_>) -> Result<FileWork, RpcError> {
    let path = native(&params.path)?;
    let (links, tells_version) = (links(params.follow_symlinks), params.version);
    let tells_attributes = params.attributes;
    Ok(FileWork::replying::<fs::GetMetadata>(move |_| {
        let files::Metadata { status, is_link } = files::metadata(&path, links)?;
        Ok(GetMetadataReply {
            is_directory: status.kind == FileType::Directory,
            is_file: status.kind == FileType::Regular,
            is_symlink: is_link,
            size: Some(status.size),
            created_at_ms: status.created_ms.unwrap_or(0),
            modified_at_ms: status.modified_ms,
            mode: Some(status.mode),
            version: tells_version.then(|| status.version()),
            modified_ns: tells_version.then(|| status.modified.rem_euclid(NANOS_OF_MILLI) as u32),
            is_sparse: tells_version && status.is_sparse(),
            file_id: tells_version.then(|| status.identity.to_string()),
            links: tells_version.then_some(status.links),
            attributes: match tells_attributes {
                true => Some(told(files::attributes(&path, links)?)),
                false => None,
            },
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
        preserve: params.preserve.unwrap_or(false),
    };
    Ok(FileWork::replying::<fs::Copy>(move |_| {
        let skipped = files::copy(&source.path, &destination, options)?;
        let tell = |entry: Skipped| SkippedEntry {
            path: source.style.render(&entry.path),
            reason: entry.reason,
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
    let version = params.version.map(Cow::into_owned);
    Ok(FileWork::replying::<fs::Open>(move |service| {
        service.open(&handle, &path, (mode, version), links)?;
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
        OpenMode::Create => Mode::Create,
    }
}

fn read_block(params: ReadBlockParams<'_>) -> Result<FileWork, RpcError> {
    let handle = params.handle_id.into_owned();
    let wanted = (params.offset, params.len, params.skip_holes);
    Ok(match params.raw {
        false => FileWork::answering(move |service, responder| {
            service.read_block(responder, &handle, wanted)
        }),
        true => FileWork {
            answers_raw: true,
            ..FileWork::answering(move |service, responder| {
                service.read_raw_block(responder, &handle, wanted)
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

fn hard_link(params: HardLinkParams<'_>) -> Result<FileWork, RpcError> {
    let source = native(&params.source_path)?;
    let destination = native(&params.destination_path)?;
    let links = links(params.follow_symlinks);
    Ok(FileWork::done::<fs::HardLink>(move |_| {
        files::hard_link(&source, &destination, links)
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
    let target = match &params.target_base64 {
        Some(bytes) => raw_target(bytes)?,
        None => target(&params.target)?,
    };
    let links = links(params.follow_symlinks);
    Ok(FileWork::done::<fs::Symlink>(move |_| {
        files::make_link(&target, &path, links)
    }))
}

const NUL_IN_TARGET: &str = "the target of a link cannot contain a NUL byte";

/// What a link is to say. A URI is a path of this machine; other text is taken as it is, since a
/// relative target is relative to the link, and `..` in it may lead through another link.
fn target(text: &str) -> Result<PathBuf, RpcError> {
    let scheme = text.get(.."file:".len());
    if scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:")) {
        return native(text);
    }
    if text.contains('\0') {
        return Err(RpcError::invalid_params(NUL_IN_TARGET));
    }
    Ok(Path::new(text).to_owned())
}

/// What a link is to say that is not UTF-8.
fn raw_target(base64: &str) -> Result<PathBuf, RpcError> {
    let bytes = base64::decode(base64)
        .map_err(|error| RpcError::invalid_params(format!("targetBase64: {error}")))?;
    if bytes.contains(&0) {
        return Err(RpcError::invalid_params(NUL_IN_TARGET));
    }
    Ok(OsString::from_vec(bytes).into())
}

fn read_link(params: PathParams<'_>) -> Result<FileWork, RpcError> {
    let path = native(&params.path)?;
    Ok(FileWork::replying::<fs::ReadLink>(move |_| {
        let target = files::read_link(&path)?.into_os_string();
        Ok(match target.into_string() {
            Ok(target) => ReadLinkReply {
                target,
                target_base64: None,
            },
            Err(odd) => ReadLinkReply {
                target: odd.to_string_lossy().into_owned(),
                target_base64: Some(base64::encode(odd.as_bytes())),
            },
        })
    }))
}

/// Nanoseconds in a millisecond.
const NANOS_OF_MILLI: i64 = 1_000_000;

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
        if has_room && !is_too_large && !is_mount_point(listed.kind, path, name) {
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
fn is_mount_point(kind: Option<FileType>, directory: &Path, name: &OsStr) -> bool {
    kind == Some(FileType::Directory)
        && PROTECTED.iter().any(|one| name == *one)
        && journal::is_in_use(&directory.join(name))
}

/// Writes a [`DirectoryEntry`](fs::DirectoryEntry).
fn write_listed(out: &mut Vec<u8>, listed: &Listed<'_>) {
    let name = listed.name.to_bytes();
    let text = String::from_utf8_lossy(name);
    out.extend_from_slice(b"{\"fileName\":\"");
    inner_text(out, &text);
    out.extend_from_slice(match listed.kind {
        Some(FileType::Directory) => b"\",\"isDirectory\":true,\"isFile\":false",
        Some(FileType::Regular) => b"\",\"isDirectory\":false,\"isFile\":true",
        _ => b"\",\"isDirectory\":false,\"isFile\":false",
    });
    if listed.is_link {
        out.extend_from_slice(b",\"isSymlink\":true");
    }
    if matches!(text, Cow::Owned(_)) {
        out.extend_from_slice(b",\"fileNameBase64\":");
        json(out, &base64::encode(name));
    }
    out.extend_from_slice(b"},");
}

/// The reply of `fs/walk`.
fn list_tree(top: &WirePath, options: WalkOptions) -> Result<NameList, FileError> {
    let mut list = NameList::beginning_with(b"{\"entries\":[");
    let mut others = NameList::beginning_with(b"");
    let mut directory = DirectoryText::new(top.style);
    let mut is_too_large = false;
    let report = files::walk(&top.path, options, |found| {
        let used = list.json.len() + others.json.len();
        is_too_large |= used > ROOM || !list.has_room();
        match found.kind {
            _ if is_too_large => return false,
            _ if is_mount_point(found.kind, found.directory, found.name) => {}
            Some(FileType::Regular | FileType::Directory) => {
                write_found(&mut list.json, &mut directory, &found);
            }
            // Clients know two kinds only.
            _ if others.has_room() => write_found(&mut others.json, &mut directory, &found),
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

/// The beginning of all entries of one directory, which is written once.
struct DirectoryText {
    style: PathStyle,
    /// Of which directory it is.
    number: Option<u64>,
    /// A [`WalkEntry`](fs::WalkEntry) up to the name.
    start: Vec<u8>,
    /// Whether that is the beginning of a URI.
    is_uri: bool,
}

impl DirectoryText {
    fn new(style: PathStyle) -> Self {
        Self {
            style,
            number: None,
            start: Vec::new(),
            is_uri: false,
        }
    }

    fn set(&mut self, found: &Found<'_>) {
        if self.number == Some(found.directory_number) {
            return;
        }
        self.number = Some(found.directory_number);
        let path = self.style.render(found.directory);
        // As a path is rendered that is no text.
        self.is_uri = !path.starts_with('/');
        self.start.clear();
        self.start.extend_from_slice(b"{\"path\":\"");
        inner_text(&mut self.start, &path);
        if !path.ends_with('/') {
            self.start.push(b'/');
        }
    }
}

/// Writes a [`WalkEntry`](fs::WalkEntry).
fn write_found(out: &mut Vec<u8>, directory: &mut DirectoryText, found: &Found<'_>) {
    directory.set(found);
    match found.name.to_str() {
        _ if directory.is_uri => {
            out.extend_from_slice(&directory.start);
            push_uri_path(out, found.name.as_bytes());
        }
        Some(text) => {
            out.extend_from_slice(&directory.start);
            inner_text(out, text);
        }
        None => {
            out.extend_from_slice(b"{\"path\":\"");
            inner_text(out, &directory.style.render(&found.path()));
        }
    }
    out.extend_from_slice(b"\",\"kind\":\"");
    let kind = found.kind.map_or("unknown", FileType::name);
    out.extend_from_slice(kind.as_bytes());
    out.push(b'"');
    if found.is_link && found.kind != Some(FileType::Link) {
        out.extend_from_slice(b",\"isSymlink\":true");
    }
    out.extend_from_slice(b"},");
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

    /// Names with everything that JSON or a URI has to encode, and with what is no text.
    const NAMES: [&[u8]; 9] = [
        b"plain.txt",
        b"with space",
        b"quote\"d",
        b"back\\slash",
        b"\x01\n\t\x7f",
        b"100%#?<>`{}",
        "\u{e9}\u{1f600}".as_bytes(),
        b"no\xfftext",
        b"a name that is longer than the sixty-four bytes which are looked at together\"",
    ];
    const KINDS: [Option<FileType>; 5] = [
        Some(FileType::Regular),
        Some(FileType::Directory),
        Some(FileType::Link),
        Some(FileType::Fifo),
        None,
    ];

    #[test]
    fn an_entry_of_a_directory_is_written_as_its_type_says() {
        for (name, kind) in NAMES.iter().flat_map(|name| KINDS.map(|kind| (name, kind))) {
            for is_link in [false, true] {
                let text = String::from_utf8_lossy(name);
                let expected = fs::DirectoryEntry {
                    is_directory: kind == Some(FileType::Directory),
                    is_file: kind == Some(FileType::Regular),
                    is_symlink: is_link,
                    file_name_base64: matches!(text, Cow::Owned(_)).then(|| base64::encode(name)),
                    file_name: text,
                };
                let name = CString::new(*name).unwrap();
                let mut out = Vec::new();
                let name = name.as_c_str();
                write_listed(
                    &mut out,
                    &Listed {
                        name,
                        kind,
                        is_link,
                    },
                );
                let expected = serde_json::to_string(&expected).unwrap() + ",";
                assert_eq!(String::from_utf8(out).unwrap(), expected);
            }
        }
    }

    #[test]
    fn an_entry_of_a_walk_is_written_as_its_type_says() {
        let directories = NAMES.map(|name| Path::new("/").join(OsStr::from_bytes(name)));
        let directories = [PathBuf::from("/")].into_iter().chain(directories);
        for style in [PathStyle::Native, PathStyle::Uri] {
            let mut text = DirectoryText::new(style);
            for (number, directory) in directories.clone().enumerate() {
                for (name, kind) in NAMES.iter().flat_map(|name| KINDS.map(|kind| (name, kind))) {
                    let found = Found {
                        directory: &directory,
                        directory_number: number as u64,
                        name: OsStr::from_bytes(name),
                        kind,
                        is_link: kind == Some(FileType::Regular),
                    };
                    let expected = fs::WalkEntry {
                        path: style.render(&found.path()).into(),
                        kind: kind.map_or("unknown", FileType::name).into(),
                        is_symlink: found.is_link,
                    };
                    let mut out = Vec::new();
                    write_found(&mut out, &mut text, &found);
                    let expected = serde_json::to_string(&expected).unwrap() + ",";
                    assert_eq!(String::from_utf8(out).unwrap(), expected);
                }
            }
        }
    }

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
            ("fs/hardLink", json!({})),
            ("fs/open", json!({"handleId": "h", "mode": "create"})),
            ("fs/setMetadata", json!({"metadata": {}})),
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
        match method.prepare(Some(&params.to_string())).ok()? {
            Prepared::Confined(confinement) => Some(confinement.purpose),
            Prepared::Plain(_) => None,
        }
    }
}
