//! Why there is no server.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::auth::AuthError;
use super::tls::TlsError;

/// Why the server could not serve.
#[derive(Debug)]
pub enum ServeError {
    /// The address could be reached from elsewhere, and nothing would ask who comes.
    Unprotected(SocketAddr),
    /// Clients could not be asked who they are.
    Auth(AuthError),
    /// The listener could not prove itself.
    Tls(TlsError),
    /// The address cannot be listened on.
    Bind(SocketAddr, io::Error),
    /// The path cannot be listened on.
    BindPath(PathBuf, io::Error),
    /// The system refused something that every server needs.
    System(&'static str, io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unprotected(address) => write!(
                f,
                "refusing to listen on {address}: anyone who reaches it could run commands here; \
                 ask for a token with --ws-auth capability-token --ws-token-file FILE, or listen \
                 on 127.0.0.1 or [::1] and reach it through ssh -L"
            ),
            Self::Auth(error) => error.fmt(f),
            Self::Tls(error) => error.fmt(f),
            Self::BindPath(path, error) => write!(
                f,
                "{error}\ncannot listen on unix://{}; a path of at most 107 bytes in a directory \
                 of your own, such as under $XDG_RUNTIME_DIR, may do",
                path.display()
            ),
            // The reference's words come first: scripts look for them.
            Self::Bind(address, error) => write!(
                f,
                "{error}\ncannot listen on ws://{address}; another address, or port 0 for any \
                 free port, may do"
            ),
            Self::System(what, error) => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for ServeError {}
