//! Files in memory that nobody can change any more.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

/// What the file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// To be read.
    Data,
    /// To be run.
    Program,
}

/// A file with these bytes, sealed against any change and positioned at its start. `name` is what
/// `/proc` shows.
pub fn sealed(name: &CStr, bytes: &[u8], purpose: Use) -> io::Result<OwnedFd> {
    let mut file = File::from(create(name, purpose)?);
    file.write_all(bytes)?;
    io::Seek::rewind(&mut file)?;
    if purpose == Use::Program {
        // Who runs it could otherwise make it one that nobody can run. Not before Linux 6.3.
        // SAFETY: takes no pointers.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_EXEC) };
    }
    let seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    // SAFETY: takes no pointers.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) })?;
    Ok(file.into())
}

/// Bytes to be read once and by one reader, from their first to their end. A few of them need no
/// file: a pipe is made and given up at a fraction of its cost.
pub fn once(name: &CStr, bytes: &[u8]) -> io::Result<OwnedFd> {
    // What every pipe has room for, even one of a user who has too many.
    if bytes.len() > libc::PIPE_BUF {
        return sealed(name, bytes, Use::Data);
    }
    let (reader, mut writer) = io::pipe()?;
    writer.write_all(bytes)?;
    Ok(reader.into())
}

fn create(name: &CStr, purpose: Use) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let wish = match purpose {
        Use::Data => libc::MFD_NOEXEC_SEAL,
        Use::Program => libc::MFD_EXEC,
    };
    // SAFETY: the name is a terminated string.
    let mut fd = unsafe { libc::memfd_create(name.as_ptr(), flags | wish) };
    if fd < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
        // Before Linux 6.3 a file in memory could always be run.
        // SAFETY: as above.
        fd = unsafe { libc::memfd_create(name.as_ptr(), flags) };
    }
    let fd = check(fd)?;
    // SAFETY: the descriptor is fresh and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether no byte of the file can change any more.
pub fn is_sealed(file: BorrowedFd<'_>) -> bool {
    let wanted = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    // SAFETY: takes no pointers.
    let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
    seals >= 0 && seals & wanted == wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;

    #[test]
    fn bytes_for_one_reader_come_whole_and_end() {
        for size in [0, 1, libc::PIPE_BUF, libc::PIPE_BUF + 1, 1 << 20] {
            let bytes = vec![7; size];
            let mut found = Vec::new();
            let mut file = File::from(once(c"test", &bytes).unwrap());
            file.read_to_end(&mut found).unwrap();
            assert!(found == bytes, "{size} bytes");
        }
    }

    #[test]
    fn a_sealed_file_has_its_bytes_and_takes_no_more() {
        for purpose in [Use::Data, Use::Program] {
            let fd = sealed(c"test", b"bytes", purpose).unwrap();
            assert!(is_sealed(fd.as_fd()));
            let mut file = File::from(fd);
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, "bytes");
            assert!(file.write_all(b"more").is_err());
            assert!(file.set_len(0).is_err());
        }
    }
}
