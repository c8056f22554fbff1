//! Names in a directory, in little memory: a server may tell of a million of them in one answer.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::types::FileKind;

/// Names and what each is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    text: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    start: u32,
    length: u16,
    kind: FileKind,
}

impl Names {
    /// Adds one; false if it has no room, with 4 GiB of names or a name of 64 KiB.
    #[must_use]
    pub fn push(&mut self, name: &OsStr, kind: FileKind) -> bool {
        let (start, length) = (u32::try_from(self.text.len()), u16::try_from(name.len()));
        let (Ok(start), Ok(length)) = (start, length) else {
            return false;
        };
        self.text.extend_from_slice(name.as_bytes());
        self.entries.push(Entry {
            start,
            length,
            kind,
        });
        true
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The one at `index`; none behind the last.
    pub fn get(&self, index: usize) -> Option<(&OsStr, FileKind)> {
        let entry = self.entries.get(index)?;
        Some((name_of(&self.text, entry), entry.kind))
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, FileKind)> {
        let named = |entry| (name_of(&self.text, entry), entry.kind);
        self.entries.iter().map(named)
    }

    /// Sorts them by their bytes.
    pub fn sort(&mut self) {
        let text = &self.text;
        self.entries
            .sort_unstable_by(|one, other| name_of(text, one).cmp(name_of(text, other)));
    }

    /// A name that is there twice, once they are sorted.
    pub fn repeated(&self) -> Option<&OsStr> {
        let pairs = self.entries.windows(2);
        let mut names = pairs.map(|pair| [&pair[0], &pair[1]].map(|it| name_of(&self.text, it)));
        names.find(|[one, next]| one == next).map(|[name, _]| name)
    }

    /// Bytes of memory that they take.
    pub fn size(&self) -> usize {
        self.text.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Those that `is_wanted`, in the same order and in no more memory than they need.
    #[must_use]
    pub fn only(&self, is_wanted: impl Fn(&OsStr, FileKind) -> bool) -> Self {
        let wanted = || {
            self.entries
                .iter()
                .filter(|entry| is_wanted(name_of(&self.text, entry), entry.kind))
        };
        let length = wanted().map(|entry| usize::from(entry.length)).sum();
        let mut only = Self {
            text: Vec::with_capacity(length),
            entries: Vec::with_capacity(wanted().count()),
        };
        for entry in wanted() {
            // What fitted before fits again.
            let _ = only.push(name_of(&self.text, entry), entry.kind);
        }
        only
    }
}

fn name_of<'a>(text: &'a [u8], entry: &Entry) -> &'a OsStr {
    let start = entry.start as usize;
    // Entries are only made with their text.
    let name = text.get(start..start + usize::from(entry.length));
    OsStr::from_bytes(name.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: &[(&str, FileKind)]) -> Names {
        let mut names = Names::default();
        for (name, kind) in of {
            assert!(names.push(OsStr::new(name), *kind));
        }
        names
    }

    #[test]
    fn they_are_sorted_and_chosen_from() {
        let of = [
            ("b", FileKind::Directory),
            ("", FileKind::Other),
            ("abc", FileKind::Regular),
        ];
        let mut names = names(&of);
        assert_eq!(names.get(0), Some((OsStr::new("b"), FileKind::Directory)));
        names.sort();
        let sorted: Vec<_> = names.iter().map(|(name, _)| name).collect();
        assert_eq!(sorted, ["", "abc", "b"]);
        let directories = names.only(|_, kind| kind == FileKind::Directory);
        assert_eq!(directories.get(0), names.get(2));
        assert_eq!((directories.len(), directories.get(1)), (1, None));
        assert!(directories.size() < 16);
    }

    #[test]
    fn a_name_that_comes_twice_is_found() {
        let of = ["b", "a", "b"].map(|name| (name, FileKind::Regular));
        let mut names = names(&of);
        assert_eq!(names.repeated(), None);
        names.sort();
        assert_eq!(names.repeated(), Some(OsStr::new("b")));
    }

    #[test]
    fn a_name_that_is_too_long_is_not_taken() {
        let long = "n".repeat(1 << 16);
        assert!(!Names::default().push(OsStr::new(&long), FileKind::Regular));
    }
}
