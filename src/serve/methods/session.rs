//! The methods `environment/info` and `environment/status`, and `capabilities/discoverV2`, which
//! this server does not have: the answer is that of a machine without any skills or plugins, and
//! says so by its capability. A client finds them by `fs/walk`.

use crate::rpc::error::RpcError;
use crate::rpc::methods::NoParams;
use crate::rpc::methods::discovery::{Discover, DiscoverParams, DiscoverReply};
use crate::rpc::methods::session::{Status, StatusReply};
use crate::rpc::path_uri::WirePath;
use crate::serve::services::Call;

/// `environment/info`.
pub(crate) fn info(call: &Call<'_>, _: NoParams) -> Result<(), RpcError> {
    let services = call.services;
    services.machine.answer(&services.host, call.responder());
    Ok(())
}

/// `environment/status`.
pub(crate) fn status(call: &Call<'_>, _: NoParams) -> Result<(), RpcError> {
    call.answer::<Status>(&StatusReply {
        status: "ready".into(),
    });
    Ok(())
}

/// `capabilities/discoverV2`.
pub(crate) fn discover(call: &Call<'_>, params: DiscoverParams<'_>) -> Result<(), RpcError> {
    // A directory of another machine has nothing here either, as in the reference.
    match WirePath::parse(&params.cwd) {
        Err(error) if error.is_invalid_params() => return Err(error.into()),
        _ => call.answer::<Discover>(&DiscoverReply::default()),
    }
    Ok(())
}
