//! Where a path leads, with every symbolic link on the way.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::inputs::{PolicyInputs, Seen};

/// Links followed for one path, as the kernel's limit has it.
const MAX_LINKS: usize = 40;

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedPath {
    /// Canonical as far as it exists; what is missing is added as it was written.
    pub path: PathBuf,
    /// The links that were followed.
    pub links: Vec<Link>,
}

/// A symbolic link.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// Where it is: canonical.
    pub path: PathBuf,
    /// What it says.
    pub target: PathBuf,
}

impl ResolvedPath {
    /// Follows an absolute path.
    ///
    /// # Errors
    /// Only if links lead in circles. What cannot be looked at counts as missing.
    pub fn find(path: &Path) -> io::Result<Self> {
        Self::find_by(path, &mut PolicyInputs::default())
    }

    /// The same by what has been seen, which is added to.
    pub(super) fn find_by(path: &Path, inputs: &mut PolicyInputs) -> io::Result<Self> {
        Self::find_with(path, |path| inputs.look(path))
    }

    /// The same by what `look` says of each path on the way.
    pub(super) fn find_with(path: &Path, mut look: impl FnMut(&Path) -> Seen) -> io::Result<Self> {
        let mut ahead: VecDeque<OsString> = names(path);
        let mut here = PathBuf::from("/");
        let mut links = Vec::new();
        let mut is_missing = false;
        while let Some(name) = ahead.pop_front() {
            if name == ".." {
                here.pop();
                continue;
            }
            here.push(&name);
            // What the links there lead to is of whoever follows them: of us, and not of whom the policy is for.
            if is_missing || here.starts_with("/proc") {
                continue;
            }
            match look(&here) {
                Seen::Link(target) => {
                    if links.len() == MAX_LINKS {
                        return Err(io::Error::from_raw_os_error(libc::ELOOP));
                    }
                    links.push(Link {
                        path: here.clone(),
                        target: target.clone(),
                    });
                    here.pop();
                    if target.is_absolute() {
                        here = PathBuf::from("/");
                    }
                    for name in names(&target).into_iter().rev() {
                        ahead.push_front(name);
                    }
                }
                Seen::Something(..) => {}
                Seen::Nothing => is_missing = true,
            }
        }
        Ok(Self { path: here, links })
    }
}

fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use crate::sandbox::scratch::Scratch;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_of_processes_are_not_followed() {
        let scratch = Scratch::new("place-proc");
        let link = scratch.path().join("link");
        symlink("/proc/self/cwd", &link).unwrap();
        for (path, expected) in [
            ("/proc/self/fd/0", "/proc/self/fd/0"),
            ("/proc/self/cwd/../x", "/proc/self/x"),
            (link.to_str().unwrap(), "/proc/self/cwd"),
            ("/procedure", "/procedure"),
        ] {
            let found = ResolvedPath::find(Path::new(path)).unwrap();
            assert_eq!(found.path, Path::new(expected));
        }
    }

    #[test]
    fn links_are_followed_and_remembered() {
        let scratch = Scratch::new("place");
        let root = scratch.path();
        fs::create_dir_all(root.join("real/sub")).unwrap();
        symlink("real", root.join("one")).unwrap();
        symlink(root.join("one/../one"), root.join("two")).unwrap();
        let found = ResolvedPath::find(&root.join("two/sub/missing/x")).unwrap();
        assert_eq!(found.path, root.join("real/sub/missing/x"));
        let links: Vec<_> = found.links.iter().map(|link| &link.path).collect();
        assert_eq!(
            links,
            [&root.join("two"), &root.join("one"), &root.join("one")]
        );
    }

    #[test]
    fn a_dangling_link_leads_to_its_target() {
        let scratch = Scratch::new("dangling");
        let root = scratch.path();
        symlink("nowhere/x", root.join("link")).unwrap();
        let found = ResolvedPath::find(&root.join("link")).unwrap();
        assert_eq!(found.path, root.join("nowhere/x"));
        let link = Link {
            path: root.join("link"),
            target: "nowhere/x".into(),
        };
        assert_eq!(found.links, [link]);
    }

    #[test]
    fn a_circle_of_links_is_an_error() {
        let scratch = Scratch::new("circle");
        let root = scratch.path();
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        let error = ResolvedPath::find(&root.join("a/x")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
    }
}
