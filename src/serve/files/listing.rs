//! The results that list names, written as JSON name by name.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::fault::Fault;
use crate::env::local::files::{self, FileError, Found, Listed, WalkOptions};
use crate::rpc::base64;
use crate::rpc::encode::json;
use crate::rpc::error::RpcError;
use crate::rpc::methods::fs::{DirectoryEntry, WalkEntry, WalkError};
use crate::rpc::path_uri::WirePath;
use crate::rpc::transport::MAX_MESSAGE;
use crate::sandbox::journal;
use crate::sandbox::policy::PROTECTED;
use crate::sys::file::FileType;

/// What a message needs besides the names below its limit: the longest one, and the rest.
const ENVELOPE: usize = 64 * 1024;
/// Above so many bytes nothing more is listed; the last name may have exceeded it by its own length.
const ROOM: usize = MAX_MESSAGE - ENVELOPE;

/// The reply of `fs/readDirectory`.
pub(super) fn read_directory(path: &Path) -> Result<Vec<u8>, Fault> {
    let mut out = b"{\"entries\":[".to_vec();
    let mut is_too_large = false;
    files::list(path, |listed| {
        is_too_large |= out.len() > ROOM;
        let name = OsStr::from_bytes(listed.name.to_bytes());
        if !is_too_large && !is_mount_point(listed.kind, &path.join(name)) {
            write_listed(&mut out, &listed);
        }
    })?;
    if is_too_large {
        return Err(RpcError::invalid_request(format!(
            "the names in this directory do not fit in a message of {MAX_MESSAGE} bytes; \
             fs/walk gives as many as are asked for"
        ))
        .into());
    }
    end_array(&mut out);
    out.push(b'}');
    Ok(out)
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
pub(super) fn walk(top: &WirePath, options: WalkOptions) -> Result<Vec<u8>, FileError> {
    let mut out = b"{\"entries\":[".to_vec();
    let mut others = Vec::new();
    let mut is_too_large = false;
    let report = files::walk(&top.path, options, |found| {
        is_too_large |= out.len() + others.len() > ROOM;
        match found.kind {
            _ if is_too_large || is_mount_point(found.kind, found.path) => {}
            Some(FileType::Regular | FileType::Directory) => write_found(&mut out, top, &found),
            // Clients know two kinds only.
            _ => write_found(&mut others, top, &found),
        }
    })?;
    end_array(&mut out);
    out.extend_from_slice(b",\"errors\":[");
    for (path, message) in &report.errors {
        is_too_large |= out.len() + others.len() > ROOM;
        if is_too_large {
            break;
        }
        let error = WalkError {
            path: top.style.render(path).into(),
            message: message.into(),
        };
        json(&mut out, &error);
        out.push(b',');
    }
    end_array(&mut out);
    out.extend_from_slice(b",\"truncated\":");
    json(&mut out, &(report.is_truncated || is_too_large));
    if !others.is_empty() {
        out.extend_from_slice(b",\"others\":[");
        out.extend_from_slice(&others);
        end_array(&mut out);
    }
    out.push(b'}');
    Ok(out)
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
