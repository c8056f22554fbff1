//! What a confined program says, as far as it may tell what it was denied.

use std::path::Path;

use crate::sandbox::denial::{self, DenialData, Tail};
use crate::sandbox::launcher::Confinement;

/// The end of one program's output, and what it may do.
pub(super) struct DenialWatch {
    confinement: Confinement,
    tail: Tail,
}

impl DenialWatch {
    /// Nothing has been said yet.
    pub(super) fn new(confinement: Confinement) -> Self {
        Self {
            confinement,
            tail: Tail::default(),
        }
    }

    /// Takes output of either stream.
    pub(super) fn see(&mut self, bytes: &[u8]) {
        self.tail.push(bytes);
    }

    /// The denial that explains this exit code, if one does.
    pub(super) fn judge(self, code: i32) -> Option<DenialData> {
        let Confinement { policy, cwd, style } = &self.confinement;
        let access = |path: &Path| policy.access(path);
        let denial = denial::judge(code, self.tail.bytes(), cwd, access)?;
        Some(denial.data(*style))
    }
}
