//! Why a file request was not carried out in its sandbox.

use std::fmt;
use std::io;
use std::time::Duration;

use super::channel::ChannelError;
use crate::env::local::{Helper, StartError};
use crate::rpc::error::{ErrorData, RpcError};
use crate::sandbox::mounts::PlanError;
use crate::sys::process::Exit;

/// How long the cause of a failure is waited for: a program that hangs up ends at once.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why a file request was not carried out in its sandbox. `Display` is for a person.
#[derive(Debug)]
pub(super) enum ConfinedError {
    /// What the policy is about could not be looked at.
    Policy(PlanError),
    /// The system gave no socket.
    Socket(io::Error),
    /// The helper could not be started.
    Start(StartError),
    /// The sandbox was not set up, so there is no helper in it.
    SetUp(Failure),
    /// Landlock does not confine who changes permissions.
    FreeModes,
    /// The helper did not answer.
    Helper(Failure),
    /// The connection is gone.
    GivenUp,
}

/// What is known of a helper that has failed.
#[derive(Debug)]
pub(super) struct Failure {
    error: ChannelError,
    exit: Option<Exit>,
    said: String,
}

impl Failure {
    /// Asks a helper that is of no more use how it ended.
    pub(super) fn of(helper: &Helper, error: ChannelError) -> Self {
        let (exit, said) = helper.last_words(LAST_WORDS);
        Self { error, exit, said }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)?;
        match self.exit {
            Some(Exit::Code(code)) => write!(f, " with code {code}")?,
            Some(Exit::Killed(signal)) => write!(f, ", killed by {}", signal.name())?,
            None => {}
        }
        if !self.said.is_empty() {
            write!(f, ": {}", self.said)?;
        }
        Ok(())
    }
}

impl ConfinedError {
    /// The error of a request whose first path the client wrote as `path`.
    pub(super) fn into_rpc(self, path: String) -> RpcError {
        if let Self::Start(error) = &self {
            let told = RpcError::from(error);
            if told.data.is_some() {
                return told;
            }
        }
        let (stage, errno) = match &self {
            Self::Policy(_) => ("policy", None),
            Self::Socket(error) => ("socket", error.raw_os_error()),
            Self::Start(_) => ("start", None),
            Self::SetUp(_) | Self::FreeModes => ("sandbox", None),
            Self::Helper(failure) => match &failure.error {
                ChannelError::Io(error) => ("helper", error.raw_os_error()),
                _ => ("helper", None),
            },
            Self::GivenUp => ("connection", None),
        };
        RpcError::failed(self.to_string()).with_data(ErrorData {
            stage,
            errno,
            path: Some(path),
            hint: None,
            rule: None,
        })
    }
}

impl fmt::Display for ConfinedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(error) => error.fmt(f),
            Self::Socket(error) => write!(f, "no socket for a helper in the sandbox: {error}"),
            Self::Start(error) => write!(f, "the helper in the sandbox did not start: {error}"),
            Self::SetUp(failure) => write!(
                f,
                "the sandbox for file requests was not set up, so nothing was done: {failure}"
            ),
            Self::FreeModes => f.write_str(
                "Landlock, which is all that can confine here, does not confine changes of permissions, \
                 so nothing was done",
            ),
            Self::Helper(failure) => write!(
                f,
                "the helper in the sandbox failed, and how far it came is not known: {failure}"
            ),
            Self::GivenUp => {
                f.write_str("its connection ended before it began, so nothing was done")
            }
        }
    }
}

impl std::error::Error for ConfinedError {}
