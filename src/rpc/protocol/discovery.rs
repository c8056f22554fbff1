//! What a client asks for at the start of a session: configuration and capabilities.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Parameters of `environmentConfig/read`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigReadParams<'a> {
    /// The directory that is worked in.
    #[serde(borrow)]
    pub cwd: Cow<'a, str>,
    /// Keys of the configuration that are wanted, from the outermost table inwards.
    pub config_paths: Vec<Vec<String>>,
    /// Keys that are wanted of what an administrator requires.
    pub requirements_paths: Vec<Vec<String>>,
}

/// Result of `environmentConfig/read`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigReadResult {
    /// As in `environment/info`.
    pub user_home_dir: Option<String>,
    /// Where the client's software keeps its own files on this machine, as a URI.
    pub codex_home_dir: Option<String>,
    /// This machine's name.
    pub hostname: Option<String>,
    /// The configuration.
    pub config: ConfigStack,
    /// What an administrator requires.
    pub requirements: ConfigStack,
}

/// Configuration files, the weakest first.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigStack {
    /// The files; none that this server would read.
    pub layers: [Nothing; 0],
    /// Where in the list a layer from elsewhere belongs.
    pub cloud_insertion_index: usize,
}

/// Parameters of `capabilityRoots/discoverV1`.
#[derive(Debug, Deserialize)]
pub struct DiscoverRootsParams<'a> {
    /// Where to look.
    #[serde(borrow)]
    pub roots: Vec<RootParams<'a>>,
}

/// A directory that may hold skills or a plugin.
#[derive(Debug, Deserialize)]
pub struct RootParams<'a> {
    /// The client's name for it.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// The directory.
    #[serde(borrow)]
    pub path: Cow<'a, str>,
}

/// Result of `capabilityRoots/discoverV1`.
#[derive(Debug, Serialize)]
pub struct DiscoverRootsResult {
    /// What was found, in the order of the parameters.
    pub roots: Vec<RootFound>,
}

/// What one root holds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RootFound {
    /// As given.
    pub id: String,
    /// As given, as a URI.
    pub path: String,
    /// The plugin that it is.
    pub plugin: Option<Nothing>,
    /// Skills below it.
    pub skills: [Nothing; 0],
    /// Manifests below it.
    pub namespace_manifests: [Nothing; 0],
    /// What went wrong on the way.
    pub warnings: [Nothing; 0],
    /// Why nothing could be looked for.
    pub error: Option<Nothing>,
}

/// Parameters of `capabilities/discoverV2`.
#[derive(Debug, Deserialize)]
pub struct DiscoverParams<'a> {
    /// The directory that is worked in.
    #[serde(borrow)]
    pub cwd: Cow<'a, str>,
}

/// Result of `capabilities/discoverV2`.
#[derive(Debug, Default, Serialize)]
pub struct DiscoverResult {
    /// Plugins found.
    pub plugins: [Nothing; 0],
    /// Skills found.
    pub skills: [Nothing; 0],
    /// What went wrong on the way.
    pub warnings: [Nothing; 0],
}

/// What is never there: this server discovers nothing by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Nothing {}
