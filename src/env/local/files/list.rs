//! The names in one directory.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use super::errors::FileError;
use super::path_at::{Links, PathAt};
use crate::sys::directory::{Entry, Names};
use crate::sys::file::{self, Access, FileType, LastLink};

/// One name in a directory.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// The name; not always UTF-8.
    pub name: &'a CStr,
    /// What it is, or what a link leads to; none for a link that leads nowhere, and for what
    /// cannot be looked at.
    pub kind: Option<FileType>,
    /// Whether it is a link.
    pub is_link: bool,
}

/// Hands every name in a directory to `each`, in the order of the file system.
pub fn list(path: &Path, mut each: impl FnMut(Listed<'_>)) -> Result<(), FileError> {
    let place = PathAt::find(path, Links::Follow)?;
    let dir = place.open(Access::READ | Access::DIRECTORY)?;
    let mut names = Names::default();
    while let Some(entry) = names.next_in(dir.as_fd())? {
        let kind = own_kind(dir.as_fd(), &entry);
        let is_link = kind == Some(FileType::Link);
        each(Listed {
            name: entry.name,
            kind: if is_link {
                kind_of(dir.as_fd(), entry.name, LastLink::Follow)
            } else {
                kind
            },
            is_link,
        });
    }
    Ok(())
}

/// What a name in a directory is, a link being a link; none if it cannot be told.
pub(super) fn own_kind(dir: BorrowedFd<'_>, entry: &Entry<'_>) -> Option<FileType> {
    entry
        .kind
        .or_else(|| kind_of(dir, entry.name, LastLink::Keep))
}

/// The same by asking for it.
pub(super) fn kind_of(dir: BorrowedFd<'_>, name: &CStr, last: LastLink) -> Option<FileType> {
    file::status_at(dir, name, last)
        .ok()
        .map(|status| status.kind)
}
