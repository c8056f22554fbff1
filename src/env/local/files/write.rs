//! Writing one file, in place.

use std::fs::File;
use std::io::Seek;
use std::os::fd::AsFd;
use std::path::Path;

use super::errors::FileError;
use super::path_at::{Links, PathAt};
use super::pieces;
use crate::sys::file::{self, Access, FileType, Status};

/// Opens a file to be written from its start: made if there is none, with links followed or
/// refused, and not emptied yet. Neither a FIFO nor a socket nor a disk is opened, nor the
/// memory of a process; a device such as `/dev/null` is.
pub(super) fn open_to_fill(path: &Path, links: Links) -> Result<(File, Status), FileError> {
    let fd = PathAt::find(path, links)?.open(Access::WRITE | Access::CREATE)?;
    let status = file::status_of(fd.as_fd())?;
    match status.kind {
        _ if file::is_process_memory(fd.as_fd()) => Err(FileError::NotAFile(path.to_owned())),
        FileType::Regular | FileType::CharacterDevice => Ok((File::from(fd), status)),
        _ => Err(FileError::NotAFile(path.to_owned())),
    }
}

/// Empties a file that is to be filled again; a device has nothing to empty.
pub(super) fn empty(file: &File, status: &Status) -> std::io::Result<()> {
    if status.kind == FileType::Regular && status.size > 0 {
        file.set_len(0)?;
    }
    Ok(())
}

/// Makes a file with this content, or replaces the content of one, which keeps its mode, owner
/// and other names. A failure may leave a part.
///
/// The file is cut to its new length behind the content, not emptied before it: ext4 and others
/// write a file that was emptied to the disk when it is closed, which takes thirty times as long.
pub fn write(path: &Path, data: &[u8], links: Links) -> Result<(), FileError> {
    let (mut file, status) = open_to_fill(path, links)?;
    let written = pieces::write_all(&file, data);
    let len = match written {
        Ok(()) => data.len() as u64,
        Err(_) => file.stream_position()?,
    };
    // If nothing at all could be written, what was there is not lost for it.
    let is_begun = written.is_ok() || len > 0;
    if is_begun && status.kind == FileType::Regular && len < status.size {
        file.set_len(len)?;
    }
    Ok(written?)
}
