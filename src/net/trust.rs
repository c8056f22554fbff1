//! Which certificate a client believes to be its server's.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use sha2::{Digest, Sha256};

use super::certificate::Usage;
use crate::hex::{digest_from_hex, hex};
use crate::log;
use crate::sys::secret_file;

/// Variables that name a PEM file of further roots: OpenSSL's, and the real client's.
const ROOT_VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "CODEX_CA_CERTIFICATE"];

/// Whom a client believes to be its server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Who has a certificate for the name, from an authority that is built in or in a file that
    /// `SSL_CERT_FILE` or `CODEX_CA_CERTIFICATE` names, or one that is itself in such a file.
    #[default]
    Usual,
    /// The same with what is in this file, and nothing else.
    File(PathBuf),
    /// Who has this certificate, whatever name and validity are in it.
    Pin(Fingerprint),
}

/// The SHA-256 of a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// That of a certificate in DER.
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl FromStr for Fingerprint {
    type Err = NoFingerprint;

    /// Reads what `Display` shows, also with the colons and large letters of openssl, which leaves
    /// out the name of the digest.
    fn from_str(text: &str) -> Result<Self, NoFingerprint> {
        let digits = match text.trim().split_once(':') {
            Some((name, digits)) if name.eq_ignore_ascii_case("sha256") => digits,
            _ => text.trim(),
        };
        let digest = digest_from_hex(&digits.replace(':', ""));
        digest.map(Self).ok_or(NoFingerprint)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoFingerprint;

impl fmt::Display for NoFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected sha256: and 64 hexadecimal digits, or the digits that `openssl x509 -noout \
             -fingerprint -sha256 -in FILE` prints",
        )
    }
}

/// The server has another certificate than the one that is pinned: this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongPin(pub Fingerprint);

impl fmt::Display for WrongPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "another certificate than the one that is pinned, with the fingerprint {}",
            self.0
        )
    }
}

impl std::error::Error for WrongPin {}

impl WrongPin {
    /// The one that a handshake has failed by.
    pub(super) fn in_error(error: &io::Error) -> Option<Self> {
        match error.get_ref()?.downcast_ref()? {
            Error::InvalidCertificate(CertificateError::Other(why)) => {
                why.0.downcast_ref().copied()
            }
            _ => None,
        }
    }
}

/// How to speak TLS with anyone whom the usual roots vouch for. A file of roots that cannot be read
/// is logged and adds none.
pub fn usual_config() -> Arc<ClientConfig> {
    let mut roots = Roots::new(webpki_roots::TLS_SERVER_ROOTS);
    for variable in ROOT_VARIABLES {
        let Some(file) = std::env::var_os(variable).filter(|file| !file.is_empty()) else {
            continue;
        };
        let file = Path::new(&file);
        if let Err(error) = roots.add(file) {
            log::warn!("no roots from {variable} {}: {error}", file.display());
        }
    }
    // What is built in is never empty, which is all that could be wrong with them.
    config(roots.rule().expect("there are roots"))
}

/// How to speak TLS with whom this is.
///
/// # Errors
/// The file cannot be read, or has no certificate.
pub fn config_for(trust: &Trust) -> io::Result<Arc<ClientConfig>> {
    match trust {
        Trust::Usual => Ok(usual_config()),
        Trust::File(file) => {
            let mut roots = Roots::new(&[]);
            roots
                .add(file)
                .and_then(|()| roots.rule().map(config))
                .map_err(|error| {
                    let text = format!("no certificate from {}: {error}", file.display());
                    io::Error::new(error.kind(), text)
                })
        }
        Trust::Pin(pin) => Ok(config(Rule::Pin(*pin))),
    }
}

fn config(rule: Rule) -> Arc<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier {
        rule,
        algorithms: provider.signature_verification_algorithms,
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        // Only a provider without any cipher suite of these versions fails, and ring has them.
        .expect("ring speaks TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Arc::new(config)
}

/// Certificates that vouch for others, and for themselves.
#[derive(Debug)]
struct Roots {
    built_in: &'static [TrustAnchor<'static>],
    of_files: Vec<FileCertificate>,
}

/// A certificate of a file. It is believed itself, and vouches for others if it is an authority's.
#[derive(Debug)]
struct FileCertificate {
    fingerprint: Fingerprint,
    usage: Usage,
    /// None if it vouches for nobody else.
    anchor: Option<TrustAnchor<'static>>,
}

impl FileCertificate {
    fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let usage = Usage::of(certificate)?;
        let anchor = (usage.is_authority && usage.is_for_servers)
            .then(|| {
                let mut store = RootCertStore::empty();
                store.add(certificate.clone().into_owned()).ok()?;
                store.roots.pop()
            })
            .flatten();
        Some(Self {
            fingerprint: Fingerprint::of(certificate),
            usage,
            anchor,
        })
    }

    /// Whether it may be a server's at this time.
    fn check(&self, time: UnixTime) -> Result<(), CertificateError> {
        let Usage { from, until, .. } = self.usage;
        let point = |seconds: i64| {
            let seconds = u64::try_from(seconds).unwrap_or(0);
            UnixTime::since_unix_epoch(Duration::from_secs(seconds))
        };
        let (not_before, not_after) = (point(from), point(until));
        if time < not_before {
            Err(CertificateError::NotValidYetContext { time, not_before })
        } else if time > not_after {
            Err(CertificateError::ExpiredContext { time, not_after })
        } else if !self.usage.is_for_servers {
            Err(CertificateError::InvalidPurpose)
        } else {
            Ok(())
        }
    }
}

impl Roots {
    fn new(built_in: &'static [TrustAnchor<'static>]) -> Self {
        Self {
            built_in,
            of_files: Vec::new(),
        }
    }

    fn add(&mut self, file: &Path) -> io::Result<()> {
        let bytes = secret_file::read_regular(file)?;
        let certificates = CertificateDer::pem_slice_iter(&bytes)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let read: Vec<_> = certificates.iter().map(FileCertificate::read).collect();
        let usable = read.into_iter().flatten();
        let before = self.of_files.len();
        self.of_files.extend(usable);
        let added = &self.of_files[before..];
        log::info!(
            "{} certificates from {}, {} of them authorities; {} unusable",
            added.len(),
            file.display(),
            added.iter().filter(|it| it.anchor.is_some()).count(),
            certificates.len() - added.len()
        );
        Ok(())
    }

    fn rule(self) -> io::Result<Rule> {
        if self.built_in.is_empty() && self.of_files.is_empty() {
            return Err(io::Error::other("there is none in it"));
        }
        Ok(Rule::Roots(self))
    }

    /// Who vouches for others at this time.
    fn authorities(&self, time: UnixTime) -> RootCertStore {
        let valid = self.of_files.iter().filter(|it| it.check(time).is_ok());
        let anchors = valid.filter_map(|it| it.anchor.as_ref());
        RootCertStore {
            roots: self.built_in.iter().chain(anchors).cloned().collect(),
        }
    }
}

/// Which certificate is believed.
#[derive(Debug)]
enum Rule {
    /// What an authority has issued, or is itself in a file.
    Roots(Roots),
    /// This one.
    Pin(Fingerprint),
}

impl Rule {
    fn holds(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), Error> {
        match self {
            Self::Roots(roots) => {
                let parsed = ParsedCertificate::try_from(certificate)?;
                let seen = Fingerprint::of(certificate);
                match roots.of_files.iter().find(|it| it.fingerprint == seen) {
                    Some(itself) => itself.check(now)?,
                    None => verify_server_cert_signed_by_trust_anchor(
                        &parsed,
                        &roots.authorities(now),
                        intermediates,
                        now,
                        algorithms.all,
                    )?,
                }
                verify_server_name(&parsed, name)
            }
            Self::Pin(pin) => match Fingerprint::of(certificate) {
                seen if seen == *pin => Ok(()),
                seen => {
                    let why = OtherError(Arc::new(WrongPin(seen)));
                    Err(CertificateError::Other(why).into())
                }
            },
        }
    }
}

/// Believes who has such a certificate, and the key to it.
#[derive(Debug)]
struct Verifier {
    rule: Rule,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.rule
            .holds(certificate, intermediates, name, now, &self.algorithms)
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_it_is_printed_and_as_openssl_prints_it() {
        let digits = "0123456789abcdef".repeat(4);
        let ours = format!("sha256:{digits}");
        let fingerprint: Fingerprint = ours.parse().unwrap();
        assert_eq!(fingerprint.to_string(), ours);
        let pairs: Vec<_> = digits
            .as_bytes()
            .chunks(2)
            .map(|pair| str::from_utf8(pair).unwrap())
            .collect();
        let theirs = pairs.join(":").to_uppercase();
        for text in [
            format!("sha256:{theirs}"),
            format!(" SHA256:{theirs}\n"),
            format!(" {theirs}\n"),
            digits.clone(),
        ] {
            assert_eq!(text.parse(), Ok(fingerprint), "{text}");
        }
        for text in [
            "",
            "sha256:",
            &digits[1..],
            &theirs[3..],
            &format!("sha1:{theirs}"),
            &format!("sha1:{digits}"),
            &format!("sha256:{}", &digits[1..]),
            &format!("sha256:{digits}0"),
            &format!("sha256:{}g", &digits[1..]),
            &format!("sha256:+{}", &digits[1..]),
        ] {
            assert_eq!(text.parse::<Fingerprint>(), Err(NoFingerprint), "{text}");
        }
    }
}
