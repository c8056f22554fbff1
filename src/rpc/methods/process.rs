//! The `process/*` family, and what of the server's environment a child may have.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Empty, Never, NoParams, is_false, methods};
use crate::rpc::bounded;
use crate::rpc::error::DenyingRule;
use crate::sys::sync::Mutex;

methods! {
    Acknowledge = "process/acknowledge" (AcknowledgeParams<'a>) -> Empty,
        extensions ["process/acknowledge"];
    CloseStdin = "process/closeStdin" (CloseStdinParams<'a>) -> WriteReply,
        extensions ["process/closeStdin"];
    List = "process/list" (NoParams) -> ListReply, extensions ["process/list"];
    Run = "process/run" (RunParams<'a>) -> RunReply<'a>, extensions ["process/run"];
    Resize = "process/resize" (ResizeParams<'a>) -> Empty, extensions ["process/resize"];
    Output = "process/output" (OutputParams<'a>) -> Never, extensions [];
    Exited = "process/exited" (EndParams<'a>) -> Never,
        extensions ["process/exited.oomKilled", "process/exited.sandboxDenial", "process/exited.signal", "process/exited.timedOut"];
    Closed = "process/closed" (EndParams<'a>) -> Never, extensions [];
    Read = "process/read" (ReadParams<'a>) -> ReadReply<'a>,
        extensions [
            "process/read.firstRetainedSeq", "process/read.oomKilled", "process/read.sandboxDenial",
            "process/read.signal", "process/read.timedOut",
        ];
    Signal = "process/signal" (SignalParams<'a>) -> Empty, extensions ["process/signal.anySignal"];
    Start = "process/start" (StartParams<'a>) -> StartReply<'a>,
        extensions [
            "process/start.acceptWeaker", "process/start.acknowledges", "process/start.cpuMax",
            "process/start.defaults", "process/start.memoryMax", "process/start.pidsMax",
            "process/start.rlimits", "process/start.sandboxLevel", "process/start.size",
            "process/start.softRlimits", "process/start.timeoutMs",
        ];
    Terminate = "process/terminate" (TerminateParams<'a>) -> TerminateReply,
        extensions ["process/terminate.graceMs"];
    Write = "process/write" (WriteParams<'a>) -> WriteReply, extensions [], long text true;
}

/// Declares the parameters of both ways to start a process, which have most of their members in
/// common, and how one becomes the other.
macro_rules! start_params {
    ($($(#[$attribute:meta])* $member:ident: $type:ty,)+) => {
        /// Parameters of `process/start`: those of both reference versions, then our extensions.
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[derive(Debug, Default, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct StartParams<'a> {
            /// The client's name for the process, unique in the session.
            #[serde(borrow)]
            pub process_id: Cow<'a, str>,
            /// The program and its arguments; at least one.
            #[serde(deserialize_with = "argv")]
            pub argv: Vec<String>,
            $($(#[$attribute])* pub $member: $type,)+
        }

        /// Parameters of the extension `process/run`.
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[derive(Debug, Default, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct RunParams<'a> {
            /// The program and its arguments; at least one.
            #[serde(deserialize_with = "argv")]
            pub argv: Vec<String>,
            /// All of its standard input, as base64.
            #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
            pub stdin: Option<Cow<'a, str>>,
            /// Bytes of each of its streams that are answered at most.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub max_output_bytes: Option<u64>,
            /// The client's name for the process, unique in the session; made up if left out.
            #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
            pub process_id: Option<Cow<'a, str>>,
            $($(#[$attribute])* pub $member: $type,)+
        }

        impl<'a> RunParams<'a> {
            /// What is to be run, from what is to be started.
            pub fn of(start: StartParams<'a>) -> Self {
                Self {
                    argv: start.argv,
                    stdin: None,
                    max_output_bytes: None,
                    process_id: Some(start.process_id),
                    $($member: start.$member,)+
                }
            }

            /// What is to be started, under this name.
            pub fn start(self, id: String) -> StartParams<'a> {
                StartParams {
                    process_id: id.into(),
                    argv: self.argv,
                    $($member: self.$member,)+
                }
            }
        }
    };
}

start_params! {
    /// Where to start: an absolute path or a `file:` URI; left out, the server's own directory.
    #[cfg_attr(test, schemars(with = "String"))]
    #[serde(
        borrow,
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    cwd: Option<Cow<'a, str>>,
    /// Laid over what `env_policy` lets through; without a policy, all there is. Without both, the
    /// default policy applies.
    #[cfg_attr(test, schemars(with = "BTreeMap<String, String>"))]
    #[serde(
        default,
        deserialize_with = "env",
        skip_serializing_if = "Option::is_none"
    )]
    env: Option<BTreeMap<String, String>>,
    /// Whether to run on a pseudo-terminal.
    #[serde(default)]
    tty: bool,
    /// Whether standard input is a pipe for `process/write`; otherwise it is empty.
    #[serde(default)]
    pipe_stdin: bool,
    /// What the program sees as its own name, if not `argv[0]`.
    #[serde(default)]
    arg0: Option<String>,
    /// What to inherit of the server's environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    env_policy: Option<EnvPolicy>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    sandbox: Option<&'a RawValue>,
    /// Whether network rules must be enforced.
    #[serde(default, skip_serializing_if = "is_false")]
    enforce_managed_network: bool,
    /// Network rules.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    managed_network: Option<&'a RawValue>,
    /// A proxy that network rules need.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    network_proxy: Option<&'a RawValue>,
    /// Credentials to be masked from the process.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    credential_providers: Option<&'a RawValue>,
    /// Extension: the terminal's first size; 24 rows of 80 otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<Size>,
    /// Extension: milliseconds after which the group gets TERM and 2 s later KILL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    /// Extension: resource limits by their lower-case names.
    #[serde(
        default,
        deserialize_with = "rlimits",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    rlimits: BTreeMap<String, Rlimit>,
    /// Extension: the client tells what it has by `process/acknowledge`.
    #[serde(default, skip_serializing_if = "is_false")]
    acknowledges: bool,
    /// Extension: bytes of memory that it may have together with all that descends from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory_max: Option<u64>,
    /// Extension: processes and threads that these may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pids_max: Option<u64>,
    /// Extension: processors whose time they may use, such as 1.5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cpu_max: Option<f64>,
}

/// A resource limit.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a number, or an object with soft and hard"
)]
pub enum Rlimit {
    /// Hard and soft at once.
    Both(u64),
    /// What there is, and up to what the process may raise that.
    Each { soft: u64, hard: u64 },
}

/// Decodes a member that may be left out, but is not `null` where it is there.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

fn argv<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    bounded::texts(from, "argv")
}

fn env<'de, D: Deserializer<'de>>(from: D) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    bounded::variables(from, "env").map(Some)
}

fn rlimits<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Rlimit>, D::Error> {
    bounded::object(from, "rlimits")
}

/// How to make a child's environment. The default is what a start without one and without `env` gets.
// The decoder's messages name the type, and clients see them.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, expecting = "struct ExecEnvPolicy")]
pub struct EnvPolicy {
    /// Which variables of the server to start from. Left out, that is `core` where files are confined,
    /// and else `all`.
    #[cfg_attr(test, schemars(with = "Inherit"))]
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub inherit: Option<Inherit>,
    /// Keeps names that look like credentials (`KEY`, `SECRET`, `TOKEN` anywhere in them).
    pub ignore_default_excludes: bool,
    /// Patterns (`*`, `?`, case ignored) of inherited names to drop.
    #[serde(deserialize_with = "exclude")]
    pub exclude: Vec<String>,
    /// Variables to add after that.
    #[serde(deserialize_with = "set")]
    pub set: BTreeMap<String, String>,
    /// If not empty: patterns of the names to keep, also among `set`.
    #[serde(deserialize_with = "include_only")]
    pub include_only: Vec<String>,
}

fn exclude<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    bounded::texts(from, "envPolicy.exclude")
}

fn set<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    bounded::variables(from, "envPolicy.set")
}

fn include_only<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    bounded::texts(from, "envPolicy.includeOnly")
}

/// Which of the server's variables a child starts from.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Inherit {
    /// Those that a login session has anyway: `PATH`, `HOME`, ...
    Core,
    #[default]
    All,
    None,
}

/// A terminal's size in characters.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// Reply of the extension `process/run`. The server writes it itself.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunReply<'a> {
    /// The client's name for it, or the one that was made up.
    #[serde(borrow)]
    pub process_id: Cow<'a, str>,
    /// As in the reply of `process/start`.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sandbox_type: Option<Cow<'a, str>>,
    /// As in the reply of `process/start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox_level: Option<Value>,
    #[serde(flatten)]
    pub exit: ExitFacts,
    /// Milliseconds from its start to its exit.
    pub duration_ms: u64,
    /// What it has written there, or on its terminal.
    #[serde(borrow)]
    pub stdout: CapturedOutput<'a>,
    #[serde(borrow)]
    pub stderr: CapturedOutput<'a>,
}

/// What a process has written to one of its streams.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CapturedOutput<'a> {
    /// The bytes, or where there were too many the first and the last of them.
    #[serde(borrow)]
    pub data_base64: Cow<'a, str>,
    /// How many it has written.
    pub total_bytes: u64,
    /// What was left out between the first and the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<MissingBytes>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingBytes {
    /// Where in all that was written they begin, which is where in the data.
    pub offset: u64,
    /// How many they are.
    pub bytes: u64,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    pub exit_code: Option<i64>,
    /// Whether the sandbox is what it failed of, as far as the server can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox_denied: Option<bool>,
    /// Extension: the name of the signal that killed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Extension: whether its time was up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timed_out: Option<bool>,
    /// Extension: whether the kernel has ended it, as its group had no memory left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_killed: Option<bool>,
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

/// What no child gets, whoever asks: they open the server itself or the account it acts for.
const NEVER_PASSED: [&str; 7] = [
    "CODEX_EXEC_SERVER_EXIT_ON_STDIN_CLOSE",
    "CODEX_EXEC_SERVER_NOISE_AUTH_TOKEN",
    "EXEC_SERVER_TOKEN",
    "NODE_REPL_AUTH_TOKEN",
    "OPENAI_FEDERATION_RULE_ID",
    "OPENAI_IDENTITY_TOKEN_FILE",
    "OPENAI_WORKLOAD_IDENTITY_CONTEXT",
];

/// More of those: what holds the token for a server that this program is a client of.
static TOKEN_VARIABLES: Mutex<BTreeSet<OsString>> = Mutex::new(BTreeSet::new());

/// From now on passes this variable to no child: it holds the token for a server.
pub fn never_pass(name: &str) {
    TOKEN_VARIABLES.lock().insert(name.into());
}

/// Whether a variable is passed to no child, whoever asks.
pub fn is_never_passed(name: &OsStr) -> bool {
    NEVER_PASSED
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
        || TOKEN_VARIABLES.lock().contains(name)
}

/// What a child gets only when the client spells it out, never by inheritance: keys that the
/// operator gave to the server, which a client that asks for "all" does not mean to have.
pub const NEVER_INHERITED: [&str; 4] = [
    "CODEX_ACCESS_TOKEN",
    "CODEX_API_KEY",
    "CODEX_EXEC_SERVER_REMOTE_BEARER_TOKEN",
    "OPENAI_API_KEY",
];

/// What a service manager tells the server, and nobody else: a child that had them could report in
/// the server's name, or take its own descriptors for sockets.
pub const OF_THE_SERVICE: [&str; 7] = [
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// Whether a variable of ours is a secret that a program between us and a server must not inherit:
/// those above, and what is called a bearer token.
pub fn is_our_secret(name: &OsStr) -> bool {
    is_never_passed(name)
        || NEVER_INHERITED
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
        || name
            .to_string_lossy()
            .to_ascii_uppercase()
            .contains("BEARER")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error<'a, T: Deserialize<'a>>(json: &'a str) -> String {
        let Err(error) = serde_json::from_str::<T>(json) else {
            panic!("{json} is taken");
        };
        let mut text = error.to_string();
        // The caller decodes from a raw value and cuts the position off.
        text.truncate(text.rfind(" at line").unwrap_or(text.len()));
        text
    }

    #[test]
    fn a_full_policy_decodes_and_unknown_members_are_ignored() {
        let policy: EnvPolicy = serde_json::from_str(
            r#"{"inherit":"core","ignoreDefaultExcludes":true,"exclude":["A*"],
                "set":{"B":"1"},"includeOnly":["C"],"later":1}"#,
        )
        .unwrap();
        assert_eq!(policy.inherit, Some(Inherit::Core));
        assert!(policy.ignore_default_excludes);
        assert_eq!(policy.exclude, ["A*"]);
        assert_eq!(policy.set["B"], "1");
        assert_eq!(policy.include_only, ["C"]);
    }

    #[test]
    fn members_that_are_left_out_have_defaults() {
        let members = [
            ("ignoreDefaultExcludes", "false"),
            ("exclude", "[]"),
            ("set", "{}"),
            ("includeOnly", "[]"),
        ];
        for kept in 0..1 << members.len() {
            let some: Vec<String> = members
                .iter()
                .enumerate()
                .filter(|(index, _)| kept & (1 << index) != 0)
                .map(|(_, (name, value))| format!("\"{name}\":{value}"))
                .collect();
            let json = format!("{{{}}}", some.join(","));
            let policy: EnvPolicy = serde_json::from_str(&json).expect(&json);
            assert_eq!(policy, EnvPolicy::default(), "{json}");
        }
        let core: EnvPolicy = serde_json::from_str(r#"["core"]"#).unwrap();
        assert_eq!(
            core,
            EnvPolicy {
                inherit: Some(Inherit::Core),
                ..EnvPolicy::default()
            }
        );
    }

    #[test]
    fn a_policy_that_is_none_is_refused_in_the_same_words_as_ever() {
        for (wrong, message) in [
            (
                r#"{"inherit":"zzz"}"#,
                "unknown variant `zzz`, expected one of `core`, `all`, `none`",
            ),
            (r#"{"inherit":null}"#, "expected value"),
            (
                r#"{"exclude":null}"#,
                "invalid type: null, expected a sequence",
            ),
            (
                r#""x""#,
                "invalid type: string \"x\", expected struct ExecEnvPolicy",
            ),
        ] {
            assert_eq!(error::<EnvPolicy>(wrong), message);
        }
    }

    #[test]
    fn a_start_needs_a_name_and_a_command_only() {
        let start: StartParams<'_> =
            serde_json::from_str(r#"{"processId":"p","argv":["true"]}"#).unwrap();
        assert_eq!((start.cwd, start.env, start.tty), (None, None, false));
        for (wrong, message) in [
            ("{}", "missing field `processId`"),
            (r#"{"processId":"p"}"#, "missing field `argv`"),
            (
                "[]",
                "invalid length 0, expected struct StartParams with 20 elements",
            ),
            (
                r#"["p",["true"],null]"#,
                "invalid type: null, expected a string",
            ),
            (
                r#"["p",["true"],"/",null]"#,
                "invalid type: null, expected a map",
            ),
            (
                r#"["p",["true"],"/",{},null]"#,
                "invalid type: null, expected a boolean",
            ),
        ] {
            assert_eq!(error::<StartParams<'_>>(wrong), message, "{wrong}");
        }
    }
}
