//! Names of files that are not complete yet, and from where on such a file is to be trusted.
//!
//! A part is `.NAME.PART-xxxxxxxx-yyyyyyyyyyyyyyyy`. The first number stands for the source as it is,
//! so that `--continue` knows what to go on with; the second is drawn anew for each part, so that
//! nobody can put something under its name before us.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::side::{BLOCK, Found};
use crate::hex::hex;
use crate::sys::random;

/// How far apart the blocks of a file that are on their way at once can be. A part holds whatever
/// is further than this before its end, whichever block was the last to be written: what
/// `--continue` relies on.
pub(super) const WINDOW: u64 = 32 * BLOCK as u64;

/// Bytes of the source's name that are left in the part's, so that it does not get too long.
const NAME_KEPT: usize = 200;
/// Digits of the number that is drawn.
const DRAWN: usize = 16;

/// The names of the parts of one file.
pub(super) struct PartNames {
    directory: PathBuf,
    /// What they begin with: the same for the same source, as long as that does not change.
    start: OsString,
}

impl PartNames {
    /// Of the file that will be `last`: beside it.
    pub(super) fn of(last: &Path, source: &str, found: &Found) -> Self {
        let mut digest = Sha256::new();
        digest.update(source.as_bytes());
        digest.update([0]);
        digest.update(found.size.unwrap_or_default().to_le_bytes());
        digest.update(found.modified_ms.unwrap_or_default().to_le_bytes());
        let suffix = format!(".PART-{}-", hex(&digest.finalize()[..4]));
        let name = last.file_name().unwrap_or_default();
        let mut start = OsString::from(".");
        // A name of text stays one: cut between characters.
        match name.to_str() {
            Some(text) => start.push(&text[..text.floor_char_boundary(NAME_KEPT)]),
            None => start.push(OsStr::from_bytes(
                &name.as_bytes()[..name.len().min(NAME_KEPT)],
            )),
        }
        start.push(suffix);
        let directory = last.parent().unwrap_or(Path::new("")).to_owned();
        Self { directory, start }
    }

    /// Where they are.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A new one.
    pub(super) fn draw(&self) -> io::Result<PathBuf> {
        let mut drawn = [0; DRAWN / 2];
        random::fill(&mut drawn)?;
        let mut name = self.start.clone();
        name.push(format!("{:016x}", u64::from_ne_bytes(drawn)));
        Ok(self.directory.join(name))
    }

    /// Whether a name is that of such a part.
    pub(super) fn has(&self, name: &OsStr) -> bool {
        let rest = name.as_bytes().strip_prefix(self.start.as_bytes());
        rest.is_some_and(|rest| rest.len() == DRAWN && rest.iter().all(u8::is_ascii_hexdigit))
    }
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
    fn a_part_is_beside_the_file_and_known_again_while_the_source_stays_as_it_is() {
        let names = |source: &str, found: &Found| PartNames::of(Path::new("/d/f"), source, found);
        let first = names("a", &FOUND);
        let part = first.draw().unwrap();
        assert_eq!(part.parent(), Some(Path::new("/d")));
        let name = part.file_name().unwrap();
        assert!(name.to_str().unwrap().starts_with(".f.PART-") && name.len() == 33);
        assert!(names("a", &FOUND).has(name));
        let newer = Found {
            modified_ms: Some(8),
            ..FOUND
        };
        assert!(!names("a", &newer).has(name));
        assert!(!names("b", &FOUND).has(name));
        for other in ["f", ".f.PART-", &format!("{}0", name.display())] {
            assert!(!first.has(OsStr::new(other)), "{other}");
        }
    }

    #[test]
    fn no_part_has_the_name_of_another() {
        let names = PartNames::of(Path::new("f"), "s", &FOUND);
        assert_ne!(names.draw().unwrap(), names.draw().unwrap());
        assert_eq!(names.draw().unwrap().parent(), Some(Path::new("")));
    }

    #[test]
    fn a_long_name_stays_within_the_limit_of_file_systems() {
        let long = "\u{fc}".repeat(127);
        let part = PartNames::of(Path::new(&long), "s", &FOUND).draw().unwrap();
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
