//! What a client is told when something does not work, in one place for the server and for who
//! uses this machine in process.

use std::io;
use std::path::Path;

use super::files::FileError;
use super::launch::StartError;
use super::process::WriteError;
use crate::net::http::{FetchError, RequestError};
use crate::rpc::error::{DenyingRule, ErrorData, ErrorKind, Reason, RpcError, quoted};
use crate::sys::signal::Signal;

impl From<FileError> for RpcError {
    fn from(error: FileError) -> Self {
        let reason = match &error {
            FileError::System(error) => Some(Reason::of(error)),
            FileError::TooLargeToRead => Some(Reason::TooLarge),
            FileError::HandleExists(_) => Some(Reason::Exists),
            FileError::ManyHandles => Some(Reason::Busy),
            FileError::CopyNeedsRecursive => Some(Reason::IsDirectory),
            FileError::Changed => Some(Reason::Changed),
            _ => None,
        };
        let kind = match &error {
            FileError::System(error) => match error.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                std::io::ErrorKind::InvalidInput | std::io::ErrorKind::PermissionDenied => {
                    ErrorKind::InvalidRequest
                }
                std::io::ErrorKind::OutOfMemory => ErrorKind::Busy,
                _ => ErrorKind::Failed,
            },
            FileError::UnknownHandle(_) => ErrorKind::NotFound,
            FileError::Moved | FileError::Changed => ErrorKind::Failed,
            _ => ErrorKind::InvalidRequest,
        };
        let told = Self::new(kind, error.to_string());
        match reason {
            Some(reason) => told.because(reason),
            None => told,
        }
    }
}

impl From<&StartError> for RpcError {
    fn from(error: &StartError) -> Self {
        let kind = match error {
            StartError::TooMany(_) => ErrorKind::Busy,
            StartError::Cgroup(error) if error.is_busy() => ErrorKind::Busy,
            _ => ErrorKind::Failed,
        };
        let told = Self::new(kind, error.to_string());
        let mut rule = None;
        let (reason, stage, system, path) = match error {
            StartError::Sandbox(refusal) => return told.with_data(refusal.data()),
            StartError::NoProgram(_) => (Reason::NotFound, "program", None, None),
            StartError::Nul(_) => (Reason::Failed, "start", None, None),
            StartError::TooMany(_) => (Reason::Busy, "start", None, None),
            StartError::Resources(_, error) => (Reason::of(error), "start", Some(error), None),
            StartError::Limit(_, error) => (Reason::of(error), "limit", Some(error), None),
            StartError::Cgroup(told) => {
                let (path, error) = told.parts();
                let reason = match told.is_busy() {
                    true => Reason::Busy,
                    false => error.map_or(Reason::Failed, Reason::of),
                };
                (reason, "cgroup", error, path)
            }
            StartError::Directory(path, error) => (
                Reason::BadCwd,
                "directory",
                Some(error),
                Some(path.as_path()),
            ),
            StartError::NotOnPath(name, _, error) => (
                Reason::NotFound,
                "program",
                Some(error),
                Some(Path::new(name)),
            ),
            StartError::Program(path, error) => {
                let reason = match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Reason::NotFound,
                    io::ErrorKind::ArgumentListTooLong => Reason::TooLarge,
                    _ => Reason::NotExecutable,
                };
                (reason, "program", Some(error), Some(path.as_path()))
            }
            StartError::Denied(path, error, denying) => {
                rule = Some(DenyingRule::clone(denying));
                let path = Some(path.as_path());
                (Reason::SandboxDenied, "program", Some(error), path)
            }
            StartError::Interpreter(path, _, error) => (
                Reason::NotExecutable,
                "interpreter",
                Some(error),
                Some(path.as_path()),
            ),
        };
        told.with_data(ErrorData {
            stage: Some(stage),
            errno: system.and_then(io::Error::raw_os_error),
            path: path.map(|path| path.display().to_string()),
            rule,
            ..reason.into()
        })
    }
}

impl From<WriteError> for RpcError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Full => Self::new(
                ErrorKind::Busy,
                "too many bytes wait for the process to read them; \
                 wait for the answers to earlier writes, then write again",
            ),
            WriteError::IdReused => {
                Self::invalid_params("writeId was used before with other bytes")
            }
        }
    }
}

impl From<RequestError> for RpcError {
    fn from(error: RequestError) -> Self {
        Self::invalid_params(error.to_string())
    }
}

impl From<&FetchError> for RpcError {
    fn from(error: &FetchError) -> Self {
        let kind = match error {
            FetchError::OffLimits(_) => ErrorKind::InvalidRequest,
            _ => ErrorKind::Failed,
        };
        let reason = match error {
            FetchError::Send { .. } => Reason::Unreachable,
            FetchError::TimedOut(_) => Reason::TimedOut,
            FetchError::TooManyRedirects => Reason::Failed,
            FetchError::OffLimits(_) => Reason::Permission,
        };
        Self::new(kind, error.to_string()).because(reason)
    }
}

/// The signal of this name: the reference's only one, or a name of the system's.
///
/// # Errors
/// There is none.
pub fn signal_named(name: &str) -> Result<Signal, RpcError> {
    let signal = match name {
        "interrupt" => Some(Signal::INTERRUPT),
        name => Signal::from_name(name),
    };
    signal.ok_or_else(|| {
        RpcError::invalid_params(format!(
            "unknown variant `{}`, expected `interrupt` or a signal's name such as `SIGTERM`",
            quoted(name)
        ))
    })
}

/// A process that did not take a signal.
pub fn cannot_signal(signal: Signal, error: &io::Error) -> RpcError {
    let name = signal.name();
    RpcError::failed(format!("cannot send {name} to the process: {error}"))
        .because(Reason::of(error))
}

/// A process of this name whose terminal, if it has one, did not take a size.
pub fn cannot_resize(id: &str, error: &io::Error) -> RpcError {
    if error.kind() == io::ErrorKind::InvalidInput {
        RpcError::invalid_request(format!(
            "process {id} has no terminal to resize; start it with tty: true"
        ))
    } else {
        RpcError::failed(format!("cannot resize the terminal: {error}"))
    }
}
