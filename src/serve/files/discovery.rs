//! `environmentConfig/read` and `capabilityRoots/discoverV1`: files that the client's software looks
//! for, read in their turn like others, and by a helper where a policy confines it.

use super::{FileWork, Scope, reading};
use crate::env::local::capability_roots::{Discovery, MAX_TEXT};
use crate::env::local::codex_config;
use crate::env::local::info::{HomeInfo, codex_home};
use crate::memory::Kind;
use crate::rpc::error::RpcError;
use crate::rpc::methods::discovery::{
    ConfigReadParams, ConfigReadReply, DiscoverRoots, DiscoverRootsParams, DiscoverRootsReply,
    KeyPath, MAX_KEY_PATHS, MAX_KEYS, MAX_ROOTS, ReadConfig, RootFound,
};
use crate::rpc::path_uri::WirePath;

/// The longest id and path of a root, in bytes: both are told again.
const MAX_NAME: usize = 16 * 1024;

/// `environmentConfig/read`.
pub(super) fn read_config(params: ConfigReadParams<'_>) -> Result<FileWork, RpcError> {
    let cwd = match WirePath::parse(&params.cwd) {
        Ok(cwd) => cwd.path,
        Err(error) => return Err(RpcError::invalid_params(error.to_string())),
    };
    let lists = [&params.config_paths, &params.requirements_paths];
    if lists.iter().all(|list| list.is_empty()) {
        let message = "at least one config or requirements path is required";
        return Err(RpcError::invalid_params(message));
    }
    let paths = || lists.iter().copied().flatten();
    if paths().any(|path| path.keys.is_empty()) {
        let message = "TOML paths must contain at least one key segment";
        return Err(RpcError::invalid_params(message));
    }
    if lists.iter().any(|list| list.len() > MAX_KEY_PATHS)
        || paths().any(|path| path.keys.len() > MAX_KEYS)
    {
        return Err(RpcError::invalid_params(format!(
            "at most {MAX_KEY_PATHS} paths of {MAX_KEYS} keys can be asked for"
        )));
    }
    let [config_paths, requirements_paths] =
        [params.config_paths, params.requirements_paths].map(owned);
    Ok(FileWork::answering(move |_, responder| {
        let failed = |error: codex_config::ConfigError| RpcError::failed(error.to_string());
        let home = HomeInfo::find();
        let config = codex_config::config(codex_home().as_deref(), &cwd, &config_paths);
        responder.answer::<ReadConfig>(&ConfigReadReply {
            user_home_dir: home.user,
            codex_home_dir: home.codex,
            hostname: home.hostname,
            config: config.map_err(failed)?,
            requirements: codex_config::requirements(&requirements_paths).map_err(failed)?,
        });
        Ok(())
    }))
}

/// Paths that outlive their message.
fn owned(paths: Vec<KeyPath<'_>>) -> Vec<KeyPath<'static>> {
    let owned = |path: KeyPath<'_>| KeyPath {
        keys: path
            .keys
            .into_iter()
            .map(|key| key.into_owned().into())
            .collect(),
    };
    paths.into_iter().map(owned).collect()
}

/// What the policy of a `capabilityRoots/discoverV1` is held against. A root that cannot be
/// understood has an error of its own, so another one says how paths are written.
pub(super) fn scope_of_roots<'p>(params: &'p DiscoverRootsParams<'_>) -> Scope<'p> {
    let understood = params
        .roots
        .iter()
        .find(|root| WirePath::parse(&root.path).is_ok());
    Scope {
        limit: super::TREE,
        ..reading(
            params.roots.iter().find_map(|root| root.sandbox),
            understood.map_or("/", |root| &root.path),
        )
    }
}

/// `capabilityRoots/discoverV1`.
pub(super) fn discover_roots(params: DiscoverRootsParams<'_>) -> Result<FileWork, RpcError> {
    if params.roots.len() > MAX_ROOTS {
        return Err(RpcError::invalid_request(format!(
            "capability root discovery accepts at most {MAX_ROOTS} roots"
        )));
    }
    let policy = |number: usize| params.roots.get(number)?.sandbox.map(|policy| policy.get());
    if (1..params.roots.len()).any(|number| policy(number) != policy(0)) {
        let message = "all roots of a request must have the same sandbox; ask for each on its own";
        return Err(RpcError::invalid_params(message));
    }
    let mut roots = Vec::new();
    for root in &params.roots {
        if root.id.len().max(root.path.len()) > MAX_NAME {
            return Err(RpcError::invalid_params(format!(
                "the id and path of a root have at most {MAX_NAME} bytes"
            )));
        }
        let place = match WirePath::parse(&root.path) {
            Err(error) if error.is_invalid_params() => return Err(error.into()),
            place => place.map_err(|error| (root.path.to_string(), error.to_string())),
        };
        roots.push((root.id.to_string(), place));
    }
    Ok(FileWork::answering(move |service, responder| {
        // All texts of the answer, though there are hardly ever so many.
        let most = MAX_TEXT.min(Kind::Answers.share() / 2);
        let _room = service.whole_room(most)?;
        let mut discovery = Discovery::new();
        let look = |(id, place): (String, Result<WirePath, (String, String)>)| match place {
            Ok(place) => discovery.look(&id, &place.path),
            Err((path, error)) => RootFound {
                error: Some(format!("failed to inspect capability root {path}: {error}")),
                ..RootFound::empty(id, path)
            },
        };
        responder.answer::<DiscoverRoots>(&DiscoverRootsReply {
            roots: roots.into_iter().map(look).collect(),
        });
        Ok(())
    }))
}
