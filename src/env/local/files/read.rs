//! Reading one file from its start to its end.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use super::FileError;
use super::names::{Links, PathAt};
use super::no_memory;
use crate::sys::file::{self, Access, FileType, Status};

/// The largest file that is read at once, in bytes: the reference's limit.
pub const MAX_READ: u64 = 512 * 1024 * 1024;

/// An open regular file.
pub(crate) fn open_regular(path: &Path, links: Links) -> Result<(File, Status), FileError> {
    let fd = PathAt::find(path, links)?.open(Access::READ)?;
    let status = file::status_of(fd.as_fd())?;
    if status.kind != FileType::Regular || file::is_process_memory(fd.as_fd()) {
        return Err(FileError::NotAFile(path.to_owned()));
    }
    Ok((File::from(fd), status))
}

/// An error unless a file is of this version, if one is named.
pub(crate) fn check_version(status: &Status, version: Option<&str>) -> Result<(), FileError> {
    match version {
        Some(version) if status.version() != version => Err(FileError::Changed),
        _ => Ok(()),
    }
}

/// Room for a file that says it has no size, as those of `/proc` do.
const SIZE_UNKNOWN: usize = 4096;

/// A regular file that is being read.
#[derive(Debug)]
pub struct Content {
    file: File,
    size: u64,
    taken: u64,
    limit: u64,
    /// What its version must be from the start to the end, if that matters.
    version: Option<String>,
}

/// What [`Content::fill`] has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The buffer is full, and the file may go on.
    Full,
    /// The end of the file: the buffer holds the last of it, or nothing.
    Last,
}

impl Content {
    /// Opens a regular file, of this version if one is named. One that has more than [`MAX_READ`]
    /// bytes is refused.
    pub fn open(path: &Path, links: Links, version: Option<String>) -> Result<Self, FileError> {
        let (file, status) = open_regular(path, links)?;
        check_version(&status, version.as_deref())?;
        if status.size > MAX_READ {
            return Err(FileError::TooLargeToRead);
        }
        Ok(Self {
            file,
            size: status.size,
            taken: 0,
            limit: MAX_READ,
            version,
        })
    }

    /// How large the file was when it was opened; files of `/proc` say 0 and are not empty.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes read so far.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Allows no more than so many bytes in all, should the file grow.
    pub fn limit(&mut self, bytes: u64) {
        self.limit = self.limit.min(bytes);
    }

    /// Reads on until `buffer` has `wanted` bytes or the file ends. A file that has grown beyond
    /// the limit meanwhile is an error, and so is one that is no more of its version at the end.
    pub fn fill(&mut self, buffer: &mut Vec<u8>, wanted: usize) -> Result<Part, FileError> {
        // Room for one byte more than there should be shows the end in the same call.
        let expected = usize::try_from(self.size.saturating_sub(self.taken)).unwrap_or(wanted);
        let first = wanted.min(expected.saturating_add(1).max(SIZE_UNKNOWN));
        resize(buffer, first)?;
        let mut filled = 0;
        let part = loop {
            if filled == buffer.len() {
                if filled == wanted {
                    break Part::Full;
                }
                resize(buffer, wanted.min(filled * 2))?;
            }
            match self.file.read(&mut buffer[filled..]) {
                Ok(0) => break Part::Last,
                Ok(count) => {
                    filled += count;
                    self.taken += count as u64;
                    if self.taken > self.limit {
                        return Err(FileError::TooLargeToRead);
                    }
                    // Short of its end a regular file gives as much as is asked for.
                    if self.taken == self.size && filled < buffer.len() {
                        break Part::Last;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        };
        buffer.truncate(filled);
        if part == Part::Last && self.version.is_some() {
            let status = file::status_of(self.file.as_fd())?;
            check_version(&status, self.version.as_deref())?;
        }
        Ok(part)
    }
}

/// Makes the buffer so long.
fn resize(buffer: &mut Vec<u8>, len: usize) -> Result<(), FileError> {
    let more = len.saturating_sub(buffer.len());
    buffer.try_reserve_exact(more).map_err(|_| no_memory())?;
    buffer.resize(len, 0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn file_of(name: &str, content: &[u8]) -> PathBuf {
        let name = format!("exec-server-read-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn parts_join_to_the_whole() {
        for size in [0, 1, 9, 10, 11, 20, 4095, 4096, 4097, 10_000] {
            let content: Vec<u8> = (0..size).map(|byte| byte as u8).collect();
            let path = file_of(&size.to_string(), &content);
            for wanted in [10, 4096, 100_000] {
                let mut reader = Content::open(&path, Links::Follow, None).unwrap();
                let (mut read, mut buffer) = (Vec::new(), Vec::new());
                loop {
                    let part = reader.fill(&mut buffer, wanted).unwrap();
                    read.extend_from_slice(&buffer);
                    match part {
                        Part::Full => assert_eq!(buffer.len(), wanted),
                        Part::Last => break,
                    }
                }
                assert!(read == content, "{size} bytes by {wanted}");
                assert_eq!(reader.taken(), size as u64);
            }
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn a_file_that_does_not_tell_its_size_is_read_whole() {
        let mut reader = Content::open(Path::new("/proc/self/smaps"), Links::Follow, None).unwrap();
        assert_eq!(reader.size(), 0);
        let mut buffer = Vec::new();
        assert_eq!(reader.fill(&mut buffer, 1 << 20).unwrap(), Part::Last);
        assert!(buffer.len() > 4096 && buffer.ends_with(b"\n"));
    }

    #[test]
    fn the_memory_of_a_process_is_no_file() {
        for path in [
            "/proc/self/mem",
            "/proc/thread-self/mem",
            "/proc/self/root/proc/self/mem",
        ] {
            let opened = Content::open(Path::new(path), Links::Follow, None);
            assert!(matches!(opened, Err(FileError::NotAFile(_))), "{path}");
        }
        assert!(Content::open(Path::new("/proc/meminfo"), Links::Follow, None).is_ok());
    }

    #[test]
    fn a_file_may_grow_up_to_the_limit() {
        let path = file_of("grows", b"12345");
        let mut reader = Content::open(&path, Links::Follow, None).unwrap();
        reader.limit(6);
        std::fs::write(&path, b"123456").unwrap();
        assert_eq!(reader.fill(&mut Vec::new(), 100).unwrap(), Part::Last);
        let mut reader = Content::open(&path, Links::Follow, None).unwrap();
        reader.limit(6);
        std::fs::write(&path, b"1234567").unwrap();
        assert!(reader.fill(&mut Vec::new(), 100).is_err());
        std::fs::remove_file(path).unwrap();
    }
}
