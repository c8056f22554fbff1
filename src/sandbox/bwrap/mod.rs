//! A plan in the words of bubblewrap.
//!
//! Everything but the command goes through `--args`, from a sealed file in memory: no limit of a command line, nothing
//! for `ps` to show, and no text of a client where an option could be read. The command follows a `--`.
//!
//! bwrap gets descriptors from [`FIRST_DESCRIPTOR`] on, and uses up or closes each before the command starts.

mod arguments;
mod capabilities;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

pub use self::arguments::arguments;
pub use self::capabilities::Capabilities;

/// The number of the first descriptor of [`Arguments`] in the process that becomes bwrap; the others follow it.
pub const FIRST_DESCRIPTOR: usize = 3 + super::inside::DESCRIPTORS;

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
    /// The program and its arguments; not empty.
    pub argv: Vec<OsString>,
    /// A descriptor of bwrap's to be mounted, read-only, at a path.
    pub program: Option<(i32, &'static str)>,
    /// Where `/proc` comes from.
    pub proc: Proc,
}

/// The command line of bwrap, from its first argument on.
#[derive(Debug)]
pub struct Arguments {
    /// The arguments.
    pub args: Vec<OsString>,
    /// Become the descriptors [`FIRST_DESCRIPTOR`] and following, open across the exec.
    pub descriptors: Vec<OwnedFd>,
}

/// Why a plan cannot be said in the words of a bwrap.
#[derive(Debug)]
pub enum ArgumentsError {
    /// More words than any bwrap reads.
    TooLong {
        /// How many it would be.
        count: usize,
    },
    /// The option that this bwrap lacks.
    Lacks(&'static str),
    /// No descriptor, or no file in memory.
    Resources(io::Error),
}

impl fmt::Display for ArgumentsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { count } => write!(
                f,
                "the sandbox needs {count} words for bwrap, which reads {} at most; \
                 deny directories instead of what is in them",
                arguments::MAX_WORDS
            ),
            Self::Lacks(option) => write!(f, "this bwrap has no `{option}`, which is needed here"),
            Self::Resources(error) => {
                write!(f, "cannot hand the sandbox's description over: {error}")
            }
        }
    }
}

impl std::error::Error for ArgumentsError {}

#[cfg(test)]
mod tests;
