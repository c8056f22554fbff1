//! Removing: one name, or a directory with all below it.
//!
//! A tree is removed from within, directory by directory, by descriptors: no
//! link is ever followed, whoever swaps what for a link meanwhile. Only one
//! directory is open at a time, so depth costs no descriptors; the way up is
//! `..`, and it must lead to where we came from.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::FileError;
use super::names::{Links, PathAt};
use super::walk::own_kind;
use crate::sys::directory::Names;
use crate::sys::file::{self, Access, FileType, Identity};

/// How often a removal begins anew because others remove in the same tree.
const MAX_TRIES: usize = 100;

/// How to remove.
#[derive(Clone, Copy, Debug)]
pub struct RemoveOptions {
    /// A directory goes with all below it.
    pub recursive: bool,
    /// What does not exist is no error.
    pub force: bool,
    /// Of the links in the path. A link at its end is removed itself, or refused.
    pub links: Links,
}

/// Removes what is at `path`.
pub fn remove(path: &Path, options: RemoveOptions) -> Result<(), FileError> {
    if path.parent().is_none() {
        return Err(FileError::RemoveRoot);
    }
    for _ in 0..MAX_TRIES {
        match remove_place(path, options) {
            // Below it something has gone that was to be removed: the rest is still to do.
            Err(error) if error.is_not_found() && is_there(path, options) => {}
            Err(error) if error.is_not_found() && options.force => return Ok(()),
            outcome => return outcome,
        }
    }
    Err(FileError::Moved)
}

fn is_there(path: &Path, options: RemoveOptions) -> bool {
    PathAt::find(path, options.links).is_ok_and(|place| place.status().is_ok())
}

fn remove_place(path: &Path, options: RemoveOptions) -> Result<(), FileError> {
    let place = PathAt::find(path, options.links)?;
    let kind = place.status()?.kind;
    if kind == FileType::Link && options.links == Links::Refuse {
        return Err(FileError::Link);
    }
    let (dir, name) = (place.dir(), place.path());
    // Whichever it was: each call refuses the other kind, should it have changed since.
    if kind != FileType::Directory {
        return Ok(file::unlink_at(dir, name)?);
    }
    if options.recursive {
        empty(open_below(dir, name)?)?;
    }
    Ok(file::remove_directory_at(dir, name)?)
}

/// A directory that is left for one below it.
struct Level {
    identity: Identity,
    /// The name of the one below.
    below: CString,
}

/// Removes all that is in a directory.
fn empty(top: OwnedFd) -> Result<(), FileError> {
    let mut here = top;
    let mut above: Vec<Level> = Vec::new();
    let mut names = Names::default();
    loop {
        names.restart();
        if let Some(below) = remove_names(&mut names, here.as_fd())? {
            let identity = file::status_of(here.as_fd())?.identity;
            here = open_below(here.as_fd(), &below)?;
            above.push(Level { identity, below });
            continue;
        }
        let Some(level) = above.pop() else {
            return Ok(());
        };
        here = open_below(here.as_fd(), c"..")?;
        if file::status_of(here.as_fd())?.identity != level.identity {
            return Err(FileError::Moved);
        }
        pass_over_gone(file::remove_directory_at(here.as_fd(), &level.below))?;
    }
}

/// Removes what is no directory; gives the first directory it comes upon, with the rest undone.
fn remove_names(names: &mut Names, dir: BorrowedFd<'_>) -> io::Result<Option<CString>> {
    while let Some(entry) = names.next_in(dir)? {
        if own_kind(dir, &entry) == Some(FileType::Directory) {
            return Ok(Some(entry.name.to_owned()));
        }
        pass_over_gone(file::unlink_at(dir, entry.name))?;
    }
    Ok(None)
}

/// What somebody else has removed meanwhile is as good.
fn pass_over_gone(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

fn open_below(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let access = Access::READ | Access::DIRECTORY | Access::NO_LINK;
    file::open_at(dir, name, access, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const TREE: RemoveOptions = RemoveOptions {
        recursive: true,
        force: false,
        links: Links::Follow,
    };

    fn scratch(name: &str) -> std::path::PathBuf {
        let name = format!("exec-server-remove-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path.canonicalize().unwrap()
    }

    #[test]
    fn a_tree_goes_and_what_its_links_lead_to_stays() {
        let dir = scratch("tree");
        std::fs::create_dir_all(dir.join("kept/inner")).unwrap();
        std::fs::write(dir.join("kept/inner/f"), "x").unwrap();
        for number in 0..20 {
            let below = dir.join(format!("t/{number}/a/b"));
            std::fs::create_dir_all(&below).unwrap();
            std::fs::write(below.join("f"), "x").unwrap();
            symlink(dir.join("kept"), below.join("link")).unwrap();
            symlink("nowhere", below.join("dangling")).unwrap();
        }
        remove(&dir.join("t"), TREE).unwrap();
        assert!(!dir.join("t").exists());
        assert!(dir.join("kept/inner/f").exists());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn nothing_is_left_when_others_remove_in_the_same_tree() {
        let dir = scratch("contended");
        let top = dir.join("t");
        let forced = RemoveOptions {
            force: true,
            ..TREE
        };
        for _ in 0..20 {
            for number in 0..40 {
                std::fs::create_dir_all(top.join(format!("{number}/a/b"))).unwrap();
            }
            let remove_all = || {
                remove(&top, forced).unwrap();
                assert!(!top.exists(), "reported as removed");
            };
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(remove_all);
                }
            });
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn depth_costs_neither_stack_nor_descriptors() {
        let dir = scratch("deep");
        let mut here = reopen_path(&dir);
        for _ in 0..3000 {
            file::make_directory_at(here.as_fd(), c"a-name-of-some-length", 0o777).unwrap();
            here = open_below(here.as_fd(), c"a-name-of-some-length").unwrap();
        }
        remove(&dir, TREE).unwrap();
        assert!(!dir.exists());
    }

    fn reopen_path(path: &Path) -> OwnedFd {
        open_below(file::ROOTED, &super::super::names::c_path(path).unwrap()).unwrap()
    }
}
