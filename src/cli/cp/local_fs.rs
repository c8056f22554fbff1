//! This machine as a side: system calls with nothing in between.
//!
//! What is copied stands below a directory that was opened once. Each path below it is found by the
//! kernel from there, with no link on the way, and every change is made by a descriptor: so neither
//! a tree that names links, nor who else writes to these directories, leads us anywhere else.

use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use super::side::{
    Abilities, Attributes, BLOCK, Block, Blocks, CopyError, Found, Purpose, ReadBlock, Side,
};
use super::transfer::CHANGED;
use crate::env::local::files::{
    attributes_of, change_metadata, hole_at, make_directory_as, replace_as, set_attributes_of,
    write_at,
};
use crate::env::{FileKind, Listing, NewMetadata};
use crate::sys::directory::Names;
use crate::sys::file::{self, Access, FileType, LastLink, ROOTED, Status};
use crate::sys::process;
use crate::sys::socket::set_blocking;
use crate::sys::sync::Mutex;
use crate::visible::Visible;

/// Files of this machine.
pub(crate) struct LocalFs {
    /// The directory that all is in; none before it is known, when paths are as they were named.
    base: Option<Base>,
}

struct Base {
    path: PathBuf,
    directory: OwnedFd,
}

/// Where a file is: a directory, and its name there, or a path as it was named.
struct Place<'a> {
    directory: Parent<'a>,
    name: CString,
}

enum Parent<'a> {
    Base(BorrowedFd<'a>),
    Below(OwnedFd),
}

/// Who may read a file until its mode is set: its owner.
const PRIVATE: u32 = 0o600;
/// Of a directory that gets no other mode; the umask takes away of it.
const USUAL_DIRECTORY: u32 = 0o777;
/// Who may write to a file besides its owner.
const WRITTEN_BY_OTHERS: u32 = 0o022;

impl LocalFs {
    /// With paths as they are named.
    pub(crate) const fn named() -> Self {
        Self { base: None }
    }

    fn result<T>(path: &Path, result: io::Result<T>) -> Result<T, CopyError> {
        result.map_err(|error| CopyError::system(Visible(path.display()), &error))
    }

    /// The same when the file was to be replaced.
    fn of_replacing<T>(path: &Path, result: io::Result<T>) -> Result<T, CopyError> {
        result.map_err(|error| {
            let errno = error.raw_os_error();
            CopyError::system(Visible(path.display()), &error).of_replacing(errno)
        })
    }

    fn place(&self, path: &Path) -> io::Result<Place<'_>> {
        let Some(base) = &self.base else {
            let (directory, name) = (Parent::Base(ROOTED), c_string(path.as_os_str())?);
            return Ok(Place { directory, name });
        };
        let outside = || io::Error::other("it is outside of what is copied");
        let rest = path.strip_prefix(&base.path).map_err(|_| outside())?;
        if !rest
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
        {
            return Err(outside());
        }
        let directory = match rest.parent().map(Path::as_os_str) {
            None => Parent::Base(base.directory.as_fd()),
            Some(parent) if parent.is_empty() => Parent::Base(base.directory.as_fd()),
            Some(parent) => {
                let found = file::locate_without_links(base.directory.as_fd(), &c_string(parent)?);
                Parent::Below(found.map_err(|error| match error.raw_os_error() {
                    Some(libc::ENOTDIR) => io::Error::other(
                        "on the way to it is a link, or no directory; links are not followed",
                    ),
                    _ => error,
                })?)
            }
        };
        let name = rest.file_name().unwrap_or(OsStr::new("."));
        let name = c_string(name)?;
        Ok(Place { directory, name })
    }
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    Ok(CString::new(text.as_bytes())?)
}

fn kind(of: FileType) -> FileKind {
    match of {
        FileType::Regular => FileKind::Regular,
        FileType::Directory => FileKind::Directory,
        FileType::Link => FileKind::Symlink,
        _ => FileKind::Other,
    }
}

impl Place<'_> {
    fn directory(&self) -> BorrowedFd<'_> {
        match &self.directory {
            Parent::Base(directory) => *directory,
            Parent::Below(directory) => directory.as_fd(),
        }
    }

    fn status(&self, last: LastLink) -> io::Result<Status> {
        file::status_at(self.directory(), &self.name, last)
    }

    /// Opens what is there, without waiting; a link there is an error.
    fn open(&self, access: Access) -> io::Result<File> {
        self.make(access | Access::NO_LINK | Access::NO_WAIT)
    }

    fn make(&self, access: Access) -> io::Result<File> {
        file::open_at(self.directory(), &self.name, access, PRIVATE).map(File::from)
    }
}

impl Side for LocalFs {
    fn name(&self, path: &Path) -> String {
        Visible(path.display()).to_string()
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            renames: true,
            sets_modes: true,
            takes_metadata: true,
            makes_links: true,
            reads_links: true,
            updates: true,
            makes_hard_links: true,
            has_attributes: true,
        }
    }

    fn below(&self, directory: &Path) -> Result<Box<dyn Side>, CopyError> {
        let named = match directory.as_os_str() {
            empty if empty.is_empty() => OsStr::new("."),
            named => named,
        };
        let access = Access::LOCATE | Access::DIRECTORY;
        let opened = c_string(named).and_then(|path| file::open_at(ROOTED, &path, access, 0));
        let base = Base {
            path: directory.to_owned(),
            directory: Self::result(directory, opened)?,
        };
        Ok(Box::new(Self { base: Some(base) }))
    }

    fn look(&self, path: &Path, follows: bool) -> Result<Option<Found>, CopyError> {
        let looked = self.place(path).and_then(|place| {
            let itself = place.status(LastLink::Keep)?;
            let is_link = itself.kind == FileType::Link;
            // Below the base no link is followed.
            let status = match is_link && follows && self.base.is_none() {
                true => place.status(LastLink::Follow)?,
                false => itself,
            };
            Ok(Found {
                kind: kind(status.kind),
                is_link,
                size: Some(status.size),
                modified: Some(status.modified),
                mode: Some(status.mode),
                version: Some(status.version()),
                is_sparse: status.is_sparse(),
                id: Some(status.identity.to_string()),
                links: status.links,
            })
        });
        match looked {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            looked => Self::result(path, looked).map(Some),
        }
    }

    fn list(&self, directory: &Path) -> Result<Listing, CopyError> {
        let list = || {
            let place = self.place(directory)?;
            let opened = place.open(Access::READ | Access::DIRECTORY)?;
            let mut listing = Listing::default();
            let mut names = Names::default();
            while let Some(entry) = names.next_in(opened.as_fd())? {
                let of = match entry.kind {
                    Some(of) => of,
                    None => file::status_at(opened.as_fd(), entry.name, LastLink::Keep)?.kind,
                };
                let name = OsStr::from_bytes(entry.name.to_bytes());
                if !listing.entries.push(name, kind(of)) {
                    return Err(io::Error::other("it has too many names"));
                }
            }
            listing.entries.sort();
            Ok(listing)
        };
        Self::result(directory, list())
    }

    fn real_path(&self, path: &Path) -> Result<PathBuf, CopyError> {
        Self::result(path, path.canonicalize())
    }

    fn link_target(&self, path: &Path) -> Result<PathBuf, CopyError> {
        let place = self.place(path);
        let target = place.and_then(|it| file::read_link_at(it.directory(), &it.name));
        Self::result(path, target).map(PathBuf::from)
    }

    fn make_link(&self, target: &Path, path: &Path) -> Result<(), CopyError> {
        let make = || {
            let (place, target) = (self.place(path)?, c_string(target.as_os_str())?);
            file::link_at(&target, place.directory(), &place.name)
        };
        Self::result(path, make())
    }

    fn attributes(&self, path: &Path) -> Result<Attributes, CopyError> {
        let opened = self.place(path).and_then(|place| place.open(Access::READ));
        let found = opened.and_then(|opened| attributes_of(opened.as_fd()));
        let found = Self::result(path, found)?.into_iter();
        // Names that are no text are not told.
        let texts = found.filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Ok(texts.collect())
    }

    fn set_attributes(&self, path: &Path, attributes: &Attributes) -> Result<(), CopyError> {
        let set = || {
            let opened = self.place(path)?.open(Access::READ)?;
            let named = attributes.iter().map(|(name, value)| {
                let name = c_string(OsStr::new(name))?;
                Ok((name, value.clone()))
            });
            set_attributes_of(opened.as_fd(), &named.collect::<io::Result<Vec<_>>>()?)
        };
        Self::result(path, set())
    }

    fn hard_link(&self, existing: &Path, path: &Path) -> Result<(), CopyError> {
        let link = || {
            let (from, to) = (self.place(existing)?, self.place(path)?);
            file::hard_link_at((from.directory(), &from.name), (to.directory(), &to.name))
        };
        Self::result(path, link())
    }

    fn make_directory(&self, path: &Path, mode: Option<u32>) -> Result<(), CopyError> {
        if self.base.is_none() {
            return Self::result(path, fs::create_dir_all(path));
        }
        let make = || {
            let place = self.place(path)?;
            let (directory, name) = (place.directory(), &place.name);
            let made = match mode {
                Some(mode) => make_directory_as(directory, name, mode),
                None => file::make_directory_at(directory, name, USUAL_DIRECTORY),
            };
            match made {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    match place.status(LastLink::Keep)?.kind {
                        FileType::Directory => Ok(()),
                        _ => Err(error),
                    }
                }
                made => made,
            }
        };
        Self::result(path, make())
    }

    fn read_whole(
        &self,
        path: &Path,
        found: &Found,
        most: Option<usize>,
    ) -> Result<Vec<u8>, CopyError> {
        let read = || {
            let mut data = Vec::new();
            let limit = most.map_or(u64::MAX, |most| most as u64 + 1);
            let file = self.open_to_read(path)?;
            (&file).take(limit).read_to_end(&mut data)?;
            check_version(&file, found.version_to_read())?;
            Ok(data)
        };
        Self::result(path, read())
    }

    fn write_whole(
        &self,
        path: &Path,
        purpose: Purpose,
        data: &[u8],
        new: NewMetadata,
    ) -> Result<(), CopyError> {
        let write = || {
            let mut file = self.open_to_write(path, purpose)?;
            file.write_all(data)?;
            change_metadata(file.as_fd(), new)
        };
        match purpose {
            Purpose::NewPart => Self::of_replacing(path, write()),
            _ => Self::result(path, write()),
        }
    }

    fn open_source(
        &self,
        path: &Path,
        found: &Found,
    ) -> Result<Option<Box<dyn Blocks>>, CopyError> {
        let file = Self::result(path, self.open_to_read(path))?;
        let version = found.version_to_read().map(str::to_owned);
        Ok(Some(OpenLocal::boxed(path, file, version)))
    }

    fn open(&self, path: &Path, purpose: Purpose) -> Result<Option<Box<dyn Blocks>>, CopyError> {
        let file = self.open_to_write(path, purpose);
        let file = match purpose {
            Purpose::NewPart => Self::of_replacing(path, file)?,
            _ => Self::result(path, file)?,
        };
        Ok(Some(OpenLocal::boxed(path, file, None)))
    }

    fn settle_directory(&self, path: &Path, new: NewMetadata) -> Result<(), CopyError> {
        let place = self.place(path);
        let opened = place.and_then(|place| place.open(Access::READ | Access::DIRECTORY));
        let settled = opened.and_then(|opened| change_metadata(opened.as_fd(), new));
        Self::result(path, settled)
    }

    fn replace(&self, from: &Path, to: &Path) -> Result<(), CopyError> {
        let replace = || {
            let place = self.place(to)?;
            let old = c_string(from.file_name().unwrap_or_default())?;
            let directory = place.directory();
            replace_as((directory, &old), (directory, &place.name))
        };
        Self::of_replacing(to, replace())
    }

    fn remove(&self, path: &Path) -> Result<(), CopyError> {
        let place = self.place(path);
        let removed = place.and_then(|it| file::unlink_at(it.directory(), &it.name));
        Self::result(path, removed)
    }
}

impl LocalFs {
    /// Opens a regular file; where a path is as it was named, links are followed.
    fn open_to_read(&self, path: &Path) -> io::Result<File> {
        let place = self.place(path)?;
        let file = match self.base {
            Some(_) => place.open(Access::READ)?,
            None => place.make(Access::READ | Access::NO_WAIT)?,
        };
        match file::status_of(file.as_fd())?.kind {
            FileType::Regular => Ok(file),
            FileType::Directory => Err(file::is_directory()),
            _ => Err(io::Error::other("it is no file any more")),
        }
    }

    fn open_to_write(&self, path: &Path, purpose: Purpose) -> io::Result<File> {
        let place = self.place(path)?;
        match purpose {
            Purpose::NewPart => place.open(Access::WRITE | Access::CREATE_NEW),
            Purpose::OldPart => {
                let file = place.open(Access::READ_WRITE)?;
                match is_our_part(&file)? {
                    true => Ok(file),
                    false => Err(io::Error::other("a part that others can write")),
                }
            }
            Purpose::Over => {
                let file = place.open(Access::WRITE)?;
                match file::status_of(file.as_fd())?.kind {
                    FileType::Regular => file.set_len(0)?,
                    _ => return Err(io::Error::other("it is no file any more")),
                }
                Ok(file)
            }
            Purpose::InPlace => {
                let is_device =
                    |of| matches!(of, FileType::CharacterDevice | FileType::BlockDevice);
                // Looked at first for the sake of the words, since a pipe without reader does not
                // open, and again because it may be another by then.
                if is_device(place.status(LastLink::Keep)?.kind) {
                    let file = place.open(Access::WRITE)?;
                    if is_device(file::status_of(file.as_fd())?.kind) {
                        set_blocking(file.as_fd())?;
                        return Ok(file);
                    }
                }
                Err(io::Error::other("a pipe or socket, which holds no file"))
            }
        }
    }
}

/// Whether it is what an earlier copy of ours has left, and nobody else can have written.
fn is_our_part(file: &File) -> io::Result<bool> {
    let found = file.metadata()?;
    Ok(found.is_file()
        && found.uid() == process::user_id()
        && found.nlink() == 1
        && found.mode() & WRITTEN_BY_OTHERS == 0)
}

/// An error unless a file is of this version, if one is named.
fn check_version(file: &File, version: Option<&str>) -> io::Result<()> {
    match version {
        Some(version) if file::status_of(file.as_fd())?.version() != version => {
            Err(io::Error::other(CHANGED))
        }
        _ => Ok(()),
    }
}

/// An open file of this machine.
struct OpenLocal {
    path: PathBuf,
    file: File,
    /// What its version must be whenever it is read, if that matters.
    version: Option<String>,
    /// The kernel takes one writer of a file at a time, and has the others spin.
    writing: Mutex<()>,
}

impl OpenLocal {
    fn boxed(path: &Path, file: File, version: Option<String>) -> Box<dyn Blocks> {
        Box::new(Self {
            path: path.to_owned(),
            file,
            version,
            writing: Mutex::default(),
        })
    }

    fn read(&self, offset: u64, skips_holes: bool, block: &mut Block) -> io::Result<ReadBlock> {
        let hole = match skips_holes {
            true => hole_at(self.file.as_fd(), offset, BLOCK)?,
            false => None,
        };
        let read = match hole {
            Some((until, is_last)) => ReadBlock {
                is_last,
                hole_until: Some(until),
            },
            None => {
                let mut is_last = false;
                block.fill(|filled, room| {
                    let count = self.file.read_at(room, offset + filled as u64)?;
                    is_last = count == 0;
                    Ok(count)
                })?;
                ReadBlock {
                    is_last,
                    hole_until: None,
                }
            }
        };
        check_version(&self.file, self.version.as_deref())?;
        Ok(read)
    }
}

impl Blocks for OpenLocal {
    fn read(
        &self,
        offset: u64,
        skips_holes: bool,
        block: &mut Block,
    ) -> Result<ReadBlock, CopyError> {
        LocalFs::result(&self.path, self.read(offset, skips_holes, block))
    }

    fn least_hole(&self) -> usize {
        file::PAGE as usize
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<bool, CopyError> {
        let _turn = self.writing.lock();
        LocalFs::result(&self.path, write_at(&self.file, data, offset))?;
        Ok(false)
    }

    fn settle(&self, new: NewMetadata) -> Result<(), CopyError> {
        LocalFs::result(&self.path, change_metadata(self.file.as_fd(), new))
    }

    fn close(self: Box<Self>) -> Result<(), CopyError> {
        Ok(())
    }
}
