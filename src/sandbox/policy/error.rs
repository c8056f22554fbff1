//! Why a policy is refused, and why something may not be done with a file.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use super::inputs::{PolicyInputs, Seen};
use super::resolve::ResolvedPath;
use super::{Access, Glob, MAX_POLICY, Origin, Policy, Rule};
use crate::rpc::error::{DenyingRule, ErrorKind, RpcError};
use crate::rpc::path_uri::PathStyle;

/// Why there is no policy to enforce. `Display` is the message for the client.
#[derive(Debug)]
pub enum PolicyError {
    /// It has so many bytes of JSON, more than [`MAX_POLICY`].
    TooLarge(usize),
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
            Self::TooLarge(_)
            | Self::Malformed(_)
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
            Self::TooLarge(bytes) => write!(
                f,
                "sandbox has {bytes} bytes, more than {MAX_POLICY}; name directories in the place of the files in them"
            ),
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

/// What of a policy stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial<'a> {
    /// The rule that the path lies under.
    Rule(&'a Rule),
    /// A pattern that it matches.
    Pattern(&'a Glob),
    /// That no rule is about it.
    Uncovered,
}

impl Denial<'_> {
    /// What it lets be done.
    pub fn access(&self) -> Access {
        match self {
            Self::Rule(rule) => rule.access,
            Self::Pattern(_) => Access::Deny,
            Self::Uncovered => Access::None,
        }
    }

    /// For a client that writes paths in this style.
    pub fn rule(&self, style: PathStyle) -> DenyingRule {
        let (path, pattern, origin) = match self {
            Self::Rule(rule) => {
                let origin = match rule.origin {
                    Origin::Asked => "policy",
                    Origin::Metadata => "metadata",
                };
                (Some(style.render(&rule.path)), None, origin)
            }
            Self::Pattern(glob) => (None, Some(glob.pattern.clone()), "policy"),
            Self::Uncovered => (None, None, "default"),
        };
        let access = match self.access() {
            Access::None => "none",
            Access::Deny => "deny",
            Access::Read | Access::Write => "read",
        };
        DenyingRule {
            path,
            pattern,
            access: access.to_owned(),
            origin: origin.to_owned(),
        }
    }
}

impl Policy {
    /// What denies `wanted` of an absolute path, of which links are followed as far as the policy lets them be seen. With
    /// `with_below`, also what denies it of something below.
    pub fn denial(&self, path: &Path, wanted: Access, with_below: bool) -> Option<Denial<'_>> {
        if !self.confines_files {
            return None;
        }
        let mut inputs = PolicyInputs::default();
        let place = ResolvedPath::find_with(path, |here| match self.is_in_sight(here) {
            true => inputs.look(here),
            false => Seen::Nothing,
        });
        let place = place.ok()?.path;
        let rule = self.rule_for(&place);
        if let Some(glob) = self.glob_for(&place, rule) {
            return Some(Denial::Pattern(glob));
        }
        match rule {
            None => return Some(Denial::Uncovered),
            Some(rule) if rule.access < wanted => return Some(Denial::Rule(rule)),
            Some(_) => {}
        }
        let mut within = self.rules.within(&place).filter(|_| with_below);
        let found = within.find(|rule| rule.access < wanted);
        found.map(Denial::Rule)
    }

    /// Whether a canonical path can be read, or leads on to what can.
    fn is_in_sight(&self, path: &Path) -> bool {
        self.access(path) >= Access::Read || self.opens_below(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    use crate::sandbox::policy::Context;
    use crate::sandbox::scratch::Scratch;

    fn policy(entries: &str) -> Policy {
        let json = format!(
            r#"{{"permissions":{{"type":"managed","network":"restricted","file_system":{{
            "type":"restricted","entries":[{entries}]}}}},"windowsSandboxLevel":"disabled"}}"#
        );
        let context = Context {
            process_cwd: None,
            tmpdir: None,
            style: PathStyle::Native,
        };
        Policy::parse(&json, &context).unwrap()
    }

    fn entry(path: &str, access: &str) -> String {
        format!(r#"{{"path":{{"type":"path","path":"{path}"}},"access":"{access}"}}"#)
    }

    fn told(denial: Option<Denial<'_>>) -> String {
        match denial {
            None => "nothing".to_owned(),
            Some(Denial::Uncovered) => "uncovered".to_owned(),
            Some(Denial::Pattern(glob)) => glob.pattern.clone(),
            Some(Denial::Rule(rule)) => format!("{:?} {}", rule.access, rule.path.display()),
        }
    }

    #[test]
    fn what_denies_is_the_rule_that_a_path_lies_under() {
        let scratch = Scratch::new("denial");
        let root = scratch.path().display();
        for directory in ["w/.git", "w/secret", "o"] {
            fs::create_dir_all(scratch.path().join(directory)).unwrap();
        }
        symlink("../o", scratch.path().join("w/out")).unwrap();
        symlink("../w", scratch.path().join("w/secret/link")).unwrap();
        let entries = [
            entry(&format!("{root}"), "read"),
            entry(&format!("{root}/w"), "write"),
            entry(&format!("{root}/w/secret"), "deny"),
            format!(
                r#"{{"path":{{"type":"glob_pattern","pattern":"{root}/**/*.env"}},"access":"deny"}}"#
            ),
        ];
        let policy = policy(&entries.join(","));
        let read = format!("Read {root}");
        let secret = format!("Deny {root}/w/secret");
        let git = format!("Read {root}/w/.git");
        for (path, wanted, with_below, expected) in [
            ("o/x", Access::Read, false, "nothing"),
            ("o/x", Access::Write, false, &read),
            ("w/x", Access::Write, false, "nothing"),
            ("w/out/x", Access::Write, false, &read),
            ("w/x.env", Access::Read, false, &format!("{root}/**/*.env")),
            ("w/.git/config", Access::Write, false, &git),
            ("w", Access::Write, false, "nothing"),
            ("w", Access::Write, true, &format!("Read {root}/w/.agents")),
            ("w/secret/x", Access::Read, false, &secret),
            // Where it leads is not to be known.
            ("w/secret/link/x", Access::Write, false, &secret),
            ("../elsewhere", Access::Read, false, "uncovered"),
        ] {
            let denial = policy.denial(&scratch.path().join(path), wanted, with_below);
            assert_eq!(told(denial), expected, "{path} {wanted:?}");
        }
    }
}
