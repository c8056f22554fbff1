//! The methods `environment/info` and `environment/status`, and
//! what a client asks for at the start of a session and this server does not
//! have: configuration files, and skills and plugins found by itself. The
//! answers are those of a machine without any; what a client wants to know, it
//! finds by `fs/walk`.

use crate::env::local::info::HomeInfo;
use crate::rpc::error::RpcError;
use crate::rpc::methods::NoParams;
use crate::rpc::methods::discovery::{
    ConfigReadParams, ConfigReadReply, ConfigStack, Discover, DiscoverParams, DiscoverReply,
    DiscoverRoots, DiscoverRootsParams, DiscoverRootsReply, ReadConfig, RootFound, RootParams,
};
use crate::rpc::methods::session::{Status, StatusReply};
use crate::rpc::path_uri::{WirePath, to_uri};
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

/// `environmentConfig/read`.
pub(crate) fn read_config(call: &Call<'_>, params: ConfigReadParams<'_>) -> Result<(), RpcError> {
    WirePath::parse(&params.cwd)?;
    let paths = || params.config_paths.iter().chain(&params.requirements_paths);
    if paths().next().is_none() {
        let message = "at least one config or requirements path is required";
        return Err(RpcError::invalid_params(message));
    }
    if paths().any(Vec::is_empty) {
        let message = "TOML paths must contain at least one key segment";
        return Err(RpcError::invalid_params(message));
    }
    let home = HomeInfo::find();
    call.answer::<ReadConfig>(&ConfigReadReply {
        user_home_dir: home.user,
        codex_home_dir: home.codex,
        hostname: home.hostname,
        config: ConfigStack::default(),
        requirements: ConfigStack::default(),
    });
    Ok(())
}

/// `capabilityRoots/discoverV1`.
pub(crate) fn discover_roots(
    call: &Call<'_>,
    params: DiscoverRootsParams<'_>,
) -> Result<(), RpcError> {
    let empty = |root: &RootParams<'_>| {
        Ok(RootFound {
            id: root.id.to_string(),
            path: to_uri(&WirePath::parse(&root.path)?.path),
            plugin: None,
            skills: [],
            namespace_manifests: [],
            warnings: [],
            error: None,
        })
    };
    let roots = params
        .roots
        .iter()
        .map(empty)
        .collect::<Result<_, RpcError>>()?;
    call.answer::<DiscoverRoots>(&DiscoverRootsReply { roots });
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
