//! Whether the file system still is what a helper was started for.
//!
//! A sandbox is a picture of the moment at which it was made: a root that did not exist then is
//! not in it, what was masked as missing stays masked, and a file that another was renamed over is
//! the former one. So each use of a helper is preceded by a look at everything that its policy
//! names.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::sandbox::policy::Policy;
use crate::sys::file::{self, Identity, LastLink, ROOTED};
use crate::sys::poll::{self, EXCEPTIONAL, PollFd};

/// What a policy's paths are at one moment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct View {
    named: Vec<Seen>,
    /// What the patterns match.
    matches: Vec<PathBuf>,
    mounts: u64,
}

/// One path that decides what a sandbox shows.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    path: CString,
    /// None if nothing is there, or nothing that may be known.
    identity: Option<Identity>,
}

impl View {
    /// Looks at everything that `policy` names and, above what is missing, up to the first thing
    /// that is there. `matches` is what its patterns match, `mounts` counts the changes of the
    /// list of mounts. To be taken before the sandbox is made: what changes meanwhile makes the
    /// sandbox look old, never new.
    pub(super) fn take(policy: &Policy, matches: Vec<PathBuf>, mounts: u64) -> Self {
        let mut named: Vec<Seen> = Vec::new();
        for rule in policy.rules() {
            for path in rule.path.ancestors() {
                let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
                    break;
                };
                if named.iter().any(|seen| seen.path == path) {
                    break;
                }
                let identity = identity(&path);
                named.push(Seen { path, identity });
                if identity.is_some() {
                    break;
                }
            }
        }
        Self {
            named,
            matches,
            mounts,
        }
    }

    /// Whether all is as it was.
    pub(super) fn is_current(&self, matches: &[PathBuf], mounts: u64) -> bool {
        self.mounts == mounts
            && self.matches == matches
            && self
                .named
                .iter()
                .all(|seen| identity(&seen.path) == seen.identity)
    }

    /// Takes note of a place that the sandbox itself has made, to be taken for as it is.
    pub(super) fn adopt(&mut self, path: &Path, identity: Identity) {
        for seen in &mut self.named {
            if seen.path.as_bytes() == path.as_os_str().as_bytes() {
                seen.identity.get_or_insert(identity);
            }
        }
    }
}

fn identity(path: &CStr) -> Option<Identity> {
    let status = file::status_at(ROOTED, path, LastLink::Keep).ok()?;
    Some(status.identity)
}

/// Counts the changes of the list of mounts.
#[derive(Debug)]
pub(super) struct Mounts(Mutex<Count>);

#[derive(Debug)]
struct Count {
    /// None where there is no `/proc`.
    list: Option<File>,
    changes: u64,
}

impl Mounts {
    pub(super) fn open() -> Self {
        Self(Mutex::new(Count {
            list: File::open("/proc/self/mountinfo").ok(),
            changes: 0,
        }))
    }

    /// How often the list is known to have changed. Where that cannot be known, it always has.
    pub(super) fn changes(&self) -> u64 {
        let mut count = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_changed = count.list.as_ref().is_none_or(|list| {
            let mut fds = [PollFd::new(list.as_fd(), EXCEPTIONAL)];
            poll::wait(&mut fds, Some(Duration::ZERO)).is_err() || fds[0].is_ready()
        });
        count.changes += u64::from(has_changed);
        count.changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::path_uri::PathStyle;
    use crate::sandbox::policy::Context;
    use std::fs;

    struct Place {
        root: PathBuf,
        policy: Policy,
    }

    impl Place {
        /// A policy about `there`, which exists, and `missing/deep`, which does not.
        fn new(name: &str) -> Self {
            let name = format!("exec-server-view-{}-{name}", std::process::id());
            let root = std::env::temp_dir().join(name);
            fs::create_dir_all(root.join("there")).unwrap();
            let root = root.canonicalize().unwrap();
            let entry = |below: &str, access: &str| {
                format!(
                    r#"{{"path":{{"type":"path","path":"{}/{below}"}},"access":"{access}"}}"#,
                    root.display()
                )
            };
            let json = format!(
                r#"{{"permissions":{{"type":"managed","network":"restricted","file_system":{{
                    "type":"restricted","entries":[{},{}]}}}},"windowsSandboxLevel":"disabled"}}"#,
                entry("there", "read"),
                entry("missing/deep", "none")
            );
            let context = Context {
                process_cwd: None,
                tmpdir: None,
                style: PathStyle::Native,
            };
            let policy = Policy::parse(&json, &context).unwrap();
            Self { root, policy }
        }

        fn view(&self) -> View {
            View::take(&self.policy, Vec::new(), 0)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.root);
        }
    }

    #[test]
    fn what_nothing_has_happened_to_is_current() {
        let place = Place::new("same");
        let view = place.view();
        fs::write(place.root.join("there/file"), "new").unwrap();
        fs::write(place.root.join("beside"), "new").unwrap();
        assert!(view.is_current(&[], 0));
    }

    #[test]
    fn what_has_come_gone_or_been_replaced_is_not() {
        let place = Place::new("changes");
        let (there, missing) = (place.root.join("there"), place.root.join("missing"));
        let view = place.view();
        fs::create_dir(&missing).unwrap();
        assert!(!view.is_current(&[], 0), "the beginning of a path has come");
        fs::remove_dir(&missing).unwrap();
        assert!(view.is_current(&[], 0));
        fs::rename(&there, &missing).unwrap();
        assert!(!view.is_current(&[], 0), "a path has gone");
        fs::remove_dir(&missing).unwrap();
        fs::create_dir(place.root.join("other")).unwrap();
        let view = place.view();
        fs::rename(place.root.join("other"), &there).unwrap();
        assert!(!view.is_current(&[], 0));
        let view = place.view();
        fs::create_dir(place.root.join("other")).unwrap();
        fs::rename(place.root.join("other"), &there).unwrap();
        assert!(!view.is_current(&[], 0), "a path is another directory");
    }

    #[test]
    fn a_mount_point_of_our_own_is_taken_for_missing() {
        let place = Place::new("adopted");
        let missing = place.root.join("missing");
        let mut view = place.view();
        fs::write(&missing, "").unwrap();
        let path = CString::new(missing.as_os_str().as_bytes()).unwrap();
        view.adopt(&missing, identity(&path).unwrap());
        assert!(view.is_current(&[], 0));
        fs::remove_file(&missing).unwrap();
        assert!(!view.is_current(&[], 0), "the mount is gone with its point");
    }

    #[test]
    fn matches_and_mounts_count() {
        let place = Place::new("counts");
        let view = View::take(&place.policy, vec!["/a".into()], 3);
        assert!(view.is_current(&["/a".into()], 3));
        assert!(!view.is_current(&["/a".into(), "/b".into()], 3));
        assert!(!view.is_current(&["/a".into()], 4));
    }
}
