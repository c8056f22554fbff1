//! Operations on names and permissions: rename, link, mode, canonical path.

use std::fs::{self, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::errors::FileError;
use super::path_at::{Links, PathAt, c_path};
use crate::sys::file::{self, Access, FileType};

/// The path of an existing file with all links resolved.
pub fn canonicalize(path: &Path) -> Result<PathBuf, FileError> {
    Ok(fs::canonicalize(path)?)
}

/// Gives a file or a directory another name in the same file system; a link is renamed itself.
/// What has that name already is replaced only if `overwrites`, otherwise it is an error.
pub fn rename(from: &Path, to: &Path, overwrites: bool, links: Links) -> Result<(), FileError> {
    let (from, to) = (PathAt::find(from, links)?, PathAt::find(to, links)?);
    let (old, new) = ((from.dir(), from.path()), (to.dir(), to.path()));
    Ok(file::rename_at(old, new, overwrites)?)
}

/// Makes a symbolic link at `path` that says `target`, whether or not there is such a file.
/// The name must be free.
pub fn make_link(target: &Path, path: &Path, links: Links) -> Result<(), FileError> {
    let place = PathAt::find(path, links)?;
    Ok(file::link_at(&c_path(target)?, place.dir(), place.path())?)
}

/// What a symbolic link says. Texts alone can be told.
pub fn read_link(path: &Path) -> Result<String, FileError> {
    let target = fs::read_link(path)?.into_os_string();
    target.into_string().map_err(|_| FileError::OddTarget)
}

/// Sets the permission bits, setuid, setgid and sticky included; the umask does not count.
pub fn set_permissions(path: &Path, mode: u32, links: Links) -> Result<(), FileError> {
    if mode > 0o7777 {
        return Err(FileError::BadMode(mode));
    }
    if links == Links::Follow {
        return Ok(fs::set_permissions(path, Permissions::from_mode(mode))?);
    }
    let located = PathAt::find(path, links)?.open(Access::LOCATE)?;
    // A link has no mode of its own.
    if file::status_of(located.as_fd())?.kind == FileType::Link {
        return Err(FileError::Link);
    }
    Ok(file::change_mode(located.as_fd(), mode)?)
}
