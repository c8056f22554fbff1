//! The `process/*` family.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::env_policy::EnvPolicy;

/// Parameters of `process/start`: those of both reference versions, then our extensions.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartParams<'a> {
    /// The client's name for the process, unique in the session.
    #[serde(borrow)]
    pub process_id: Cow<'a, str>,
    /// The program and its arguments; at least one.
    pub argv: Vec<String>,
    /// Where to start: an absolute path or a `file:` URI.
    #[serde(borrow)]
    pub cwd: Cow<'a, str>,
    /// Laid over what `env_policy` lets through; without a policy, all there is.
    pub env: BTreeMap<String, String>,
    /// Whether to run on a pseudo-terminal.
    pub tty: bool,
    /// Whether standard input is a pipe for `process/write`; otherwise it is empty.
    #[serde(default)]
    pub pipe_stdin: bool,
    /// What the program sees as its own name, if not `argv[0]`.
    #[serde(default)]
    pub arg0: Option<String>,
    /// What to inherit of the server's environment.
    #[serde(default)]
    pub env_policy: Option<EnvPolicy>,
    /// The confinement asked for.
    #[serde(borrow, default)]
    pub sandbox: Option<&'a RawValue>,
    /// Whether network rules must be enforced.
    #[serde(default)]
    pub enforce_managed_network: bool,
    /// Network rules.
    #[serde(borrow, default)]
    pub managed_network: Option<&'a RawValue>,
    /// A proxy that network rules need.
    #[serde(borrow, default)]
    pub network_proxy: Option<&'a RawValue>,
    /// Credentials to be masked from the process.
    #[serde(borrow, default)]
    pub credential_providers: Option<&'a RawValue>,
    /// Extension: the terminal's first size; 24 rows of 80 otherwise.
    #[serde(default)]
    pub size: Option<Size>,
    /// Extension: milliseconds after which the group gets TERM and 2 s later KILL.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// Extension: resource limits by their lower-case names.
    #[serde(default)]
    pub rlimits: BTreeMap<String, u64>,
    /// Extension: the client tells what it has by `process/acknowledge`.
    #[serde(default)]
    pub acknowledges: bool,
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub cols: u16,
}

/// The result of what has none.
#[derive(Debug, Serialize)]
pub struct Empty {}

/// Result of `process/start`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StartResult<'a> {
    /// As asked for.
    pub process_id: &'a str,
    /// The confinement in force, in the reference's words.
    pub sandbox_type: &'static str,
    /// Extension: the confinement in force, if one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox_level: Option<Value>,
}

/// Parameters of `process/read`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadParams<'a> {
    /// Which process.
    #[serde(borrow)]
    pub process_id: Cow<'a, str>,
    /// Chunks above this number are wanted; from the start when left out.
    #[serde(default)]
    pub after_seq: Option<u64>,
    /// Bytes of output at most, in whole chunks and at least one.
    #[serde(default)]
    pub max_bytes: Option<u64>,
    /// Milliseconds to wait for news.
    #[serde(default)]
    pub wait_ms: Option<u64>,
}

/// Parameters of `process/write`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WriteParams<'a> {
    /// Which process.
    #[serde(borrow)]
    pub process_id: Cow<'a, str>,
    /// Base64.
    #[serde(borrow)]
    pub chunk: Cow<'a, str>,
    /// Makes a repeated write harmless. 0.130 clients send none.
    #[serde(borrow, default)]
    pub write_id: Option<Cow<'a, str>>,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum WriteStatus {
    /// Delivered or queued.
    Accepted,
    /// There is no such process.
    UnknownProcess,
    /// There is nobody to read it.
    StdinClosed,
}

/// Result of `process/write` and `process/closeStdin`.
#[derive(Debug, Serialize)]
pub struct WriteResult {
    /// What became of it.
    pub status: WriteStatus,
}

/// Parameters of `process/signal`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignalParams<'a> {
    /// Which process.
    #[serde(borrow)]
    pub process_id: Cow<'a, str>,
    /// `interrupt`, or as an extension any signal's name.
    #[serde(borrow)]
    pub signal: Cow<'a, str>,
}

/// Parameters of `process/terminate`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TerminateParams<'a> {
    /// Which process.
    #[serde(borrow)]
    pub process_id: Cow<'a, str>,
    /// Extension: milliseconds between TERM and KILL; at once KILL when left out.
    #[serde(default)]
    pub grace_ms: Option<u64>,
}

/// Result of `process/terminate`.
#[derive(Debug, Serialize)]
pub struct TerminateResult {
    /// Whether it was running until now.
    pub running: bool,
}

/// Parameters of the extension `process/acknowledge`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AcknowledgeParams<'a> {
    /// Which process.
    #[serde(borrow)]
    pub process_id: Cow<'a, str>,
    /// The client has all events up to this number.
    pub seq: u64,
}

/// Parameters of the extension `process/closeStdin`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CloseStdinParams<'a> {
    /// Which process.
    #[serde(borrow)]
    pub process_id: Cow<'a, str>,
}

/// Parameters of the extension `process/resize`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResizeParams<'a> {
    /// Which process.
    #[serde(borrow)]
    pub process_id: Cow<'a, str>,
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub cols: u16,
}

/// One entry of the extension `process/list`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedProcess {
    /// The client's name for it.
    pub process_id: String,
    /// The kernel's number, once it runs.
    pub pid: Option<i32>,
    /// Whether it runs on a terminal.
    pub tty: bool,
    /// Whether it has ended.
    pub exited: bool,
    /// Its exit code, 128+n for a signal.
    pub exit_code: Option<i32>,
    /// Whether all its output is in.
    pub closed: bool,
    /// The next sequence number.
    pub next_seq: u64,
    /// The oldest sequence number that `process/read` can still give.
    pub first_retained_seq: u64,
}

/// Result of the extension `process/list`.
#[derive(Debug, Serialize)]
pub struct ListResult {
    /// In the order of their ids.
    pub processes: Vec<ListedProcess>,
}
