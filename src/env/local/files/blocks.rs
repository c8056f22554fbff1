//! Files that stay open between requests, read and written block by block.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::FileError;
use super::names::Links;
use super::no_memory;
use super::read::{check_version, open_regular};
use super::write::{empty, make_private, open_to_fill, write_at};
use crate::sys::file::{self, Access, FileType};

/// The largest block in bytes; the reference's limit, as those below.
pub const MAX_BLOCK: usize = 1024 * 1024;
/// Files open at once.
pub(crate) const MAX_OPEN: usize = 128;
/// Bytes in a handle's id.
pub(crate) const MAX_ID: usize = 32;

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To be read.
    Read,
    /// To be written anew: it is made, or emptied, at once.
    Replace,
    /// To be written where it is: it is made if need be, and keeps what it has.
    Update,
    /// To be written where nothing is yet: it is made, for its owner alone.
    Create,
}

/// A regular file that is open for blocks.
#[derive(Debug)]
pub struct BlockFile {
    file: File,
    /// What its version must be whenever it is read, if that matters.
    version: Option<String>,
}

impl AsFd for BlockFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// What a read of a block has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Whether there was nothing behind it.
    pub is_last: bool,
    /// Up to where there is a hole, if that is all that was found.
    pub data_at: Option<u64>,
}

impl BlockFile {
    /// Opens a file; one to be read must be of this version, if one is named.
    pub fn open(
        path: &Path,
        mode: Mode,
        links: Links,
        version: Option<String>,
    ) -> Result<Self, FileError> {
        let file = match mode {
            Mode::Read => {
                let (file, status) = open_regular(path, links)?;
                check_version(&status, version.as_deref())?;
                file
            }
            Mode::Replace => {
                let (file, status) = open_to_fill(path, links)?;
                empty(&file, &status)?;
                file
            }
            Mode::Update => open_to_fill(path, links)?.0,
            Mode::Create => make_private(path, links)?,
        };
        Ok(Self { file, version })
    }

    /// Takes a file that somebody else has opened, who need not be trusted. None if it is not such a
    /// one as [`BlockFile::open`] opens, or one of `/proc` to be written, which could be the memory of
    /// who has opened it.
    pub fn received(file: OwnedFd, mode: Mode, version: Option<String>) -> Option<Self> {
        let kind = file::status_of(file.as_fd()).ok()?.kind;
        let is_right = match mode {
            Mode::Read => {
                kind == FileType::Regular
                    && file::is_open_for(file.as_fd(), Access::READ)
                    && !file::is_process_memory(file.as_fd())
            }
            Mode::Replace | Mode::Update | Mode::Create => {
                matches!(kind, FileType::Regular | FileType::CharacterDevice)
                    && file::is_open_for(file.as_fd(), Access::WRITE)
                    && !file::is_in_proc(file.as_fd())
            }
        };
        is_right.then(|| Self {
            file: file.into(),
            version,
        })
    }

    /// Reads `length` bytes at `offset` to the end of `out`, fewer only at the end of the file, and
    /// none where all of them are in a hole and that is to be skipped. An error adds nothing.
    pub fn read(
        &self,
        offset: u64,
        length: usize,
        skips_holes: bool,
        out: &mut Vec<u8>,
    ) -> Result<Block, FileError> {
        let start = out.len();
        let hole = match skips_holes {
            true => hole_at(self.as_fd(), offset, length)?,
            false => None,
        };
        let block = match hole {
            Some((data_at, is_last)) => Block {
                is_last,
                data_at: Some(data_at),
            },
            None => self.read_bytes(offset, length, out)?,
        };
        if let Some(version) = &self.version {
            let checked = file::status_of(self.as_fd()).map_err(FileError::from);
            let checked = checked.and_then(|status| check_version(&status, Some(version)));
            checked.inspect_err(|_| out.truncate(start))?;
        }
        Ok(block)
    }

    fn read_bytes(
        &self,
        offset: u64,
        length: usize,
        out: &mut Vec<u8>,
    ) -> Result<Block, FileError> {
        if !(1..=MAX_BLOCK).contains(&length) {
            return Err(FileError::ReadLength);
        }
        let Some(behind) = (i64::MAX as u64).checked_sub(offset) else {
            return Err(file::invalid().into());
        };
        // One byte more than asked for tells whether there is more.
        let room = usize::try_from(behind).map_or(length + 1, |behind| behind.min(length + 1));
        let start = out.len();
        out.try_reserve(room).map_err(|_| no_memory())?;
        loop {
            let filled = out.len() - start;
            if filled == room {
                break;
            }
            let at = offset.saturating_add(filled as u64);
            match file::read_behind(self.as_fd(), at, room - filled, out) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What was asked for is here; the byte too many is not worth an error.
                Err(_) if filled == length => break,
                Err(error) => {
                    out.truncate(start);
                    return Err(error.into());
                }
            }
        }
        let filled = out.len() - start;
        out.truncate(start + filled.min(length));
        Ok(Block {
            is_last: filled <= length,
            data_at: None,
        })
    }

    /// Writes a block at `offset`; what is left out before it reads as zeros.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<(), FileError> {
        if !(1..=MAX_BLOCK).contains(&data.len()) {
            return Err(FileError::WriteLength);
        }
        let end = offset.saturating_add(data.len() as u64);
        if i64::try_from(end).is_err() {
            return Err(FileError::WriteRange);
        }
        Ok(write_at(&self.file, data, offset)?)
    }
}

/// The hole that all of these bytes of a file are in: up to where it goes, and whether that is the end
/// of the file.
pub(crate) fn hole_at(
    file: BorrowedFd<'_>,
    offset: u64,
    length: usize,
) -> io::Result<Option<(u64, bool)>> {
    let size = file::status_of(file)?.size;
    if offset >= size {
        return Ok(None);
    }
    let data_at = file::next_data(file, offset)?.map_or(size, |at| at.min(size));
    let is_hole = data_at >= size.min(offset.saturating_add(length as u64));
    Ok(is_hole.then_some((data_at, data_at == size)))
}

/// The open files of one connection, by the ids that the client gave them.
#[derive(Debug, Default)]
pub struct OpenFiles(HashMap<String, BlockFile>);

impl OpenFiles {
    /// Opens a file under an id that is free.
    pub fn open(
        &mut self,
        id: String,
        path: &Path,
        mode: Mode,
        links: Links,
        version: Option<String>,
    ) -> Result<(), FileError> {
        self.check_free(&id)?;
        let file = BlockFile::open(path, mode, links, version)?;
        self.0.insert(id, file);
        Ok(())
    }

    /// Takes a file that was opened elsewhere, under an id that [`OpenFiles::check_free`] allows.
    pub fn insert(&mut self, id: String, file: BlockFile) {
        self.0.insert(id, file);
    }

    /// Whether a file could be opened under this id: nothing is to happen to it otherwise.
    pub fn check_free(&self, id: &str) -> Result<(), FileError> {
        if id.len() > MAX_ID {
            return Err(FileError::LongHandle);
        }
        if self.0.contains_key(id) {
            return Err(FileError::HandleExists(id.to_owned()));
        }
        if self.0.len() >= MAX_OPEN {
            return Err(FileError::ManyHandles);
        }
        Ok(())
    }

    /// The file of this id; an error of a request leaves it open.
    pub fn find(&self, id: &str) -> Result<&BlockFile, FileError> {
        self.0
            .get(id)
            .ok_or_else(|| FileError::UnknownHandle(id.to_owned()))
    }

    /// Closes a file; an id that is not known is fine.
    pub fn close(&mut self, id: &str) {
        self.0.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    fn opened(path: &str, access: Access) -> OwnedFd {
        let path = CString::new(path).unwrap();
        file::open_at(file::ROOTED, &path, access, 0).unwrap()
    }

    #[test]
    fn only_what_could_have_been_opened_here_is_taken() {
        let path = std::env::temp_dir().join(format!("exec-server-blocks-{}", std::process::id()));
        std::fs::write(&path, "content").unwrap();
        let path = path.to_str().unwrap();
        let taken = |file: OwnedFd, mode| BlockFile::received(file, mode, None).is_some();
        for mode in [Mode::Read, Mode::Replace, Mode::Update, Mode::Create] {
            let writes = mode != Mode::Read;
            assert_eq!(taken(opened(path, Access::READ), mode), !writes, "{mode:?}");
            assert_eq!(taken(opened(path, Access::WRITE), mode), writes, "{mode:?}");
            assert_eq!(
                taken(opened("/dev/null", Access::WRITE), mode),
                writes,
                "{mode:?}"
            );
            for other in [
                opened(path, Access::LOCATE),
                opened("/", Access::READ),
                opened("/dev/zero", Access::READ),
                opened("/proc/self/mem", Access::WRITE),
                opened("/proc/self/mem", Access::READ),
                opened("/proc/thread-self/mem", Access::READ),
                io::pipe().unwrap().0.into(),
                io::pipe().unwrap().1.into(),
                std::os::unix::net::UnixStream::pair().unwrap().0.into(),
            ] {
                let what = format!("{other:?}");
                assert!(!taken(other, mode), "{what} for {mode:?}");
            }
        }
        std::fs::remove_file(path).unwrap();
    }
}
