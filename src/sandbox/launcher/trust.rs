//! Whether a program that others could have put there may build a sandbox.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const OTHERS_WRITE: u32 = 0o022;

/// Why a program at a canonical path is not to be trusted; `None` if it is. Root must own it and every directory
/// above it, and nobody else may write to any of them.
pub(super) fn objection(path: &Path) -> Option<String> {
    path.ancestors().find_map(|part| {
        let found = match fs::symlink_metadata(part) {
            Ok(found) => found,
            Err(error) => return Some(format!("{}: {error}", part.display())),
        };
        let fault = fault(&found)?;
        Some(format!("{} {fault}", part.display()))
    })
}

fn fault(found: &Metadata) -> Option<String> {
    if found.uid() != 0 {
        return Some(format!("belongs to user {}, not to root", found.uid()));
    }
    (found.mode() & OTHERS_WRITE != 0).then(|| {
        format!(
            "can be written to by others than root (mode {:o})",
            found.mode() & 0o7777
        )
    })
}

/// Why a program at a canonical path may not be used by a start in `cwd` that can write to `roots`.
pub(super) fn is_in_reach<'a>(
    path: &Path,
    cwd: Option<&Path>,
    roots: impl IntoIterator<Item = &'a Path>,
) -> Option<String> {
    // The root directory says nothing about where a program comes from.
    let cwd = cwd.filter(|cwd| *cwd != Path::new("/"));
    if let Some(cwd) = cwd.filter(|cwd| path.starts_with(cwd)) {
        return Some(format!("is below the working directory {}", cwd.display()));
    }
    let root = roots.into_iter().find(|root| path.starts_with(root))?;
    Some(format!(
        "is below {}, which the policy lets programs write to",
        root.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::scratch::Scratch;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_only_root_can_change_is_trusted() {
        // The shell of any system, at its canonical path.
        let shell = Path::new("/bin/sh").canonicalize().unwrap();
        assert_eq!(objection(&shell), None);
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_an_objection() {
        let scratch = Scratch::new("trust");
        let program = scratch.path().join("bwrap");
        fs::write(&program, "").unwrap();
        // The directory of the test lies below /var/tmp, which everybody may write to.
        assert!(objection(&program).is_some_and(|why| why.contains("/var/tmp")));
        fs::set_permissions(&program, fs::Permissions::from_mode(0o777)).unwrap();
        let found = fs::metadata(&program).unwrap();
        assert!(fault(&found).is_some());
    }

    #[test]
    fn a_missing_program_is_an_objection() {
        assert!(objection(Path::new("/nowhere/bwrap")).is_some());
    }

    #[test]
    fn a_program_in_reach_of_what_it_confines_is_not_used() {
        let bwrap = Path::new("/opt/x/bwrap");
        let none: [&Path; 0] = [];
        assert_eq!(is_in_reach(bwrap, Some(Path::new("/")), none), None);
        assert_eq!(is_in_reach(bwrap, Some(Path::new("/opt/xy")), none), None);
        assert!(is_in_reach(bwrap, Some(Path::new("/opt")), none).is_some());
        assert!(is_in_reach(bwrap, None, [Path::new("/opt/x")]).is_some());
        assert!(is_in_reach(bwrap, None, [Path::new("/")]).is_some());
    }
}
