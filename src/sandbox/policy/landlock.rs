//! A policy as Landlock can say it: a list of trees that are allowed, each for reading or for all.
//!
//! Landlock only adds rights on the way down. A rule that takes something away from a tree around it, which a mount can
//! do, it cannot say; such a policy is refused with that rule's name, not enforced by half. Only a rule that protects
//! metadata may be given up instead, and is named then.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::{Access, Origin, Policy, Rule, Waivers};

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
