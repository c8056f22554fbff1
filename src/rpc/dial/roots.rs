//! Whom we trust as a TLS client: the roots that are built in, and those of files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::log;

/// Variables that name a PEM file of further roots: OpenSSL's, and the real client's.
const ROOT_VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "CODEX_CA_CERTIFICATE"];

/// How to speak TLS with anyone whose certificate a root vouches for: a built-in one, one in
/// `files`, or one in a file that `SSL_CERT_FILE` or `CODEX_CA_CERTIFICATE` names. A file that
/// cannot be read is logged and adds none.
pub fn client_config(files: &[PathBuf]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    for file in files {
        add_file(&mut roots, file, "the configuration");
    }
    for variable in ROOT_VARIABLES {
        if let Some(file) = std::env::var_os(variable).filter(|file| !file.is_empty()) {
            add_file(&mut roots, Path::new(&file), variable);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        // Only a provider without any cipher suite of these versions fails, and ring has them.
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

fn add_file(roots: &mut RootCertStore, file: &Path, origin: &str) {
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>());
    match certificates {
        Ok(certificates) => {
            let (added, ignored) = roots.add_parsable_certificates(certificates);
            log::info!("{added} roots from {}, {ignored} unusable", file.display());
        }
        Err(error) => log::warn!("no roots from {origin} {}: {error}", file.display()),
    }
}
