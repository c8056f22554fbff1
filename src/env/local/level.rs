//! The confinement that this machine gives.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::host::Host;
use crate::sandbox::launcher::{Available, Refusal, SpawnContext, Stage};

impl Host {
    /// What a start gets at best. What is not known yet is found out by a sandbox or two, which takes
    /// some milliseconds, or many seconds where launchers hang.
    ///
    /// # Errors
    /// Nothing can be confined, and why.
    pub fn available(&self) -> Result<Available, Refusal> {
        let unable = |error: io::Error| {
            Refusal::new(Stage::Start, "cannot start processes", "").because(&error)
        };
        let null = File::options().read(true).write(true).open("/dev/null");
        let null = OwnedFd::from(null.map_err(unable)?);
        let guardian = self.guardian().map_err(unable)?;
        self.launchers().available(&SpawnContext {
            standard: [None; 3],
            null: null.as_fd(),
            guardian: &guardian,
            cancel: None,
        })
    }

    /// The same on another thread, which tells `done`.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn find_available(
        self: &Arc<Self>,
        done: impl FnOnce(Result<Available, Refusal>) + Send + 'static,
    ) -> io::Result<()> {
        let host = Arc::clone(self);
        self.workers().run(Box::new(move || done(host.available())))
    }
}
