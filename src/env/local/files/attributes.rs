//! Extended attributes of files, access rules (ACLs) among them.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use super::FileError;
use super::names::{Links, PathAt};
use crate::sys::file::{self, Access};

/// One attribute and its value.
pub type Attribute = (CString, Vec<u8>);

/// Whether it is for everybody's use. Those that make programs that may do more, and those of the
/// system, are neither told nor set.
pub fn is_common(name: &CStr) -> bool {
    let name = name.to_bytes();
    name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_")
}

/// The attributes of a file that may be read; none where the file system has none.
pub fn attributes(path: &Path, links: Links) -> Result<Vec<Attribute>, FileError> {
    // Not as a place only: who may not read a file gets none of it.
    let opened = PathAt::find(path, links)?.open(Access::READ)?;
    Ok(attributes_of(opened.as_fd())?)
}

/// The same of what is open.
pub(crate) fn attributes_of(opened: BorrowedFd<'_>) -> io::Result<Vec<Attribute>> {
    let names = match file::attribute_names(opened) {
        Err(error) if is_without(&error) => return Ok(Vec::new()),
        names => names?,
    };
    let mut found = Vec::new();
    for name in names.into_iter().filter(|name| is_common(name)) {
        match file::attribute(opened, &name) {
            Err(error) if is_without(&error) => {}
            value => found.push((name, value?)),
        }
    }
    Ok(found)
}

/// Sets these, as far as the file system has such attributes and lets us set them.
pub(crate) fn set_attributes_of(
    opened: BorrowedFd<'_>,
    attributes: &[Attribute],
) -> io::Result<()> {
    for (name, value) in attributes.iter().filter(|(name, _)| is_common(name)) {
        match file::set_attribute(opened, name, value) {
            Err(error) if is_without(&error) => {}
            set => set?,
        }
    }
    Ok(())
}

/// Whether a file system has no such attribute, or does not let us have it.
fn is_without(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::EPERM | libc::EACCES | libc::ENODATA)
    )
}
