//! From what a client sends to a confinement.

use std::path::{Path, PathBuf};

use crate::rpc::error::RpcError;
use crate::rpc::path_uri::{PathStyle, WirePath};
use crate::sandbox::helper_form::{HelperForm, is_helper};
use crate::sandbox::launcher::Confinement;
use crate::sandbox::policy::{Context, Policy};

/// The confinement of a process that is to start in `cwd`, from the JSON of its `sandbox`.
///
/// # Errors
/// The policy is malformed, or cannot be enforced as it stands.
pub fn confinement(sandbox: &str, cwd: &WirePath) -> Result<Confinement, RpcError> {
    let policy = with_context(&cwd.path, cwd.style, |context| {
        Policy::parse(sandbox, context)
    })?;
    Ok(Confinement {
        policy,
        cwd: cwd.path.clone(),
        style: cwd.style,
    })
}

/// The command inside the command line of a 0.130 client's helper, and its confinement. `None` if it is not that.
///
/// # Errors
/// It is, and cannot be read, or its policy cannot be enforced.
pub fn helper_command(
    argv: &[String],
    arg0: Option<&str>,
) -> Result<Option<(Vec<String>, Confinement)>, RpcError> {
    let Some((program, arguments)) = argv.split_first() else {
        return Ok(None);
    };
    if !is_helper(program, arg0) {
        return Ok(None);
    }
    let form = HelperForm::parse(arguments)?;
    let policy = with_context(&form.command_cwd, PathStyle::Native, |context| {
        form.policy(context)
    })?;
    let confinement = Confinement {
        policy,
        cwd: form.command_cwd,
        style: PathStyle::Native,
    };
    Ok(Some((form.command, confinement)))
}

fn with_context<T>(cwd: &Path, style: PathStyle, read: impl FnOnce(&Context<'_>) -> T) -> T {
    let tmpdir = std::env::var_os("TMPDIR").map(PathBuf::from);
    read(&Context {
        process_cwd: Some(cwd),
        tmpdir: tmpdir.as_deref(),
        style,
    })
}
