//! Something of the host, held so that it stays the same.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::PlanError;
use crate::sys::file::{self, FileType, Identity, Status};
use crate::sys::identity::user_id;

/// Something of the host that is mounted.
#[derive(Debug)]
pub struct Source {
    /// Where it was found: canonical.
    pub path: PathBuf,
    /// Opened as a place only (`O_PATH`).
    pub fd: OwnedFd,
    /// What it is.
    pub(super) status: Status,
}

impl Source {
    /// Opens what is at a canonical path. None if nothing is there, or nothing that we, and so a program, can reach.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, PlanError> {
        let failed = |error: io::Error| PlanError::Source(path.to_owned(), error);
        let fd = match file::locate_anything_without_links(path) {
            Ok(fd) => fd,
            Err(error) => {
                return match error.raw_os_error() {
                    Some(libc::ELOOP) => Err(PlanError::Changed(path.to_owned())),
                    Some(libc::ENOENT | libc::ENOTDIR | libc::EACCES) => Ok(None),
                    _ => Err(failed(error)),
                };
            }
        };
        let status = file::status_of(fd.as_fd()).map_err(failed)?;
        Ok(Some(Self {
            path: path.to_owned(),
            fd,
            status,
        }))
    }

    pub(super) fn is_still_there(&self) -> bool {
        is_at(&self.path, self.status.identity)
    }

    pub(super) fn is_directory(&self) -> bool {
        self.status.kind == FileType::Directory
    }
}

/// Whether this very file is at a canonical path.
pub(super) fn is_at(path: &Path, identity: Identity) -> bool {
    let found = Source::open(path);
    matches!(found, Ok(Some(found)) if found.status.identity == identity)
}

/// Whether something is there and ours, so that a program with our rights can change its mode.
pub(super) fn is_own(path: &Path) -> bool {
    let found = path.symlink_metadata();
    found.is_ok_and(|found| found.uid() == user_id())
}
