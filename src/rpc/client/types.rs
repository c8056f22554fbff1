//! What a caller gives and gets: owned values, free of the wire's forms.
//!
//! The `Environment` trait of `env` speaks in the same words, so what runs here
//! and what runs elsewhere look alike.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use super::names::Names;
pub use crate::rpc::error::DenyingRule;
use crate::rpc::methods::env_policy::EnvPolicy;
pub use crate::rpc::methods::process::Denial;

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct Command {
    /// The program and its arguments; at least one.
    pub argv: Vec<String>,
    /// What the program sees as its name, if not `argv[0]`.
    pub arg0: Option<String>,
    /// Where to start: an absolute path; none is the environment's own directory.
    pub cwd: Option<String>,
    /// Laid over what `env_policy` lets through.
    pub env: BTreeMap<String, String>,
    /// What to inherit of the environment variables there; none inherits nothing.
    pub env_policy: Option<EnvPolicy>,
    /// A terminal of this size instead of pipes.
    pub terminal: Option<TerminalSize>,
    /// Whether standard input is a pipe. A terminal always takes input.
    pub pipe_stdin: bool,
    /// How long it may run; then its group gets TERM and 2 s later KILL.
    pub timeout: Option<Duration>,
    /// The confinement, as JSON of the wire.
    pub sandbox: Option<String>,
}

/// The confinement in force, as a start tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confined {
    /// The reference's word for it; `none` for none.
    pub sandbox_type: String,
    /// What has made it, such as `bundled`, where the server tells.
    pub launcher: Option<String>,
    /// What is not enforced as asked, a sentence each, where the server tells.
    pub weaker: Vec<String>,
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub cols: u16,
}

/// Which of a process's streams a piece of output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A terminal, where the two are one.
    Pty,
}

/// What happens to a process, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessEvent {
    /// It has printed something.
    Output {
        /// Where.
        stream: Stream,
        /// At least one byte.
        data: Vec<u8>,
    },
    /// Events of these numbers are lost for good: output that was no longer kept.
    Gap {
        /// The first that is missing.
        first: u64,
        /// The last that is missing.
        last: u64,
    },
    /// It has ended.
    Exited(Exit),
    /// Nothing more will come.
    Closed,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its code, or 128+n when signal n killed it.
    pub code: i32,
    /// The name of the signal that killed it, without `SIG`, where the server tells.
    pub signal: Option<String>,
    /// Whether its time was up, where the server tells.
    pub timed_out: bool,
    /// Whether the sandbox is what it failed of, as far as the server can tell.
    pub sandbox_denied: bool,
    /// What was denied, where the server tells.
    pub denial: Option<Denial>,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// With bytes in it.
    Regular,
    /// With names in it.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, a socket or a FIFO.
    Other,
}

/// What is known about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMetadata {
    /// What it is, or what a link leads to.
    pub kind: FileKind,
    /// Whether the path itself is a link.
    pub is_symlink: bool,
    /// Bytes, where the server tells; 0.130 does not.
    pub size: Option<u64>,
    /// Milliseconds since 1970.
    pub modified_ms: i64,
    /// The permission bits, where the server tells.
    pub mode: Option<u32>,
}

/// What is in a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The names, sorted, and what each is; a link is [`FileKind::Other`] where the server does not
    /// look behind it.
    pub entries: Names,
    /// Names that are not UTF-8, with other characters for what is not: to be shown only, since
    /// no call takes them.
    pub unnamed: Names,
}

/// What is done about symbolic links in a path where something is written or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// They are followed.
    Follow,
    /// There must be none, as far as the server can see to that: the reference does for whole files
    /// and for directories, and a server of 0.130 follows them all.
    Refuse,
}

/// What to open a file for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenFor {
    /// Reading blocks.
    Reading,
    /// Writing blocks into an empty file.
    Replacing,
    /// Writing blocks into what is there, for a transfer that goes on; an extension.
    Updating,
}

/// A piece of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileBlock {
    /// Fewer bytes than were asked for only at the end.
    pub data: Vec<u8>,
    /// Whether the file ends here.
    pub is_last: bool,
}

/// An HTTP request to make on the environment's network.
#[derive(Clone, Debug, Default)]
pub struct HttpRequest {
    /// Any token.
    pub method: String,
    /// Of `http` or `https`.
    pub url: String,
    /// In order, with repeats.
    pub headers: Vec<(String, String)>,
    /// What to send along.
    pub body: Vec<u8>,
    /// For everything including the body of the answer.
    pub timeout: Option<Duration>,
    /// Whether redirects are followed, ten at most, or answered with.
    pub follows_redirects: bool,
}

/// The answer to an HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// All of it.
    pub body: Vec<u8>,
}

/// What an environment tells about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvironmentFacts {
    /// The server's version, where it tells.
    pub version: Option<String>,
    /// The path of a shell, where it tells.
    pub shell: Option<String>,
    /// Where the server was started, as a native path.
    pub cwd: Option<String>,
    /// The user's home, as a native path.
    pub home: Option<String>,
    /// `linux` where it tells.
    pub platform: Option<String>,
    /// The extensions it announces; empty for the reference.
    pub extensions: Vec<String>,
}

/// The confinement that an environment's programs get at best. In JSON the names are those of the protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SandboxFacts {
    /// Who makes it; `none` where nothing can be confined.
    pub launcher: String,
    /// Its version.
    pub version: Option<String>,
    /// The namespaces that are new.
    pub namespaces: Vec<String>,
    /// The version of Landlock in force; 0 for none.
    pub landlock_abi: u32,
    /// Whether system calls are filtered.
    pub seccomp: bool,
    /// What is less than it could be, a sentence each.
    pub weaker: Vec<String>,
    /// Why nothing can be confined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What is told of the policies that have names, such as `workspace-write`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub policies: BTreeMap<String, PolicyFacts>,
}

/// Whether a policy can be had in an environment. In JSON the names are those of the protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyFacts {
    /// Whether it can.
    pub available: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}
