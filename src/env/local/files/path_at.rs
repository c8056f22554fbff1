//! Where a file is: a directory and a path from there.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub use crate::rpc::client::types::Links;
use crate::sys::file::{self, Access, LastLink, ROOTED, Status};

impl Links {
    /// How to open the last component of a path.
    pub(super) fn open(self, access: Access) -> Access {
        match self {
            Self::Follow => access,
            Self::Refuse => access | Access::NO_LINK,
        }
    }
}

/// A directory and a path from there.
pub(super) struct PathAt {
    /// None: the path is absolute.
    dir: Option<OwnedFd>,
    path: CString,
    links: Links,
}

impl PathAt {
    /// The place of an absolute path without `.` and `..`. Where links are
    /// refused, one on the way there is `ENOTDIR`; the last component is yet to be opened.
    pub(super) fn find(path: &Path, links: Links) -> io::Result<Self> {
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

    pub(super) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_ref().map_or(ROOTED, |dir| dir.as_fd())
    }

    pub(super) fn path(&self) -> &CStr {
        &self.path
    }

    /// Opens what is there, without waiting.
    pub(super) fn open(&self, access: Access) -> io::Result<OwnedFd> {
        let access = self.links.open(access | Access::NO_WAIT);
        // A new file's mode, of which the umask takes away.
        file::open_at(self.dir(), &self.path, access, 0o666)
    }

    /// What the system knows of the name itself.
    pub(super) fn status(&self) -> io::Result<Status> {
        file::status_at(self.dir(), &self.path, LastLink::Keep)
    }
}

/// A path as the system takes it. One with a NUL in it is `EINVAL`, though none comes here.
pub(super) fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}
