//! The `process/*` family.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::env_policy::EnvPolicy;
use super::{Empty, Never, NoParams, is_false, methods};
use crate::rpc::error::DenyingRule;

methods! {
    Acknowledge = "process/acknowledge" (AcknowledgeParams<'a>) -> Empty,
        extensions ["process/acknowledge"];
    CloseStdin = "process/closeStdin" (CloseStdinParams<'a>) -> WriteReply,
        extensions ["process/closeStdin"];
    List = "process/list" (NoParams) -> ListReply, extensions ["process/list"];
    Resize = "process/resize" (ResizeParams<'a>) -> Empty, extensions ["process/resize"];
    Output = "process/output" (OutputParams<'a>) -> Never, extensions [];
    Exited = "process/exited" (EndParams<'a>) -> Never,
        extensions ["process/exited.sandboxDenial", "process/exited.signal", "process/exited.timedOut"];
    Closed = "process/closed" (EndParams<'a>) -> Never, extensions [];
    Read = "process/read" (ReadParams<'a>) -> ReadReply<'a>,
        extensions [
            "process/read.firstRetainedSeq", "process/read.sandboxDenial", "process/read.signal",
            "process/read.timedOut",
        ];
    Signal = "process/signal" (SignalParams<'a>) -> Empty, extensions ["process/signal.anySignal"];
    Start = "process/start" (StartParams<'a>) -> StartReply<'a>,
        extensions [
            "process/start.acceptWeaker", "process/start.acknowledges", "process/start.rlimits",
            "process/start.sandboxLevel", "process/start.size", "process/start.timeoutMs",
        ];
    Terminate = "process/terminate" (TerminateParams<'a>) -> TerminateReply,
        extensions ["process/terminate.graceMs"];
    Write = "process/write" (WriteParams<'a>) -> WriteReply, extensions [];
}

/// Parameters of `process/start`: those of both reference versions, then our extensions.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Default, Serialize, Deserialize)]
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_policy: Option<EnvPolicy>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<&'a RawValue>,
    /// Whether network rules must be enforced.
    #[serde(default, skip_serializing_if = "is_false")]
    pub enforce_managed_network: bool,
    /// Network rules.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub managed_network: Option<&'a RawValue>,
    /// A proxy that network rules need.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub network_proxy: Option<&'a RawValue>,
    /// Credentials to be masked from the process.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub credential_providers: Option<&'a RawValue>,
    /// Extension: the terminal's first size; 24 rows of 80 otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Extension: milliseconds after which the group gets TERM and 2 s later KILL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Extension: resource limits by their lower-case names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rlimits: BTreeMap<String, u64>,
    /// Extension: the client tells what it has by `process/acknowledge`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub acknowledges: bool,
}

/// A terminal's size in characters.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Size {
    pub rows: u16,
    pub cols: u16,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartReply<'a> {
    #[serde(borrow, default)]
    pub process_id: Cow<'a, str>,
    /// The confinement in force, in the reference's words; 0.130 does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox_type: Option<Cow<'a, str>>,
    /// Extension: the confinement in force, if one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox_level: Option<Value>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadParams<'a> {
    #[serde(borrow)]
    pub process_id: Cow<'a, str>,
    /// Chunks above this number are wanted; from the start when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_seq: Option<u64>,
    /// Bytes of output at most, in whole chunks and at least one.
    #[serde(default)]
    pub max_bytes: Option<u64>,
    /// Milliseconds to wait for news.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WriteParams<'a> {
    #[serde(borrow)]
    pub process_id: Cow<'a, str>,
    #[serde(borrow)]
    pub chunk: Cow<'a, str>,
    /// Makes a repeated write harmless. 0.130 clients send none.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub write_id: Option<Cow<'a, str>>,
}

/// What became of a write.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WriteStatus {
    /// Delivered or queued.
    Accepted,
    /// There is no such process.
    UnknownProcess,
    /// There is nobody to read it.
    StdinClosed,
    /// 0.130: the process is not up yet.
    Starting,
}

/// Reply of `process/write` and `process/closeStdin`.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub struct WriteReply {
    /// What became of it.
    pub status: WriteStatus,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignalParams<'a> {
    #[serde(borrow)]
    pub process_id: Cow<'a, str>,
    /// `interrupt`, or as an extension any signal's name.
    #[serde(borrow)]
    pub signal: Cow<'a, str>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TerminateParams<'a> {
    #[serde(borrow)]
    pub process_id: Cow<'a, str>,
    /// Extension: milliseconds between TERM and KILL; at once KILL when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub struct TerminateReply {
    /// Whether it was running until now.
    pub running: bool,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AcknowledgeParams<'a> {
    #[serde(borrow)]
    pub process_id: Cow<'a, str>,
    /// The client has all events up to this number.
    pub seq: u64,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CloseStdinParams<'a> {
    #[serde(borrow)]
    pub process_id: Cow<'a, str>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResizeParams<'a> {
    #[serde(borrow)]
    pub process_id: Cow<'a, str>,
    pub rows: u16,
    pub cols: u16,
}

/// One entry of the extension `process/list`.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedProcess {
    /// The client's name for it.
    pub process_id: String,
    /// The kernel's number, once it runs.
    pub pid: Option<i32>,
    /// Whether it runs on a terminal.
    pub tty: bool,
    pub exited: bool,
    pub exit_code: Option<i32>,
    /// Whether all its output is in.
    pub closed: bool,
    /// The next sequence number.
    pub next_seq: u64,
    /// The oldest sequence number that `process/read` can still give.
    pub first_retained_seq: u64,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub struct ListReply {
    /// In the order of their ids.
    pub processes: Vec<ListedProcess>,
}

/// Reply of `process/read`. The server writes it chunk by chunk.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadReply<'a> {
    /// What is retained, in its order.
    #[serde(borrow)]
    pub chunks: Vec<OutputParams<'a>>,
    /// The number of the next event that is to come.
    pub next_seq: u64,
    #[serde(default)]
    pub exited: bool,
    /// Whether all its output is in.
    #[serde(default)]
    pub closed: bool,
    /// Why there is nothing to be read.
    #[serde(default)]
    pub failure: Option<String>,
    /// Extension: the oldest number that can still be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_retained_seq: Option<u64>,
    #[serde(flatten)]
    pub exit: ExitFacts,
}

/// Parameters of the notification `process/output`, and a chunk of `process/read`.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputParams<'a> {
    /// Which process; left out of `process/read`.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub process_id: Cow<'a, str>,
    pub seq: u64,
    /// Where it was written.
    pub stream: StreamName,
    #[serde(borrow)]
    pub chunk: Cow<'a, str>,
}

/// A stream of a process.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamName {
    Stdout,
    Stderr,
    /// A terminal, where the two are one.
    Pty,
}

/// Parameters of the notifications `process/exited` and `process/closed`; the latter has no more
/// than the number.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndParams<'a> {
    #[serde(borrow)]
    pub process_id: Cow<'a, str>,
    pub seq: u64,
    #[serde(flatten)]
    pub exit: ExitFacts,
}

/// What is told of an exit, where there is one.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExitFacts {
    /// The code, or 128+n for signal n; 0.130 says -1 then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Whether the sandbox is what it failed of, as far as the server can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox_denied: Option<bool>,
    /// Extension: the name of the signal that killed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Extension: whether its time was up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timed_out: Option<bool>,
    /// Extension: what was denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox_denial: Option<Denial>,
}

/// What a sandbox has denied.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Denial {
    /// `syscall`, `path` or `text`; only the last is a guess.
    pub kind: String,
    /// The path that was refused.
    pub path: Option<String>,
    /// What the system said.
    pub errno: Option<String>,
    /// The rule for which it did, where the server tells.
    pub rule: Option<DenyingRule>,
    /// The words that the guess is made from.
    pub text: Option<String>,
}
