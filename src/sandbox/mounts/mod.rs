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

mod cancel;
mod error;
mod list;
mod plan;
mod scan;
mod source;

use std::ffi::CString;
use std::path::{Path, PathBuf};

pub use self::cancel::Cancel;
pub use self::error::PlanError;
pub use self::list::MountList;
pub use self::scan::Scan;
pub use self::source::Source;
use self::source::is_at;
use super::journal::Claim;
use super::policy::Network;

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
