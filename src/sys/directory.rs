//! The names in a directory, straight from the kernel: many a call, and with what each is.

use std::ffi::CStr;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::file::FileType;
use super::{counted, retry};

/// Bytes of entries taken at a time: some thousand names.
const BUFFER: usize = 64 * 1024;
/// Where the parts of an entry are (`struct linux_dirent64`): its length, its type, its name.
const LENGTH_AT: usize = 16;
const TYPE_AT: usize = 18;
const NAME_AT: usize = 19;

/// The names of one open directory after the other.
#[derive(Debug, Default)]
pub struct Names {
    /// [`BUFFER`] bytes from the first call on. The allocator gives them zeroed and untouched, so a
    /// small directory costs one page.
    buffer: Vec<u8>,
    /// Bytes of it that the kernel has filled, and of these those that were taken.
    filled: usize,
    at: usize,
}

/// One name; `.` and `..` never come.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The name.
    pub name: &'a CStr,
    /// What it is, not following a link; none where the file system does not tell.
    pub kind: Option<FileType>,
}

impl Names {
    /// The next name in `dir`, which was opened to be read; none at the end. The directory must
    /// stay the same until then.
    pub fn next_in(&mut self, dir: BorrowedFd<'_>) -> io::Result<Option<Entry<'_>>> {
        let place = loop {
            if self.at == self.filled && !self.fill(dir)? {
                return Ok(None);
            }
            let place = self.take_entry()?;
            let name = &self.buffer[place.clone()][NAME_AT..];
            if !name.starts_with(b".\0") && !name.starts_with(b"..\0") {
                break place;
            }
        };
        let entry = &self.buffer[place];
        let name = CStr::from_bytes_until_nul(&entry[NAME_AT..]).map_err(|_| torn())?;
        let kind = FileType::from_entry_type(entry[TYPE_AT]);
        Ok(Some(Entry { name, kind }))
    }

    /// Where the next entry is; it has room for a name.
    fn take_entry(&mut self) -> io::Result<Range<usize>> {
        let rest = &self.buffer[self.at..self.filled];
        let length = rest.get(LENGTH_AT..TYPE_AT).ok_or_else(torn)?;
        let length = usize::from(u16::from_ne_bytes([length[0], length[1]]));
        if length < NAME_AT || length > rest.len() {
            return Err(torn());
        }
        let start = self.at;
        self.at += length;
        Ok(start..self.at)
    }

    /// Forgets the rest, for another directory.
    pub fn restart(&mut self) {
        self.filled = 0;
        self.at = 0;
    }

    fn fill(&mut self, dir: BorrowedFd<'_>) -> io::Result<bool> {
        self.restart();
        if self.buffer.is_empty() {
            self.buffer = vec![0; BUFFER];
        }
        self.filled = entries(dir, &mut self.buffer)?;
        Ok(self.filled > 0)
    }
}

/// Fills `buffer` with entries, `struct linux_dirent64` one after the other; how many bytes. Async-signal-safe.
pub(super) fn entries(dir: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let (fd, into, room) = (dir.as_raw_fd(), buffer.as_mut_ptr(), buffer.len());
    // SAFETY: the pointer and the length describe one writable slice.
    retry(|| counted(unsafe { libc::syscall(libc::SYS_getdents64, fd, into, room) } as isize))
}

/// What the kernel gave is no list of entries.
fn torn() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::file::{Access, ROOTED, open_at};
    use std::collections::BTreeSet;
    use std::ffi::CString;
    use std::os::fd::AsFd;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn every_name_comes_once() {
        let base = std::env::temp_dir().join(format!("exec-server-names-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&base);
        std::fs::create_dir_all(base.join("sub")).unwrap();
        let mut expected = BTreeSet::from(["sub".to_owned()]);
        // More than one buffer holds.
        for number in 0..700 {
            let name = format!("{number}-{}", "n".repeat(200));
            std::fs::write(base.join(&name), "").unwrap();
            expected.insert(name);
        }
        let path = CString::new(base.as_os_str().as_bytes()).unwrap();
        let fd = open_at(ROOTED, &path, Access::READ | Access::DIRECTORY, 0).unwrap();
        let mut reader = Names::default();
        let mut names = BTreeSet::new();
        while let Some(entry) = reader.next_in(fd.as_fd()).unwrap() {
            let name = entry.name.to_str().unwrap().to_owned();
            let is_directory = entry.kind == Some(FileType::Directory);
            assert!(entry.kind.is_none() || is_directory == (name == "sub"));
            assert!(names.insert(name));
        }
        assert_eq!(names, expected);
        std::fs::remove_dir_all(&base).unwrap();
    }
}
