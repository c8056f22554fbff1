//! What a client permits.
//!
//! The `sandbox` of a request, and the profile that a 0.130 client puts into the arguments of its helper, become the same
//! [`Policy`]: rules of canonical paths, and patterns that deny. Special places (the roots of the workspace, the temporary
//! directories) are looked up once, in a [`Context`] that the caller states; nothing is taken from the environment here.
//!
//! The deepest rule that a path lies under wins; at equal depth a denial beats a permission to write, and that one to
//! read. What no rule covers is not there at all.

mod error;
mod glob;
mod inputs;
mod metadata;
mod resolve;
mod rules;
mod wire;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use self::error::Denial;
pub use self::error::PolicyError;
pub use self::glob::Glob;
use self::glob::Globs;
pub use self::inputs::PolicyInputs;
pub use self::metadata::PROTECTED;
pub use self::resolve::Link;
pub use self::resolve::ResolvedPath;
pub use self::rules::Rule;
use self::rules::Rules;
pub use self::rules::Waivers;
pub use self::rules::{Inexpressible, LandlockRules};
use crate::rpc::path_uri::PathStyle;

/// The longest policy, in bytes of JSON. Longer than any list of paths that somebody wrote; what is built of it has many times
/// as many.
const MAX_POLICY: usize = 2 * 1024 * 1024;

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
    /// How the request writes its own paths, which tells the generation of the client.
    pub style: PathStyle,
}

/// Where a rule comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// An entry of the client.
    Asked,
    /// The protection of metadata.
    Metadata,
}

/// What a client permits. Equal policies lead to equal sandboxes, as long as the file system stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    enforcement: Enforcement,
    network: Network,
    /// Whether the rules say all; otherwise they are empty, and every file is free.
    confines_files: bool,
    rules: Rules,
    globs: Globs,
    scan_depth: Option<u32>,
    weaker: Vec<String>,
    waivers: Waivers,
}

impl Policy {
    /// Who is asked to confine.
    pub fn enforcement(&self) -> Enforcement {
        self.enforcement
    }

    /// Whether the network can be reached.
    pub fn network(&self) -> Network {
        self.network
    }

    /// The rules, one a path and in the order of the paths. None if files are free. No rule permits what
    /// a pattern denies.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &Rule> {
        self.rules.iter()
    }

    /// The patterns of what is denied.
    pub fn globs(&self) -> &[Glob] {
        self.globs.all()
    }

    /// Levels of directories below its base that a pattern is searched in; all when there is none.
    pub fn scan_depth(&self) -> Option<u32> {
        self.scan_depth
    }

    /// What cannot be enforced as asked, a sentence each.
    pub fn weaker(&self) -> &[String] {
        &self.weaker
    }

    /// What the client gives up where it cannot be enforced.
    pub fn waivers(&self) -> Waivers {
        self.waivers
    }

    /// The same policy with no network.
    pub fn without_network(self) -> Self {
        Self {
            network: Network::Restricted,
            ..self
        }
    }

    /// What may be done with a canonical path.
    pub fn access(&self, path: &Path) -> Access {
        if !self.confines_files {
            return Access::Write;
        }
        let rule = self.rule_for(path);
        if self.glob_for(path, rule).is_some() {
            Access::Deny
        } else {
            rule.map_or(Access::None, |rule| rule.access)
        }
    }

    /// Drops the rules that permit a path that a pattern denies: the pattern is stricter, and mounts and
    /// Landlock go by the rules alone.
    fn drop_denied(&mut self) {
        let permits = |rule: &&Rule| rule.access >= Access::Read;
        let denied = |rule: &&Rule| self.access(&rule.path) == Access::Deny;
        let denied = self.rules.iter().filter(permits).filter(denied);
        let denied: Vec<_> = denied.map(|rule| rule.path.clone()).collect();
        for path in denied {
            self.rules.remove(&path);
        }
    }

    /// The pattern that denies a canonical path, which lies under `rule`.
    fn glob_for(&self, path: &Path, rule: Option<&Rule>) -> Option<&Glob> {
        let depth = rule.map_or(0, |rule| depth(&rule.path));
        self.globs.around(path, depth)
    }

    /// The deepest rule that a canonical path lies under.
    fn rule_for(&self, path: &Path) -> Option<&Rule> {
        self.rules.around(path)
    }

    /// Whether a rule about something below a canonical path lets it be seen.
    pub fn opens_below(&self, path: &Path) -> bool {
        let mut below = self.rules.within(path).filter(|rule| rule.path != path);
        below.any(|rule| rule.access >= Access::Read)
    }

    /// Whether both permit and deny the same files, if the file system is the same.
    pub fn says_the_same_of_files(&self, other: &Self) -> bool {
        self.confines_files == other.confines_files
            && self.scan_depth == other.scan_depth
            && self.globs == other.globs
            && self.rules == other.rules
    }

    /// About as many bytes as what it says of files takes in memory.
    pub fn size(&self) -> usize {
        let rules = self.rules.iter().map(|rule| {
            let links = rule.links.iter();
            let links =
                links.map(|link| link.path.as_os_str().len() + link.target.as_os_str().len());
            size_of::<Rule>() + rule.path.as_os_str().len() + links.sum::<usize>()
        });
        rules.sum::<usize>() + self.globs().iter().map(Glob::size).sum::<usize>()
    }

    /// Whether every file may be read.
    pub fn has_full_read(&self) -> bool {
        !self.confines_files
            || (self.root_access() >= Access::Read
                && self.globs().is_empty()
                && self.rules.iter().all(|rule| rule.access != Access::Deny))
    }

    /// Whether every file may be changed.
    pub fn has_full_write(&self) -> bool {
        !self.confines_files
            || (self.root_access() == Access::Write
                && self.globs().is_empty()
                && self.rules.iter().all(|rule| rule.access == Access::Write))
    }

    /// Whether nothing is confined: a program runs as it would without a policy.
    pub fn is_free(&self) -> bool {
        self.has_full_write() && self.network == Network::Enabled
    }

    /// The paths that may be changed with what is below them.
    pub fn writable_roots(&self) -> impl Iterator<Item = &Path> {
        self.rules
            .iter()
            .filter(|rule| rule.access == Access::Write)
            .map(|rule| rule.path.as_path())
    }

    fn root_access(&self) -> Access {
        let rule = self.rules.at(Path::new("/"));
        rule.map_or(Access::None, |rule| rule.access)
    }
}

impl Access {
    /// Of two rules about the same path the one that counts.
    fn at_equal_depth(self, other: Self) -> Self {
        if self == Self::Deny || other == Self::Deny {
            Self::Deny
        } else {
            self.max(other)
        }
    }
}

/// Components below the root.
fn depth(path: &Path) -> usize {
    path.iter().count().saturating_sub(1)
}
