//! Why a policy is refused.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::rpc::error::{ErrorKind, RpcError};

/// Why there is no policy to enforce. `Display` is the message for the client.
#[derive(Debug)]
pub enum PolicyError {
    /// The JSON is not what it should be.
    Malformed(serde_json::Error),
    /// An entry needs a working directory, and there is none; which entry, and whether the request is of the old
    /// generation, whose code for this differs.
    NoCwd {
        /// The entry.
        entry: String,
        /// Whether the request writes native paths.
        is_native: bool,
    },
    /// A pattern cannot be read.
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The links on the way to a path do not end.
    Links {
        /// The path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// An entry that does not name `/` would let everything be written.
    WholeMachine {
        /// The path that it stands for.
        path: PathBuf,
    },
    /// What the policy itself lets a program write decides where a permission leads.
    Redirected {
        /// The path of the entry.
        path: PathBuf,
        /// The symbolic link on the way there.
        link: PathBuf,
        /// Where it leads now.
        target: PathBuf,
    },
}

impl PolicyError {
    /// The kind of error that a request ends with.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoCwd {
                is_native: true, ..
            } => ErrorKind::InvalidRequest,
            Self::Malformed(_)
            | Self::NoCwd { .. }
            | Self::Pattern { .. }
            | Self::WholeMachine { .. } => ErrorKind::InvalidParams,
            Self::Links { .. } | Self::Redirected { .. } => ErrorKind::Failed,
        }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "invalid sandbox: {error}"),
            Self::NoCwd { entry, .. } => write!(
                f,
                "sandbox: dynamic permissions require cwd: the entry {entry} depends on it, and `cwd` is missing"
            ),
            Self::Pattern { pattern, fault } => {
                write!(f, "sandbox: glob pattern `{pattern}`: {fault}")
            }
            Self::Links { path, error } => {
                write!(f, "sandbox: cannot find {}: {error}", path.display())
            }
            Self::WholeMachine { path } => write!(
                f,
                "sandbox: the workspace {} is the whole machine, and to let it be written confines nothing; work in \
                 another directory, or let the policy name `/` itself",
                path.display()
            ),
            Self::Redirected { path, link, target } => write!(
                f,
                "sandbox: the entry {} leads to {} by the symbolic link {}, which the same policy lets a program \
                 replace; name the target itself",
                path.display(),
                target.display(),
                link.display()
            ),
        }
    }
}

impl std::error::Error for PolicyError {}

impl From<PolicyError> for RpcError {
    fn from(error: PolicyError) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}
