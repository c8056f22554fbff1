//! What a confined process says and leaves, for the question whether its sandbox is why it failed.

use std::path::{Path, PathBuf};

use crate::sandbox::denial::{self, Denial, Tail};
use crate::sandbox::launcher::Confinement;
use crate::sandbox::policy::{Access, Enforcement, Policy, ResolvedPath};

/// Keeps the last of a process's output, and what it was permitted.
pub(super) struct DenialDetector {
    policy: Policy,
    cwd: PathBuf,
    tail: Tail,
}

impl DenialDetector {
    pub(super) fn new(confinement: Confinement) -> Self {
        Self {
            policy: confinement.policy,
            cwd: confinement.cwd,
            tail: Tail::default(),
        }
    }

    /// Takes output of any stream.
    pub(super) fn sees(&mut self, bytes: &[u8]) {
        self.tail.push(bytes);
    }

    /// Judges the process by its exit code.
    pub(super) fn judge(self, code: i32) -> Option<Denial> {
        if self.policy.enforcement() == Enforcement::Disabled {
            return None;
        }
        // A program names a path as it knows it; rules are about where it leads.
        let access = |path: &Path| match ResolvedPath::find(path) {
            Ok(place) => self.policy.access(&place.path),
            Err(_) => Access::Write,
        };
        denial::judge(code, self.tail.bytes(), &self.cwd, access)
    }
}
