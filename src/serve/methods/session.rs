//! The methods `environment/info` and `environment/status`.

use crate::rpc::error::RpcError;
use crate::rpc::methods::NoParams;
use crate::rpc::methods::session::{Status, StatusReply};
use crate::serve::services::Call;

/// `environment/info`.
pub(in crate::serve) fn info(call: &Call<'_>, _: NoParams) -> Result<(), RpcError> {
    let services = call.services;
    services.machine.answer(&services.host, call.responder());
    Ok(())
}

/// `environment/status`.
pub(in crate::serve) fn status(call: &Call<'_>, _: NoParams) -> Result<(), RpcError> {
    call.answer::<Status>(&StatusReply {
        status: "ready".into(),
    });
    Ok(())
}
