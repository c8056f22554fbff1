//! What a client is told of a confinement, and the refusals of those that cannot be had.

use crate::rpc::error::RpcError;
use crate::sandbox::launcher::Level;

/// What the reference would call a confinement.
pub(crate) fn sandbox_type(level: Option<&Level>) -> &'static str {
    level.map_or("none", Level::sandbox_type)
}

/// What is weaker where a confined program has a network, and the server listens to anybody there.
pub(crate) fn way_out(url: &str) -> String {
    format!(
        "the network is on, and this server asks for no token at {url}: a program inside can have it start one \
         without a sandbox; use --ws-auth, or listen on a Unix socket"
    )
}

/// The error of a request that asks for a confinement by the member `what`.
pub(crate) fn refused(what: &str, outcome: &str) -> RpcError {
    RpcError::invalid_request(format!(
        "this exec-server cannot enforce `{what}` yet, so {outcome}; \
         it runs without `{what}` only"
    ))
}
