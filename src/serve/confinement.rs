//! From the `sandbox` of a request to a confinement, or to the error of one that cannot be had.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use std::path::PathBuf;

use crate::rpc::error::RpcError;
use crate::rpc::path_uri::WirePath;
use crate::rpc::protocol::process::SandboxOutline;
use crate::sandbox::launcher::{Confinement, Kind, Level, Refusal};
use crate::sandbox::policy::{Context, Policy};

/// The confinement of a process that is to start in `cwd`.
pub(super) fn of_process(sandbox: &RawValue, cwd: &WirePath) -> Result<Confinement, RpcError> {
    let tmpdir = std::env::var_os("TMPDIR").map(PathBuf::from);
    let context = Context {
        process_cwd: Some(&cwd.path),
        tmpdir: tmpdir.as_deref(),
        style: cwd.style,
    };
    Ok(Confinement {
        policy: Policy::parse(sandbox.get(), &context)?,
        cwd: cwd.path.clone(),
    })
}

/// What the reference would call a confinement.
pub(super) fn sandbox_type(level: Option<&Level>) -> &'static str {
    match level {
        Some(level) if level.launcher != Kind::None => "linuxSeccomp",
        _ => "none",
    }
}

/// The extension `sandboxLevel`.
pub(super) fn level(level: &Level) -> Value {
    json!({
        "launcher": level.launcher.name(),
        "version": level.version,
        "namespaces": level.namespaces,
        "landlockAbi": level.landlock_abi,
        "seccomp": level.seccomp,
        "weaker": level.weaker,
    })
}

/// What a program reads of a refusal.
pub(super) fn data(refusal: &Refusal) -> Value {
    json!({
        "stage": refusal.stage.name(),
        "errno": refusal.errno,
        "path": refusal.path,
        "hint": refusal.hint,
    })
}

/// Refuses a request with a `sandbox` that asks for anything; one that cannot be read does.
/// `outcome` says what did not happen.
pub(super) fn refuse_sandbox(sandbox: Option<&RawValue>, outcome: &str) -> Result<(), RpcError> {
    match sandbox {
        Some(sandbox) if confines(sandbox) => Err(refused("sandbox", outcome)),
        _ => Ok(()),
    }
}

/// The error of a request that asks for a confinement by the member `what`.
pub(super) fn refused(what: &str, outcome: &str) -> RpcError {
    RpcError::invalid_request(format!(
        "this exec-server cannot enforce `{what}` yet, so {outcome}; \
         it runs without `{what}` only"
    ))
}

fn confines(sandbox: &RawValue) -> bool {
    !serde_json::from_str::<SandboxOutline<'_>>(sandbox.get())
        .is_ok_and(|outline| outline.permissions.kind == "disabled")
}
