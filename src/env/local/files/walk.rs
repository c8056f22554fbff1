//! The names in one directory, and those of a tree: walked breadth first and within limits.

use std::collections::{HashSet, VecDeque};
use std::ffi::{CStr, OsStr};
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
    /// The directory that it is in.
    pub directory: &'a Path,
    /// How many directories were read before that.
    pub directory_number: u64,
    /// Its name there; not always UTF-8.
    pub name: &'a OsStr,
    /// What it is. Of a link: what it leads to if that is a file, or a directory that links are
    /// followed to; and else a link.
    pub kind: Option<FileType>,
    /// Whether it is a link.
    pub is_link: bool,
}

impl Found<'_> {
    /// The whole path.
    pub fn path(&self) -> PathBuf {
        self.directory.join(self.name)
    }
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
        kept: SortedNames::default(),
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
    /// Memory for the names of a directory, from one to the next.
    kept: SortedNames,
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

/// What a path so long takes, about.
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
        let directory_number = self.directories;
        self.directories += 1;
        let room = (self.options.entries - self.entries) as usize;
        let found = self.first_names(dir.as_fd(), room)?;
        self.entries += found.names.len() as u64;
        for name in &found.names {
            let (own, name) = (name.kind, found.text(name));
            let is_link = own == Some(FileType::Link);
            let kind = if is_link {
                match CStr::from_bytes_with_nul(name)
                    .ok()
                    .and_then(|name| kind_of(dir.as_fd(), name, LastLink::Follow))
                {
                    Some(FileType::Directory) if self.options.follow => Some(FileType::Directory),
                    Some(FileType::Regular) => Some(FileType::Regular),
                    _ => own,
                }
            } else {
                own
            };
            let name = OsStr::from_bytes(name.strip_suffix(b"\0").unwrap_or(name));
            let wants_more = (self.each)(Found {
                directory: path,
                directory_number,
                name,
                kind,
                is_link,
            });
            if !wants_more {
                self.report.is_truncated = true;
                break;
            }
            let is_pruned = self.options.prune_hidden && name.as_bytes().starts_with(b".");
            if kind == Some(FileType::Directory) && !is_pruned && depth < self.options.depth {
                let path = path.join(name);
                if self.hold(path.as_os_str().len()) {
                    self.to_visit.push_back((path, depth + 1));
                }
            }
        }
        if found.bytes_held() <= UNCOUNTED {
            self.kept = found;
        }
        Ok(())
    }

    /// The first names of a directory, sorted; notes whether there are more.
    fn first_names(&mut self, dir: BorrowedFd<'_>, most: usize) -> io::Result<SortedNames> {
        let mut found = std::mem::take(&mut self.kept);
        found.clear();
        self.names.restart();
        while let Some(entry) = self.names.next_in(dir)? {
            let needed = found.bytes_needed(entry.name).max(found.bytes_held());
            if !self
                .room
                .set((self.held + needed).saturating_sub(UNCOUNTED))
                || !found.add(entry.name, own_kind(dir, &entry))
            {
                self.report.is_truncated = true;
                break;
            }
            // However large a directory is, no more are kept than could be wanted.
            if found.names.len() > 2 * most.max(1024) {
                self.report.is_truncated |= found.cut(most);
            }
        }
        self.report.is_truncated |= found.cut(most);
        Ok(found)
    }
}

/// Names of one directory, in one piece of memory.
#[derive(Debug, Default)]
struct SortedNames {
    /// The names, each with its NUL.
    text: Vec<u8>,
    names: Vec<Name>,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
struct Name {
    /// Eight bytes from where the names of the directory begin to differ, in the order of numbers;
    /// set when they are sorted.
    key: u64,
    /// Where it is.
    start: usize,
    end: usize,
    kind: Option<FileType>,
}

impl SortedNames {
    fn clear(&mut self) {
        self.text.clear();
        self.names.clear();
    }

    /// What the memory takes.
    fn bytes_held(&self) -> usize {
        self.text.capacity() + self.names.capacity() * size_of::<Name>()
    }

    /// What it takes at most with one name more: a vector that is full is doubled.
    fn bytes_needed(&self, name: &CStr) -> usize {
        let text = self.text.len() + name.count_bytes() + 1;
        2 * (text + (self.names.len() + 1) * size_of::<Name>())
    }

    /// Adds a name; false where there is no memory.
    fn add(&mut self, name: &CStr, kind: Option<FileType>) -> bool {
        let name = name.to_bytes_with_nul();
        if self.text.try_reserve(name.len()).is_err() || self.names.try_reserve(1).is_err() {
            return false;
        }
        let start = self.text.len();
        self.text.extend_from_slice(name);
        let end = self.text.len();
        self.names.push(Name {
            key: 0,
            start,
            end,
            kind,
        });
        true
    }

    /// One of the names, with its NUL.
    fn text(&self, name: &Name) -> &[u8] {
        &self.text[name.start..name.end]
    }

    /// Sorts them. Names of one directory often begin alike, and a comparison of bytes one by one
    /// is slow, so what most comparisons need is in a number.
    fn sort(&mut self) {
        let Self { text, names } = self;
        let Some(first) = names.first() else {
            return;
        };
        let first = &text[first.start..first.end];
        let alike = names.iter().fold(first.len(), |alike, name| {
            let pairs = first[..alike].iter().zip(&text[name.start..name.end]);
            pairs.take_while(|(one, other)| one == other).count()
        });
        for name in names.iter_mut() {
            let rest = &text[name.start + alike..name.end];
            let mut key = [0; 8];
            let len = rest.len().min(key.len());
            key[..len].copy_from_slice(&rest[..len]);
            name.key = u64::from_be_bytes(key);
        }
        let rest = |name: &Name| &text[name.start + alike..name.end];
        names.sort_unstable_by(|one, other| {
            let by_key = one.key.cmp(&other.key);
            by_key.then_with(|| rest(one).cmp(rest(other)))
        });
    }

    /// Sorts them, and forgets all but the first so many; whether there were more.
    fn cut(&mut self, most: usize) -> bool {
        self.sort();
        if self.names.len() <= most {
            return false;
        }
        self.names.truncate(most);
        self.names.sort_unstable_by_key(|name| name.start);
        let mut len = 0;
        for name in &mut self.names {
            self.text.copy_within(name.start..name.end, len);
            let its = name.end - name.start;
            (name.start, name.end) = (len, len + its);
            len += its;
        }
        self.text.truncate(len);
        self.sort();
        true
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::*;

    fn sorted(names: &[String], most: usize) -> (Vec<String>, bool) {
        let mut found = SortedNames::default();
        for name in names {
            assert!(found.add(&CString::new(name.as_str()).unwrap(), None));
        }
        let is_cut = found.cut(most);
        let text = |name| String::from_utf8(found.text(name).to_vec()).unwrap();
        let text = |name| text(name).strip_suffix('\0').unwrap().to_owned();
        (found.names.iter().map(text).collect(), is_cut)
    }

    #[test]
    fn names_are_sorted_by_their_bytes_and_cut_behind_the_most() {
        let mut names: Vec<String> = [
            "",
            "a",
            "ab",
            "abcdefgh",
            "abcdefghi",
            "abcdefgh0",
            "b",
            "\u{e9}",
            "A",
            "~",
            "\u{1}",
            " ",
        ]
        .map(str::to_owned)
        .to_vec();
        for prefix in ["", "same-", "much longer than eight bytes-"] {
            names.extend((0..40).map(|number| format!("{prefix}{}", number * 7919 % 1000)));
        }
        for beginning in ["", "all of them begin like this "] {
            let names: Vec<String> = names
                .iter()
                .map(|name| beginning.to_owned() + name)
                .collect();
            let mut expected = names.clone();
            expected.sort_unstable();
            for most in [0, 1, 2, 50, names.len() - 1, names.len()] {
                let (found, is_cut) = sorted(&names, most);
                assert_eq!(found, expected[..most], "{most}");
                assert_eq!(is_cut, most < names.len(), "{most}");
            }
        }
        assert_eq!(sorted(&[], 0), (Vec::new(), false));
    }
}
