//! Operations on names and permissions: rename, link, mode, canonical path.

use std::fs::{self, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::errors::FileError;
use super::place::{Links, Place, c_path};
use crate::sys::file::{self, Access, Kind};

/// The path of an existing file with all links resolved.
pub fn canonicalize(path: &Path) -> Result<PathBuf, FileError> {
    Ok(fs::canonicalize(path)?)
}

/// Gives a file or a directory another name in the same file system; a link is renamed itself.
/// What has that name already is replaced only if `overwrites`, otherwise it is an error.
pub fn rename(from: &Path, to: &Path, overwrites: bool, links: Links) -> Result<(), FileError> {
    let (from, to) = (Place::find(from, links)?, Place::find(to, links)?);
    let (old, new) = ((from.dir(), from.path()), (to.dir(), to.path()));
    Ok(file::rename_at(old, new, overwrites)?)
}

/// Makes a symbolic link at `path` that says `target`, whether or not there is such a file.
/// The name must be free.
pub fn make_link(target: &Path, path: &Path, links: Links) -> Result<(), FileError> {
    let place = Place::find(path, links)?;
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
    let permissions = Permissions::from_mode(mode);
    if links == Links::Follow {
        return Ok(fs::set_permissions(path, permissions)?);
    }
    // A link has no mode of its own. A descriptor that only locates may not change one; the name
    // that the kernel gives the descriptor may.
    let located = Place::find(path, links)?.open(Access::LOCATE)?;
    if file::status_of(std::os::fd::AsFd::as_fd(&located))?.kind == Kind::Link {
        return Err(FileError::Link);
    }
    let name = format!("/proc/self/fd/{}", located.as_raw_fd());
    Ok(fs::set_permissions(name, permissions)?)
}
