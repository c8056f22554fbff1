//! What must be confined is refused, as long as there is nothing to confine it with.

use serde_json::value::RawValue;

use crate::rpc::error::RpcError;
use crate::rpc::protocol::process::SandboxOutline;

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
