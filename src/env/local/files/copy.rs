//! Copying a file, a link, or a tree.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::FileError;
use super::attributes::{attributes_of, set_attributes_of};
use super::names::{Links, c_path, make_directory, make_directory_as};
use super::read::check_version;
use super::walk::own_kind;
use crate::sys::directory::Names;
use crate::sys::file::{self, Access, FileType, Identity, LastLink, ROOTED, Status};
use crate::sys::retry;

/// setuid and setgid.
const SPECIAL_BITS: u32 = 0o6000;
/// Memory for the names of files that have several. Above it they become files of their own.
const MOST_NAMES: usize = 16 * 1024 * 1024;
/// The user for whom a file's owner stays as it is.
const KEPT_OWNER: u32 = u32::MAX;
/// What we need of a copied directory while it is being filled.
const FILLING: u32 = 0o700;

/// How to copy.
#[derive(Clone, Copy, Debug)]
pub struct CopyOptions {
    /// A directory is copied with all below it.
    pub recursive: bool,
    /// Copies are setuid and setgid where the originals are.
    pub keep_special: bool,
    /// Copies get the owner, as far as we may give files away, the times and the attributes of the
    /// originals, and names of one file in a tree stay names of one.
    pub preserve: bool,
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
    /// Why: it is no file, or it was changed meanwhile.
    pub reason: String,
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
        FileType::Link => copy_link((ROOTED, &name), (ROOTED, &target), options)?,
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

fn copy_link(from: Spot<'_>, to: Spot<'_>, options: CopyOptions) -> Result<(), FileError> {
    let target = file::read_link_at(from.0, from.1)?;
    file::link_at(&c_path(Path::new(&target))?, to.0, to.1)?;
    if options.preserve {
        let status = file::status_at(from.0, from.1, LastLink::Keep)?;
        let made = file::open_at(to.0, to.1, Access::LOCATE | Access::NO_LINK, 0)?;
        keep_owner(made.as_fd(), &status);
        file::change_modified(made.as_fd(), status.modified)?;
    }
    Ok(())
}

/// Gives a copy the owner and the group of its original, as far as we may.
fn keep_owner(copy: BorrowedFd<'_>, original: &Status) {
    let is_given = file::change_owner(copy, original.user, original.group);
    if is_given.is_err() {
        // Only root gives files away; a group may still be ours to give.
        let _ = file::change_owner(copy, KEPT_OWNER, original.group);
    }
}

/// Gives a copy all that is kept of its original. The mode comes behind the owner, whose change takes
/// setuid away, and the time behind everything.
fn settle(
    (copy, mode): (BorrowedFd<'_>, u32),
    original: BorrowedFd<'_>,
    status: &Status,
    options: CopyOptions,
) -> io::Result<()> {
    if options.preserve {
        keep_owner(copy, status);
        set_attributes_of(copy, &attributes_of(original)?)?;
    }
    match status.kind {
        // What it has from the one above it stays.
        FileType::Directory => file::change_permissions(copy, mode)?,
        _ => file::change_mode(copy, mode)?,
    }
    match options.preserve {
        true => file::change_modified(copy, status.modified),
        false => Ok(()),
    }
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
            copy_all(&mut File::from(source), &mut target)?;
            return Ok(());
        }
        _ => {
            let path = PathBuf::from(OsStr::from_bytes(to.1.to_bytes()));
            return Err(FileError::NotAFile(path));
        }
    }
    let source = File::from(source);
    copy_content(&source, &mut target, &status)?;
    let mode = options.mode(&status);
    settle((target.as_fd(), mode), source.as_fd(), &status, options)?;
    // Files of /proc have no size, and change whenever they are looked at.
    match status.size {
        0 => Ok(()),
        _ => check_version(&file::status_of(source.as_fd())?, Some(&status.version())),
    }
}

/// Copies up to the end. Where the kernel copies, the standard library gives up when a signal comes.
fn copy_all(source: &mut impl Read, target: &mut File) -> io::Result<()> {
    retry(|| io::copy(source, target)).map(drop)
}

/// Copies the bytes of a file to an empty one, within the kernel where both file systems can, and
/// leaves holes where there are some.
fn copy_content(mut source: &File, target: &mut File, status: &Status) -> io::Result<()> {
    if !status.is_sparse() {
        return copy_all(&mut source, target);
    }
    let mut at = 0;
    while let Some(start) = file::next_data(source.as_fd(), at)? {
        let Some(end) = file::next_hole(source.as_fd(), start)? else {
            break;
        };
        source.seek(SeekFrom::Start(start))?;
        target.seek(SeekFrom::Start(start))?;
        let mut data = source.take(end - start);
        copy_all(&mut data, target)?;
        at = end;
        if data.limit() > 0 {
            // It has become shorter.
            break;
        }
    }
    target.set_len(file::status_of(source.as_fd())?.size)
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
        make_directory(parent, true, Links::Follow, None)?;
    }
    let from = open_directory((ROOTED, &c_path(source)?))?;
    let status = file::status_of(from.as_fd())?;
    let name = c_path(destination)?;
    let mode = options.mode(&status);
    let is_new = fill_directory((ROOTED, &name), LastLink::Follow, mode)?;
    let into = Access::LOCATE | Access::DIRECTORY;
    let mut tree = Tree {
        from,
        to: file::open_at(ROOTED, &name, into, 0)?,
        options,
        source,
        to_visit: vec![PathBuf::new()],
        made: Vec::new(),
        names: HashMap::new(),
        held: 0,
        skipped: Vec::new(),
    };
    if is_new {
        tree.made.push((PathBuf::new(), status));
    }
    while let Some(below) = tree.to_visit.pop() {
        tree.copy_names(&below)?;
    }
    tree.settle_directories()?;
    Ok(tree.skipped)
}

/// A tree that is being copied. Paths are from its top.
struct Tree<'a> {
    from: OwnedFd,
    to: OwnedFd,
    options: CopyOptions,
    source: &'a Path,
    to_visit: Vec<PathBuf>,
    /// The new directories and the originals, those above before those below.
    made: Vec<(PathBuf, Status)>,
    /// The copies of files that have other names, too.
    names: HashMap<Identity, PathBuf>,
    /// Bytes of these paths.
    held: usize,
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
                    let path = path();
                    match self.copy_name(original, copied, &path) {
                        Err(FileError::Changed) => self.skipped.push(Skipped {
                            path: self.source.join(path),
                            reason: FileError::Changed.to_string(),
                        }),
                        copied => copied?,
                    }
                }
                Some(FileType::Link) => copy_link(original, copied, self.options)?,
                Some(FileType::Directory) => {
                    let status = file::status_at(original.0, original.1, LastLink::Keep)?;
                    let mode = self.options.mode(&status);
                    if fill_directory(copied, LastLink::Keep, mode)? {
                        self.made.push((path(), status));
                    }
                    self.to_visit.push(path());
                }
                other => self.skipped.push(Skipped {
                    path: self.source.join(path()),
                    reason: format!(
                        "a {} is not copied",
                        other.map_or("unknown", FileType::name)
                    ),
                }),
            }
        }
        Ok(())
    }

    /// Copies a file, or makes the name one more of a copy that is there.
    fn copy_name(
        &mut self,
        original: Spot<'_>,
        copied: Spot<'_>,
        path: &Path,
    ) -> Result<(), FileError> {
        if !self.options.preserve {
            return copy_file(original, copied, Links::Refuse, self.options);
        }
        let status = file::status_at(original.0, original.1, LastLink::Keep)?;
        if let Some(first) = self.names.get(&status.identity)
            && self.link(first, copied).is_ok()
        {
            return Ok(());
        }
        copy_file(original, copied, Links::Refuse, self.options)?;
        let size = path.as_os_str().len() + size_of::<PathBuf>();
        if status.links > 1 && self.held + size <= MOST_NAMES {
            self.held += size;
            self.names.insert(status.identity, path.to_owned());
        }
        Ok(())
    }

    /// Makes a name one more of this copy; it must be free.
    fn link(&self, first: &Path, copied: Spot<'_>) -> io::Result<()> {
        let directory = locate(self.to.as_fd(), first.parent().unwrap_or(Path::new("")))?;
        let name = c_path(Path::new(first.file_name().unwrap_or_default()))?;
        file::hard_link_at((directory.as_fd(), &name), copied)
    }

    /// From below, because a directory's mode may forbid to go into it.
    fn settle_directories(&self) -> Result<(), FileError> {
        for (below, status) in self.made.iter().rev() {
            let copy = locate(self.to.as_fd(), below)?;
            let original = locate(self.from.as_fd(), below)?;
            let mode = self.options.mode(status);
            settle((copy.as_fd(), mode), original.as_fd(), status, self.options)?;
        }
        Ok(())
    }
}

/// Makes a directory to be filled, which will have this mode; whether it is new. One that exists is
/// filled as it is.
fn fill_directory(spot: Spot<'_>, last: LastLink, mode: u32) -> Result<bool, FileError> {
    match make_directory_as(spot.0, spot.1, mode & 0o777 | FILLING) {
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
