//! What a server tells about itself, in `initialize` or when asked.

use std::path::Path;

use serde::Deserialize;

use super::ClientError;
use super::types::{EnvironmentFacts, SandboxFacts};
use crate::rpc::path_uri::{PathStyle, WirePath};

/// What is known of a server.
#[derive(Clone, Debug)]
pub(super) struct ServerFacts {
    /// For callers.
    pub(super) facts: EnvironmentFacts,
    /// How it wants paths.
    pub(super) style: PathStyle,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InfoReply {
    #[serde(default)]
    executor_version: Option<String>,
    #[serde(default)]
    shell: Option<ShellReply>,
    #[serde(default)]
    cwd: Option<String>,
    #[serde(default)]
    user_home_dir: Option<String>,
    #[serde(default)]
    platform_os: Option<String>,
    #[serde(default)]
    capabilities: Option<CapabilitiesReply>,
}

#[derive(Deserialize)]
struct ShellReply {
    path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CapabilitiesReply {
    #[serde(default)]
    exec_server: Option<ExecServerReply>,
}

#[derive(Deserialize)]
struct ExecServerReply {
    #[serde(default)]
    extensions: Vec<String>,
    #[serde(default)]
    sandbox: Option<SandboxFacts>,
}

impl ServerFacts {
    /// Of a server that says nothing: 0.130, which knows native paths only.
    pub(super) fn silent() -> Self {
        Self {
            facts: EnvironmentFacts::default(),
            style: PathStyle::Native,
        }
    }

    /// From an `environmentInfo`. Such a server takes URIs.
    pub(super) fn from_info(json: &str) -> Result<Self, serde_json::Error> {
        let info: InfoReply = serde_json::from_str(json)?;
        let ours = info.capabilities.and_then(|it| it.exec_server);
        Ok(Self {
            facts: EnvironmentFacts {
                version: info.executor_version,
                shell: info.shell.map(|shell| shell.path),
                cwd: info.cwd.as_deref().and_then(native),
                home: info.user_home_dir.as_deref().and_then(native),
                platform: info.platform_os,
                extensions: ours.map_or_else(Vec::new, |ours| ours.extensions),
            },
            style: PathStyle::Uri,
        })
    }

    /// A native path as it wants it.
    pub(super) fn path(&self, native: &str) -> String {
        self.style.render(Path::new(native))
    }

    /// Whether it announces an extension.
    pub(super) fn has(&self, extension: &str) -> bool {
        self.facts.extensions.iter().any(|it| it == extension)
    }

    /// An error unless it announces the extension.
    pub(super) fn needs(&self, extension: &str) -> Result<(), ClientError> {
        if self.has(extension) {
            return Ok(());
        }
        Err(ClientError::Unsupported(extension.to_owned()))
    }
}

/// What an answer to `environment/info` tells about confinement.
pub(super) fn sandbox_of(json: &str) -> Result<Option<SandboxFacts>, serde_json::Error> {
    let info: InfoReply = serde_json::from_str(json)?;
    let ours = info.capabilities.and_then(|it| it.exec_server);
    Ok(ours.and_then(|ours| ours.sandbox))
}

/// A path of a server, in whatever form, as a native one.
pub(super) fn native(path: &str) -> Option<String> {
    let path = WirePath::parse(path).ok()?.path;
    path.into_os_string().into_string().ok()
}
