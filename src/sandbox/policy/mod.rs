//! What a client permits.
//!
//! The `sandbox` of a request, and the profile that a 0.130 client puts into the arguments of its helper, become the same
//! [`Policy`]: rules of canonical paths, and patterns that deny. Special places (the roots of the workspace, the temporary
//! directories) are looked up once, in a [`Context`] that the caller states; nothing is taken from the environment here.
//!
//! The deepest rule that a path lies under wins; at equal depth a denial beats a permission to write, and that one to
//! read. What no rule covers is not there at all.

use std::path::{Path, PathBuf};

/// What may be done with a path, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// No rule covers it.
    None,
    /// A rule denies it.
    Deny,
    /// It may be read.
    Read,
    /// It may be read and changed.
    Write,
}

/// Whether the network can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// Not at all.
    Restricted,
    /// As the server reaches it.
    Enabled,
}

/// Who is asked to confine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Enforcement {
    /// Nobody: everything is permitted.
    Disabled,
    /// Somebody else confines files; the network is for us.
    External,
    /// We do.
    Managed,
}

/// What a request wants to do with files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Only look.
    Read,
    /// Change.
    Write,
}

/// Where special places are, for one request.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The working directory of the process, for a policy that has none of its own. Nothing becomes writable by it.
    pub process_cwd: Option<&'a Path>,
    /// The server's own `TMPDIR`.
    pub tmpdir: Option<&'a Path>,
}

/// One rule about one path and all below it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Canonical as far as it exists.
    pub path: PathBuf,
    /// The path as the client knows it, where a symbolic link leads from there to `path`.
    pub logical: Option<PathBuf>,
    /// What the rule says.
    pub access: Access,
}
