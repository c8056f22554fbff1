//! How an environment is reached.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Origin;
use crate::net::redact::redacted;

/// A remote environment, as it was defined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its name.
    pub id: String,
    /// How it is reached.
    pub transport: Transport,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long the handshake may take then.
    pub initialize_timeout: Duration,
    /// Where this stands.
    pub origin: Origin,
}

impl Definition {
    /// How long connecting, and then the handshake, may take unless something else is said.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
}

/// How an environment is reached. `Display` shows neither arguments, nor variables, nor what
/// may be secret in a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A websocket.
    WebSocket {
        /// Of `ws` or `wss`; what came from a variable may be anything.
        url: String,
        /// The variable that holds the token to log in with.
        bearer_token_env: Option<String>,
    },
    /// A websocket on a unix socket.
    Unix {
        /// Of the socket; absolute.
        path: PathBuf,
        /// As above.
        bearer_token_env: Option<String>,
    },
    /// A program that speaks on its standard input and output.
    Program {
        /// Looked for on PATH if it has no `/`.
        program: String,
        /// Its arguments.
        args: Vec<String>,
        /// Added to what it inherits.
        env: BTreeMap<String, String>,
        /// Where it is started; absolute; none is where we are.
        cwd: Option<PathBuf>,
    },
}

impl Transport {
    /// What a URL leads to that nobody has looked at: a socket of this machine, or a websocket.
    pub(in crate::env) fn from_url(url: &str) -> Self {
        match url.strip_prefix("unix://") {
            Some(path) => Self::Unix {
                path: PathBuf::from(path),
                bearer_token_env: None,
            },
            None => Self::WebSocket {
                url: url.to_owned(),
                bearer_token_env: None,
            },
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WebSocket { url, .. } => f.write_str(&redacted(url)),
            Self::Unix { path, .. } => write!(f, "unix://{}", path.display()),
            Self::Program { program, .. } => {
                let name = Path::new(program).file_name();
                let name = name.map_or(program.into(), |name| name.to_string_lossy());
                write!(f, "stdio command `{name}`")
            }
        }
    }
}
