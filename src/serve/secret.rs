//! Small files with secrets in them: tokens, keys, certificates.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::log;

/// Longer files are none of ours; a bundle of certificates has a few KiB.
const MAX_BYTES: u64 = 1024 * 1024;
/// Any access of users who are neither the owner nor in the group.
const OTHERS: u32 = 0o007;

/// When a file is read, which decides what it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// At the start, where `<(command)` in a shell is a good source too.
    Start,
    /// Later. `/dev/fd/63` is then something else: the output of a child, perhaps.
    Reload,
}

/// Reads a file of at most 1 MiB whole.
///
/// # Errors
/// It cannot be read, is larger, or at a reload is no regular file.
pub(crate) fn read(path: &Path, moment: Moment) -> io::Result<Vec<u8>> {
    let mut options = OpenOptions::new();
    options.read(true);
    if moment == Moment::Reload {
        // Opening a FIFO would wait for its writer, and the listener with it.
        options.custom_flags(libc::O_NONBLOCK);
    }
    let file = options.open(path)?;
    if moment == Moment::Reload && !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file, so not read again"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("larger than 1 MiB"));
    }
    Ok(bytes)
}

/// Warns about a secret that other users of this machine can read.
pub(crate) fn warn_if_exposed(path: &Path) {
    let is_exposed = fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & OTHERS != 0);
    if is_exposed {
        let path = path.display();
        log::warn!("every user of this machine can use {path}; chmod 600 {path}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_giants_are_refused() {
        let endless = read(Path::new("/dev/zero"), Moment::Start).unwrap_err();
        assert_eq!(endless.to_string(), "larger than 1 MiB");
        let device = read(Path::new("/dev/null"), Moment::Reload).unwrap_err();
        assert!(device.to_string().starts_with("not a regular file"));
        assert!(
            read(Path::new("/dev/null"), Moment::Start)
                .unwrap()
                .is_empty()
        );
        assert!(read(Path::new("/"), Moment::Reload).is_err());
    }
}
