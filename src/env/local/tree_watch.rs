//! The wish for a watch of a tree, and why it may not be granted.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::bounds::Bounds;
use super::tree::Report;

/// Trees that a client may watch.
pub(super) const MAX_TREES: usize = 64;
/// Directories of a tree.
pub(super) const MAX_DIRECTORIES: usize = 8192;
/// Directories of all trees.
pub(super) const MAX_ALL_DIRECTORIES: usize = 65_536;

/// A directory that a client wants to be told about.
pub struct TreeWatch {
    /// What the client calls it.
    pub id: String,
    /// The directory.
    pub root: PathBuf,
    /// Where it may lead.
    pub bounds: Bounds,
    /// Whether those below it are watched, too. Links are not followed.
    pub is_recursive: bool,
    /// Called with whether there is a watch now, before any report.
    pub answer: Box<dyn FnOnce(Result<(), WatchError>) + Send>,
    /// Takes a notice if there is room for it, and else sets the waker when there is.
    pub report: Report,
}

/// Why there is no watch.
#[derive(Debug)]
pub enum WatchError {
    /// The client has one of this id.
    Duplicate(String),
    /// The client has [`MAX_TREES`].
    TooManyTrees,
    /// More than [`MAX_DIRECTORIES`] would be watched.
    TooManyDirectories,
    /// All clients together watch [`MAX_ALL_DIRECTORIES`], or want too much at once.
    Busy,
    /// The system refused.
    System(io::Error),
}

impl fmt::Display for WatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate(id) => write!(f, "watch `{id}` exists; unwatch it first"),
            Self::TooManyTrees => write!(
                f,
                "a connection has at most {MAX_TREES} watches; unwatch one first"
            ),
            Self::TooManyDirectories => write!(
                f,
                "more than {MAX_DIRECTORIES} directories to watch; watch less of them"
            ),
            Self::Busy => f.write_str("too much is watched at once; try again later"),
            Self::System(error) => match error.raw_os_error() {
                Some(libc::ENOSPC) => f.write_str(
                    "the user has no inotify watches left; raise fs.inotify.max_user_watches",
                ),
                Some(libc::EMFILE | libc::ENFILE) => write!(
                    f,
                    "the user has no inotify instances left, or the server no descriptors ({error}); \
                     raise fs.inotify.max_user_instances, or the limit of open files"
                ),
                _ => error.fmt(f),
            },
        }
    }
}

impl WatchError {
    /// Whether it may be otherwise later.
    pub fn is_busy(&self) -> bool {
        match self {
            Self::Busy => true,
            Self::System(error) => matches!(
                error.raw_os_error(),
                Some(libc::ENOSPC | libc::EMFILE | libc::ENFILE)
            ),
            Self::Duplicate(_) | Self::TooManyTrees | Self::TooManyDirectories => false,
        }
    }
}

impl std::error::Error for WatchError {}
