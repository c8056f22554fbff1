//! What a program must not change inside a root that it may write: repositories and the configuration of agents, whose
//! content somebody runs later with more rights.
//!
//! Present or missing, each name is protected right below each writable root, unless an entry is about that very path. A
//! `.git` that is a file points elsewhere; where that is writable too, the directory and what it shares with its main
//! repository are protected with it.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::error::PolicyError;
use super::evidence::Evidence;
use super::place::Place;
use super::resolve::{find, name_is_open, replaceable};
use super::{Access, Origin, Policy, Rule};
use crate::sys::file::Kind;

/// The names.
pub const PROTECTED: [&str; 4] = [".git", ".codex", ".agents", ".aws"];

/// Adds the rules. A root that is missing, or a file, has nothing to protect.
pub(super) fn protect(policy: &mut Policy, evidence: &mut Evidence) -> Result<(), PolicyError> {
    let roots: Vec<PathBuf> = policy
        .writable_roots()
        .filter(|root| has_metadata(root, evidence))
        .map(Path::to_owned)
        .collect();
    for root in roots {
        for name in PROTECTED {
            let written = root.join(name);
            let place = find(&written, evidence)?;
            add(policy, &written, &place);
            if name == ".git" && evidence.kind(&place.path) == Some(Kind::Regular) {
                for target in repositories(&place.path, &root, evidence)? {
                    add(policy, &written, &target);
                }
            }
        }
    }
    policy.rules.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(())
}

fn has_metadata(root: &Path, evidence: &mut Evidence) -> bool {
    let is_protected = root
        .file_name()
        .is_none_or(|name| PROTECTED.iter().any(|one| name == *one));
    !is_protected && evidence.kind(root) == Some(Kind::Directory)
}

/// Makes a place read-only where it would be writable, unless a rule is about it.
fn add(policy: &mut Policy, written: &Path, place: &Place) {
    let asked = policy.rules.iter().find(|rule| rule.path == place.path);
    if let Some(link) = replaceable(policy, place)
        && asked.is_none_or(|rule| !rule.links.contains(link))
    {
        let note = name_is_open(written, &link.path, &place.path);
        policy.weaker.push(note);
    }
    if policy.rules.iter().any(|rule| rule.path == place.path) {
        return;
    }
    if policy.access(&place.path) == Access::Write {
        policy.rules.push(Rule {
            path: place.path.clone(),
            links: Vec::new(),
            access: Access::Read,
            origin: Origin::Metadata,
        });
    }
}

/// Where a `.git` file points, and where the repository there has what it shares with others.
fn repositories(
    pointer: &Path,
    root: &Path,
    evidence: &mut Evidence,
) -> Result<Vec<Place>, PolicyError> {
    let Some(target) = read_pointer(pointer, b"gitdir:", evidence) else {
        return Ok(Vec::new());
    };
    let repository = find(&root.join(target), evidence)?;
    let mut places = Vec::new();
    if let Some(common) = read_pointer(&repository.path.join("commondir"), b"", evidence) {
        places.push(find(&repository.path.join(common), evidence)?);
    }
    places.push(repository);
    Ok(places)
}

/// The path in a file of one line, behind `prefix`.
fn read_pointer(path: &Path, prefix: &[u8], evidence: &mut Evidence) -> Option<PathBuf> {
    let target = evidence.text(path)?.strip_prefix(prefix)?.trim_ascii();
    (!target.is_empty() && !target.contains(&0))
        .then(|| PathBuf::from(std::ffi::OsStr::from_bytes(target)))
}
