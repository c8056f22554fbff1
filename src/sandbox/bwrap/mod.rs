//! A plan in the words of bubblewrap.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// The number of the first descriptor of [`Arguments`] in the process that becomes bwrap; the others follow it.
pub const FIRST_DESCRIPTOR: usize = 3;

/// What a bwrap can do beyond what every one can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `--perms`, without which a bwrap is of no use here.
    pub perms: bool,
    /// `--argv0`
    pub argv0: bool,
    /// `--bind-fd` and `--ro-bind-fd`
    pub bind_fd: bool,
    /// `--disable-userns`
    pub disable_userns: bool,
}

/// Where `/proc` comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proc {
    /// A new one, of the new pid namespace.
    Mount,
    /// What is in this directory of the host, read-only.
    Replacement(PathBuf),
    /// An empty directory.
    Empty,
}

/// What is run in the sandbox, and how.
#[derive(Debug)]
pub struct Run {
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// What the program sees as its own name, if not the first of `argv`.
    pub argv0: Option<OsString>,
    /// Where it starts.
    pub cwd: PathBuf,
    /// Where `/proc` comes from.
    pub proc: Proc,
    /// A file with the filter of system calls, in the kernel's binary form.
    pub seccomp: Option<OwnedFd>,
    /// Whether bwrap makes a session; not where a terminal is to stay.
    pub new_session: bool,
}

/// The command line of bwrap, from its first argument on.
#[derive(Debug)]
pub struct Arguments {
    /// The arguments.
    pub args: Vec<OsString>,
    /// Become the descriptors [`FIRST_DESCRIPTOR`] and following, open across the exec.
    pub descriptors: Vec<OwnedFd>,
}
