//! What a client asks for at the start of a session: configuration and capabilities.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Never, methods};
use crate::rpc::bounded::at_most;

methods! {
    ReadConfig = "environmentConfig/read" (ConfigReadParams<'a>) -> ConfigReadReply, extensions [];
    DiscoverRoots = "capabilityRoots/discoverV1" (DiscoverRootsParams<'a>) -> DiscoverRootsReply,
        extensions [];
    Discover = "capabilities/discoverV2" (DiscoverParams<'a>) -> DiscoverReply, extensions [];
}

/// The most roots in a request; the reference's number.
pub const MAX_ROOTS: usize = 128;
/// The most paths of keys in a request, of each kind.
pub const MAX_KEY_PATHS: usize = 128;
/// The most keys in a path.
pub const MAX_KEYS: usize = 64;

/// Keys of a configuration, from the outermost table inwards.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyPath<'a> {
    #[serde(borrow, deserialize_with = "at_most::<MAX_KEYS, _, _>")]
    pub keys: Vec<Cow<'a, str>>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigReadParams<'a> {
    #[serde(borrow)]
    pub cwd: Cow<'a, str>,
    /// What is wanted of the configuration.
    #[serde(borrow, deserialize_with = "at_most::<MAX_KEY_PATHS, _, _>")]
    pub config_paths: Vec<KeyPath<'a>>,
    /// What is wanted of what an administrator requires.
    #[serde(borrow, deserialize_with = "at_most::<MAX_KEY_PATHS, _, _>")]
    pub requirements_paths: Vec<KeyPath<'a>>,
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
    /// The files that say something of what is wanted.
    pub layers: Vec<ConfigLayer>,
    /// Where in the list a layer from elsewhere belongs.
    pub cloud_insertion_index: usize,
}

/// What a file says of what is wanted.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigLayer {
    /// Whose file it is, and its path.
    pub source: String,
    /// Where relative paths in it begin, as a URI.
    pub base_dir: String,
    /// That part of it, as TOML.
    pub toml: String,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub struct DiscoverRootsParams<'a> {
    #[serde(borrow, deserialize_with = "at_most::<MAX_ROOTS, _, _>")]
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
    /// The policy under which it is looked at; the same for all roots of a request.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<&'a RawValue>,
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
    pub plugin: Option<PluginFound>,
    /// Skills in it and below it.
    pub skills: Vec<SkillFound>,
    /// Manifests of plugins in it, below it, or of the one around it.
    pub namespace_manifests: Vec<FoundFile>,
    /// What could not be looked at or told.
    pub warnings: Vec<String>,
    /// Why nothing could be looked for.
    pub error: Option<String>,
}

impl RootFound {
    /// A root in which nothing was found yet.
    pub fn empty(id: String, path: String) -> Self {
        Self {
            id,
            path,
            plugin: None,
            skills: Vec::new(),
            namespace_manifests: Vec::new(),
            warnings: Vec::new(),
            error: None,
        }
    }
}

/// A file and its text.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub struct FoundFile {
    /// As a URI.
    pub path: String,
    pub contents: String,
}

/// A skill.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub struct SkillFound {
    /// `SKILL.md`.
    pub instructions: FoundFile,
    /// `agents/openai.yaml` beside it.
    pub metadata: Option<FoundFile>,
}

/// A plugin.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginFound {
    pub manifest: FoundFile,
    /// Its MCP servers.
    pub mcp_config: Option<FoundFile>,
    /// Its apps.
    pub apps_config: Option<FoundFile>,
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
