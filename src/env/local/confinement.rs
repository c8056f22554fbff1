//! Confinements: what a request asks for, and what this machine gives.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use super::host::Host;
use crate::rpc::error::RpcError;
use crate::rpc::path_uri::{PathStyle, WirePath};
use crate::sandbox::helper_form::HelperForm;
use crate::sandbox::launcher::{Available, Confinement, Refusal, SpawnContext, Stage};
use crate::sandbox::policy::{Context, Policy};

/// The confinement of a process that is to start in `cwd`, from the JSON of its `sandbox`.
///
/// # Errors
/// The policy is malformed, or cannot be enforced as it stands.
pub fn confinement(sandbox: &str, cwd: &WirePath) -> Result<Confinement, RpcError> {
    let tmpdir = std::env::var_os("TMPDIR").map(PathBuf::from);
    let context = Context {
        process_cwd: Some(&cwd.path),
        tmpdir: tmpdir.as_deref(),
        style: cwd.style,
    };
    Ok(Confinement {
        policy: Policy::parse(sandbox, &context)?,
        cwd: cwd.path.clone(),
    })
}

/// The confinement that the command line of a 0.130 client's helper asks for.
///
/// # Errors
/// As for [`confinement`].
pub fn helper_confinement(form: &HelperForm) -> Result<Confinement, RpcError> {
    let tmpdir = std::env::var_os("TMPDIR").map(PathBuf::from);
    let context = Context {
        process_cwd: None,
        tmpdir: tmpdir.as_deref(),
        style: PathStyle::Native,
    };
    Ok(Confinement {
        policy: form.policy(&context)?,
        cwd: form.command_cwd.clone(),
    })
}

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
