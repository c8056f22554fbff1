//! What a policy was read from besides its JSON: every name of the file system that was looked at, and what was there.
//!
//! While all of that is as it was, reading the same JSON again would give the same policy, and a sandbox that was made for
//! it still shows what a new one would. Asking that costs one system call a name, most of which many rules share.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::sys::file::{self, Access, FileType, Identity, LastLink, ROOTED};

/// The longest `.git` or `commondir` file that is read: a path and a few bytes more.
const LONGEST_TEXT: u64 = 4200;

/// What was there, by absolute path.
#[derive(Clone, Debug, Default)]
pub struct PolicyInputs {
    seen: BTreeMap<CString, Seen>,
    /// Small files that were read.
    texts: BTreeMap<CString, Option<Vec<u8>>>,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nothing, or nothing that may be known.
    Nothing,
    /// A symbolic link that says this.
    Link(PathBuf),
    /// Anything else: its kind, which file it is, and which of those that have had its number.
    Something(FileType, Identity, i64),
}

impl PolicyInputs {
    /// Whether all is as it was.
    pub fn holds(&self) -> bool {
        self.seen.iter().all(|(path, seen)| look(path) == *seen)
            && self.texts.iter().all(|(path, text)| read(path) == *text)
    }

    /// Takes note of a mount point that was made where nothing was.
    pub fn adopt(&mut self, path: &Path, identity: Identity) {
        let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
            return;
        };
        if let Some(seen @ Seen::Nothing) = self.seen.get_mut(&path)
            && let found @ Seen::Something(_, there, _) = look(&path)
            && there == identity
        {
            *seen = found;
        }
    }

    /// What is at `path`; the same whenever it is asked.
    pub(crate) fn look(&mut self, path: &Path) -> Seen {
        let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
            return Seen::Nothing;
        };
        let seen = self.seen.entry(path);
        seen.or_insert_with_key(|path| look(path)).clone()
    }

    /// What kind of thing is at `path`.
    pub(crate) fn kind(&mut self, path: &Path) -> Option<FileType> {
        match self.look(path) {
            Seen::Nothing => None,
            Seen::Link(_) => Some(FileType::Link),
            Seen::Something(kind, ..) => Some(kind),
        }
    }

    /// The beginning of the file at `path`, if it is one.
    pub(crate) fn text(&mut self, path: &Path) -> Option<&[u8]> {
        if self.kind(path) != Some(FileType::Regular) {
            return None;
        }
        let path = CString::new(path.as_os_str().as_bytes()).ok()?;
        let text = self.texts.entry(path);
        text.or_insert_with_key(|path| read(path)).as_deref()
    }
}

fn look(path: &CStr) -> Seen {
    let Ok(status) = file::status_at(ROOTED, path, LastLink::Keep) else {
        return Seen::Nothing;
    };
    if status.kind != FileType::Link {
        return Seen::Something(status.kind, status.identity, status.incarnation);
    }
    file::read_link_at(ROOTED, path).map_or(Seen::Nothing, |target| Seen::Link(target.into()))
}

fn read(path: &CStr) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    // What is there now may be another thing than what was looked at.
    let access = Access::READ | Access::NO_WAIT | Access::NO_LINK;
    let file = File::from(file::open_at(ROOTED, path, access, 0).ok()?);
    file.take(LONGEST_TEXT).read_to_end(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::scratch::Scratch;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// Of `there`, a directory, `link` to it, `text`, a file, and `missing`.
    fn inputs(root: &Path) -> PolicyInputs {
        let mut inputs = PolicyInputs::default();
        for name in ["", "there", "link", "missing"] {
            inputs.look(&root.join(name));
        }
        assert_eq!(inputs.text(&root.join("text")), Some(&b"old"[..]));
        inputs
    }

    fn place(name: &str) -> Scratch {
        let scratch = Scratch::new(name);
        fs::create_dir(scratch.path().join("there")).unwrap();
        symlink("there", scratch.path().join("link")).unwrap();
        fs::write(scratch.path().join("text"), "old").unwrap();
        scratch
    }

    #[test]
    fn what_changes_below_or_beside_is_nothing_to_it() {
        let place = place("inputs-same");
        let inputs = inputs(place.path());
        fs::write(place.path().join("there/file"), "new").unwrap();
        fs::write(place.path().join("beside"), "new").unwrap();
        assert!(inputs.holds());
    }

    #[test]
    fn what_has_come_gone_or_been_replaced_is_told() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 8] = [
            ("come", |root| fs::create_dir(root.join("missing")).unwrap()),
            ("gone", |root| fs::remove_dir(root.join("there")).unwrap()),
            ("moved here", |root| {
                fs::create_dir(root.join("other")).unwrap();
                fs::rename(root.join("other"), root.join("there")).unwrap();
            }),
            // Which file systems like to do with the number of the former one.
            ("made anew", |root| {
                fs::remove_dir(root.join("there")).unwrap();
                fs::create_dir(root.join("there")).unwrap();
            }),
            ("led elsewhere", |root| {
                fs::remove_file(root.join("link")).unwrap();
                symlink("missing", root.join("link")).unwrap();
            }),
            ("no link any more", |root| {
                fs::remove_file(root.join("link")).unwrap();
                fs::create_dir(root.join("link")).unwrap();
            }),
            ("saying something else", |root| {
                fs::write(root.join("text"), "new").unwrap();
            }),
            ("without its beginning", |root| {
                fs::rename(root, root.with_extension("gone")).unwrap();
            }),
        ];
        for (what, change) in changes {
            let place = place("inputs-changes");
            let inputs = inputs(place.path());
            assert!(inputs.holds(), "before it is {what}");
            change(place.path());
            assert!(!inputs.holds(), "{what}");
            let _ = fs::remove_dir_all(place.path().with_extension("gone"));
        }
    }

    #[test]
    fn a_mount_point_of_our_own_is_as_good_as_nothing() {
        let place = place("inputs-adopted");
        let missing = place.path().join("missing");
        let identity = |path: &Path| {
            let path = CString::new(path.as_os_str().as_bytes()).unwrap();
            let status = file::status_at(ROOTED, &path, LastLink::Keep).unwrap();
            status.identity
        };
        let mut inputs = inputs(place.path());
        fs::write(&missing, "").unwrap();
        inputs.adopt(&missing, identity(&place.path().join("text")));
        assert!(!inputs.holds(), "that is another file");
        inputs.adopt(&missing, identity(&missing));
        assert!(inputs.holds());
        fs::remove_file(&missing).unwrap();
        assert!(!inputs.holds(), "the mount is gone with its point");
    }
}
