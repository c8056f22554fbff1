//! What the listener knows of its clients and of itself; some of it is in files that may change.

use std::sync::Arc;

use rustls::ServerConfig;

use super::auth::{AuthError, Authenticator};
use super::config::Config;
use super::config::ServeError;
use super::listen::ListenAddress;
use super::tls::{Identity, TlsError};

/// Who may connect, and to whom.
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

    /// Whether there are files that may change.
    pub(crate) fn has_files(&self) -> bool {
        let has_secret = self.authenticator.as_ref().is_some_and(|it| it.has_file());
        has_secret || self.identity.is_some()
    }

    /// Reads the files again.
    pub(crate) fn reload(&self) {
        if let Some(authenticator) = &self.authenticator {
            authenticator.reload();
        }
        if let Some(identity) = &self.identity {
            identity.reload();
        }
    }
}

fn authenticator(config: &Config) -> Result<Option<Arc<Authenticator>>, AuthError> {
    let rules = config.options.auth.clone().rules()?;
    if config.listen == ListenAddress::Stdio {
        // A token that is merely in the environment is not meant for us then.
        return match config.options.auth.mode {
            Some(_) => Err(AuthError::Stdio),
            None => Ok(None),
        };
    }
    rules
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
