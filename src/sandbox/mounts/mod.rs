//! How the file system has to look for a policy.
//!
//! A [`MountPlan`] is a list of steps for any launcher that mounts. It begins with the whole file system, read-only, or
//! with an empty one; then follow the rules of the policy from the outside in, each only where it changes what the rule
//! around it says. So the deepest rule is mounted last, and wins. What is denied is covered; what is missing, and must
//! stay so, is covered too, on mount points that the [journal](super::journal) makes. Directories in memory become
//! read-only at the very end, when all that has to be in them is.
//!
//! Every source is opened as the plan is made, without following any link: a path that leads elsewhere than when the
//! policy was read is an error, not a mount.

mod list;
mod plan;
mod scan;

use std::ffi::CString;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io};

use self::plan::is_at;
use super::journal::Claim;
use super::policy::Network;
use crate::rpc::error::RpcError;
use crate::sys::poll::{self, PollFd, READABLE};

pub use self::list::MountList;
pub use self::plan::Source;
pub use self::scan::Scan;

/// What is mounted where, in this order.
#[derive(Debug)]
pub struct MountPlan {
    /// The mounts; later ones cover earlier ones.
    pub mounts: Vec<Mount>,
    /// What is covered after all mounts, in this order.
    pub masks: Vec<Mask>,
    /// The network that the processes see.
    pub network: Network,
    /// Where the command starts: what was asked for, if the sandbox shows it, otherwise the root.
    pub cwd: PathBuf,
    /// What could not be enforced as asked, a sentence each.
    pub weaker: Vec<String>,
    /// The mount points on the host. To be kept until the last process of the sandbox has ended.
    pub claim: Claim,
}

/// One step.
#[derive(Debug)]
pub struct Mount {
    /// Where in the new file system; absolute, and no symbolic link in it.
    pub target: PathBuf,
    /// What happens there.
    pub action: Action,
}

/// A cover that the first process inside mounts, one system call each however many there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// What covers it.
    pub kind: MaskKind,
    /// Where: absolute, and no symbolic link in it.
    pub path: CString,
}

/// What covers something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskKind {
    /// A file that cannot be opened.
    File,
    /// An empty directory that cannot be listed or entered.
    Directory,
    /// An empty directory that can be listed.
    EmptyDirectory,
    /// What is there itself: a mount point cannot be renamed.
    Itself,
}

impl MaskKind {
    /// The kind of a number that `as` has made of it.
    pub fn from_number(number: u64) -> Option<Self> {
        let kinds = [
            Self::File,
            Self::Directory,
            Self::EmptyDirectory,
            Self::Itself,
        ];
        kinds.into_iter().find(|kind| *kind as u64 == number)
    }
}

/// What happens at a target.
#[derive(Debug)]
pub enum Action {
    /// Something of the host appears there, with all that is mounted below it.
    Bind {
        /// What.
        source: Source,
        /// Whether it can be changed.
        writable: bool,
    },
    /// An empty directory in memory, writable until it is sealed. What is mounted below it brings its own directories.
    Empty {
        /// Its permission bits.
        mode: u32,
    },
    /// A symbolic link in an `Empty`.
    Link {
        /// What it says.
        target: PathBuf,
    },
    /// The few devices that any program expects.
    Devices,
    /// A view of the sandbox's own processes.
    Proc,
    /// The `Empty` there becomes read-only.
    Seal,
}

impl MountPlan {
    /// Whether something that is to be mounted, or one of our own mount points, is no longer where it was found.
    pub fn has_lost_a_source(&self) -> bool {
        let has_lost = self.mounts.iter().any(|mount| match &mount.action {
            Action::Bind { source, .. } => !source.is_still_there(),
            _ => false,
        });
        has_lost
            || self
                .claim
                .points()
                .any(|(path, identity)| !is_at(path, identity))
    }

    /// The trees that can be changed, but for what is mounted in them.
    pub fn writable(&self) -> impl Iterator<Item = &Path> {
        self.mounts.iter().filter_map(|mount| match &mount.action {
            Action::Bind { writable: true, .. } => Some(mount.target.as_path()),
            _ => None,
        })
    }

    /// The paths that exist only because something has to be mounted there. A listing for the client leaves them out.
    pub fn fakes(&self) -> impl Iterator<Item = &Path> {
        self.claim.paths()
    }
}

/// What becomes readable when nobody does; none where nobody can say so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cancel<'a>(pub Option<BorrowedFd<'a>>);

impl Cancel<'_> {
    /// Whether nobody wants it any more.
    pub fn is_set(self) -> bool {
        self.0.is_some_and(|fd| {
            let mut fds = [PollFd::new(fd, READABLE)];
            // One that cannot be asked is met again at the next look.
            poll::wait(&mut fds, Some(Duration::ZERO)).is_ok() && fds[0].is_ready()
        })
    }

    /// The same as an error.
    pub(crate) fn check(self) -> Result<(), PlanError> {
        match self.is_set() {
            true => Err(PlanError::Cancelled),
            false => Ok(()),
        }
    }
}

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
