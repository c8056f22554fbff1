//! One file on its way in blocks, several at once, and the name that it has until it is complete.
//!
//! A part is `.NAME.PART-xxxxxxxx-yyyyyyyyyyyyyyyy`. The first number stands for the source as it is,
//! so that `--continue` knows what to go on with; the second is drawn anew for each part, so that
//! nobody can put something under its name before us.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::WORKERS;
use super::hard_links::FirstName;
use super::queue::Directory;
use super::side::{BLOCK, Block, Blocks, CopyError, Found, between_holes};
use crate::env::NewMetadata;
use crate::hex::hex;
use crate::sys::random;
use crate::sys::sync::Mutex;
use crate::visible::Visible;

/// Blocks under way at first. Where the other side is near, more are no faster, and do not fit the
/// processor's cache.
const FEW: usize = 6;
/// A block that takes longer calls for more of them at once, unless it had to wait for room: then it
/// calls for half as many.
const SLOW: Duration = Duration::from_millis(16);

/// How far apart the blocks of a file that are on their way at once can be. A part holds whatever
/// is further than this before its end, whichever block was the last to be written: what
/// `--continue` relies on.
const WINDOW: u64 = 32 * BLOCK as u64;

/// Bytes of the source's name that are left in the part's, so that it does not get too long.
const NAME_KEPT: usize = 200;
/// Why a file is not copied that has lost bytes since it was looked at.
pub(crate) const SHORTER: &str = "it became shorter while it was copied; copy it again";
/// Why a file is not copied that has become another.
pub(crate) const CHANGED: &str = "it was changed while it was copied; copy it again";
/// Digits of the number that is drawn.
const DRAWN: usize = 16;

/// A file that several threads copy.
pub(crate) struct Transfer {
    source: Box<dyn Blocks>,
    target: Box<dyn Blocks>,
    pub(crate) file: File,
    /// What it gets when all is there.
    new: NewMetadata,
    /// Whether holes are left out on the way.
    keeps_holes: bool,
    /// How many bytes it had when it was looked at; no more are copied. None where nobody knew, or
    /// as of files of `/proc`, which have bytes and no size.
    size: Option<u64>,
    progress: Mutex<Progress>,
}

/// Which file that is.
pub(crate) struct File {
    pub(crate) from: PathBuf,
    /// How the source looked.
    pub(crate) found: Found,
    /// If it is the first name of a file that has several.
    pub(crate) first: Option<FirstName>,
    /// What is written: the part, or where the target cannot rename the file itself.
    pub(crate) part: PathBuf,
    pub(crate) last: PathBuf,
    /// The directory that it is in, if that is copied too.
    pub(crate) parent: Option<Arc<Directory>>,
}

/// How far it is.
#[derive(Debug)]
struct Progress {
    /// The next block that nobody has taken.
    next: u64,
    /// Up to where blocks are taken before it is known that there are so many.
    limit: u64,
    /// Where the file ends, once a block has told.
    end: Option<u64>,
    /// The furthest byte that was written.
    furthest: u64,
    taken: BTreeSet<u64>,
    /// How many blocks may be under way.
    at_once: usize,
    error: Option<CopyError>,
}

/// A block that was copied.
#[derive(Debug)]
struct Copied {
    /// How many bytes it had, which are more than a block's where a hole goes on behind it.
    count: u64,
    /// Whether it was the last.
    is_last: bool,
    /// Whether it had to wait for room at the target that others had.
    was_crowded: bool,
}

/// What a thread has to do with a transfer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// To copy the block at this offset.
    Block(u64),
    /// Nothing at the moment: others have to get further first.
    Later,
}

impl Transfer {
    pub(crate) fn new(
        (source, target): (Box<dyn Blocks>, Box<dyn Blocks>),
        file: File,
        new: NewMetadata,
        start: u64,
    ) -> Self {
        let size = file.found.size.filter(|size| *size > 0);
        Self {
            source,
            target,
            file,
            new,
            // The size alone makes the one at the end.
            keeps_holes: new.size.is_some(),
            size,
            progress: Mutex::new(Progress {
                next: start,
                // The first block is always asked for.
                limit: size.unwrap_or(0).max(start + 1),
                end: None,
                furthest: start,
                taken: BTreeSet::new(),
                at_once: FEW,
                error: None,
            }),
        }
    }

    /// Up to where it was written.
    pub(crate) fn written(&self) -> u64 {
        self.progress.lock().furthest
    }

    /// Takes a block, if there is one to be taken.
    pub(crate) fn claim(&self) -> Claim {
        let mut progress = self.progress.lock();
        let progress = &mut *progress;
        let first = progress.taken.first().copied().unwrap_or(progress.next);
        let end = progress.end.unwrap_or(u64::MAX).min(progress.limit);
        let is_far = progress.next - first >= WINDOW;
        let is_full = progress.taken.len() >= progress.at_once;
        if progress.error.is_some() || progress.next >= end || is_far || is_full {
            return Claim::Later;
        }
        let offset = progress.next;
        progress.taken.insert(offset);
        progress.next = offset + BLOCK as u64;
        Claim::Block(offset)
    }

    /// Copies a block that was taken; how many bytes that were, and whether no block is taken or to
    /// be taken any more, so that the file is to be finished.
    pub(crate) fn copy(&self, offset: u64) -> (u64, bool) {
        let begun = Instant::now();
        let copied = self.copy_block(offset);
        self.settle(offset, copied, begun.elapsed())
    }

    /// Notes what became of a block, and how long that took; the result is that of [`Self::copy`].
    fn settle(
        &self,
        offset: u64,
        copied: Result<Copied, CopyError>,
        time: Duration,
    ) -> (u64, bool) {
        let mut progress = self.progress.lock();
        progress.taken.remove(&offset);
        if matches!(&copied, Ok(copied) if copied.was_crowded) {
            progress.at_once = 1.max(progress.at_once / 2);
        } else if time > SLOW {
            progress.at_once = WORKERS.min(progress.at_once + 1);
        }
        let bytes = match copied {
            Ok(Copied { count, is_last, .. }) => {
                let behind = offset + count;
                // A hole goes on behind the block.
                let next = behind / BLOCK as u64 * BLOCK as u64;
                let skipped = next.saturating_sub(progress.next);
                progress.next += skipped;
                if is_last {
                    progress.end = Some(progress.end.map_or(behind, |end| end.min(behind)));
                } else if self.size.is_none() {
                    progress.limit = progress.limit.max(behind + 1);
                }
                if count > 0 {
                    progress.furthest = progress.furthest.max(behind);
                }
                count.min(BLOCK as u64) + skipped
            }
            Err(error) => {
                progress.error.get_or_insert(error);
                0
            }
        };
        let is_over =
            progress.error.is_some() || progress.end.is_some_and(|end| progress.next >= end);
        (bytes, is_over && progress.taken.is_empty())
    }

    fn copy_block(&self, offset: u64) -> Result<Copied, CopyError> {
        let mut block = Block::default();
        let read = self.source.read(offset, self.keeps_holes, &mut block)?;
        let mut is_last = read.is_last;
        if let (Some(size), Some(until)) = (self.size, read.hole_until) {
            let until = until.min(size);
            if until >= size.min(offset + BLOCK as u64) && until > offset {
                return Ok(Copied {
                    count: until - offset,
                    is_last: until == size,
                    was_crowded: false,
                });
            }
        }
        if let Some(size) = self.size {
            // What it has grown by since it was looked at would have no end.
            let left = size.saturating_sub(offset);
            is_last |= block.data().len() as u64 >= left;
            block.cut(left);
        }
        if !is_last && block.data().len() < BLOCK {
            let why = "the server sent less than a block, and not the end";
            return Err(CopyError::of(Visible(self.file.from.display()), why));
        }
        let mut was_crowded = false;
        if self.keeps_holes {
            for (start, part) in between_holes(block.data(), self.target.least_hole()) {
                was_crowded |= self.target.write(offset + start as u64, part)?;
            }
        } else if !block.data().is_empty() {
            was_crowded = self.target.write(offset, block.data())?;
        }
        Ok(Copied {
            count: block.data().len() as u64,
            is_last,
            was_crowded,
        })
    }

    /// Gives the file what it is to have, and closes both; an error of a block is that of the file.
    pub(crate) fn close(self, name: &str) -> (File, Result<(), CopyError>) {
        let progress = self.progress.into_inner();
        let unchanged = self.source.close();
        let copied = match progress.error {
            Some(error) => Err(error),
            None if progress.end != Some(progress.furthest)
                || self.size.is_some_and(|size| progress.furthest < size) =>
            {
                Err(CopyError::of(name, SHORTER))
            }
            None => unchanged.and_then(|()| self.target.settle(self.new)),
        };
        let closed = self.target.close();
        (self.file, copied.and(closed))
    }
}

/// The names of the parts of one file.
pub(crate) struct PartNames {
    directory: PathBuf,
    /// What they begin with: the same for the same source, as long as that does not change.
    start: OsString,
}

impl PartNames {
    /// Of the file that will be `last`: beside it.
    pub(crate) fn of(last: &Path, source: &str, found: &Found) -> Self {
        let mut digest = Sha256::new();
        digest.update(source.as_bytes());
        digest.update([0]);
        digest.update(found.size.unwrap_or_default().to_le_bytes());
        digest.update(found.modified.unwrap_or_default().to_le_bytes());
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
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn draw(&self) -> io::Result<PathBuf> {
        let mut drawn = [0; DRAWN / 2];
        random::fill(&mut drawn)?;
        let mut name = self.start.clone();
        name.push(format!("{:016x}", u64::from_ne_bytes(drawn)));
        Ok(self.directory.join(name))
    }

    /// Whether a name is that of such a part.
    pub(crate) fn has(&self, name: &OsStr) -> bool {
        let rest = name.as_bytes().strip_prefix(self.start.as_bytes());
        rest.is_some_and(|rest| rest.len() == DRAWN && rest.iter().all(u8::is_ascii_hexdigit))
    }
}

/// From where on a part of this size has to be written again.
pub(crate) fn trusted(size: u64) -> u64 {
    size.saturating_sub(WINDOW) / BLOCK as u64 * BLOCK as u64
}

#[cfg(test)]
mod tests {
    use super::super::side::ReadBlock;
    use super::*;
    use crate::env::FileKind;

    /// A side that nobody asks for anything.
    struct Idle;

    impl Blocks for Idle {
        fn read(&self, _: u64, _: bool, _: &mut Block) -> Result<ReadBlock, CopyError> {
            unreachable!("no block is copied")
        }

        fn least_hole(&self) -> usize {
            BLOCK
        }

        fn write(&self, _: u64, _: &[u8]) -> Result<bool, CopyError> {
            unreachable!("no block is copied")
        }

        fn settle(&self, _: NewMetadata) -> Result<(), CopyError> {
            Ok(())
        }

        fn close(self: Box<Self>) -> Result<(), CopyError> {
            Ok(())
        }
    }

    fn transfer(size: u64) -> Transfer {
        let sides: (Box<dyn Blocks>, Box<dyn Blocks>) = (Box::new(Idle), Box::new(Idle));
        let file = File {
            from: PathBuf::new(),
            found: Found {
                size: Some(size),
                ..FOUND
            },
            first: None,
            part: PathBuf::new(),
            last: PathBuf::new(),
            parent: None,
        };
        Transfer::new(sides, file, NewMetadata::default(), 0)
    }

    fn copied_block(count: u64, is_last: bool) -> Result<Copied, CopyError> {
        Ok(Copied {
            count,
            is_last,
            was_crowded: false,
        })
    }

    /// How many blocks are under way when so many were copied, each in that time.
    fn under_way(copied: usize, time: Duration) -> usize {
        let transfer = transfer(100 * BLOCK as u64);
        let mut claims = std::iter::from_fn(|| match transfer.claim() {
            Claim::Block(offset) => Some(offset),
            Claim::Later => None,
        });
        let first: Vec<_> = claims.by_ref().collect();
        for offset in &first[..copied] {
            transfer.settle(*offset, copied_block(BLOCK as u64, false), time);
        }
        first.len() - copied + claims.count()
    }

    #[test]
    fn a_source_that_ends_before_its_size_is_no_copy() {
        let size = 10 * BLOCK as u64;
        for (end, is_whole) in [(size, true), (5 * BLOCK as u64, false)] {
            let transfer = transfer(size);
            for number in 0..10 {
                let Claim::Block(offset) = transfer.claim() else {
                    break;
                };
                let left = end.saturating_sub(offset).min(BLOCK as u64);
                let is_last = offset + left == end;
                transfer.settle(offset, copied_block(left, is_last), Duration::ZERO);
                assert!(number * BLOCK as u64 <= end);
            }
            let (_, copied) = transfer.close("source");
            assert_eq!(copied.is_ok(), is_whole, "{end}: {copied:?}");
        }
    }

    #[test]
    fn a_hole_takes_the_blocks_that_are_all_in_it_away() {
        let block = BLOCK as u64;
        let transfer = transfer(100 * block);
        assert_eq!(transfer.claim(), Claim::Block(0));
        assert_eq!(transfer.claim(), Claim::Block(block));
        let hole = transfer.settle(0, copied_block(50 * block + 7, false), Duration::ZERO);
        assert_eq!(hole, (block + 48 * block, false));
        assert_eq!(transfer.claim(), Claim::Later, "the second is far behind");
        transfer.settle(block, copied_block(block, false), Duration::ZERO);
        assert_eq!(transfer.claim(), Claim::Block(50 * block));
    }

    #[test]
    fn slow_blocks_call_for_more_of_them() {
        assert_eq!(under_way(0, Duration::ZERO), FEW);
        assert_eq!(under_way(3, SLOW), FEW);
        assert_eq!(under_way(3, SLOW * 2), FEW + 3);
    }

    #[test]
    fn a_block_that_had_to_wait_for_room_halves_them() {
        let transfer = transfer(100 * BLOCK as u64);
        for most in [FEW, FEW / 2, FEW / 4, 1] {
            let claims = std::iter::from_fn(|| match transfer.claim() {
                Claim::Block(offset) => Some(offset),
                Claim::Later => None,
            });
            let taken: Vec<u64> = claims.collect();
            assert_eq!(taken.len(), most);
            let (last, others) = taken.split_last().unwrap();
            let crowded = Copied {
                was_crowded: true,
                ..copied_block(BLOCK as u64, false).unwrap()
            };
            transfer.settle(*last, Ok(crowded), SLOW * 2);
            for offset in others {
                transfer.settle(*offset, copied_block(BLOCK as u64, false), Duration::ZERO);
            }
        }
    }

    const FOUND: Found = Found {
        kind: FileKind::Regular,
        is_link: false,
        size: Some(5),
        modified: Some(7),
        mode: None,
        version: None,
        is_sparse: false,
        id: None,
        links: 1,
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
            modified: Some(8),
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
