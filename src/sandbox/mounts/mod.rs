//! How the file system has to look for a policy.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::policy::Network;

/// What is mounted where, in this order.
#[derive(Debug)]
pub struct MountPlan {
    /// The mounts; later ones cover earlier ones.
    pub mounts: Vec<Mount>,
    /// The network that the processes see.
    pub network: Network,
    /// What could not be enforced as asked, a sentence each.
    pub weaker: Vec<String>,
}

/// One step.
#[derive(Debug)]
pub struct Mount {
    /// Where in the new file system; absolute, and no symbolic link in it.
    pub target: PathBuf,
    /// What happens there.
    pub action: Action,
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
    /// An empty directory in memory, writable until it is sealed.
    Empty {
        /// Its permission bits.
        mode: u32,
    },
    /// A directory is made, in an `Empty` that came before.
    Directory {
        /// Its permission bits.
        mode: u32,
    },
    /// The `Empty` becomes read-only.
    Seal,
    /// The few devices that any program expects.
    Devices,
    /// A file that cannot be opened.
    Closed,
}

/// Something of the host, held so that it stays the same.
#[derive(Debug)]
pub struct Source {
    /// Where it was found: canonical.
    pub path: PathBuf,
    /// Opened as a place only (`O_PATH`).
    pub fd: OwnedFd,
}
