//! Where a server is.

use std::fmt;
use std::path::PathBuf;

use super::{DialCause, DialError, Stage};
use crate::rpc::url::{Url, UrlError};

/// Where a server is.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// At a URL of `ws` or `wss`.
    WebSocket(Url),
    /// At a Unix socket of this absolute path.
    Unix(PathBuf),
}

impl Target {
    /// Reads `ws://HOST[:PORT][/PATH]`, `wss://…` or `unix:///PATH`.
    ///
    /// # Errors
    /// It is none of these.
    pub fn parse(text: &str) -> Result<Self, DialError> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("unix://") {
            if path.starts_with('/') && !path.ends_with('/') {
                return Ok(Self::Unix(PathBuf::from(path)));
            }
            return Err(invalid(
                "unix://…",
                "the path must be absolute, and a file's",
            ));
        }
        Url::parse_websocket(text)
            .map(Self::WebSocket)
            .map_err(|error| match error {
                UrlError::Scheme(scheme) => {
                    invalid(&format!("{scheme}:…"), &format!("unknown scheme {scheme}"))
                }
                UrlError::Invalid(why) => invalid("…", why),
            })
    }

    /// For messages: without credentials and query, of which either may be a secret.
    pub fn label(&self) -> String {
        match self {
            Self::WebSocket(url) => url.redacted(),
            Self::Unix(path) => format!("unix://{}", path.display()),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label())
    }
}

/// The text itself may hold a secret, so it is not repeated.
fn invalid(label: &str, why: &str) -> DialError {
    DialError {
        label: label.to_owned(),
        stage: Stage::Address,
        cause: DialCause::Invalid(why.to_owned()),
    }
}
