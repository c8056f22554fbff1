//! What matches a pattern now.

use std::ffi::{CStr, CString};
use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::PlanError;
use super::source::is_own;
use crate::sandbox::policy::{Access, Glob, Place, Policy};
use crate::sys::file::{self, Identity, LastLink, ROOTED};

/// Matches of all patterns together; the reference stops here too.
pub(super) const MAX_MATCHES: usize = 8192;
/// Names looked at for one pattern: about a second of work.
const MAX_NAMES: usize = 250_000;
/// Where the kernel makes up files: nothing there is the client's.
const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];

/// How long ago a directory must have changed for its time to tell of every later change: file systems count time in
/// steps, the coarsest of two seconds.
const SETTLED: Duration = Duration::from_millis(2500);

/// What a policy's patterns match, and where that was looked for.
#[derive(Debug, Default)]
pub struct Scan {
    /// The canonical paths that are denied. Of a directory that matches, what is below it is denied with it.
    pub matches: Vec<PathBuf>,
    searched: Vec<Searched>,
    /// Whether something was met that may change and leave no trace in a directory's time.
    is_unsure: bool,
}

/// A directory that was listed.
#[derive(Debug)]
struct Searched {
    path: CString,
    /// Taken before it was listed.
    stamp: Stamp,
}

/// Which directory, and when it last changed.
type Stamp = (Identity, i64);

impl Scan {
    /// Searches for what matches now.
    pub fn new(policy: &Policy) -> Result<Self, PlanError> {
        let mut scan = Self::default();
        for glob in policy.globs() {
            scan.search(policy, glob)?;
        }
        scan.matches.sort_unstable();
        scan.matches.dedup();
        Ok(scan)
    }

    /// Whether anything was searched.
    pub fn is_made(&self) -> bool {
        self.is_unsure || !self.searched.is_empty()
    }

    /// Whether another one is sure to find the same: no directory has changed.
    pub fn holds(&self) -> bool {
        let is_same = |one: &Searched| stamp(&one.path) == Some(one.stamp);
        !self.is_unsure && self.searched.iter().all(is_same)
    }

    fn search(&mut self, policy: &Policy, glob: &Glob) -> Result<(), PlanError> {
        let mut names = 0;
        let mut ahead = vec![(glob.base.clone(), 1)];
        while let Some((directory, level)) = ahead.pop() {
            self.note(&directory);
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(error) => {
                    self.is_unsure = true;
                    if error.kind() == ErrorKind::PermissionDenied && is_open(policy, &directory) {
                        self.matches.push(directory);
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
                    let is_link = kind.is_some_and(|it| it.is_symlink());
                    // Where it leads may change without it.
                    self.is_unsure |= is_link;
                    self.matches.extend(denied(policy, path, is_link));
                    if self.matches.len() > MAX_MATCHES {
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

    /// Takes note of a directory that is going to be listed.
    fn note(&mut self, directory: &Path) {
        if self.is_unsure {
            return;
        }
        let now = SystemTime::now() - SETTLED;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let found = CString::new(directory.as_os_str().as_bytes()).ok();
        let found = found.and_then(|path| stamp(&path).map(|stamp| Searched { path, stamp }));
        match found {
            Some(found) if i128::from(found.stamp.1) < now.as_nanos() as i128 => {
                let is_same = |one: &Searched| one.stamp.0.is_on_device_of(found.stamp.0);
                let is_known = self.searched.last().is_some_and(is_same);
                self.is_unsure |= !is_known && !is_of_this_kernel(&found.path);
                self.searched.push(found);
            }
            _ => self.is_unsure = true,
        }
    }
}

fn stamp(path: &CStr) -> Option<Stamp> {
    let status = file::status_at(ROOTED, path, LastLink::Keep).ok()?;
    Some((status.identity, status.changed))
}

fn is_of_this_kernel(directory: &CStr) -> bool {
    let access = file::Access::LOCATE | file::Access::NO_LINK;
    let opened = file::open_at(ROOTED, directory, access, 0);
    opened.is_ok_and(|directory| file::is_of_this_kernel(directory.as_fd()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::path_uri::PathStyle;
    use crate::sandbox::policy::Context;
    use crate::sandbox::scratch::Scratch;

    fn policy(root: &Path) -> Policy {
        let json = format!(
            r#"{{"permissions":{{"type":"managed","network":"restricted","file_system":{{
                "type":"restricted","entries":[
                {{"path":{{"type":"path","path":"{0}"}},"access":"write"}},
                {{"path":{{"type":"glob_pattern","pattern":"{0}/**/*.env"}},"access":"none"}}]}}}},
                "windowsSandboxLevel":"disabled"}}"#,
            root.display()
        );
        let context = Context {
            process_cwd: None,
            tmpdir: None,
            style: PathStyle::Native,
        };
        Policy::parse(&json, &context).unwrap()
    }

    /// A scan as it would be, had nothing changed for long.
    fn settled(root: &Path) -> Scan {
        let mut scan = Scan::new(&policy(root)).unwrap();
        assert!(
            !scan.holds(),
            "a directory that has just changed tells nothing"
        );
        scan.is_unsure = false;
        scan.searched = [root.to_owned(), root.join("sub"), root.join("sub/deep")]
            .map(|path| {
                let path = CString::new(path.as_os_str().as_bytes()).unwrap();
                let stamp = stamp(&path).unwrap();
                Searched { path, stamp }
            })
            .into();
        assert!(scan.holds());
        scan
    }

    #[test]
    fn what_could_match_anew_makes_a_scan_old() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 4] = [
            ("made", |sub| fs::write(sub.join("b.env"), "").unwrap()),
            ("made deep", |sub| {
                fs::write(sub.join("deep/b.env"), "").unwrap();
            }),
            ("renamed", |sub| {
                fs::rename(sub.join("other"), sub.join("b.env")).unwrap();
            }),
            ("gone", |sub| fs::remove_file(sub.join("a.env")).unwrap()),
        ];
        for (what, change) in changes {
            let scratch = Scratch::new("scan");
            let sub = scratch.path().join("sub");
            fs::create_dir_all(sub.join("deep")).unwrap();
            for name in ["a.env", "other"] {
                fs::write(sub.join(name), "").unwrap();
            }
            let scan = settled(scratch.path());
            assert_eq!(scan.matches, [sub.join("a.env")]);
            fs::write(sub.join("other"), "changed").unwrap();
            assert!(scan.holds(), "what a file holds is nothing to its name");
            change(&sub);
            assert!(!scan.holds(), "{what}");
        }
    }
}
