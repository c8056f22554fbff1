//! Names of files that are not complete yet, and from where on such a file is to be trusted.

use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::side::{BLOCK, Found};

/// How far apart the blocks of a file that are on their way at once can be. A part holds whatever
/// is further than this before its end, whichever block was the last to be written: what
/// `--continue` relies on, also with the parts of other versions.
pub(super) const WINDOW: u64 = 32 * BLOCK as u64;

/// Bytes of the source's name that are left in the part's, so that it does not get too long.
const NAME_KEPT: usize = 200;

/// The part of a file that will be `last`: beside it, and the same for the same source, as long
/// as that does not change.
pub(super) fn part_of(last: &Path, source: &str, found: &Found) -> PathBuf {
    let mut digest = Sha256::new();
    digest.update(source.as_bytes());
    digest.update([0]);
    digest.update(found.size.unwrap_or_default().to_le_bytes());
    digest.update(found.modified_ms.unwrap_or_default().to_le_bytes());
    let mut suffix = String::from(".PART-");
    for byte in &digest.finalize()[..4] {
        // Writing to a text cannot fail.
        let _ = write!(suffix, "{byte:02x}");
    }
    let name = last.file_name().unwrap_or_default();
    let mut part = OsString::from(".");
    // A name of text stays one: cut between characters.
    match name.to_str() {
        Some(text) => part.push(&text[..text.floor_char_boundary(NAME_KEPT)]),
        None => part.push(std::ffi::OsStr::from_bytes(
            &name.as_bytes()[..name.len().min(NAME_KEPT)],
        )),
    }
    part.push(suffix);
    last.with_file_name(part)
}

/// From where on a part of this size has to be written again.
pub(super) fn trusted(size: u64) -> u64 {
    size.saturating_sub(WINDOW) / BLOCK as u64 * BLOCK as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::FileKind;

    const FOUND: Found = Found {
        kind: FileKind::Regular,
        is_link: false,
        size: Some(5),
        modified_ms: Some(7),
        mode: None,
    };

    #[test]
    fn a_part_is_beside_the_file_and_changes_with_the_source() {
        let part = |source: &str, found: &Found| part_of(Path::new("/d/f"), source, found);
        let first = part("a", &FOUND);
        assert_eq!(first.parent(), Some(Path::new("/d")));
        let name = first.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(".f.PART-") && name.len() == 16, "{name}");
        assert_eq!(part("a", &FOUND), first);
        let newer = Found {
            modified_ms: Some(8),
            ..FOUND
        };
        assert_ne!(part("a", &newer), first);
        assert_ne!(part("b", &FOUND), first);
    }

    #[test]
    fn a_long_name_stays_within_the_limit_of_file_systems() {
        let long = "\u{fc}".repeat(127);
        let part = part_of(Path::new(&long), "s", &FOUND);
        assert!(part.as_os_str().len() <= 255 && part.to_str().is_some());
    }

    #[test]
    fn whole_blocks_before_the_window_are_trusted() {
        let block = BLOCK as u64;
        assert_eq!(trusted(WINDOW), 0);
        assert_eq!(trusted(WINDOW + block - 1), 0);
        assert_eq!(trusted(WINDOW + block), block);
        assert_eq!(trusted(WINDOW + 5 * block + 3), 5 * block);
    }
}
