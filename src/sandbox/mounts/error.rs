//! Why there is no plan for a policy.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::rpc::error::RpcError;

/// Why a policy cannot be turned into mounts. Nothing has been started, and no mount point is left.
#[derive(Debug)]
pub enum PlanError {
    /// A path leads elsewhere than when the policy was read.
    Changed(PathBuf),
    /// Something that has to be mounted cannot be opened.
    Source(PathBuf, io::Error),
    /// A mount point, or the note about it, cannot be made.
    MountPoint(PathBuf, io::Error),
    /// What is to be protected cannot be found, behind a directory that a program could open again.
    Closed {
        /// The directory.
        directory: PathBuf,
        /// What is to be protected.
        path: PathBuf,
    },
    /// It is not known what is mounted.
    List(io::Error),
    /// A pattern matches more than can be mounted.
    Matches {
        /// The pattern.
        pattern: String,
        /// How many are possible.
        limit: usize,
    },
    /// A pattern has to be searched for in too large a tree.
    Tree {
        /// The pattern.
        pattern: String,
        /// How many names are looked at.
        limit: usize,
    },
    /// A pattern and others can match in so many ways that a search for them takes too much memory.
    Places {
        /// The pattern.
        pattern: String,
    },
    /// Nobody wants it any more.
    Cancelled,
    /// The search for a pattern takes too long.
    Slow {
        /// The pattern.
        pattern: String,
        /// How long it may take.
        limit: Duration,
    },
}

impl PlanError {
    /// What went wrong, in one word for programs.
    pub fn stage(&self) -> &'static str {
        match self {
            Self::Changed(_)
            | Self::Source(..)
            | Self::Closed { .. }
            | Self::List(_)
            | Self::Cancelled => "mountSource",
            Self::MountPoint(..) => "mountPoint",
            Self::Matches { .. } | Self::Tree { .. } | Self::Places { .. } | Self::Slow { .. } => {
                "globScan"
            }
        }
    }

    /// The file that it is about, and what the kernel said.
    pub fn place(&self) -> (Option<&Path>, Option<i32>) {
        match self {
            Self::Changed(path) | Self::Closed { path, .. } => (Some(path), None),
            Self::Source(path, error) | Self::MountPoint(path, error) => {
                (Some(path), error.raw_os_error())
            }
            Self::List(error) => (None, error.raw_os_error()),
            Self::Matches { .. }
            | Self::Tree { .. }
            | Self::Places { .. }
            | Self::Cancelled
            | Self::Slow { .. } => (None, None),
        }
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed(path) => write!(
                f,
                "sandbox: {} became a symbolic link while the sandbox was made; nothing was started",
                path.display()
            ),
            Self::Source(path, error) => {
                write!(f, "sandbox: cannot open {}: {error}", path.display())
            }
            Self::MountPoint(path, error) => write!(
                f,
                "sandbox: cannot make the mount point {} that protects a missing path: {error}; \
                 make its directory writable, or grant the path explicitly",
                path.display()
            ),
            Self::Closed { directory, path } => write!(
                f,
                "sandbox: {} cannot be entered, so {} in it cannot be protected, while a program could change that; \
                 give its owner the right to enter it (chmod u+x)",
                directory.display(),
                path.display()
            ),
            Self::List(error) => write!(
                f,
                "sandbox: cannot read /proc/self/mountinfo: {error}; without /proc there is no sandbox"
            ),
            Self::Matches { pattern, limit } => write!(
                f,
                "sandbox: the pattern `{pattern}` matches more than {limit} paths, as many as can be covered; \
                 deny their directory instead"
            ),
            Self::Tree { pattern, limit } => write!(
                f,
                "sandbox: the pattern `{pattern}` has to be searched for among more than {limit} names; \
                 give it a deeper directory to begin with, or a smaller glob_scan_max_depth"
            ),
            Self::Places { pattern } => write!(
                f,
                "sandbox: the search for the pattern `{pattern}` and others takes too much memory; \
                 deny fewer patterns, or such with fewer `**`"
            ),
            Self::Cancelled => f.write_str("sandbox: it was told to end before it was set up"),
            Self::Slow { pattern, limit } => write!(
                f,
                "sandbox: the search for the pattern `{pattern}` takes longer than {} s; \
                 give it a deeper directory to begin with, or a smaller glob_scan_max_depth",
                limit.as_secs()
            ),
        }
    }
}

impl std::error::Error for PlanError {}

impl From<PlanError> for RpcError {
    fn from(error: PlanError) -> Self {
        Self::failed(error.to_string())
    }
}
