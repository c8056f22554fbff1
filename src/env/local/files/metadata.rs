//! What is known of one file.

use std::path::Path;

use super::errors::FileError;
use super::path_at::{Links, PathAt};
use crate::sys::file::{self, FileType, LastLink, Status};

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
