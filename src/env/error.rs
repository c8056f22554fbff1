//! Why something could not be done in an environment.

use std::fmt;

use super::config::{ConfigError, Problem};
use super::{LOCAL, UnknownEnvironment};
use crate::rpc::client::ClientError;

/// Why something could not be done in an environment. `Display` is for a person, and names
/// the environment where that helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvironmentError {
    /// The connection, or the server's answer.
    Failed {
        /// The environment's id.
        id: String,
        /// What happened.
        error: ClientError,
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
            Self::Failed { error, .. } => error.code(),
            _ => None,
        }
    }
}

impl fmt::Display for EnvironmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A server's own words, about what it was asked for, need no more; and who has asked
            // this machine has not asked a server.
            Self::Failed {
                id,
                error: ClientError::Rejected { message, .. },
            } if id == LOCAL => f.write_str(message),
            Self::Failed {
                error: error @ ClientError::Rejected { .. },
                ..
            } => error.fmt(f),
            Self::Failed { id, error } => write!(f, "environment `{id}`: {error}"),
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
