//! What a client asks for at the start of a session: configuration and capabilities.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Never, methods};

methods! {
    ReadConfig = "environmentConfig/read" (ConfigReadParams<'a>) -> ConfigReadReply, extensions [];
    DiscoverRoots = "capabilityRoots/discoverV1" (DiscoverRootsParams<'a>) -> DiscoverRootsReply,
        extensions [];
    Discover = "capabilities/discoverV2" (DiscoverParams<'a>) -> DiscoverReply, extensions [];
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigReadParams<'a> {
    #[serde(borrow)]
    pub cwd: Cow<'a, str>,
    /// Keys of the configuration that are wanted, from the outermost table inwards.
    pub config_paths: Vec<Vec<String>>,
    /// Keys that are wanted of what an administrator requires.
    pub requirements_paths: Vec<Vec<String>>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigReadReply {
    /// As in `environment/info`.
    pub user_home_dir: Option<String>,
    /// Where the client's software keeps its own files on this machine, as a URI.
    pub codex_home_dir: Option<String>,
    pub hostname: Option<String>,
    pub config: ConfigStack,
    pub requirements: ConfigStack,
}

/// Configuration files, the weakest first.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigStack {
    /// The files; none that this server would read.
    pub layers: [Never; 0],
    /// Where in the list a layer from elsewhere belongs.
    pub cloud_insertion_index: usize,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub struct DiscoverRootsParams<'a> {
    #[serde(borrow)]
    pub roots: Vec<RootParams<'a>>,
}

/// A directory that may hold skills or a plugin.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub struct RootParams<'a> {
    /// The client's name for it.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    #[serde(borrow)]
    pub path: Cow<'a, str>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub struct DiscoverRootsReply {
    pub roots: Vec<RootFound>,
}

/// What one root holds.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RootFound {
    pub id: String,
    pub path: String,
    /// The plugin that it is.
    pub plugin: Option<Never>,
    /// Skills below it.
    pub skills: [Never; 0],
    /// Manifests below it.
    pub namespace_manifests: [Never; 0],
    pub warnings: [Never; 0],
    /// Why nothing could be looked for.
    pub error: Option<Never>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub struct DiscoverParams<'a> {
    #[serde(borrow)]
    pub cwd: Cow<'a, str>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct DiscoverReply {
    pub plugins: [Never; 0],
    pub skills: [Never; 0],
    pub warnings: [Never; 0],
}
