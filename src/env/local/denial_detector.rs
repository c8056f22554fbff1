//! What a confined process says and leaves, for the question whether its sandbox is why it failed.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::rpc::error::DenyingRule;
use crate::rpc::path_uri::PathStyle;
use crate::sandbox::denial::{self, Denial, Refusal, Tail};
use crate::sandbox::launcher::Confinement;
use crate::sandbox::policy::{Access, Enforcement, Policy, ResolvedPath};
use crate::sys::process::user_id;

/// Keeps the last of a process's output, and what it was permitted.
pub(crate) struct DenialDetector {
    policy: Policy,
    cwd: PathBuf,
    tail: Tail,
}

impl DenialDetector {
    pub(crate) fn new(confinement: Confinement) -> Self {
        Self {
            policy: confinement.policy,
            cwd: confinement.cwd,
            tail: Tail::default(),
        }
    }

    /// Takes output of any stream.
    pub(crate) fn sees(&mut self, bytes: &[u8]) {
        self.tail.push(bytes);
    }

    /// Judges the process by its exit code.
    pub(crate) fn judge(self, code: i32) -> Option<Denial> {
        if self.policy.enforcement() == Enforcement::Disabled {
            return None;
        }
        let rule_of = |path: &Path, errno| self.rule_of(path, errno);
        denial::judge(code, self.tail.bytes(), &self.cwd, rule_of)
    }

    /// The rule for which a path was refused with this error; none if there may be another reason.
    fn rule_of(&self, path: &Path, errno: Refusal) -> Option<DenyingRule> {
        let denial = self.policy.denial(path, Access::Write, false)?;
        let explains = match (errno, denial.access()) {
            (Refusal::Erofs, _) | (_, Access::None | Access::Deny) => true,
            // Landlock says so where something may only be read; but so does any file for its mode.
            (Refusal::Eacces, _) => is_free_to_owner(path),
            (Refusal::Eperm, _) => false,
        };
        explains.then(|| denial.rule(PathStyle::Native))
    }
}

/// Whether no owner, and no mode, can be why a program of our user was refused anything with this path, where a file has
/// to be one that can be run.
fn is_free_to_owner(path: &Path) -> bool {
    const FREE: u32 = 0o700;
    let Ok(path) = ResolvedPath::find(path).map(|found| found.path) else {
        return false;
    };
    let has = |found: &Metadata| found.uid() == user_id() && found.mode() & FREE == FREE;
    let is_free = match path.symlink_metadata() {
        Ok(found) => has(&found),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    let can_be_entered = |directory: &Path| {
        // For everybody, be it as one of its group.
        const ENTRY: u32 = 0o011;
        let found = directory.symlink_metadata();
        found.is_ok_and(|found| has(&found) || found.mode() & ENTRY == ENTRY)
    };
    let Some(parent) = path.parent() else {
        return false;
    };
    is_free
        && parent.symlink_metadata().is_ok_and(|found| has(&found))
        && parent.ancestors().all(can_be_entered)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_mode_that_may_be_why_is_no_reason_to_blame_a_rule() {
        let root = std::env::temp_dir().join(format!("exec-server-denial-{}", std::process::id()));
        fs::create_dir_all(root.join("closed")).unwrap();
        for name in ["plain", "run", "closed/file"] {
            fs::write(root.join(name), "").unwrap();
        }
        for (name, mode) in [("run", 0o755), ("closed/file", 0o755), ("closed", 0o500)] {
            fs::set_permissions(root.join(name), Permissions::from_mode(mode)).unwrap();
        }
        symlink("plain", root.join("link")).unwrap();
        symlink("new", root.join("dangling")).unwrap();
        for (name, expected) in [
            ("new", true),
            ("run", true),
            ("dangling", true),
            // It may have been run.
            ("plain", false),
            ("link", false),
            ("closed", false),
            ("closed/new", false),
            ("closed/file", false),
            ("run/below", false),
            ("missing/new", false),
        ] {
            assert_eq!(is_free_to_owner(&root.join(name)), expected, "{name}");
        }
        fs::set_permissions(root.join("closed"), Permissions::from_mode(0o700)).unwrap();
        fs::remove_dir_all(&root).unwrap();
    }
}
