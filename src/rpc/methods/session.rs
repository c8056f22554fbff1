//! The handshake, and what a server says about the place it runs in.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Never, NoParams, methods};

methods! {
    Initialize = "initialize" (InitializeParams<'a>) -> InitializeReply<'a>, extensions [];
    Initialized = "initialized" (NoParams) -> Never, extensions [];
    Info = "environment/info" (NoParams) -> EnvironmentInfo,
        extensions ["environment/info.cgroup", "environment/info.sandbox"];
    Status = "environment/status" (NoParams) -> StatusReply, extensions [];
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InitializeParams<'a> {
    /// Who is calling; any text. Shown in the log only.
    #[serde(borrow)]
    pub client_name: Cow<'a, str>,
    /// The session to take up again.
    #[serde(borrow, default)]
    pub resume_session_id: Option<Cow<'a, str>>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InitializeReply<'a> {
    /// By which it is resumed.
    #[serde(borrow)]
    pub session_id: Cow<'a, str>,
    /// An [`EnvironmentInfo`]; 0.130 tells nothing.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub environment_info: Option<&'a RawValue>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub struct StatusReply {
    /// `ready`.
    pub status: Cow<'static, str>,
}

/// Part of the answer to `initialize`, and the answer to `environment/info`.
///
/// The reference also has a `providerId`. It is the same on every machine, for every user and
/// directory, so it identifies nothing of ours; clients do without it, and it is left out.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentInfo {
    /// What runs the client's command lines. A client cannot work without it.
    pub shell: Shell,
    pub executor_version: Cow<'static, str>,
    /// Where the server was started, as a URI; absent if that directory is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// The user's home, as a URI; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_home_dir: Option<String>,
    /// `linux`.
    pub platform_os: Cow<'static, str>,
    /// Directories, as URIs, that the client must put before `PATH`.
    pub prepend_path_dirs: Vec<String>,
    /// Directories for temporary files besides `/tmp`, as URIs.
    pub temporary_directories: Vec<String>,
    /// Where temporary files go, as a URI.
    pub temp_dir: String,
    /// What this server can do beyond the least.
    pub capabilities: Capabilities,
    /// What the machine may give to processes, where it is less than it has. An extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<CgroupLimits>,
}

/// Limits of the control group that the server and all its processes are in.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CgroupLimits {
    /// In processors: 1.5 is the whole time of one and half that of another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<f64>,
    /// In bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
}

/// A shell that takes `-c COMMAND` and `-lc COMMAND`.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shell {
    /// `bash`, `zsh` or `sh`.
    pub name: String,
    /// A native path.
    pub path: String,
}

/// The optional abilities that clients ask about. All are off by default.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// `process/start` runs behind a network proxy.
    pub network_proxy_launch: bool,
    /// That proxy asks the client about unknown domains.
    pub network_proxy_review_domains: bool,
    /// Credentials are hidden from children behind the proxy.
    pub credential_masking: bool,
    /// The same, for providers that the client defines.
    pub credential_masking_custom_providers: bool,
    /// The search for skills and plugins takes a sandbox.
    pub capability_discovery_sandbox: bool,
    /// `fs/watchMissing` watches.
    pub fs_watch_missing: bool,
    /// `capabilities/discoverV2` exists.
    pub capability_discovery_v2: bool,
    /// `environmentConfig/read` exists.
    pub environment_config_read: bool,
    /// `http/request` takes `valueEnvVar`.
    pub http_header_env_vars: bool,
    /// `fs/open` takes a sandbox.
    pub sandboxed_file_streaming: bool,
    /// `fs/writeBlock` exists.
    pub file_write_streaming: bool,
    /// `process/start` takes `shellSnapshot`.
    pub shell_snapshot_v2: bool,
    /// A kind of sandbox on Windows.
    pub windows_mxc: bool,
    /// A sandbox that may write everywhere keeps devices.
    pub linux_root_write_preserves_devices: bool,
    /// The same sandbox, approved by the user, keeps its restrictions.
    pub linux_approved_root_write_preserves_restrictions: bool,
    /// What no other server has.
    pub exec_server: ExecServer,
}

/// Our extensions of the protocol.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecServer {
    pub version: Cow<'static, str>,
    /// Names of methods, and of members written `method.member`.
    pub extensions: Vec<Cow<'static, str>>,
    /// The confinement that a start gets at best, or why there is none; in the answer to
    /// `environment/info` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_written_in_the_order_of_the_reference() {
        let info = EnvironmentInfo {
            shell: Shell {
                name: "bash".into(),
                path: "/bin/bash".into(),
            },
            executor_version: "1".into(),
            cwd: None,
            user_home_dir: Some("file:///root".into()),
            platform_os: "linux".into(),
            prepend_path_dirs: vec![],
            temporary_directories: vec![],
            temp_dir: "file:///tmp".into(),
            capabilities: Capabilities {
                exec_server: ExecServer {
                    version: "1".into(),
                    extensions: vec!["process/list".into()],
                    sandbox: None,
                },
                ..Capabilities::default()
            },
            cgroup: Some(CgroupLimits {
                cpu_limit: Some(1.5),
                memory_limit_bytes: None,
            }),
        };
        assert_eq!(
            serde_json::to_string(&info).unwrap(),
            concat!(
                r#"{"shell":{"name":"bash","path":"/bin/bash"},"executorVersion":"1","#,
                r#""userHomeDir":"file:///root","platformOs":"linux","prependPathDirs":[],"#,
                r#""temporaryDirectories":[],"tempDir":"file:///tmp","capabilities":{"#,
                r#""networkProxyLaunch":false,"networkProxyReviewDomains":false,"#,
                r#""credentialMasking":false,"credentialMaskingCustomProviders":false,"#,
                r#""capabilityDiscoverySandbox":false,"fsWatchMissing":false,"#,
                r#""capabilityDiscoveryV2":false,"environmentConfigRead":false,"#,
                r#""httpHeaderEnvVars":false,"sandboxedFileStreaming":false,"#,
                r#""fileWriteStreaming":false,"shellSnapshotV2":false,"windowsMxc":false,"#,
                r#""linuxRootWritePreservesDevices":false,"#,
                r#""linuxApprovedRootWritePreservesRestrictions":false,"#,
                r#""execServer":{"version":"1","extensions":["process/list"]}},"cgroup":{"cpuLimit":1.5}}"#
            )
        );
    }
}
