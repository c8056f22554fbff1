//! From the `sandbox` of a request to a confinement.

use std::path::PathBuf;

use crate::rpc::error::RpcError;
use crate::rpc::path_uri::{PathStyle, WirePath};
use crate::sandbox::helper_form::HelperForm;
use crate::sandbox::launcher::Confinement;
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
