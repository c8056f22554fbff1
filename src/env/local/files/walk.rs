//! The names in one directory, and those of a tree: walked breadth first and within limits.

use std::collections::{HashSet, VecDeque};
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::FileError;
use super::names::{Links, PathAt, c_path};
use crate::memory::{Kind, Reserved, UNCOUNTED};
use crate::sys::directory::{Entry, Names};
use crate::sys::file::{self, Access, FileType, LastLink, ROOTED};

/// One name in a directory.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// The name; not always UTF-8.
    pub name: &'a CStr,
    /// What it is, or what a link leads to; none for a link that leads nowhere, and for what
    /// cannot be looked at.
    pub kind: Option<FileType>,
    /// Whether it is a link.
    pub is_link: bool,
}

/// Hands every name in a directory to `each`, in the order of the file system.
pub fn list(path: &Path, mut each: impl FnMut(Listed<'_>)) -> Result<(), FileError> {
    let place = PathAt::find(path, Links::Follow)?;
    let dir = place.open(Access::READ | Access::DIRECTORY)?;
    let mut names = Names::default();
    while let Some(entry) = names.next_in(dir.as_fd())? {
        let kind = own_kind(dir.as_fd(), &entry);
        let is_link = kind == Some(FileType::Link);
        each(Listed {
            name: entry.name,
            kind: if is_link {
                kind_of(dir.as_fd(), entry.name, LastLink::Follow)
            } else {
                kind
            },
            is_link,
        });
    }
    Ok(())
}

/// What a name in a directory is, a link being a link; none if it cannot be told.
pub(crate) fn own_kind(dir: BorrowedFd<'_>, entry: &Entry<'_>) -> Option<FileType> {
    entry
        .kind
        .or_else(|| kind_of(dir, entry.name, LastLink::Keep))
}

/// The same by asking for it.
fn kind_of(dir: BorrowedFd<'_>, name: &CStr, last: LastLink) -> Option<FileType> {
    file::status_at(dir, name, last)
        .ok()
        .map(|status| status.kind)
}

/// Levels below the top's own names.
pub(crate) const MAX_DEPTH: u64 = 64;
/// Directories read.
pub(crate) const MAX_DIRECTORIES: u64 = 10_000;
/// Names seen.
pub(crate) const MAX_ENTRIES: u64 = 50_000;

/// How to walk. The maximums are the reference's.
#[derive(Clone, Copy, Debug)]
pub struct WalkOptions {
    /// Levels below the top's own names, 0 to 64.
    pub depth: u64,
    /// Directories read, 1 to 10,000.
    pub directories: u64,
    /// Names seen, 1 to 50,000.
    pub entries: u64,
    /// Whether links to directories are walked into, each directory once.
    pub follow: bool,
    /// Whether directories whose names begin with a dot are not walked into.
    pub prune_hidden: bool,
}

impl WalkOptions {
    fn check(&self) -> Result<(), FileError> {
        if self.directories == 0 || self.entries == 0 {
            return Err(FileError::WalkLimitZero);
        }
        if self.depth > MAX_DEPTH
            || self.directories > MAX_DIRECTORIES
            || self.entries > MAX_ENTRIES
        {
            return Err(FileError::WalkLimitHigh);
        }
        Ok(())
    }
}

/// A name that was come upon.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    pub path: &'a Path,
    /// What it is. Of a link: what it leads to if that is a file, or a directory that links are
    /// followed to; and else a link.
    pub kind: Option<FileType>,
    /// Whether it is a link.
    pub is_link: bool,
}

/// How a walk went.
#[derive(Debug, Default)]
pub struct WalkReport {
    /// Directories that could not be read, and why.
    pub errors: Vec<(PathBuf, String)>,
    /// Whether a limit on directories or names cut it short.
    pub is_truncated: bool,
}

/// Hands every name below `top` to `each`, as long as that wants more: level by level, sorted
/// within a directory. A top that is no directory, or a link that is not to be followed, has nothing
/// below it. Where there is no memory for more names, the walk is cut short.
pub fn walk(
    top: &Path,
    options: WalkOptions,
    each: impl FnMut(Found<'_>) -> bool,
) -> Result<WalkReport, FileError> {
    options.check()?;
    let place = PathAt::find(top, Links::Follow)?;
    let status = place.status()?;
    let status = match status.kind {
        FileType::Link if options.follow => {
            file::status_at(place.dir(), place.path(), LastLink::Follow)?
        }
        _ => status,
    };
    if status.kind != FileType::Directory {
        return Ok(WalkReport::default());
    }
    let mut walk = Walk {
        options,
        each,
        names: Names::default(),
        seen: HashSet::new(),
        to_visit: VecDeque::from([(top.to_owned(), 0)]),
        directories: 0,
        entries: 0,
        report: WalkReport::default(),
        held: cost(top.as_os_str().len()),
        room: Reserved::none(Kind::Answers),
    };
    while let Some((path, depth)) = walk.to_visit.pop_front() {
        walk.held -= cost(path.as_os_str().len());
        if walk.directories == options.directories {
            walk.report.is_truncated = true;
            break;
        }
        if let Err(error) = walk.visit(&path, depth)
            && walk.hold(path.as_os_str().len())
        {
            walk.report.errors.push((path, error.to_string()));
        }
        if walk.report.is_truncated {
            break;
        }
    }
    Ok(walk.report)
}

struct Walk<F> {
    options: WalkOptions,
    each: F,
    names: Names,
    /// The directories that were read, where links could lead to them again.
    seen: HashSet<file::Identity>,
    to_visit: VecDeque<(PathBuf, u64)>,
    directories: u64,
    entries: u64,
    report: WalkReport,
    /// Bytes that directories to visit and errors hold.
    held: usize,
    /// For these and the names of a directory.
    room: Reserved,
}

/// What a name or a path so long takes, about.
fn cost(len: usize) -> usize {
    len + 96
}

impl<F: FnMut(Found<'_>) -> bool> Walk<F> {
    /// Whether there is room for a path so long besides what is held; if not, the walk is cut short.
    fn hold(&mut self, len: usize) -> bool {
        self.held += cost(len);
        let has_room = self.room.set(self.held.saturating_sub(UNCOUNTED));
        self.report.is_truncated |= !has_room;
        has_room
    }

    fn visit(&mut self, path: &Path, depth: u64) -> io::Result<()> {
        let links = if self.options.follow {
            Access::DIRECTORY
        } else {
            Access::DIRECTORY | Access::NO_LINK
        };
        let dir = file::open_at(ROOTED, &c_path(path)?, Access::READ | links, 0)?;
        if self.options.follow && !self.seen.insert(file::status_of(dir.as_fd())?.identity) {
            return Ok(());
        }
        self.directories += 1;
        let room = (self.options.entries - self.entries) as usize;
        let found = self.first_names(dir.as_fd(), room)?;
        self.entries += found.len() as u64;
        for (name, own) in found {
            let is_link = own == Some(FileType::Link);
            let kind = if is_link {
                match kind_of(dir.as_fd(), &name, LastLink::Follow) {
                    Some(FileType::Directory) if self.options.follow => Some(FileType::Directory),
                    Some(FileType::Regular) => Some(FileType::Regular),
                    _ => own,
                }
            } else {
                own
            };
            let path = path.join(OsStr::from_bytes(name.to_bytes()));
            let wants_more = (self.each)(Found {
                path: &path,
                kind,
                is_link,
            });
            if !wants_more {
                self.report.is_truncated = true;
                break;
            }
            let is_pruned = self.options.prune_hidden && name.to_bytes().starts_with(b".");
            if kind == Some(FileType::Directory)
                && !is_pruned
                && depth < self.options.depth
                && self.hold(path.as_os_str().len())
            {
                self.to_visit.push_back((path, depth + 1));
            }
        }
        Ok(())
    }

    /// The first names of a directory, sorted, and whether there are more.
    fn first_names(
        &mut self,
        dir: BorrowedFd<'_>,
        most: usize,
    ) -> io::Result<Vec<(CString, Option<FileType>)>> {
        let mut found: Vec<(CString, Option<FileType>)> = Vec::new();
        let mut bytes = 0;
        self.names.restart();
        while let Some(entry) = self.names.next_in(dir)? {
            bytes += cost(entry.name.count_bytes());
            if !self.room.set((self.held + bytes).saturating_sub(UNCOUNTED)) {
                self.report.is_truncated = true;
                break;
            }
            found.push((entry.name.to_owned(), own_kind(dir, &entry)));
            // However large a directory is, no more are kept than could be wanted.
            if found.len() > 2 * most.max(1024) {
                self.cut(&mut found, most);
                bytes = found.iter().map(|(name, _)| cost(name.count_bytes())).sum();
            }
        }
        self.cut(&mut found, most);
        Ok(found)
    }

    fn cut(&mut self, found: &mut Vec<(CString, Option<FileType>)>, most: usize) {
        found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        self.report.is_truncated |= found.len() > most;
        found.truncate(most);
    }
}
