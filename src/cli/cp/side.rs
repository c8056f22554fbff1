//! What copying needs of either side.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::blocks;
use crate::env::{EnvironmentError, FileKind, Listing, NewMetadata};

/// Bytes that are asked for and written at a time: the most that the wire takes.
pub(crate) const BLOCK: usize = 1 << 20;

/// Why something was not copied.
#[derive(Debug)]
pub(crate) enum CopyError {
    /// This file's matter; others can still be copied.
    File(String),
    /// The same where no other file can take its place, but its content can perhaps be written: its
    /// directory may not be written, it is another's, or something is mounted on it.
    Irreplaceable(String),
    /// There is no room where files are written, so that nothing can be copied any more.
    Full(String),
    /// An environment is lost, so that nothing can be copied any more.
    Lost(EnvironmentError),
}

/// What the system says where there is no room: the disk, or what the user may have of it.
const NO_ROOM: [i32; 2] = [libc::ENOSPC, libc::EDQUOT];

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(why) | Self::Irreplaceable(why) | Self::Full(why) => f.write_str(why),
            Self::Lost(error) => error.fmt(f),
        }
    }
}

impl CopyError {
    /// The error of a file, with its name in front.
    pub(crate) fn of(name: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::File(format!("{name}: {why}"))
    }

    /// The same error when a file was to be replaced, by the number of the system's error.
    pub(crate) fn of_replacing(self, errno: Option<i32>) -> Self {
        match self {
            Self::File(why)
                if matches!(
                    errno,
                    Some(libc::EACCES | libc::EPERM | libc::EBUSY | libc::EROFS)
                ) =>
            {
                Self::Irreplaceable(why)
            }
            error => error,
        }
    }

    /// The same for this machine's answers.
    pub(crate) fn system(name: impl fmt::Display, error: &io::Error) -> Self {
        // The number in the text of std is of no use to a person.
        let text = error.to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        Self::of(name, text).of_room(error.raw_os_error())
    }

    /// The same error, by the number of the system's: whether it is that there is no room.
    pub(crate) fn of_room(self, errno: Option<i32>) -> Self {
        match self {
            Self::File(why) if errno.is_some_and(|errno| NO_ROOM.contains(&errno)) => {
                Self::Full(why)
            }
            error => error,
        }
    }
}

/// What is known of a file.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) kind: FileKind,
    /// Whether the path itself is a link.
    pub(crate) is_link: bool,
    pub(crate) size: Option<u64>,
    /// In nanoseconds since 1970.
    pub(crate) modified: Option<i64>,
    pub(crate) mode: Option<u32>,
    /// What is another after each change, where the side tells.
    pub(crate) version: Option<String>,
    /// Whether it has holes.
    pub(crate) is_sparse: bool,
    /// Which file it is on its machine, where the side tells.
    pub(crate) id: Option<String>,
    /// How many names it has, as far as that is known.
    pub(crate) links: u32,
}

impl Found {
    /// The version that the file must have whenever it is read. Files that do not tell their size,
    /// as those of `/proc`, change whenever they are looked at.
    pub(crate) fn version_to_read(&self) -> Option<&str> {
        let is_sized = self.size.is_some_and(|size| size > 0);
        self.version.as_deref().filter(|_| is_sized)
    }
}

/// What a side cannot do leaves a copy with less.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Abilities {
    /// Without it a file is written under its own name from the start.
    pub(crate) renames: bool,
    pub(crate) sets_modes: bool,
    /// Without it a file gets its mode behind its content, and keeps neither times nor holes.
    pub(crate) takes_metadata: bool,
    pub(crate) makes_links: bool,
    pub(crate) reads_links: bool,
    /// Without it a transfer does not go on where it stopped.
    pub(crate) updates: bool,
    /// Without it the names of a file become files of their own.
    pub(crate) makes_hard_links: bool,
    /// Without it extended attributes are left out.
    pub(crate) has_attributes: bool,
}

/// What a side opens a file for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Writing a part that is new.
    NewPart,
    /// Going on with a part, which must be nobody else's.
    OldPart,
    /// Writing what is there, or what will be: a device, or a file that cannot get another name.
    InPlace,
    /// Writing over a regular file that is there, which keeps its owner and its mode.
    Over,
}

/// A file system that is copied from or to. Paths are absolute, or relative to where we are.
pub(crate) trait Side: Send + Sync {
    /// How a person calls a path of this side. There is nothing in it that steers a terminal.
    fn name(&self, path: &Path) -> String;

    fn abilities(&self) -> Abilities;

    /// The same side for paths in this directory, which is found once and for all, links followed.
    /// Below it no link is followed any more, whoever has made it.
    fn below(&self, directory: &Path) -> Result<Box<dyn Side>, CopyError>;

    /// Looks at a path, behind a link if `follows`; none if nothing is there.
    fn look(&self, path: &Path, follows: bool) -> Result<Option<Found>, CopyError>;

    /// The names in a directory, sorted.
    fn list(&self, directory: &Path) -> Result<Listing, CopyError>;

    /// The path without links and dots.
    fn real_path(&self, path: &Path) -> Result<PathBuf, CopyError>;

    fn link_target(&self, path: &Path) -> Result<PathBuf, CopyError>;

    /// Makes a link; the name must be free.
    fn make_link(&self, target: &Path, path: &Path) -> Result<(), CopyError>;

    /// The extended attributes of a file or a directory, those of users and access rules.
    fn attributes(&self, path: &Path) -> Result<Attributes, CopyError>;

    /// Sets them, as far as the file system has such.
    fn set_attributes(&self, path: &Path, attributes: &Attributes) -> Result<(), CopyError>;

    /// Gives the file at `existing` one more name, which must be free.
    fn hard_link(&self, existing: &Path, path: &Path) -> Result<(), CopyError>;

    /// Makes a directory with these permissions, if any are given; one that is there will do. What the
    /// directory that it is in gives to new ones, setgid and access rules, it gets.
    fn make_directory(&self, path: &Path, mode: Option<u32>) -> Result<(), CopyError>;

    /// All of a file that looked like this; one with more bytes than `most` may be cut behind that.
    fn read_whole(
        &self,
        path: &Path,
        found: &Found,
        most: Option<usize>,
    ) -> Result<Vec<u8>, CopyError>;

    /// Makes a file for this purpose, with all that it is to have.
    fn write_whole(
        &self,
        path: &Path,
        purpose: Purpose,
        data: &[u8],
        new: NewMetadata,
    ) -> Result<(), CopyError>;

    /// Opens a regular file that looked like this to read its blocks; none if the side has no such
    /// thing.
    fn open_source(&self, path: &Path, found: &Found)
    -> Result<Option<Box<dyn Blocks>>, CopyError>;

    /// Opens a file to write its blocks; none if the side has no such thing.
    fn open(&self, path: &Path, purpose: Purpose) -> Result<Option<Box<dyn Blocks>>, CopyError>;

    /// Settles a directory whose content is there.
    fn settle_directory(&self, path: &Path, new: NewMetadata) -> Result<(), CopyError>;

    /// Gives a file another name in its directory, over what is there. A file gets the owner, the
    /// group and the permission bits of the file that it replaces.
    fn replace(&self, from: &Path, to: &Path) -> Result<(), CopyError>;

    fn remove(&self, path: &Path) -> Result<(), CopyError>;
}

/// Extended attributes and their values.
pub(crate) type Attributes = Vec<(String, Vec<u8>)>;

/// An open file. Several threads use it at once.
pub(crate) trait Blocks: Send + Sync {
    /// Reads the [`BLOCK`] at `offset`, fewer bytes only at the end of the file; none where all of
    /// them are in a hole, if that is to be skipped.
    fn read(
        &self,
        offset: u64,
        skips_holes: bool,
        block: &mut Block,
    ) -> Result<ReadBlock, CopyError>;

    /// Writes a block; whether it had to wait for room that others had.
    fn write(&self, offset: u64, data: &[u8]) -> Result<bool, CopyError>;

    /// The least hole that is worth a write less, in bytes.
    fn least_hole(&self) -> usize;

    /// Gives the file that was written what it is to have.
    fn settle(&self, new: NewMetadata) -> Result<(), CopyError>;

    /// Closes it and says whether that went well, and whether what was read has stayed as it was.
    fn close(self: Box<Self>) -> Result<(), CopyError>;
}

/// What a read has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadBlock {
    /// Whether it is the end of the file.
    pub(crate) is_last: bool,
    /// Up to where there is a hole, if that is all.
    pub(crate) hole_until: Option<u64>,
}

/// The parts of a block between holes of so many zeros at least, each with where it begins.
pub(crate) fn between_holes(data: &[u8], least: usize) -> impl Iterator<Item = (usize, &[u8])> {
    let is_zero = |piece: &[u8]| piece.iter().all(|byte| *byte == 0);
    let mut at = 0;
    std::iter::from_fn(move || {
        let pieces = |from: usize| data.get(from..).unwrap_or_default().chunks(least);
        at += least * pieces(at).take_while(|piece| is_zero(piece)).count();
        let start = at.min(data.len());
        at = start + least * pieces(start).take_while(|piece| !is_zero(piece)).count();
        let end = at.min(data.len());
        (start < end).then(|| (start, &data[start..end]))
    })
}

/// A block, and its memory while it has any.
#[derive(Debug, Default)]
pub(crate) struct Block {
    bytes: Vec<u8>,
    filled: usize,
}

impl Block {
    /// What it holds.
    pub(crate) fn data(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// Forgets what is behind so many bytes.
    pub(crate) fn cut(&mut self, length: u64) {
        self.filled = usize::try_from(length).map_or(self.filled, |length| self.filled.min(length));
    }

    /// Takes over what came.
    pub(crate) fn set(&mut self, bytes: Vec<u8>) {
        self.filled = bytes.len();
        blocks::give_back(std::mem::replace(&mut self.bytes, bytes));
    }

    /// Fills it by `read`, which gets the room that is left and tells how much it took; nothing
    /// is the end.
    pub(crate) fn fill(
        &mut self,
        mut read: impl FnMut(usize, &mut [u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.set(blocks::take(BLOCK));
        self.filled = 0;
        while self.filled < BLOCK {
            match read(self.filled, &mut self.bytes[self.filled..]) {
                Ok(0) => break,
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        blocks::give_back(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_holes_is_found() {
        let parts = |data: &[u8]| {
            let parts = between_holes(data, 2);
            parts
                .map(|(start, part)| (start, part.to_vec()))
                .collect::<Vec<_>>()
        };
        assert_eq!(parts(&[]), []);
        assert_eq!(parts(&[0, 0, 0, 0, 0]), []);
        assert_eq!(parts(&[1]), [(0, vec![1])]);
        assert_eq!(parts(&[0, 0, 0, 1, 0, 0, 0]), [(2, vec![0, 1])]);
        assert_eq!(
            parts(&[1, 2, 3, 0, 0, 0, 0, 0, 4]),
            [(0, vec![1, 2, 3, 0]), (8, vec![4])]
        );
    }
}
