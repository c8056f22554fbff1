//! Why something could not be done in an environment.

use std::fmt;

use super::UnknownEnvironment;
use super::config::{ConfigError, Problem};
use crate::rpc::client::ClientError;
use crate::rpc::error::ErrorKind;

/// Why something could not be done in an environment. `Display` is for a person, and names
/// the environment where that helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvironmentError {
    /// A remote one: the connection, or the server's answer.
    Remote {
        /// Its id.
        id: String,
        /// What happened.
        error: ClientError,
    },
    /// This machine's answer, with the code that a client elsewhere would see.
    Local {
        /// As in JSON-RPC.
        code: i64,
        /// What went wrong.
        message: String,
    },
    /// `environments.toml` or its variables are wrong.
    Config(ConfigError),
    /// There is no such environment.
    Unknown(UnknownEnvironment),
}

impl EnvironmentError {
    /// The JSON-RPC code, where the environment was reached.
    pub fn code(&self) -> Option<i64> {
        match self {
            Self::Remote {
                error: ClientError::Rejected { code, .. },
                ..
            }
            | Self::Local { code, .. } => Some(*code),
            // What the server would say if it were asked.
            Self::Remote {
                error: ClientError::Unsupported(_),
                ..
            } => Some(ErrorKind::UnknownMethod.code().into()),
            _ => None,
        }
    }

    /// Whether the connection was lost on the way, so that what was asked for may have been done or
    /// not.
    pub fn is_disconnect(&self) -> bool {
        matches!(
            self,
            Self::Remote {
                error: ClientError::Disconnected(_),
                ..
            }
        )
    }

    /// Whether the environment said that there is no such file or handle.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(i64::from(ErrorKind::NotFound.code()))
    }
}

impl fmt::Display for EnvironmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A server's own words, about what it was asked for, need no more.
            Self::Remote {
                error: error @ ClientError::Rejected { .. },
                ..
            } => error.fmt(f),
            Self::Remote { id, error } => write!(f, "environment `{id}`: {error}"),
            Self::Local { message, .. } => f.write_str(message),
            Self::Config(error) => error.fmt(f),
            Self::Unknown(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for EnvironmentError {}

impl From<ConfigError> for EnvironmentError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<Problem> for EnvironmentError {
    fn from(problem: Problem) -> Self {
        Self::Config(problem.into())
    }
}
