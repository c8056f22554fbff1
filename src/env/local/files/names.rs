//! Names: where a file is, what is known of it, and what changes its name, its mode or its
//! directory.

use std::ffi::{CStr, CString};
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use super::FileError;
use super::attributes::{Attribute, set_attributes_of};
pub use crate::rpc::client::{Links, NewMetadata};
use crate::sys::file::{self, Access, FileType, LastLink, ROOTED, Status};

impl Links {
    /// How to open the last component of a path.
    pub(crate) fn open(self, access: Access) -> Access {
        match self {
            Self::Follow => access,
            Self::Refuse => access | Access::NO_LINK,
        }
    }
}

/// A directory and a path from there.
pub(crate) struct PathAt {
    /// None: the path is absolute.
    dir: Option<OwnedFd>,
    path: CString,
    links: Links,
}

impl PathAt {
    /// The place of an absolute path without `.` and `..`. Where links are
    /// refused, one on the way there is `ENOTDIR`; the last component is yet to be opened.
    pub(crate) fn find(path: &Path, links: Links) -> io::Result<Self> {
        let (dir, path) = match (links, path.parent(), path.file_name()) {
            (Links::Follow, ..) => (None, c_path(path)?),
            (Links::Refuse, Some(parent), Some(name)) => {
                let dir = file::locate_without_links(ROOTED, &c_path(parent)?)?;
                (Some(dir), c_path(Path::new(name))?)
            }
            // The root is nobody's link.
            (Links::Refuse, ..) => (None, c_path(path)?),
        };
        Ok(Self { dir, path, links })
    }

    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_ref().map_or(ROOTED, |dir| dir.as_fd())
    }

    pub(crate) fn path(&self) -> &CStr {
        &self.path
    }

    /// Opens what is there, without waiting.
    pub(crate) fn open(&self, access: Access) -> io::Result<OwnedFd> {
        let access = self.links.open(access | Access::NO_WAIT);
        // A new file's mode, of which the umask takes away.
        file::open_at(self.dir(), &self.path, access, 0o666)
    }

    /// What the system knows of the name itself.
    pub(crate) fn status(&self) -> io::Result<Status> {
        file::status_at(self.dir(), &self.path, LastLink::Keep)
    }
}

/// A path as the system takes it. One with a NUL in it is `EINVAL`, though none comes here.
pub(crate) fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// What is known of one file.
#[derive(Clone, Copy, Debug)]
pub struct Metadata {
    /// Of the file, or of what a link leads to.
    pub status: Status,
    /// Whether the path itself is a link.
    pub is_link: bool,
}

/// Asks for a file's metadata; a link is followed unless links are refused.
pub fn metadata(path: &Path, links: Links) -> Result<Metadata, FileError> {
    let place = PathAt::find(path, links)?;
    let status = place.status()?;
    if status.kind != FileType::Link {
        return Ok(Metadata {
            status,
            is_link: false,
        });
    }
    if links == Links::Refuse {
        return Err(FileError::Link);
    }
    Ok(Metadata {
        status: file::status_at(place.dir(), place.path(), LastLink::Follow)?,
        is_link: true,
    })
}

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

/// The same where a regular file takes the place of another: it gets the owner, the group and the
/// permission bits of that one first.
///
/// # Errors
/// As for [`rename`], and `EPERM` if we may not give files to that owner or group: then nothing is
/// replaced.
pub fn rename_as_replaced(from: &Path, to: &Path, links: Links) -> Result<(), FileError> {
    let (from, to) = (PathAt::find(from, links)?, PathAt::find(to, links)?);
    Ok(replace_as(
        (from.dir(), from.path()),
        (to.dir(), to.path()),
    )?)
}

/// The same for names in directories.
pub(crate) fn replace_as(
    from: (BorrowedFd<'_>, &CStr),
    to: (BorrowedFd<'_>, &CStr),
) -> io::Result<()> {
    let is_file = |status: &Status| status.kind == FileType::Regular;
    match file::status_at(to.0, to.1, LastLink::Keep) {
        Ok(old) if is_file(&old) => {
            let access = Access::LOCATE | Access::NO_LINK;
            let opened = file::open_at(from.0, from.1, access, 0)?;
            let new = file::status_of(opened.as_fd())?;
            if is_file(&new) {
                if (new.user, new.group) != (old.user, old.group) {
                    file::change_owner(opened.as_fd(), old.user, old.group)?;
                }
                // Behind the owner, whose change takes setuid away.
                file::change_mode(opened.as_fd(), old.mode)?;
            }
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    file::rename_at(from, to, true)
}

/// Gives a file one more name, which must be free, in the same file system. A symbolic link gets one
/// itself.
pub fn hard_link(from: &Path, to: &Path, links: Links) -> Result<(), FileError> {
    let (from, to) = (PathAt::find(from, links)?, PathAt::find(to, links)?);
    Ok(file::hard_link_at(
        (from.dir(), from.path()),
        (to.dir(), to.path()),
    )?)
}

/// Makes a symbolic link at `path` that says `target`, whether or not there is such a file.
/// The name must be free.
pub fn make_link(target: &Path, path: &Path, links: Links) -> Result<(), FileError> {
    let place = PathAt::find(path, links)?;
    Ok(file::link_at(&c_path(target)?, place.dir(), place.path())?)
}

/// What a symbolic link says.
pub fn read_link(path: &Path) -> Result<PathBuf, FileError> {
    Ok(fs::read_link(path)?)
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

/// Gives it what it is to have; by its path.
pub fn set_metadata(
    path: &Path,
    new: NewMetadata,
    attributes: &[Attribute],
    links: Links,
) -> Result<(), FileError> {
    let place = PathAt::find(path, links)?;
    if let Some(size) = new.size {
        let opened = place.open(Access::WRITE)?;
        if file::status_of(opened.as_fd())?.kind != FileType::Regular {
            return Err(FileError::NotAFile(path.to_owned()));
        }
        file::change_size(opened.as_fd(), size)?;
    }
    let located = place.open(Access::LOCATE)?;
    // A link has no mode of its own.
    if file::status_of(located.as_fd())?.kind == FileType::Link {
        return Err(FileError::Link);
    }
    set_attributes_of(located.as_fd(), attributes)?;
    let rest = NewMetadata { size: None, ..new };
    Ok(change_metadata(located.as_fd(), rest)?)
}

/// The same of what is open, for writing where it gets another size. The mode comes last: it may
/// keep even us out.
pub fn change_metadata(opened: BorrowedFd<'_>, new: NewMetadata) -> io::Result<()> {
    if let Some(size) = new.size {
        file::change_size(opened, size)?;
    }
    if let Some(modified) = new.modified {
        file::change_modified(opened, modified)?;
    }
    match new.permissions {
        Some(mode) => file::change_permissions(opened, mode),
        None => Ok(()),
    }
}

/// The mode of a new directory, of which the umask takes away.
const DIRECTORY_MODE: u32 = 0o777;

/// Makes a directory; with `recursive` also those above it, and then one that exists is fine. A new
/// one gets `permissions`, if there are any.
pub fn make_directory(
    path: &Path,
    recursive: bool,
    links: Links,
    permissions: Option<u32>,
) -> Result<(), FileError> {
    if let Some(permissions) = permissions {
        if let (true, Some(parent)) = (recursive, path.parent()) {
            make_directory(parent, true, links, None)?;
        }
        let place = PathAt::find(path, links)?;
        return match make_directory_as(place.dir(), place.path(), permissions) {
            Err(error) if recursive && error.kind() == io::ErrorKind::AlreadyExists => {
                // Nothing is changed of one that exists.
                make_directory(path, true, links, None)
            }
            made => Ok(made?),
        };
    }
    match (recursive, links) {
        (true, Links::Follow) => DirBuilder::new().recursive(true).create(path)?,
        (true, Links::Refuse) => make_all_without_links(path)?,
        (false, _) => {
            let place = PathAt::find(path, links)?;
            file::make_directory_at(place.dir(), place.path(), DIRECTORY_MODE)?;
        }
    }
    Ok(())
}

/// Makes a directory with these permission bits, whatever the umask. It has setgid and access rules
/// as the one that it is in gives them to new ones; where there are such rules, it gets no bit that
/// they take away.
pub(crate) fn make_directory_as(
    dir: BorrowedFd<'_>,
    name: &CStr,
    permissions: u32,
) -> io::Result<()> {
    file::make_directory_at(dir, name, permissions & 0o777)?;
    let access = Access::LOCATE | Access::DIRECTORY | Access::NO_LINK;
    let made = file::open_at(dir, name, access, 0)?;
    file::change_permissions(made.as_fd(), permissions)
}

fn make_all_without_links(path: &Path) -> io::Result<()> {
    let step = Access::LOCATE | Access::DIRECTORY | Access::NO_LINK;
    let mut here: OwnedFd = file::open_at(ROOTED, c"/", step, 0)?;
    for component in path.components() {
        let Component::Normal(name) = component else {
            continue;
        };
        let name = c_path(Path::new(name))?;
        here = match file::open_at(here.as_fd(), &name, step, 0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match file::make_directory_at(here.as_fd(), &name, DIRECTORY_MODE) {
                    // Somebody else was quicker.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    made => made?,
                }
                file::open_at(here.as_fd(), &name, step, 0)?
            }
            opened => opened?,
        };
    }
    Ok(())
}
