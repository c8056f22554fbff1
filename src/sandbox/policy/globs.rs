//! The patterns of a policy by their bases. There may be thousands, and each path that a policy is asked about may match
//! those alone whose base is around it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Glob;

/// Patterns in the order of a policy's entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Globs {
    all: Vec<Glob>,
    /// Which of them have this base.
    by_base: BTreeMap<PathBuf, Vec<usize>>,
}

impl From<Vec<Glob>> for Globs {
    fn from(all: Vec<Glob>) -> Self {
        let mut by_base: BTreeMap<PathBuf, Vec<usize>> = BTreeMap::new();
        for (number, glob) in all.iter().enumerate() {
            by_base.entry(glob.base.clone()).or_default().push(number);
        }
        Self { all, by_base }
    }
}

impl Globs {
    pub(super) fn all(&self) -> &[Glob] {
        &self.all
    }

    /// The first that matches a canonical path, or a part of it with at least `least` components below the root.
    pub(super) fn around(&self, path: &Path, least: usize) -> Option<&Glob> {
        if self.all.is_empty() {
            return None;
        }
        let names: Vec<&[u8]> = path.iter().skip(1).map(OsStr::as_bytes).collect();
        let bases = path.ancestors().zip((0..=names.len()).rev()).skip(1);
        let first = bases.filter_map(|(base, depth)| {
            let (below, least) = (&names[depth..], least.saturating_sub(depth));
            let numbers = self.by_base.get(base)?.iter().copied();
            let mut matching = numbers.filter(|number| self.all[*number].covers(below, least));
            matching.next()
        });
        first.min().map(|number| &self.all[number])
    }
}

#[cfg(test)]
mod tests {
    use super::super::glob::{self, Shape};
    use super::*;

    #[test]
    fn the_first_pattern_that_matches_is_found_as_by_asking_all() {
        let patterns = [
            "/a/b/**/*.key",
            "/a/**/x*",
            "/a/*/c",
            "/**/*.key",
            "/a/b/?/d",
            "/a/b/c/d/*e",
        ];
        let shapes = patterns.map(|pattern| glob::parse(pattern).unwrap().remove(0));
        let globs = shapes.map(|shape| match shape {
            Shape::Wild(glob) => glob,
            Shape::Plain(path) => panic!("{}", path.display()),
        });
        let globs = Globs::from(globs.to_vec());
        let names = ["a", "b", "c", "d", "x1", "s.key", "fe"];
        let mut paths = vec![PathBuf::from("/")];
        let mut from = 0;
        for _ in 0..4 {
            let to = paths.len();
            for number in from..to {
                paths.extend(names.map(|name| paths[number].join(name)));
            }
            from = to;
        }
        for path in &paths {
            for least in 0..4 {
                let parts = || {
                    let parts = path.ancestors();
                    parts.take_while(|part| part.iter().count() > least)
                };
                let mut all = globs.all().iter();
                let expected = all.find(|glob| parts().any(|part| glob.matches(part)));
                assert_eq!(
                    globs.around(path, least),
                    expected,
                    "{} {least}",
                    path.display()
                );
            }
        }
    }
}
