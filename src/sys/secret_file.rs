//! Files with secrets in them, and those that say where secrets are: small, and read whole.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::poll::{self, PollFd, READABLE};
use super::process::user_id;
use super::random;
use crate::hex::hex;
use crate::log;

/// The largest file that is read, in bytes; a bundle of certificates has a few hundred KiB.
const LARGEST: u64 = 1024 * 1024;
/// How long is waited for what a command writes into a pipe: somebody may have to type first.
const PATIENCE: Duration = Duration::from_secs(60);
/// Any access of users who are neither the owner nor in the group.
const OTHERS: u32 = 0o007;
/// Any access of those in the group.
const GROUP: u32 = 0o070;
/// Anybody's right to write.
const WRITE: u32 = 0o222;
/// Of a directory: only the owner of a file may remove it or put another in its place.
const STICKY: u32 = 0o1000;

/// Reads a file whole, which may also be a pipe, as `<(command)` of a shell is.
///
/// # Errors
/// It cannot be read, is larger than 1 MiB, or nobody writes to its other end.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_whole(&open(path)?)
}

/// The same of a regular file only; a directory is an error of the system's.
///
/// # Errors
/// As there, or it is something else.
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let kind = file.metadata()?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        return Err(io::Error::other("it is not a regular file"));
    }
    read_whole(&file)
}

/// Opening a FIFO would else wait for its writer.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    options.open(path)
}

fn read_whole(mut file: &File) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    let mut bytes = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut readable = [PollFd::new(file.as_fd(), READABLE)];
        poll::wait(&mut readable, Some(left))?;
        if !readable[0].is_ready() {
            if left.is_zero() {
                return Err(io::Error::other(format!(
                    "nothing came from it within {PATIENCE:?}"
                )));
            }
            continue;
        }
        let most = LARGEST + 1 - bytes.len() as u64;
        match Read::by_ref(&mut file).take(most).read_to_end(&mut bytes) {
            Ok(_) if bytes.len() as u64 > LARGEST => {
                let message = format!("it is larger than {LARGEST} bytes");
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
            }
            Ok(_) => return Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Makes a file of this mode that holds this: all of it, or nothing. In the place of another regular
/// file only if `replaces`, at one stroke, and never through a link.
///
/// # Errors
/// There is one already, or something else, or the system refuses.
pub fn make(path: &Path, content: &[u8], mode: u32, replaces: bool) -> io::Result<()> {
    if replaces {
        may_be_replaced(path)?;
    }
    let written = match replaces {
        true => beside(path)?,
        false => path.to_owned(),
    };
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&written)?;
    let made = file
        .write_all(content)
        .and_then(|()| file.sync_all())
        .and_then(|()| match replaces {
            true => fs::rename(&written, path),
            false => Ok(()),
        });
    if made.is_err() {
        // The error that counts is the first.
        let _ = fs::remove_file(&written);
    }
    made
}

/// # Errors
/// Something is there that is no regular file: a device as `/dev/null`, a pipe, or a link that leads
/// to what is meant.
pub fn may_be_replaced(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(metadata) if !metadata.is_file() => Err(io::Error::other(
            "what is there is no regular file, and only such a one is replaced",
        )),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A name for what will be at `path`.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut random = [0; 8];
    random::fill(&mut random)?;
    let name = format!(".{}.{}", name.display(), hex(&random));
    Ok(path.with_file_name(name))
}

/// Warns about a secret that other users of this machine can read.
pub fn warn_if_exposed(path: &Path) {
    let Ok(metadata) = fs::metadata(path) else {
        return;
    };
    let (mode, path) = (metadata.mode(), path.display());
    if !metadata.is_file() {
        return;
    }
    if mode & OTHERS != 0 {
        log::warn!("every user of this machine can use {path}; chmod 600 {path}");
    } else if mode & GROUP != 0 && !is_private_group(&metadata) {
        let group = metadata.gid();
        log::warn!("every user of group {group} can use {path}; chmod 600 {path}");
    }
    if let Some(why) = other_owner(&metadata) {
        log::warn!(
            "{why} {path}, and can read and change it; chown {} {path}",
            user_id()
        );
    }
}

/// Why a file is not to be believed that says what is run: another user than ours and root can write
/// to it, or put another file in its place. None if nobody else can, and for what is no file.
pub fn other_author(path: &Path) -> Option<String> {
    // What cannot be found is told by whoever reads it.
    let real = path.canonicalize().ok()?;
    if !real.is_file() {
        return None;
    }
    let directories = [path, &real].map(|path| path.parent().unwrap_or(Path::new("/")));
    [&*real].into_iter().chain(directories).find_map(|path| {
        let metadata = path.metadata().ok()?;
        let (mode, shown) = (metadata.mode(), path.display());
        if let Some(why) = other_owner(&metadata) {
            return Some(format!("{why} {shown}; chown {} {shown}", user_id()));
        }
        if metadata.is_dir() && mode & STICKY != 0 {
            // What is in there can be replaced by its owner alone.
            return None;
        }
        if mode & OTHERS & WRITE != 0 {
            return Some(format!(
                "every user of this machine can write to {shown}; chmod o-w {shown}"
            ));
        }
        let group = metadata.gid();
        (mode & GROUP & WRITE != 0 && !is_private_group(&metadata))
            .then(|| format!("every user of group {group} can write to {shown}; chmod g-w {shown}"))
    })
}

/// Whether nobody is in the group of a file but its owner, ourselves or root, as far as numbers tell:
/// a user's own group has that user's number.
fn is_private_group(metadata: &Metadata) -> bool {
    [0, metadata.uid(), user_id()].contains(&metadata.gid())
}

fn other_owner(metadata: &Metadata) -> Option<String> {
    let owner = metadata.uid();
    (owner != 0 && owner != user_id()).then(|| format!("user {owner} owns"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_giants_are_refused() {
        let endless = read(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(endless.to_string(), "it is larger than 1048576 bytes");
        let device = read_regular(Path::new("/dev/null")).unwrap_err();
        assert_eq!(device.to_string(), "it is not a regular file");
        assert!(read(Path::new("/dev/null")).unwrap().is_empty());
        assert!(read_regular(Path::new("/")).is_err());
    }

    #[test]
    fn a_pipe_is_read_to_its_end_however_it_comes() {
        use std::io::Write;
        let (reader, mut writer) = io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        let writing = std::thread::spawn(move || {
            for _ in 0..3 {
                writer.write_all(&[b'x'; 50_000]).unwrap();
            }
        });
        assert_eq!(read(Path::new(&path)).unwrap().len(), 150_000);
        writing.join().unwrap();
    }
}
