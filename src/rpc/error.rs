//! Errors as a client sees them, and the one place that knows their codes and kinds.

use std::borrow::Cow;
use std::{fmt, io};

use serde::{Deserialize, Serialize, Serializer};

use super::path_uri::PathError;

/// What kind of error a request ended with; decides its JSON-RPC code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The message, or its moment, is wrong.
    InvalidRequest,
    /// No such method.
    UnknownMethod,
    /// The parameters do not fit the method.
    InvalidParams,
    /// The operation itself failed.
    Failed,
    /// A limit of this server is reached; trying again later may help.
    Busy,
    /// A file or handle does not exist.
    NotFound,
    /// The session belongs to another connection at the moment.
    SessionAttached,
}

impl ErrorKind {
    /// The code on the wire. All but `Busy` are the reference's.
    pub const fn code(self) -> i32 {
        match self {
            Self::InvalidRequest => -32600,
            Self::UnknownMethod => -32601,
            Self::InvalidParams => -32602,
            Self::Failed => -32603,
            Self::Busy => -32000,
            Self::NotFound => -32004,
            Self::SessionAttached => -32010,
        }
    }

    /// The kind of this code.
    pub fn of_code(code: i32) -> Option<Self> {
        let all = [
            Self::InvalidRequest,
            Self::UnknownMethod,
            Self::InvalidParams,
            Self::Failed,
            Self::Busy,
            Self::NotFound,
            Self::SessionAttached,
        ];
        all.into_iter().find(|kind| kind.code() == code)
    }
}

/// Why a request failed, finer than a code: `data.kind`. A program decides by it what to do.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// The message, or its moment, is wrong.
    InvalidRequest,
    /// No such method.
    UnknownMethod,
    /// The parameters do not fit the method.
    InvalidParams,
    /// The session belongs to another connection at the moment.
    SessionAttached,
    /// A limit is reached, or something is in use; trying again later may help.
    Busy,
    /// A file, program or handle does not exist.
    NotFound,
    /// A process or session was there, and its time is over.
    Forgotten,
    /// The system permits it not.
    Permission,
    /// It exists already.
    Exists,
    /// The disk is full, or the quota used up.
    NoSpace,
    /// The file system is read-only.
    ReadOnly,
    /// Something that has to be a directory is none.
    NotDirectory,
    /// Something that must not be a directory is one.
    IsDirectory,
    /// The directory is not empty.
    NotEmpty,
    /// Above a size that something may have.
    TooLarge,
    /// A file was changed while it was read.
    Changed,
    /// Time was up.
    TimedOut,
    /// The program is there and cannot be run.
    NotExecutable,
    /// The working directory cannot be entered.
    BadCwd,
    /// The policy of the request denies it.
    SandboxDenied,
    /// The sandbox could not be had as it must be; nothing was done.
    SandboxFailed,
    /// Whom an HTTP request was for could not be reached.
    Unreachable,
    /// Anything else.
    Failed,
}

impl Reason {
    /// Why the system refused.
    pub fn of(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::NotFound => Self::NotFound,
            Kind::PermissionDenied => Self::Permission,
            Kind::AlreadyExists => Self::Exists,
            Kind::StorageFull | Kind::QuotaExceeded => Self::NoSpace,
            Kind::ReadOnlyFilesystem => Self::ReadOnly,
            Kind::NotADirectory => Self::NotDirectory,
            Kind::IsADirectory => Self::IsDirectory,
            Kind::DirectoryNotEmpty => Self::NotEmpty,
            Kind::FileTooLarge | Kind::ArgumentListTooLong => Self::TooLarge,
            Kind::TimedOut => Self::TimedOut,
            Kind::ResourceBusy
            | Kind::ExecutableFileBusy
            | Kind::WouldBlock
            | Kind::OutOfMemory => Self::Busy,
            Kind::InvalidInput | Kind::InvalidFilename => Self::InvalidRequest,
            _ => Self::Failed,
        }
    }
}

impl From<ErrorKind> for Reason {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::InvalidRequest => Self::InvalidRequest,
            ErrorKind::UnknownMethod => Self::UnknownMethod,
            ErrorKind::InvalidParams => Self::InvalidParams,
            ErrorKind::Failed => Self::Failed,
            ErrorKind::Busy => Self::Busy,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::SessionAttached => Self::SessionAttached,
        }
    }
}

/// Bytes of a text in an error that a client is told; the texts repeat what it has sent itself.
const LONGEST: usize = 4096;

/// Bytes of a name that it is told.
const LONGEST_NAME: usize = 100;

/// Of these the last ones, where the cause stands.
const LAST: usize = 1024;

/// A text as a client is told it: the beginning and the end of one that is too long, and how much
/// is missing between them.
pub fn shortened(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST {
        return text.into();
    }
    let start = &text[..text.floor_char_boundary(LONGEST - LAST)];
    let end = &text[text.ceil_char_boundary(text.len() - LAST)..];
    let missing = text.len() - start.len() - end.len();
    format!("{start}... ({missing} bytes more) ...{end}").into()
}

/// A name that a client has sent and nobody knows, as an error repeats it: its beginning, if it is long.
pub fn quoted(name: &str) -> Cow<'_, str> {
    if name.len() <= LONGEST_NAME {
        return name.into();
    }
    let start = &name[..name.floor_char_boundary(LONGEST_NAME)];
    format!("{start}... ({} bytes)", name.len()).into()
}

fn shorten<S: Serializer>(text: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
    text.as_deref().map(shortened).serialize(to)
}

/// The error answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcError {
    /// Which decides the code.
    pub kind: ErrorKind,
    /// What a person reads.
    pub message: String,
    /// What a program reads.
    pub data: Box<ErrorData>,
}

/// Why and where a request failed, for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorData {
    /// Why.
    #[serde(rename = "kind")]
    pub reason: Reason,
    /// The step that failed, in a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<&'static str>,
    /// The kernel's number for why, where it was the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<i32>,
    /// What it was about, written as the client writes paths.
    #[serde(serialize_with = "shorten", skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What a person may do about it.
    #[serde(serialize_with = "shorten", skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What the policy of the request says of it, where that is why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<DenyingRule>,
}

/// The rule of a policy that a request, or a program, has failed for.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DenyingRule {
    /// The path that the rule is about, written as the client writes paths.
    #[serde(serialize_with = "shorten", skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The pattern that it is, in its place.
    #[serde(serialize_with = "shorten", skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// What it lets be done: `read`, `deny` (nothing), or `none` where no rule is about the path.
    pub access: String,
    /// Who made it: `policy`, `metadata` (it protects that of a project), or `default`.
    pub origin: String,
}

impl From<Reason> for ErrorData {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            stage: None,
            errno: None,
            path: None,
            hint: None,
            rule: None,
        }
    }
}

impl RpcError {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            data: Box::new(Reason::from(kind).into()),
        }
    }

    /// The same error with other `data`.
    pub fn with_data(mut self, data: ErrorData) -> Self {
        *self.data = data;
        self
    }

    /// The same error for this reason.
    pub fn because(mut self, reason: Reason) -> Self {
        self.data.reason = reason;
        self
    }

    /// The same error about something that was there; why it was forgotten, if it was.
    pub fn or_forgotten(mut self, why: Option<String>) -> Self {
        let Some(why) = why else { return self };
        self.message = format!("{}: {why}", self.message);
        self.because(Reason::Forgotten)
    }

    /// The message, or its moment, is wrong.
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidRequest, message)
    }

    /// The parameters do not fit.
    pub fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidParams, message)
    }

    /// There is no memory for it at the moment.
    pub fn no_memory() -> Self {
        Self::new(
            ErrorKind::Busy,
            "the server has no memory for this; try again later",
        )
    }

    /// The operation failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, message)
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.kind.code())
    }
}

impl std::error::Error for RpcError {}

impl From<PathError> for RpcError {
    fn from(error: PathError) -> Self {
        let kind = if error.is_invalid_params() {
            ErrorKind::InvalidParams
        } else {
            ErrorKind::InvalidRequest
        };
        Self::new(kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let fits = "x".repeat(LONGEST_NAME);
        assert_eq!(quoted(&fits), fits);
        let start = "x".repeat(LONGEST_NAME - 1);
        let cut = quoted(&format!("{start}\u{fc}")).into_owned();
        assert_eq!(cut, format!("{start}... (101 bytes)"));
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_says_so() {
        let fits = "x".repeat(LONGEST);
        assert_eq!(shortened(&fits), fits);
        let start = "x".repeat(LONGEST - LAST - 1);
        let end = "y".repeat(LAST - 1);
        let long = format!("{start}\u{fc}--\u{fc}{end}");
        let cut = shortened(&long);
        assert_eq!(cut, format!("{start}... (6 bytes more) ...{end}"));
        let data = ErrorData {
            path: Some(long.clone()),
            ..Reason::NotFound.into()
        };
        let json = serde_json::to_value(&data).unwrap();
        assert_eq!(json["path"], *cut);
        assert_eq!(json.get("hint"), None);
    }
}
