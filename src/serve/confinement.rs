//! What a client is told of a confinement, and the refusals of those that cannot be had.

use crate::rpc::error::RpcError;
use crate::sandbox::launcher::Level;

/// What the reference would call a confinement.
pub(super) fn sandbox_type(level: Option<&Level>) -> &'static str {
    level.map_or("none", Level::sandbox_type)
}

/// The error of a request that asks for a confinement by the member `what`.
pub(super) fn refused(what: &str, outcome: &str) -> RpcError {
    RpcError::invalid_request(format!(
        "this exec-server cannot enforce `{what}` yet, so {outcome}; \
         it runs without `{what}` only"
    ))
}
