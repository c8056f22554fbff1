//! What a program must not change inside a root that it may write: repositories and the configuration of agents, whose
//! content somebody runs later with more rights.
//!
//! Present or missing, each name is protected right below each writable root, unless an entry is about that very path. A
//! `.git` that is a file points elsewhere; where that is writable too, the directory and what it shares with its main
//! repository are protected with it, unless an entry is about the repository: then who may write its hooks may write what
//! it keeps for one worktree, too. What such a file says can only add rules that protect, and leave them out; it makes
//! nothing writable that no entry does.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::error::PolicyError;
use super::inputs::PolicyInputs;
use super::resolve::ResolvedPath;
use super::resolve::{find, name_is_open, replaceable};
use super::{Access, Origin, Policy, Rule};
use crate::sys::file::FileType;

/// The names.
pub const PROTECTED: [&str; 4] = [".git", ".codex", ".agents", ".aws"];

/// Adds the rules. A root that is missing, or a file, has nothing to protect.
pub(crate) fn protect(policy: &mut Policy, inputs: &mut PolicyInputs) -> Result<(), PolicyError> {
    let roots: Vec<PathBuf> = policy
        .writable_roots()
        .filter(|root| has_metadata(root, inputs))
        .map(Path::to_owned)
        .collect();
    for root in roots {
        for name in PROTECTED {
            let written = root.join(name);
            let place = find(&written, inputs)?;
            add(policy, &written, &place);
            if name == ".git" && inputs.kind(&place.path) == Some(FileType::Regular) {
                let Some(repository) = repository(&place.path, &root, inputs)? else {
                    continue;
                };
                for target in repository.common.iter().chain([&repository.own]) {
                    if !repository.is_asked_for(policy, target) {
                        add(policy, &written, target);
                    }
                }
            }
        }
    }
    Ok(())
}

fn has_metadata(root: &Path, inputs: &mut PolicyInputs) -> bool {
    let is_protected = root
        .file_name()
        .is_none_or(|name| PROTECTED.iter().any(|one| name == *one));
    !is_protected && inputs.kind(root) == Some(FileType::Directory)
}

/// Makes a place read-only where it would be writable, unless a rule is about it.
fn add(policy: &mut Policy, written: &Path, place: &ResolvedPath) {
    let asked = policy.rules.at(&place.path);
    let is_asked = asked.is_some();
    if let Some(link) = replaceable(policy, place)
        && asked.is_none_or(|rule| !rule.links.contains(link))
    {
        let note = name_is_open(written, &link.path, &place.path);
        policy.weaker.push(note);
    }
    if !is_asked && policy.access(&place.path) == Access::Write {
        policy.rules.add(Rule {
            path: place.path.clone(),
            links: Vec::new(),
            access: Access::Read,
            origin: Origin::Metadata,
        });
    }
}

/// Where a `.git` file points.
struct Repository {
    /// What belongs to one worktree or submodule.
    own: ResolvedPath,
    /// What a worktree shares with its main repository.
    common: Option<ResolvedPath>,
}

fn repository(
    pointer: &Path,
    root: &Path,
    inputs: &mut PolicyInputs,
) -> Result<Option<Repository>, PolicyError> {
    let Some(target) = read_pointer(pointer, b"gitdir:", inputs) else {
        return Ok(None);
    };
    let own = find(&root.join(target), inputs)?;
    let common = read_pointer(&own.path.join("commondir"), b"", inputs)
        .map(|common| find(&own.path.join(common), inputs))
        .transpose()?;
    Ok(Some(Repository { own, common }))
}

impl Repository {
    /// Whether what lets `place` be written is an entry about a repository, not about a directory that has one somewhere
    /// inside: about a `.git`, or about the repository of a worktree, which may have another name.
    fn is_asked_for(&self, policy: &Policy, place: &ResolvedPath) -> bool {
        policy.rule_for(&place.path).is_some_and(|rule| {
            rule.origin == Origin::Asked
                && rule.access == Access::Write
                && (rule.path.file_name().is_some_and(|name| name == ".git")
                    || self.main() == Some(&rule.path))
        })
    }

    /// The main repository of a worktree. One that is not where git puts it is not believed.
    fn main(&self) -> Option<&Path> {
        let common = self.common.as_ref()?.path.as_path();
        let worktrees = self.own.path.parent()?;
        (worktrees.parent() == Some(common) && worktrees.ends_with("worktrees")).then_some(common)
    }
}

/// The path in a file of one line, behind `prefix`.
fn read_pointer(path: &Path, prefix: &[u8], inputs: &mut PolicyInputs) -> Option<PathBuf> {
    let target = inputs.text(path)?.strip_prefix(prefix)?.trim_ascii();
    (!target.is_empty() && !target.contains(&0))
        .then(|| PathBuf::from(std::ffi::OsStr::from_bytes(target)))
}
