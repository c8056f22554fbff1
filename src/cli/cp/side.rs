//! What copying needs of either side.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::env::{EnvironmentError, FileKind, Listing};
use crate::rpc::transport::{give_back_block, take_block};

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
    /// An environment is lost, so that nothing can be copied any more.
    Lost(EnvironmentError),
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(why) | Self::Irreplaceable(why) => f.write_str(why),
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
        Self::of(name, text)
    }
}

/// What is known of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) kind: FileKind,
    /// Whether the path itself is a link.
    pub(crate) is_link: bool,
    pub(crate) size: Option<u64>,
    /// In milliseconds since 1970.
    pub(crate) modified_ms: Option<i64>,
    pub(crate) mode: Option<u32>,
}

/// What a side cannot do leaves a copy with less.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Abilities {
    /// Without it a file is written under its own name from the start.
    pub(crate) renames: bool,
    pub(crate) sets_modes: bool,
    pub(crate) makes_links: bool,
    pub(crate) reads_links: bool,
    /// Without it a transfer does not go on where it stopped.
    pub(crate) updates: bool,
}

/// What a side opens a file for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Reading blocks of a regular file.
    Reading,
    /// Writing a part that is new.
    NewPart,
    /// Going on with a part, which must be nobody else's.
    OldPart,
    /// Writing what is there, or what will be: a device, or a file that cannot get another name.
    InPlace,
    /// Writing over a regular file that is there, which keeps its owner and its mode.
    Over,
}

/// What a file gets when all its bytes are there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    /// In milliseconds since 1970; where that costs nothing.
    pub(crate) modified_ms: Option<i64>,
    pub(crate) mode: Option<u32>,
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

    /// Makes a directory with this mode, if one is given; one that is there will do.
    fn make_directory(&self, path: &Path, mode: Option<u32>) -> Result<(), CopyError>;

    /// All of a file; one with more bytes than `most` may be cut behind that.
    fn read_whole(&self, path: &Path, most: Option<usize>) -> Result<Vec<u8>, CopyError>;

    /// Makes a file for this purpose, with all that it is to have.
    fn write_whole(
        &self,
        path: &Path,
        purpose: Purpose,
        data: &[u8],
        settings: Settings,
    ) -> Result<(), CopyError>;

    /// Opens a file for blocks; none if the side has no such thing.
    fn open(&self, path: &Path, purpose: Purpose) -> Result<Option<Box<dyn Blocks>>, CopyError>;

    /// Settles a directory whose content is there.
    fn settle_directory(&self, path: &Path, settings: Settings) -> Result<(), CopyError>;

    /// Gives a file another name in its directory, over what is there. A file gets the owner, the
    /// group and the permission bits of the file that it replaces.
    fn replace(&self, from: &Path, to: &Path) -> Result<(), CopyError>;

    fn remove(&self, path: &Path) -> Result<(), CopyError>;
}

/// An open file. Several threads use it at once.
pub(crate) trait Blocks: Send + Sync {
    /// Reads the [`BLOCK`] at `offset`, fewer bytes only at the end of the file, and tells whether
    /// that is the end.
    fn read(&self, offset: u64, block: &mut Block) -> Result<bool, CopyError>;

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), CopyError>;

    /// Gives the file that was written what it is to have.
    fn settle(&self, settings: Settings) -> Result<(), CopyError>;

    /// Closes it and says whether that went well.
    fn close(self: Box<Self>) -> Result<(), CopyError>;
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
        give_back_block(std::mem::replace(&mut self.bytes, bytes));
    }

    /// Fills it by `read`, which gets the room that is left and tells how much it took; nothing
    /// is the end.
    pub(crate) fn fill(
        &mut self,
        mut read: impl FnMut(usize, &mut [u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.set(take_block(BLOCK));
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
        give_back_block(std::mem::take(&mut self.bytes));
    }
}
