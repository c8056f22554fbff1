//! The files of this machine, as the `fs/*` methods need them.
//!
//! A file stands under a [`PathAt`](names): a directory and a path from it. For
//! a request that forbids symbolic links the directory is opened without
//! following any, and only its last component is left to the operation, which
//! refuses a link there itself; nothing is ever checked first and used later.
//!
//! ```text
//!   names          where a file is; metadata, rename, links, permissions, new directories
//!   read, write    one file; written in place, or replaced at once
//!   walk           the names in one directory, or in a tree
//!   copy, remove   one file, or a tree
//!   blocks         files that stay open between requests
//!   attributes     extended attributes
//! ```
//!
//! No call waits for another process: a FIFO, a socket or a device is opened
//! without waiting, and then mostly refused.

mod attributes;
mod blocks;
mod copy;
mod names;
mod read;
mod remove;
mod walk;
mod write;

use std::fmt;
use std::io;
use std::path::PathBuf;

use blocks::{MAX_ID, MAX_OPEN};

pub use attributes::{Attribute, attributes, is_common};
pub(crate) use attributes::{attributes_of, set_attributes_of};
pub(crate) use blocks::hole_at;
pub use blocks::{Block, BlockFile, MAX_BLOCK, Mode, OpenFiles};
pub use copy::{CopyOptions, Skipped, copy};
pub use names::{
    Links, Metadata, NewMetadata, canonicalize, change_metadata, hard_link, make_directory,
    make_link, metadata, read_link, rename, rename_as_replaced, set_metadata, set_permissions,
};
pub(crate) use names::{make_directory_as, replace_as};
pub use read::{Content, MAX_READ, Part};
pub use remove::{RemoveOptions, remove};
pub use walk::{Found, Listed, WalkOptions, WalkReport, list, walk};
pub use write::{create, replace, write, write_at};

/// Why a file operation failed. `Display` is what a client reads; where the
/// reference has words for it, they are the reference's.
#[derive(Debug)]
pub enum FileError {
    System(io::Error),
    /// Neither a regular file nor, for a write, a device that takes bytes.
    NotAFile(PathBuf),
    /// Above [`MAX_READ`].
    TooLargeToRead,
    /// There is a link where the request forbids one.
    Link,
    /// Nobody means that.
    RemoveRoot,
    /// A directory, and `recursive` is false.
    CopyNeedsRecursive,
    /// A FIFO, a socket or a device.
    CopyOfSpecial,
    /// The destination is in the source, or is the source.
    CopyIntoItself,
    /// A directory moved away while what is in it was being removed.
    Moved,
    /// A limit of a walk is zero.
    WalkLimitZero,
    /// A limit of a walk is above its maximum.
    WalkLimitHigh,
    /// Permission bits beyond 0o7777.
    BadMode(u32),
    /// The file is not of the version any more that it was to be of.
    Changed,
    /// An id of a handle above [`MAX_ID`].
    LongHandle,
    /// [`MAX_OPEN`] handles are open.
    ManyHandles,
    /// The id is taken.
    HandleExists(String),
    /// There is no handle of this id.
    UnknownHandle(String),
    /// A read of none, or of more than [`MAX_BLOCK`].
    ReadLength,
    /// A write of none, or of more than [`MAX_BLOCK`].
    WriteLength,
    /// The end of the block is not a position in a file.
    WriteRange,
}

/// There is no memory for what is read.
fn no_memory() -> FileError {
    FileError::System(io::ErrorKind::OutOfMemory.into())
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl FileError {
    /// Whether the system said that there is no such file.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::System(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => error.fmt(f),
            Self::NotAFile(path) => write!(f, "path `{}` is not a file", path.display()),
            Self::TooLargeToRead => {
                write!(f, "file is too large to read: limit is {MAX_READ} bytes")
            }
            Self::Link => f.write_str("path contains a symbolic link"),
            Self::RemoveRoot => f.write_str(
                "refusing to remove `/`: that is the whole file system; name what is in it",
            ),
            Self::CopyNeedsRecursive => {
                f.write_str("fs/copy requires recursive: true when sourcePath is a directory")
            }
            Self::CopyOfSpecial => {
                f.write_str("fs/copy only supports regular files, directories, and symlinks")
            }
            Self::CopyIntoItself => {
                f.write_str("fs/copy cannot copy a directory to itself or one of its descendants")
            }
            Self::Moved => f.write_str(
                "a directory was moved while it was being removed; what is left of it stays",
            ),
            Self::WalkLimitZero => f.write_str("filesystem walk limits must be greater than zero"),
            Self::WalkLimitHigh => write!(
                f,
                "filesystem walk limits exceed maximums: depth={}, directories={}, entries={}",
                walk::MAX_DEPTH,
                walk::MAX_DIRECTORIES,
                walk::MAX_ENTRIES
            ),
            Self::BadMode(mode) => {
                write!(
                    f,
                    "mode {mode} is no set of permissions: at most 4095 (octal 7777)"
                )
            }
            Self::Changed => f.write_str("the file was changed while it was read; read it again"),
            Self::LongHandle => write!(f, "file handle ID must not exceed {MAX_ID} bytes"),
            Self::ManyHandles => write!(
                f,
                "at most {MAX_OPEN} file handles may be open per connection"
            ),
            Self::HandleExists(id) => write!(f, "file handle `{id}` already exists"),
            Self::UnknownHandle(id) => write!(f, "unknown file handle `{id}`"),
            Self::ReadLength => write!(
                f,
                "file read block length must be between 1 and {MAX_BLOCK}"
            ),
            Self::WriteLength => write!(
                f,
                "file write block length must be between 1 and {MAX_BLOCK}"
            ),
            Self::WriteRange => {
                f.write_str("file write range exceeds the signed 64-bit file offset limit")
            }
        }
    }
}

impl std::error::Error for FileError {}
