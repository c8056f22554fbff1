//! What matches a pattern now.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::PlanError;
use super::source::is_own;
use crate::sandbox::policy::{Access, Glob, Place, Policy};

/// Matches of all patterns together; the reference stops here too.
pub(super) const MAX_MATCHES: usize = 8192;
/// Names looked at for one pattern: about a second of work.
const MAX_NAMES: usize = 250_000;
/// Where the kernel makes up files: nothing there is the client's.
const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];

/// The canonical paths that the policy's patterns deny. Of a directory that matches, what is below it is denied with it.
pub fn matches(policy: &Policy) -> Result<Vec<PathBuf>, PlanError> {
    let mut found = Vec::new();
    for glob in policy.globs() {
        scan(policy, glob, &mut found)?;
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn scan(policy: &Policy, glob: &Glob, found: &mut Vec<PathBuf>) -> Result<(), PlanError> {
    let mut names = 0;
    let mut ahead = vec![(glob.base.clone(), 1)];
    while let Some((directory, level)) = ahead.pop() {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) => {
                if error.kind() == ErrorKind::PermissionDenied && is_open(policy, &directory) {
                    found.push(directory);
                }
                continue;
            }
        };
        for entry in entries.flatten() {
            names += 1;
            if names > MAX_NAMES {
                return Err(PlanError::Tree {
                    pattern: glob.pattern.clone(),
                    limit: MAX_NAMES,
                });
            }
            let path = entry.path();
            let kind = entry.file_type().ok();
            if glob.matches(&path) {
                if let Some(denied) = denied(policy, path, kind.is_some_and(|it| it.is_symlink())) {
                    found.push(denied);
                }
                if found.len() > MAX_MATCHES {
                    return Err(PlanError::Matches {
                        pattern: glob.pattern.clone(),
                        limit: MAX_MATCHES,
                    });
                }
            } else if kind.is_some_and(|it| it.is_dir())
                && policy.scan_depth().is_none_or(|depth| level < depth)
                && glob.reaches_below(&path)
                && !KERNEL.iter().any(|kernel| path == Path::new(kernel))
            {
                ahead.push((path, level + 1));
            }
        }
    }
    Ok(())
}

/// Whether a program could reach what is in a directory that we cannot list: by name, or by making it listable first.
/// All of it counts as matching then.
fn is_open(policy: &Policy, directory: &Path) -> bool {
    let can_enter = directory.join(".").symlink_metadata().is_ok();
    can_enter || policy.access(directory) == Access::Write && is_own(directory)
}

/// What has to be covered for a match: where a link leads, if that can be seen at all.
fn denied(policy: &Policy, path: PathBuf, is_link: bool) -> Option<PathBuf> {
    if policy.access(&path) != Access::Deny {
        return None;
    }
    if !is_link {
        return Some(path);
    }
    let target = Place::find(&path).ok()?.path;
    (policy.access(&target) >= Access::Read).then_some(target)
}
