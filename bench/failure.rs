//! Why a measurement could not be taken. One failure costs one figure, never the run.

use std::fmt;
use std::io;

/// The reason a step has no figure.
#[derive(Debug)]
pub enum Failure {
    /// The system refused something; `what` says what was being done.
    Io { what: String, source: io::Error },
    /// The server answered a request with an error.
    Refused { code: i64, message: String },
    /// The server (or a floor's peer) did something that makes the figure meaningless.
    Unexpected(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { what, source } => write!(f, "{what}: {source}"),
            Self::Refused { code, message } => {
                write!(f, "the server refused a request: {message} ({code})")
            }
            Self::Unexpected(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Failure {}

/// Names what was being done when an I/O operation failed.
pub trait During<T> {
    /// Turns the error into a [`Failure`] that says `what` was tried.
    fn during(self, what: impl fmt::Display) -> Result<T, Failure>;
}

impl<T> During<T> for io::Result<T> {
    fn during(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|source| Failure::Io {
            what: what.to_string(),
            source,
        })
    }
}
