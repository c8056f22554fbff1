//! The rules of a policy by their paths. A policy may have thousands, and each is asked about what is around it.
//!
//! [`Policy::as_landlock`] says them as Landlock can: a list of trees that are allowed, each for reading or for all.
//! Landlock only adds rights on the way down. A rule that takes something away from a tree around it, which a mount can
//! do, it cannot say; such a policy is refused with that rule's name, not enforced by half. Only a rule that protects
//! metadata, which the server adds of its own accord, may be given up instead ([`Waivers`]), and is named then. Nothing is
//! given up where it can be enforced.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, Error};

use super::{Access, Link, Origin, Policy};

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
pub(crate) struct Rules(BTreeMap<PathBuf, Rule>);

impl Rules {
    /// Adds a rule; of two about the same path the stricter counts.
    pub(crate) fn add(&mut self, rule: Rule) {
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

    pub(crate) fn remove(&mut self, path: &Path) {
        self.0.remove(path);
    }

    /// The rule about this very path.
    pub(crate) fn at(&self, path: &Path) -> Option<&Rule> {
        self.0.get(path)
    }

    /// The deepest rule that a path lies under.
    pub(crate) fn around(&self, path: &Path) -> Option<&Rule> {
        path.ancestors().find_map(|path| self.at(path))
    }

    /// The rules about a path and what is below it.
    pub(crate) fn within(&self, path: &Path) -> impl Iterator<Item = &Rule> {
        let from = (Bound::Included(path), Bound::Unbounded);
        let from = self.0.range::<Path, _>(from).map(|(_, rule)| rule);
        from.take_while(move |rule| rule.path.starts_with(path))
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Rule> {
        self.0.values()
    }
}

/// What may be given up: by a client for one request (`acceptWeaker`), or by an operator for all (`--accept-weaker`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Waivers {
    /// The protection of `.git` and the like in directories that may be written.
    pub metadata: bool,
}

impl Waivers {
    /// Adds what the names stand for, which are separated by commas.
    ///
    /// # Errors
    /// What the names may be.
    pub fn add(&mut self, names: &str) -> Result<(), String> {
        names.split(',').try_for_each(|name| match name {
            "metadata" => {
                self.metadata = true;
                Ok(())
            }
            _ => Err("expected metadata, the only protection that can be given up".to_owned()),
        })
    }

    /// The names, as [`Waivers::add`] takes them one by one.
    pub fn names(self) -> Vec<&'static str> {
        let named = self.metadata.then_some("metadata");
        named.into_iter().collect()
    }

    /// What one of the two gives up.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            metadata: self.metadata || other.metadata,
        }
    }
}

impl<'de> Deserialize<'de> for Waivers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut waivers = Self::default();
        for name in Vec::<String>::deserialize(deserializer)? {
            let added = waivers.add(&name);
            added.map_err(|fault| {
                D::Error::custom(format_args!("acceptWeaker `{name}`: {fault}"))
            })?;
        }
        Ok(waivers)
    }
}

/// The trees that are allowed; everything else is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LandlockRules {
    /// May be read and run.
    pub read: Vec<PathBuf>,
    /// May be changed as well.
    pub write: Vec<PathBuf>,
    /// Metadata that should have been protected, and is as free as what is around it.
    pub given_up: Vec<PathBuf>,
}

/// The rule of a policy that Landlock cannot say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inexpressible {
    /// What the rule is about: a path, or a pattern.
    pub entry: String,
    /// The rule's access, `read` or `deny`.
    pub access: Access,
    /// The allowed tree that it takes something away from.
    pub within: PathBuf,
    /// Whether the client asked for it, or it protects metadata.
    pub origin: Origin,
}

impl fmt::Display for Inexpressible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.access {
            Access::Deny | Access::None => "denies",
            Access::Read | Access::Write => "protects",
        };
        let origin = match self.origin {
            Origin::Asked => "the entry that",
            Origin::Metadata => "the rule for metadata that",
        };
        write!(
            f,
            "Landlock cannot enforce {origin} {what} {} within {}, which is allowed",
            self.entry,
            self.within.display()
        )
    }
}

impl std::error::Error for Inexpressible {}

impl Policy {
    /// The policy as Landlock can enforce it. Names of files can be seen everywhere, which no Landlock hides.
    ///
    /// # Errors
    /// The first rule that takes something away from an allowed tree, and is not given up.
    pub fn as_landlock(&self, waivers: Waivers) -> Result<LandlockRules, Inexpressible> {
        let mut allowed = LandlockRules {
            read: Vec::new(),
            write: Vec::new(),
            given_up: Vec::new(),
        };
        if !self.confines_files {
            allowed.write.push("/".into());
            return Ok(allowed);
        }
        // In the order of paths: what is around a rule comes before it.
        let mut in_force: HashMap<&Path, &Rule> = HashMap::new();
        for rule in self.rules.iter() {
            let around = rule.path.ancestors().find_map(|path| in_force.get(path));
            if let Some(around) = around
                && rule.access < around.access
                && around.access >= Access::Read
            {
                if waivers.metadata && rule.origin == Origin::Metadata {
                    allowed.given_up.push(rule.path.clone());
                    continue;
                }
                return Err(Inexpressible {
                    entry: rule.path.display().to_string(),
                    access: rule.access,
                    within: around.path.clone(),
                    origin: rule.origin,
                });
            }
            in_force.insert(&rule.path, rule);
            match rule.access {
                Access::Read => allowed.read.push(rule.path.clone()),
                Access::Write => allowed.write.push(rule.path.clone()),
                Access::Deny | Access::None => {}
            }
        }
        for glob in self.globs() {
            if let Some(within) = self.tree_around(&glob.base) {
                return Err(Inexpressible {
                    entry: glob.pattern.clone(),
                    access: Access::Deny,
                    within: within.to_owned(),
                    origin: Origin::Asked,
                });
            }
        }
        Ok(allowed)
    }

    /// An allowed tree that has something in common with what is below `base`.
    fn tree_around(&self, base: &Path) -> Option<&Path> {
        let allowed = self
            .rules
            .iter()
            .filter(|rule| rule.access >= Access::Read)
            .map(|rule| rule.path.as_path());
        allowed
            .into_iter()
            .find(|tree| base.starts_with(tree) || tree.starts_with(base))
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

    #[test]
    fn the_names_are_a_closed_set() {
        let mut waivers = Waivers::default();
        assert_eq!(waivers.names(), [""; 0]);
        for names in ["", "files", "metadata,", "Metadata"] {
            assert!(waivers.add(names).is_err(), "{names}");
        }
        let mut waivers = Waivers::default();
        waivers.add("metadata,metadata").unwrap();
        assert_eq!(waivers.names(), ["metadata"]);
        assert_eq!(Waivers::default().or(waivers), waivers);
        assert!(serde_json::from_str::<Waivers>(r#"["network"]"#).is_err());
        let read: Waivers = serde_json::from_str(r#"["metadata"]"#).unwrap();
        assert_eq!(read, waivers);
    }
}
