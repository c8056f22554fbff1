//! This machine as a side: system calls with nothing in between.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{
    FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink,
};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::side::{Abilities, Block, Blocks, CopyError, Found, Names, Side};
use crate::env::local::files::write_at;
use crate::env::{FileKind, OpenFor};

/// Files of this machine.
pub(super) struct Here;

impl Here {
    fn result<T>(path: &Path, result: io::Result<T>) -> Result<T, CopyError> {
        result.map_err(|error| CopyError::here(Self.name(path), &error))
    }
}

/// Who may read a file until its mode is set: its owner.
const PRIVATE: u32 = 0o600;

fn kind(of: fs::FileType) -> FileKind {
    if of.is_file() {
        FileKind::Regular
    } else if of.is_dir() {
        FileKind::Directory
    } else if of.is_symlink() {
        FileKind::Symlink
    } else {
        FileKind::Other
    }
}

impl Side for Here {
    fn name(&self, path: &Path) -> String {
        path.display().to_string()
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            renames: true,
            sets_modes: true,
            makes_links: true,
            reads_links: true,
            updates: true,
        }
    }

    fn look(&self, path: &Path, follows: bool) -> Result<Option<Found>, CopyError> {
        let read = |follows| match follows {
            true => fs::metadata(path),
            false => fs::symlink_metadata(path),
        };
        let found = match read(follows) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            found => Self::result(path, found)?,
        };
        let is_link = follows && fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
        Ok(Some(Found {
            kind: kind(found.file_type()),
            is_link: is_link || found.is_symlink(),
            size: Some(found.len()),
            modified_ms: Some(
                found
                    .mtime()
                    .saturating_mul(1000)
                    .saturating_add(found.mtime_nsec() / 1_000_000),
            ),
            mode: Some(found.mode() & 0o7777),
        }))
    }

    fn list(&self, directory: &Path) -> Result<Names, CopyError> {
        let entries = Self::result(directory, fs::read_dir(directory))?;
        let entry = |entry: io::Result<fs::DirEntry>| {
            let entry = entry?;
            Ok((entry.file_name(), kind(entry.file_type()?)))
        };
        Ok(Names {
            known: Self::result(directory, entries.map(entry).collect())?,
            unnamed: Vec::new(),
        })
    }

    fn real_path(&self, path: &Path) -> Result<PathBuf, CopyError> {
        Self::result(path, path.canonicalize())
    }

    fn link_target(&self, path: &Path) -> Result<PathBuf, CopyError> {
        Self::result(path, fs::read_link(path))
    }

    fn make_link(&self, target: &Path, path: &Path) -> Result<(), CopyError> {
        Self::result(path, symlink(target, path))
    }

    fn make_directory(&self, path: &Path) -> Result<(), CopyError> {
        Self::result(path, fs::create_dir_all(path))
    }

    fn read_whole(&self, path: &Path) -> Result<Vec<u8>, CopyError> {
        Self::result(path, fs::read(path))
    }

    fn write_whole(&self, path: &Path, data: &[u8]) -> Result<(), CopyError> {
        let written = open_to_write(path, true).and_then(|mut file| file.write_all(data));
        Self::result(path, written)
    }

    fn open(&self, path: &Path, purpose: OpenFor) -> Result<Option<Box<dyn Blocks>>, CopyError> {
        let file = match purpose {
            OpenFor::Reading => File::open(path),
            OpenFor::Replacing => open_to_write(path, true),
            OpenFor::Updating => open_to_write(path, false),
        };
        let file = Self::result(path, file)?;
        Ok(Some(Box::new(OpenHere {
            path: path.to_owned(),
            file,
            writing: Mutex::default(),
        })))
    }

    fn set_mode(&self, path: &Path, mode: u32) -> Result<(), CopyError> {
        let permissions = Permissions::from_mode(mode);
        let file = open_itself(path);
        Self::result(
            path,
            file.and_then(|file| file.set_permissions(permissions)),
        )
    }

    fn set_modified(&self, path: &Path, modified_ms: i64) -> Result<(), CopyError> {
        let Ok(millis) = u64::try_from(modified_ms) else {
            return Ok(());
        };
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        let file = open_itself(path);
        Self::result(path, file.and_then(|file| file.set_modified(time)))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), CopyError> {
        Self::result(to, fs::rename(from, to))
    }

    fn remove(&self, path: &Path) -> Result<(), CopyError> {
        Self::result(path, fs::remove_file(path))
    }
}

/// What we have written, and not what somebody else has made a link to since.
fn open_itself(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options.open(path)
}

/// A name that somebody else has made a link is not followed, but for devices, which are no files
/// of anybody's. A FIFO is refused: it would wait for whoever reads it, and takes no blocks.
fn open_to_write(path: &Path, empties: bool) -> io::Result<File> {
    let there = fs::metadata(path).map(|found| found.file_type()).ok();
    if there.is_some_and(|there| there.is_fifo() || there.is_socket()) {
        return Err(io::Error::other("a pipe or socket, which holds no file"));
    }
    let is_device = there.is_some_and(|there| there.is_char_device());
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(empties)
        .mode(PRIVATE);
    if !is_device {
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    }
    options.open(path)
}

/// An open file of this machine.
struct OpenHere {
    path: PathBuf,
    file: File,
    /// The kernel takes one writer of a file at a time, and has the others spin.
    writing: Mutex<()>,
}

impl Blocks for OpenHere {
    fn read(&self, offset: u64, block: &mut Block) -> Result<bool, CopyError> {
        let mut at_end = false;
        let filled = block.fill(|filled, room| {
            let count = self.file.read_at(room, offset + filled as u64)?;
            at_end = count == 0;
            Ok(count)
        });
        Here::result(&self.path, filled)?;
        Ok(at_end)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), CopyError> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        Here::result(&self.path, write_at(&self.file, data, offset))
    }

    fn close(self: Box<Self>) -> Result<(), CopyError> {
        Ok(())
    }
}
