//! The machine's own bwraps: which there are on PATH, and which of them may be used.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::trust;

/// A file as it was when it was looked at. Another one, or a newer one, is another identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    path: PathBuf,
    device: u64,
    inode: u64,
    changed: (i64, i64),
    modified: (i64, i64),
}

/// A program named bwrap.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Canonical, or as it is on PATH where it has no canonical form.
    pub(super) path: PathBuf,
    /// Held open, so that what is looked at is what is run. The error says why it may not be used.
    pub(super) file: Result<(Identity, File), String>,
}

/// Every bwrap on a search path, in its order and each once.
pub(super) fn on_path(search: &OsStr) -> Vec<Candidate> {
    let mut seen = HashSet::new();
    std::env::split_paths(search)
        .filter_map(|directory| candidate(&directory))
        .filter(|candidate| seen.insert(candidate.path.clone()))
        .collect()
}

fn candidate(directory: &Path) -> Option<Candidate> {
    let named = directory.join("bwrap");
    if !directory.is_absolute() {
        return named.exists().then(|| Candidate {
            file: Err("its directory on PATH is relative".to_owned()),
            path: named,
        });
    }
    match named.canonicalize() {
        Ok(path) => Some(Candidate {
            file: look(&path),
            path,
        }),
        Err(error) if is_missing(&error) => None,
        Err(error) => Some(Candidate {
            file: Err(error.to_string()),
            path: named,
        }),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn look(path: &Path) -> Result<(Identity, File), String> {
    if let Some(objection) = trust::objection(path) {
        return Err(objection);
    }
    let file = File::open(path).map_err(|error| format!("it cannot be opened: {error}"))?;
    let found = file
        .metadata()
        .map_err(|error| format!("it cannot be looked at: {error}"))?;
    if !found.is_file() || found.permissions().mode() & 0o111 == 0 {
        return Err("it is no program".to_owned());
    }
    let identity = Identity {
        path: path.to_owned(),
        device: found.dev(),
        inode: found.ino(),
        changed: (found.ctime(), found.ctime_nsec()),
        modified: (found.mtime(), found.mtime_nsec()),
    };
    Ok((identity, file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::scratch::Scratch;

    #[test]
    fn what_is_not_there_is_no_candidate() {
        assert!(on_path(OsStr::new("/nowhere:/etc/passwd::")).is_empty());
    }

    #[test]
    fn one_in_a_directory_of_others_is_rejected_with_the_reason_and_listed_once() {
        let scratch = Scratch::new("candidates");
        std::fs::write(scratch.path().join("bwrap"), "").unwrap();
        let directory = scratch.path().display();
        let found = on_path(OsStr::new(&format!("{directory}:{directory}/")));
        let [candidate] = &found[..] else {
            panic!("{found:?}");
        };
        assert!(
            candidate
                .file
                .as_ref()
                .is_err_and(|why| why.contains("/var/tmp"))
        );
    }
}
