//! What is known to be wrong with older versions of bubblewrap.

use std::fmt;

/// A published fault of bubblewrap.
struct Advisory {
    id: &'static str,
    fixed_in: Version,
    affects: Affected,
    /// What it lets happen, as a sentence without its end.
    fault: &'static str,
}

/// Which installations of a version have a fault.
enum Affected {
    All,
    /// Those that are set-user-id.
    SetUserId,
    /// Those without `--bind-fd`, which distributions have put into older versions.
    WithoutBindFd,
}

/// Major, minor and patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version([u32; 3]);

impl Version {
    /// The version in a text; the lowest where there is none, so that what is not known counts as affected.
    fn read(text: &str) -> Self {
        let mut version = [0; 3];
        for (part, number) in version.iter_mut().zip(text.split('.')) {
            match number.parse() {
                Ok(number) => *part = number,
                Err(_) => return Self([0; 3]),
            }
        }
        Self(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

const ADVISORIES: [Advisory; 3] = [
    Advisory {
        id: "GHSA-pxhw-h44j-8pfx",
        fixed_in: Version([0, 12, 0]),
        affects: Affected::All,
        fault: "a program inside can have a directory made outside while its sandbox is set up",
    },
    Advisory {
        id: "CVE-2026-41163",
        fixed_in: Version([0, 11, 2]),
        affects: Affected::SetUserId,
        fault: "a user can trace it while it has root's rights",
    },
    Advisory {
        id: "CVE-2024-42472",
        fixed_in: Version([0, 10, 0]),
        affects: Affected::WithoutBindFd,
        fault: "what it mounts can be exchanged for something else until it is mounted",
    },
];

/// What is known to be wrong with a bwrap of this version, a sentence each.
pub(super) fn known(version: &str, is_set_user_id: bool, has_bind_fd: bool) -> Vec<String> {
    let found = Version::read(version);
    let affected = ADVISORIES.iter().filter(|advisory| {
        found < advisory.fixed_in
            && match advisory.affects {
                Affected::All => true,
                Affected::SetUserId => is_set_user_id,
                Affected::WithoutBindFd => !has_bind_fd,
            }
    });
    let sentence = |advisory: &Advisory| {
        format!(
            "bubblewrap {version} has a known fault: {} ({}, fixed in {})",
            advisory.fault, advisory.id, advisory.fixed_in
        )
    };
    affected.map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::bundled::BUNDLED_BWRAP;

    fn ids(version: &str, is_set_user_id: bool, has_bind_fd: bool) -> Vec<&'static str> {
        let sentences = known(version, is_set_user_id, has_bind_fd);
        let is_told = |id: &&str| sentences.iter().any(|sentence| sentence.contains(id));
        ADVISORIES
            .map(|it| it.id)
            .into_iter()
            .filter(is_told)
            .collect()
    }

    #[test]
    fn a_version_has_the_faults_that_were_mended_later() {
        let [oldroot, traced, exchanged] = ADVISORIES.map(|advisory| advisory.id);
        assert_eq!(ids("0.8.0", false, false), [oldroot, exchanged]);
        assert_eq!(ids("0.8.0", true, true), [oldroot, traced]);
        assert_eq!(ids("0.11.0", false, true), [oldroot]);
        assert_eq!(ids("0.11.2", true, true), [oldroot]);
        for version in ["0.12.0", "0.12", "0.13.1", "1.0.0"] {
            assert_eq!(ids(version, true, true), [""; 0], "{version}");
        }
    }

    #[test]
    fn a_version_that_is_not_known_has_them_all() {
        for version in ["unknown", "", "0.x.0", "v1.0.0", "99999999999.0.0"] {
            assert_eq!(ids(version, true, false).len(), 3, "{version}");
        }
    }

    #[test]
    fn the_bundled_one_has_none() {
        if let Some(bundled) = BUNDLED_BWRAP {
            assert_eq!(ids(bundled.version, false, true), [""; 0]);
        }
    }
}
