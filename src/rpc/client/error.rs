//! Why a call on a server did not succeed.

use std::fmt;

use crate::rpc::error::ErrorKind;

/// Why a call on a server did not succeed. `Display` is for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// No connection came about: stage, cause, what to do.
    Connect(String),
    /// The connection is gone, and so is what was asked.
    Disconnected(String),
    /// The server answered with an error.
    Rejected {
        /// The JSON-RPC code.
        code: i64,
        /// The server's words.
        message: String,
    },
    /// The server's answer makes no sense.
    Protocol(String),
    /// No answer within the time allowed.
    TimedOut(String),
    /// The process takes no more input.
    InputClosed(String),
    /// The server announces no such extension; nothing was sent.
    Unsupported(String),
    /// The server would not, or did not, confine what had to be; nothing runs.
    NotConfined(&'static str),
}

impl ClientError {
    /// The JSON-RPC code, where there was an answer.
    pub fn code(&self) -> Option<i64> {
        match self {
            Self::Rejected { code, .. } => Some(*code),
            // What the server would say if it were asked.
            Self::Unsupported(_) => Some(ErrorKind::UnknownMethod.code().into()),
            _ => None,
        }
    }

    /// Whether the connection was lost on the way, so that what was asked for may have been done or
    /// not.
    pub fn is_disconnect(&self) -> bool {
        matches!(self, Self::Disconnected(_))
    }

    /// Whether the server said that there is no such file or handle.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(i64::from(ErrorKind::NotFound.code()))
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(why) | Self::TimedOut(why) | Self::InputClosed(why) => f.write_str(why),
            Self::Disconnected(why) if why.is_empty() => {
                f.write_str("exec-server transport disconnected")
            }
            Self::Disconnected(why) => write!(f, "exec-server transport disconnected: {why}"),
            Self::Rejected { code, message } => {
                write!(f, "exec-server rejected request ({code}): {message}")
            }
            Self::Unsupported(what) => write!(
                f,
                "this server does not know {what}, an extension of exec-server's protocol; \
                 it takes an exec-server of this kind there"
            ),
            Self::NotConfined(what) => write!(
                f,
                "this server does not confine commands, {what}; \
                 it takes an exec-server that enforces `sandbox` there"
            ),
            Self::Protocol(why) => write!(f, "exec-server protocol error: {why}"),
        }
    }
}

impl std::error::Error for ClientError {}
