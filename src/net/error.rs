//! Why a websocket did not come about.

use std::fmt;
use std::io;
use std::time::Duration;

/// A step on the way to a websocket, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading the URL and what goes with it.
    Address,
    /// Looking the name up.
    Lookup,
    /// Connecting to the server, or to the proxy before it.
    Connect,
    /// Asking the proxy for a way through.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// The HTTP upgrade.
    Upgrade,
}

/// What went wrong in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialCause {
    /// It is badly said; how.
    Invalid(String),
    /// The time for all stages is up.
    TimedOut(Duration),
    /// The system or the peer failed; the text names the address that was spoken to.
    Failed {
        /// Address and cause.
        text: String,
        /// The system's word for it, where it has one.
        kind: Option<io::ErrorKind>,
    },
    /// An HTTP answer that is not the one wanted.
    Refused {
        /// The status, such as 401.
        status: u16,
        /// The first line of its body, shortened; may be empty.
        line: String,
    },
}

/// Why a websocket did not come about. `Display` says where to, what and what to do, and shows no
/// credentials and no query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialError {
    /// The URL without what may be secret.
    pub label: String,
    /// Where it failed.
    pub stage: Stage,
    /// Why.
    pub cause: DialCause,
}

impl DialError {
    /// The status of the answer that refused the upgrade.
    pub fn status(&self) -> Option<u16> {
        match self.cause {
            DialCause::Refused { status, .. } if self.stage == Stage::Upgrade => Some(status),
            _ => None,
        }
    }

    /// Whether another attempt may fare better: all but a bad address, a certificate that is not
    /// trusted, and an answer that says the fault is ours.
    pub fn is_temporary(&self) -> bool {
        match &self.cause {
            DialCause::Invalid(_) => false,
            DialCause::TimedOut(_) => true,
            DialCause::Failed { kind, .. } => *kind != Some(io::ErrorKind::InvalidData),
            DialCause::Refused { status, .. } => *status >= 500 || matches!(status, 408 | 429),
        }
    }

    /// What failed and why, for who knows where to and did not choose that. The advice is what can
    /// be done whoever is there.
    pub fn reason(&self) -> String {
        let advice = match self.stage {
            Stage::Lookup | Stage::Proxy | Stage::Tls => self.advice(),
            Stage::Address | Stage::Connect | Stage::Upgrade => "",
        };
        format!("{}{advice}", Reason(self))
    }

    fn advice(&self) -> &'static str {
        match (self.stage, &self.cause) {
            (Stage::Address, _) => "; write it as ws://HOST:PORT, wss://HOST:PORT or unix:///PATH",
            (Stage::Lookup, _) => "; check the host's name and this machine's name service",
            (Stage::Connect, DialCause::Failed { kind, .. }) => match kind {
                Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
                    "; is exec-server running there, and is this where it listens?"
                }
                Some(io::ErrorKind::PermissionDenied) => "; the socket is another user's",
                _ => "; check the address, and the network on the way to it",
            },
            (Stage::Connect, _) => "; check the address, and firewalls on the way to it",
            (Stage::Proxy, _) => "; check the proxy's variable, or list the host in NO_PROXY",
            (Stage::Tls, DialCause::Failed { kind, .. })
                if *kind == Some(io::ErrorKind::InvalidData) =>
            {
                "; a root of its own goes into a file that SSL_CERT_FILE names; \
                 a server without TLS is ws://"
            }
            (Stage::Upgrade, DialCause::Refused { status, .. }) => match status {
                401 => "; give the bearer token that the server was started with",
                403 => "; the server does not let this client in",
                300..=399 => "; redirects are not followed, give the final address",
                _ => "; is it an exec-server that listens there?",
            },
            (Stage::Tls | Stage::Upgrade, _) => {
                "; is it an exec-server that listens there, and with the scheme of this URL?"
            }
        }
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = &self.label;
        match &self.cause {
            DialCause::TimedOut(limit) => write!(
                f,
                "timed out connecting to exec-server websocket `{label}` after {limit:?} while {}",
                self.stage
            )?,
            _ => write!(
                f,
                "failed to connect to exec-server websocket `{label}`: {}",
                Reason(self)
            )?,
        }
        f.write_str(self.advice())
    }
}

/// The stage and the cause.
struct Reason<'a>(&'a DialError);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DialError { stage, cause, .. } = self.0;
        write!(f, "{stage}: ")?;
        match cause {
            DialCause::Invalid(text) | DialCause::Failed { text, .. } => f.write_str(text),
            DialCause::TimedOut(limit) => write!(f, "timed out after {limit:?}"),
            DialCause::Refused { status, line } => {
                write!(f, "HTTP status {status}")?;
                if !line.is_empty() {
                    write!(f, " ({line})")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for DialError {}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "reading the address",
            Self::Lookup => "looking its name up",
            Self::Connect => "connecting",
            Self::Proxy => "passing through the proxy",
            Self::Tls => "the TLS handshake",
            Self::Upgrade => "the HTTP upgrade",
        })
    }
}
