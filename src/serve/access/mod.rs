//! Who may connect to the listener: from an accepted socket to a client that is let in.
//!
//! ```text
//!   handshake   TLS, the HTTP request and its answer, within a time limit
//!   upgrade     the rules of that request: host, origin, path, token
//!   auth, jwt   bearer tokens, as a word or signed
//!   tls         the certificate
//! ```
//!
//! Tokens, keys and certificates are in files that may change; they are read again on SIGHUP.

pub(crate) mod auth;
pub(crate) mod handshake;
pub(crate) mod jwt;
pub(crate) mod tls;
pub(crate) mod upgrade;

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;

use self::auth::{AuthError, Authenticator};
use self::tls::{Identity, TlsError};
use super::config::{Config, ServeError};
use super::listen::ListenAddress;
use crate::sys::secret_file;

/// Who may connect, and to whom.
#[derive(Default)]
pub(crate) struct Access {
    authenticator: Option<Arc<Authenticator>>,
    identity: Option<Identity>,
}

impl Access {
    /// Reads the files that the flags name.
    pub(crate) fn open(config: &Config) -> Result<Self, ServeError> {
        Ok(Self {
            authenticator: authenticator(config).map_err(ServeError::Auth)?,
            identity: identity(config).map_err(ServeError::Tls)?,
        })
    }

    /// Who asks websocket clients for a token, if anyone does.
    pub(crate) fn authenticator(&self) -> Option<&Arc<Authenticator>> {
        self.authenticator.as_ref()
    }

    /// Whether connections are encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.identity.is_some()
    }

    /// What encrypts a new connection, if anything does.
    pub(crate) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.identity.as_ref().map(Identity::config)
    }

    /// Reads the files again. Of what cannot be read, that from before stays.
    pub(crate) fn reload(&self) -> Vec<Reloaded> {
        let secret = self.authenticator.as_ref().and_then(|it| it.reload());
        let certificate = self.identity.as_ref().map(|it| it.reload());
        let secret = secret.map(|it| ("secret", it.map_err(|error| error.to_string())));
        let certificate =
            certificate.map(|it| ("certificate", it.map_err(|error| error.to_string())));
        secret.into_iter().chain(certificate).collect()
    }
}

/// What was read again, and why it was not.
pub(crate) type Reloaded = (&'static str, Result<(), String>);

fn authenticator(config: &Config) -> Result<Option<Arc<Authenticator>>, AuthError> {
    let rules = config.options.auth.clone().rules();
    if config.listen == ListenAddress::Stdio {
        // A token that is merely in the environment is not meant for us then.
        return match (config.options.auth.mode, rules) {
            (None, Ok(_) | Err(AuthError::Blank)) => Ok(None),
            (Some(_), Ok(_)) => Err(AuthError::Stdio),
            (_, Err(error)) => Err(error),
        };
    }
    rules?
        .map(|rules| Authenticator::open(rules).map(Arc::new))
        .transpose()
}

fn identity(config: &Config) -> Result<Option<Identity>, TlsError> {
    match config.listen {
        ListenAddress::WebSocket(_) => Identity::open(&config.options.tls),
        _ if config.options.tls.is_wanted() => Err(TlsError::NoNetwork),
        _ => Ok(None),
    }
}

/// When a file is read, which decides what it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// At the start, where `<(command)` in a shell is a good source too.
    Start,
    /// Later. `/dev/fd/63` is then something else: the output of a child, perhaps.
    Reload,
}

/// Reads a file with a secret in it, of at most 1 MiB, whole.
///
/// # Errors
/// It cannot be read, is larger, or at a reload is no regular file.
pub(crate) fn read_secret(path: &Path, moment: Moment) -> io::Result<Vec<u8>> {
    match moment {
        Moment::Start => secret_file::read(path),
        Moment::Reload => secret_file::read_regular(path),
    }
}
