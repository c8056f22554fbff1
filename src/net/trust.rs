//! Which certificate a client believes to be its server's.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

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

use crate::hex::{digest_from_hex, hex};
use crate::log;
use crate::sys::secret_file;

/// Variables that name a PEM file of further roots: OpenSSL's, and the real client's.
const ROOT_VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "CODEX_CA_CERTIFICATE"];

/// Whom a client believes to be its server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Who has a certificate for the name, from a root that is built in or in a file that
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

    /// Reads what `Display` shows, also with the colons and large letters of openssl.
    fn from_str(text: &str) -> Result<Self, NoFingerprint> {
        let (name, digits) = text.trim().split_once(':').ok_or(NoFingerprint)?;
        if !name.eq_ignore_ascii_case("sha256") {
            return Err(NoFingerprint);
        }
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
            "expected sha256: and 64 hexadecimal digits, as `openssl x509 -noout -fingerprint \
             -sha256 -in FILE` prints them",
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
    store: RootCertStore,
    /// Those of files: what is in one is meant, even if it could vouch for others.
    themselves: Vec<Fingerprint>,
}

impl Roots {
    fn new(anchors: &[TrustAnchor<'static>]) -> Self {
        let roots = anchors.to_vec();
        Self {
            store: RootCertStore { roots },
            themselves: Vec::new(),
        }
    }

    fn add(&mut self, file: &Path) -> io::Result<()> {
        let bytes = secret_file::read_regular(file)?;
        let certificates = CertificateDer::pem_slice_iter(&bytes)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let fingerprints = certificates.iter().map(|it| Fingerprint::of(it));
        self.themselves.extend(fingerprints);
        let (added, ignored) = self.store.add_parsable_certificates(certificates);
        log::info!("{added} roots from {}, {ignored} unusable", file.display());
        Ok(())
    }

    fn rule(self) -> io::Result<Rule> {
        if self.store.is_empty() {
            return Err(io::Error::other("there is none in it"));
        }
        Ok(Rule::Roots(self))
    }
}

/// Which certificate is believed.
#[derive(Debug)]
enum Rule {
    /// What a root has issued, or is itself in a file of roots.
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
            Self::Roots(Roots { store, themselves }) => {
                let parsed = ParsedCertificate::try_from(certificate)?;
                let verified = verify_server_cert_signed_by_trust_anchor(
                    &parsed,
                    store,
                    intermediates,
                    now,
                    algorithms.all,
                );
                match verified {
                    // The validity was looked at before.
                    Err(Error::InvalidCertificate(CertificateError::Other(why)))
                        if is_ca(&why) && themselves.contains(&Fingerprint::of(certificate)) => {}
                    verified => verified?,
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

/// Whether a certificate was refused because it is that of an authority, as `openssl req -x509` makes
/// them. The crate that says so is not ours to name, so its word is looked at.
fn is_ca(why: &OtherError) -> bool {
    why.0.to_string() == "CaUsedAsEndEntity"
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
        for text in [format!("sha256:{theirs}"), format!(" SHA256:{theirs}\n")] {
            assert_eq!(text.parse(), Ok(fingerprint), "{text}");
        }
        for text in [
            "",
            "sha256:",
            &digits,
            &theirs,
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
