//! The certificate with which the listener proves itself, and the key to it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;

use super::{Moment, read_secret};
use crate::sys::secret_file::warn_if_exposed;
use crate::sys::sync::Mutex;

/// The files that the flags name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate in PEM, and those that lead to a root behind it.
    pub certificate: Option<PathBuf>,
    /// Its private key in PEM.
    pub key: Option<PathBuf>,
}

impl TlsFiles {
    /// Whether TLS is wanted at all.
    pub fn is_wanted(&self) -> bool {
        self.certificate.is_some() || self.key.is_some()
    }
}

/// Who the listener is to its clients.
pub(crate) struct Identity {
    certificate: PathBuf,
    key: PathBuf,
    config: Mutex<Arc<ServerConfig>>,
}

impl Identity {
    /// Reads both files, and warns if others can read the key. None if TLS is not wanted.
    pub(crate) fn open(files: &TlsFiles) -> Result<Option<Self>, TlsError> {
        let (certificate, key) = match (&files.certificate, &files.key) {
            (None, None) => return Ok(None),
            (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
            (Some(_), None) => return Err(TlsError::Incomplete("--tls-cert", "--tls-key")),
            (None, Some(_)) => return Err(TlsError::Incomplete("--tls-key", "--tls-cert")),
        };
        let config = Mutex::new(load(&certificate, &key, Moment::Start)?);
        warn_if_exposed(&key);
        Ok(Some(Self {
            certificate,
            key,
            config,
        }))
    }

    /// What a new connection uses.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        let config = self.config.lock();
        Arc::clone(&config)
    }

    /// Reads both files again. On an error what was read before stays.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        *self.config.lock() = load(&self.certificate, &self.key, Moment::Reload)?;
        Ok(())
    }
}

fn load(certificate: &Path, key: &Path, moment: Moment) -> Result<Arc<ServerConfig>, TlsError> {
    let read =
        |path: &Path| read_secret(path, moment).map_err(|error| TlsError::Read(path.into(), error));
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::Pem(certificate.into(), error))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(certificate.into()));
    }
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey(key.into()),
        error => TlsError::Pem(key.into(), error),
    })?;
    let unusable = |error| TlsError::Unusable {
        certificate: certificate.into(),
        key: key.into(),
        error,
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    // Clients stay for hours: to remember them for a faster handshake would be memory for nothing.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Why the listener cannot speak TLS. `Display` says what to do.
#[derive(Debug)]
pub enum TlsError {
    /// The first flag is there, and the second is not.
    Incomplete(&'static str, &'static str),
    /// There is nothing to encrypt on that listener.
    NoNetwork,
    /// The file cannot be read.
    Read(PathBuf, io::Error),
    /// The file is no good PEM.
    Pem(PathBuf, pem::Error),
    /// The file has no certificate inside.
    NoCertificate(PathBuf),
    /// The file has no private key inside.
    NoKey(PathBuf),
    /// The contents are not usable together.
    Unusable {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What is wrong.
        error: rustls::Error,
    },
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete(given, missing) => {
                write!(f, "{given} needs {missing}, the other half of TLS")
            }
            Self::NoNetwork => f.write_str(
                "--tls-cert and --tls-key are for a listener at ws://IP:PORT; \
                 a Unix socket and stdio never leave this machine",
            ),
            Self::Read(path, error) => write!(
                f,
                "cannot read {}: {error}\n--tls-cert and --tls-key each name a PEM file that this \
                 user can read",
                path.display()
            ),
            Self::Pem(path, error) => {
                write!(f, "{} is no good PEM: {}", path.display(), pem_fault(error))
            }
            Self::NoCertificate(path) => write!(
                f,
                "no certificate in {}; --tls-cert names a file with BEGIN CERTIFICATE inside",
                path.display()
            ),
            Self::NoKey(path) => write!(
                f,
                "no private key in {}; --tls-key names a file with BEGIN PRIVATE KEY inside, \
                 without a passphrase",
                path.display()
            ),
            Self::Unusable {
                certificate,
                key,
                error,
            } => write!(
                f,
                "the certificate in {} cannot be used with the key in {}: {error}\n\
                 the first certificate in the file must be the one that was issued for this key",
                certificate.display(),
                key.display()
            ),
        }
    }
}

impl std::error::Error for TlsError {}

/// The fault in our words: the crate's show what is in the file, and it may be a key.
fn pem_fault(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a -----END line is missing",
        pem::Error::IllegalSectionStart { .. } => "a -----BEGIN line is malformed",
        pem::Error::Base64Decode(_) => "what is between its lines is not base64",
        _ => "it is damaged",
    }
}
