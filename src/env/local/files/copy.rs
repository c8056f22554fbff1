//! Copying a file, a link, or a tree.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::FileError;
use super::names::{Links, c_path, make_directory};
use super::walk::own_kind;
use crate::sys::directory::Names;
use crate::sys::file::{self, Access, FileType, LastLink, ROOTED, Status};

/// setuid and setgid.
const SPECIAL_BITS: u32 = 0o6000;
/// While it is being filled, a copied directory is its owner's alone.
const FILLING: u32 = 0o700;

/// How to copy.
#[derive(Clone, Copy, Debug)]
pub struct CopyOptions {
    /// A directory is copied with all below it.
    pub recursive: bool,
    /// Copies are setuid and setgid where the originals are.
    pub keep_special: bool,
}

impl CopyOptions {
    fn mode(self, source: &Status) -> u32 {
        if self.keep_special {
            source.mode
        } else {
            source.mode & !SPECIAL_BITS
        }
    }
}

/// What a tree has that its copy has not.
#[derive(Debug, PartialEq, Eq)]
pub struct Skipped {
    pub path: PathBuf,
    /// What it is: a FIFO, a socket or a device.
    pub kind: &'static str,
}

/// Copies `source` to `destination`. A file replaces a file's content; a directory is merged
/// into one that exists; a link is copied as a link. A file that is its own destination, by
/// whatever name, is left as it is. An error leaves what was copied until then.
pub fn copy(
    source: &Path,
    destination: &Path,
    options: CopyOptions,
) -> Result<Vec<Skipped>, FileError> {
    let name = c_path(source)?;
    let target = c_path(destination)?;
    let status = file::status_at(ROOTED, &name, LastLink::Keep)?;
    match status.kind {
        FileType::Link => copy_link((ROOTED, &name), (ROOTED, &target))?,
        FileType::Regular => {
            copy_file((ROOTED, &name), (ROOTED, &target), Links::Follow, options)?;
        }
        FileType::Directory if !options.recursive => return Err(FileError::CopyNeedsRecursive),
        FileType::Directory => return copy_tree(source, destination, options),
        _ => return Err(FileError::CopyOfSpecial),
    }
    Ok(Vec::new())
}

/// A directory and a name in it.
type Spot<'a> = (BorrowedFd<'a>, &'a CStr);

fn copy_link(from: Spot<'_>, to: Spot<'_>) -> Result<(), FileError> {
    let target = file::read_link_at(from.0, from.1)?;
    Ok(file::link_at(&c_path(Path::new(&target))?, to.0, to.1)?)
}

/// Copies a regular file's bytes and mode.
fn copy_file(
    from: Spot<'_>,
    to: Spot<'_>,
    links: Links,
    options: CopyOptions,
) -> Result<(), FileError> {
    let source = file::open_at(
        from.0,
        from.1,
        links.open(Access::READ | Access::NO_WAIT),
        0,
    )?;
    let status = file::status_of(source.as_fd())?;
    if status.kind != FileType::Regular || file::is_process_memory(source.as_fd()) {
        return Err(FileError::CopyOfSpecial);
    }
    let access = links.open(Access::WRITE | Access::CREATE | Access::NO_WAIT);
    // Nobody reads a copy before it has its mode.
    let target = file::open_at(to.0, to.1, access, 0o600)?;
    let before = file::status_of(target.as_fd())?;
    if before.identity == status.identity {
        return Ok(());
    }
    let mut target = File::from(target);
    match before.kind {
        FileType::Regular if !file::is_process_memory(target.as_fd()) => target.set_len(0)?,
        // It takes the bytes, and keeps its own mode.
        FileType::CharacterDevice => {
            io::copy(&mut File::from(source), &mut target)?;
            return Ok(());
        }
        _ => {
            let path = PathBuf::from(OsStr::from_bytes(to.1.to_bytes()));
            return Err(FileError::NotAFile(path));
        }
    }
    // Within the kernel where both file systems can.
    io::copy(&mut File::from(source), &mut target)?;
    Ok(target.set_permissions(Permissions::from_mode(options.mode(&status)))?)
}

fn copy_tree(
    source: &Path,
    destination: &Path,
    options: CopyOptions,
) -> Result<Vec<Skipped>, FileError> {
    if is_within(destination, source)? {
        return Err(FileError::CopyIntoItself);
    }
    if let Some(parent) = destination.parent() {
        make_directory(parent, true, Links::Follow)?;
    }
    let from = open_directory((ROOTED, &c_path(source)?))?;
    let status = file::status_of(from.as_fd())?;
    let name = c_path(destination)?;
    let is_new = fill_directory((ROOTED, &name), LastLink::Follow)?;
    let into = Access::LOCATE | Access::DIRECTORY;
    let mut tree = Tree {
        from,
        to: file::open_at(ROOTED, &name, into, 0)?,
        options,
        source,
        to_visit: vec![PathBuf::new()],
        modes: Vec::new(),
        skipped: Vec::new(),
    };
    if is_new {
        tree.modes.push((PathBuf::new(), options.mode(&status)));
    }
    while let Some(below) = tree.to_visit.pop() {
        tree.copy_names(&below)?;
    }
    tree.set_modes()?;
    Ok(tree.skipped)
}

/// A tree that is being copied. Paths are from its top.
struct Tree<'a> {
    from: OwnedFd,
    to: OwnedFd,
    options: CopyOptions,
    source: &'a Path,
    to_visit: Vec<PathBuf>,
    /// What the new directories are to have when they are full, those above before those below.
    modes: Vec<(PathBuf, u32)>,
    skipped: Vec<Skipped>,
}

impl Tree<'_> {
    fn copy_names(&mut self, below: &Path) -> Result<(), FileError> {
        let located = locate(self.from.as_fd(), below)?;
        let from = open_directory((located.as_fd(), c"."))?;
        let to = locate(self.to.as_fd(), below)?;
        let mut names = Names::default();
        while let Some(entry) = names.next_in(from.as_fd())? {
            let kind = own_kind(from.as_fd(), &entry);
            let (original, copied) = ((from.as_fd(), entry.name), (to.as_fd(), entry.name));
            let path = || below.join(OsStr::from_bytes(entry.name.to_bytes()));
            match kind {
                Some(FileType::Regular) => {
                    copy_file(original, copied, Links::Refuse, self.options)?;
                }
                Some(FileType::Link) => copy_link(original, copied)?,
                Some(FileType::Directory) => {
                    let status = file::status_at(original.0, original.1, LastLink::Keep)?;
                    if fill_directory(copied, LastLink::Keep)? {
                        self.modes.push((path(), self.options.mode(&status)));
                    }
                    self.to_visit.push(path());
                }
                other => self.skipped.push(Skipped {
                    path: self.source.join(path()),
                    kind: other.map_or("unknown", FileType::name),
                }),
            }
        }
        Ok(())
    }

    /// From below, because a directory's mode may forbid to go into it.
    fn set_modes(&self) -> Result<(), FileError> {
        for (below, mode) in self.modes.iter().rev() {
            let located = locate(self.to.as_fd(), below)?;
            let directory = File::from(open_directory((located.as_fd(), c"."))?);
            directory.set_permissions(Permissions::from_mode(*mode))?;
        }
        Ok(())
    }
}

/// Makes a directory to be filled; whether it is new. One that exists is filled as it is.
fn fill_directory(spot: Spot<'_>, last: LastLink) -> Result<bool, FileError> {
    match file::make_directory_at(spot.0, spot.1, FILLING) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let is_directory = file::status_at(spot.0, spot.1, last)?.kind == FileType::Directory;
            is_directory.then_some(false).ok_or(error.into())
        }
        Err(error) => Err(error.into()),
    }
}

fn locate(top: BorrowedFd<'_>, below: &Path) -> io::Result<OwnedFd> {
    let path: CString = if below.as_os_str().is_empty() {
        c".".to_owned()
    } else {
        c_path(below)?
    };
    file::locate_without_links(top, &path)
}

fn open_directory(spot: Spot<'_>) -> io::Result<OwnedFd> {
    let access = Access::READ | Access::DIRECTORY | Access::NO_LINK;
    file::open_at(spot.0, spot.1, access, 0)
}

/// Whether `path`, which need not exist, is `directory` or below it once all links are followed.
fn is_within(path: &Path, directory: &Path) -> io::Result<bool> {
    let directory = std::fs::canonicalize(directory)?;
    for ancestor in path.ancestors() {
        match std::fs::canonicalize(ancestor) {
            Ok(real) => return Ok(real.starts_with(&directory)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
