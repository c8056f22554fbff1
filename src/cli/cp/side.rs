//! What copying needs of either side.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::env::{EnvironmentError, FileKind, OpenFor};
use crate::rpc::transport::{give_back_block, take_block};

/// Bytes that are asked for and written at a time: the most that the wire takes.
pub(super) const BLOCK: usize = 1 << 20;

/// Why something was not copied.
#[derive(Debug)]
pub(super) enum CopyError {
    /// This file's matter; others can still be copied.
    File(String),
    /// An environment is lost, so that nothing can be copied any more.
    Lost(EnvironmentError),
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(why) => f.write_str(why),
            Self::Lost(error) => error.fmt(f),
        }
    }
}

impl CopyError {
    /// The error of a file, with its name in front.
    pub(super) fn of(name: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::File(format!("{name}: {why}"))
    }

    /// The same for this machine's answers.
    pub(super) fn here(name: impl fmt::Display, error: &io::Error) -> Self {
        // The number in the text of std is of no use to a person.
        let text = error.to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        Self::of(name, text)
    }
}

/// What is known of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) kind: FileKind,
    /// Whether the path itself is a link.
    pub(super) is_link: bool,
    pub(super) size: Option<u64>,
    /// In milliseconds since 1970.
    pub(super) modified_ms: Option<i64>,
    pub(super) mode: Option<u32>,
}

/// What is in a directory.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The names and what they are, links as links; in some order.
    pub(super) known: Vec<(OsString, FileKind)>,
    /// Those that the side cannot say, as they are shown.
    pub(super) unnamed: Vec<String>,
}

/// What a side cannot do leaves a copy with less.
#[derive(Clone, Copy, Debug)]
pub(super) struct Abilities {
    /// Without it a file is written under its own name from the start.
    pub(super) renames: bool,
    pub(super) sets_modes: bool,
    pub(super) makes_links: bool,
    pub(super) reads_links: bool,
    /// Without it a transfer does not go on where it stopped.
    pub(super) updates: bool,
}

/// A file system that is copied from or to. Paths are absolute, or relative to where we are.
pub(super) trait Side: Send + Sync {
    /// How a person calls a path of this side.
    fn name(&self, path: &Path) -> String;

    fn abilities(&self) -> Abilities;

    /// Looks at a path, behind a link if `follows`; none if nothing is there.
    fn look(&self, path: &Path, follows: bool) -> Result<Option<Found>, CopyError>;

    fn list(&self, directory: &Path) -> Result<Names, CopyError>;

    /// The path without links and dots.
    fn real_path(&self, path: &Path) -> Result<PathBuf, CopyError>;

    fn link_target(&self, path: &Path) -> Result<PathBuf, CopyError>;

    /// Makes a link; the name must be free.
    fn make_link(&self, target: &Path, path: &Path) -> Result<(), CopyError>;

    /// Makes a directory, with those above it; one that is there will do.
    fn make_directory(&self, path: &Path) -> Result<(), CopyError>;

    /// All of a file that is expected to fit a block or so.
    fn read_whole(&self, path: &Path) -> Result<Vec<u8>, CopyError>;

    /// Makes or replaces a file.
    fn write_whole(&self, path: &Path, data: &[u8]) -> Result<(), CopyError>;

    /// Opens a file for blocks; none if the side has no such thing.
    fn open(&self, path: &Path, purpose: OpenFor) -> Result<Option<Box<dyn Blocks>>, CopyError>;

    fn set_mode(&self, path: &Path, mode: u32) -> Result<(), CopyError>;

    /// Sets when it was modified, where that costs nothing.
    fn set_modified(&self, path: &Path, modified_ms: i64) -> Result<(), CopyError>;

    /// Gives a file another name, over what is there.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), CopyError>;

    fn remove(&self, path: &Path) -> Result<(), CopyError>;
}

/// An open file. Several threads use it at once.
pub(super) trait Blocks: Send + Sync {
    /// Reads the [`BLOCK`] at `offset`, fewer bytes only at the end of the file, and tells whether
    /// that is the end.
    fn read(&self, offset: u64, block: &mut Block) -> Result<bool, CopyError>;

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), CopyError>;

    /// Closes it and says whether that went well.
    fn close(self: Box<Self>) -> Result<(), CopyError>;
}

/// A block, and its memory while it has any.
#[derive(Debug, Default)]
pub(super) struct Block {
    bytes: Vec<u8>,
    filled: usize,
}

impl Block {
    /// What it holds.
    pub(super) fn data(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// Takes over what came.
    pub(super) fn set(&mut self, bytes: Vec<u8>) {
        self.filled = bytes.len();
        give_back_block(std::mem::replace(&mut self.bytes, bytes));
    }

    /// Fills it by `read`, which gets the room that is left and tells how much it took; nothing
    /// is the end.
    pub(super) fn fill(
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
