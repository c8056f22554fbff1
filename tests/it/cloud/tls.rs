//! HTTPS and wss, with a certificate that only the test's root vouches for.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{client, environment_at};
use crate::support::plane::{Plane, Style, tls};
use crate::support::{Certificate, Server, Start, finish, scratch};

fn config(certificate: &Certificate) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(&certificate.certificate).unwrap();
    let key = PrivateKeyDer::from_pem_file(&certificate.key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key);
    Arc::new(config.unwrap())
}

#[test]
fn registration_and_rendezvous_trust_the_same_roots() {
    let dir = scratch();
    let certificate = Certificate::make(&dir, "plane");
    for variable in ["SSL_CERT_FILE", "CODEX_CA_CERTIFICATE"] {
        for (style, transport) in [(Style::Plain, "direct"), (Style::Relay, "relay")] {
            let plane = Plane::start(style);
            let front = tls::in_front_of(plane.address(), config(&certificate));
            plane.send_executors_to(&format!("wss://{front}"));
            let mut command = environment_at(&format!("https://{front}"), transport);
            command.env(variable, &certificate.certificate);
            let _server = Server::offered(command);
            let mut client = client(&plane);
            client.run(Start::child("p", &["write", "3000000"]));
            assert_eq!(client.observed("p").bytes("stdout").len(), 3_000_000);
        }
    }
}

#[test]
fn a_plane_that_nobody_vouches_for_gets_no_token() {
    let dir = scratch();
    let certificate = Certificate::make(&dir, "plane");
    let plane = Plane::start(Style::Plain);
    let front = tls::in_front_of(plane.address(), config(&certificate));
    let output = finish(environment_at(&format!("https://{front}"), "direct"), b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let words = "Error: environment registry request failed: ";
    assert!(
        stderr.contains(words) && stderr.contains("certificate"),
        "{stderr}"
    );
    assert!(plane.asked().is_empty());
}
