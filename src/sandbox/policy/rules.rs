//! Rules by their paths. A policy may have thousands, and each is asked about what is around it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use super::{Access, Link, Origin};

/// One rule about one path and all below it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Canonical as far as it exists.
    pub path: PathBuf,
    /// The symbolic links that lead there from the path that the client knows; of several entries, those of all.
    pub links: Vec<Link>,
    /// What the rule says; never [`Access::None`].
    pub access: Access,
    /// Where it comes from.
    pub origin: Origin,
}

/// One rule a path, in the order of the paths: what is below a path comes right after it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Rules(BTreeMap<PathBuf, Rule>);

impl Rules {
    /// Adds a rule; of two about the same path the stricter counts.
    pub(super) fn add(&mut self, rule: Rule) {
        match self.0.entry(rule.path.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(rule);
            }
            Entry::Occupied(mut occupied) => {
                let one = occupied.get_mut();
                one.access = one.access.at_equal_depth(rule.access);
                one.links.extend(rule.links);
            }
        }
    }

    /// The rule about this very path.
    pub(super) fn at(&self, path: &Path) -> Option<&Rule> {
        self.0.get(path)
    }

    /// The deepest rule that a path lies under.
    pub(super) fn around(&self, path: &Path) -> Option<&Rule> {
        path.ancestors().find_map(|path| self.at(path))
    }

    /// The rules about a path and what is below it.
    pub(super) fn within(&self, path: &Path) -> impl Iterator<Item = &Rule> {
        let from = (Bound::Included(path), Bound::Unbounded);
        let from = self.0.range::<Path, _>(from).map(|(_, rule)| rule);
        from.take_while(move |rule| rule.path.starts_with(path))
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Rule> {
        self.0.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(paths: &[(&str, Access)]) -> Rules {
        let mut rules = Rules::default();
        for (path, access) in paths {
            rules.add(Rule {
                path: path.into(),
                links: Vec::new(),
                access: *access,
                origin: Origin::Asked,
            });
        }
        rules
    }

    #[test]
    fn the_deepest_rule_is_around_a_path() {
        let rules = rules(&[
            ("/a/b/c", Access::Deny),
            ("/a", Access::Read),
            ("/a/b", Access::Write),
            ("/a/b-c", Access::Read),
        ]);
        for (path, expected) in [
            ("/", None),
            ("/a", Some("/a")),
            ("/a/x/y", Some("/a")),
            ("/a/b/x", Some("/a/b")),
            ("/a/b/c/d", Some("/a/b/c")),
            ("/ab", None),
        ] {
            let found = rules.around(Path::new(path));
            assert_eq!(found.map(|rule| rule.path.to_str().unwrap()), expected);
        }
        let within: Vec<_> = rules.within(Path::new("/a/b")).map(|it| &it.path).collect();
        assert_eq!(within, [Path::new("/a/b"), Path::new("/a/b/c")]);
    }

    #[test]
    fn of_two_rules_about_a_path_a_denial_counts_and_then_a_permission_to_write() {
        let rules = rules(&[
            ("/a", Access::Read),
            ("/a", Access::Write),
            ("/b", Access::Deny),
            ("/b", Access::Write),
        ]);
        let access: Vec<_> = rules.iter().map(|rule| rule.access).collect();
        assert_eq!(access, [Access::Write, Access::Deny]);
    }
}
