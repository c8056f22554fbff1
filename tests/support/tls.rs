//! The client's side of TLS: a certificate made for the test, and a tunnel that encrypts for an ordinary client.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedProtocolVersion,
};

use super::program::Scratch;

/// A certificate for one host, signed by itself, in files.
pub struct Certificate {
    /// The PEM file of the certificate.
    pub certificate: String,
    /// The PEM file of its key.
    pub key: String,
    der: CertificateDer<'static>,
    owner: DistinguishedName,
}

impl Certificate {
    /// Writes a new one; an old one of that name is replaced.
    pub fn make(dir: &Scratch, name: &str) -> Self {
        Self::make_for(dir, name, "127.0.0.1")
    }

    /// The same for another host.
    pub fn make_for(dir: &Scratch, name: &str, host: &str) -> Self {
        let params = CertificateParams::new([host.to_owned()]).unwrap();
        Self::signed_by_itself(dir, name, &params, &KeyPair::generate().unwrap())
    }

    /// One that is an authority's too, as `openssl req -x509` makes it, until the end of a year; with the key of another
    /// one, or its own.
    pub fn authority(dir: &Scratch, name: &str, host: &str, year: i32, key: Option<&Self>) -> Self {
        let mut params = CertificateParams::new(Vec::from_iter(names_of(host))).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        let key = match key {
            Some(other) => KeyPair::from_pem(&fs::read_to_string(&other.key).unwrap()).unwrap(),
            None => KeyPair::generate().unwrap(),
        };
        Self::signed_by_itself(dir, name, &params, &key)
    }

    /// One that is in files already; `owner` is the name that its issuer has, too.
    pub fn open(certificate: &str, key: &str, owner: &str) -> Self {
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, owner);
        Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            der: CertificateDer::from_pem_file(certificate).unwrap(),
            owner: name,
        }
    }

    /// One for another host that the key of this one has signed, whether it may or not, until the end of a year.
    pub fn issue(&self, dir: &Scratch, name: &str, host: &str, year: i32) -> Self {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        let own = KeyPair::from_pem(&fs::read_to_string(&self.key).unwrap()).unwrap();
        let mut owner = CertificateParams::default();
        owner.distinguished_name = self.owner.clone();
        let issuer = Issuer::new(owner, own);
        let pair = KeyPair::generate().unwrap();
        let made = params.signed_by(&pair, &issuer).unwrap();
        Self::write(dir, name, &params, &made, &pair)
    }

    fn signed_by_itself(
        dir: &Scratch,
        name: &str,
        params: &CertificateParams,
        pair: &KeyPair,
    ) -> Self {
        Self::write(dir, name, params, &params.self_signed(pair).unwrap(), pair)
    }

    fn write(
        dir: &Scratch,
        name: &str,
        params: &CertificateParams,
        made: &rcgen::Certificate,
        pair: &KeyPair,
    ) -> Self {
        let certificate = dir.path(&format!("{name}.crt"));
        let key = dir.path(&format!("{name}.key"));
        fs::write(&certificate, made.pem()).unwrap();
        fs::write(&key, pair.serialize_pem()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        Self {
            certificate,
            key,
            der: made.der().clone(),
            owner: params.distinguished_name.clone(),
        }
    }

    /// The certificate itself.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The flags of a server that is this.
    pub fn flags(&self) -> [&str; 4] {
        ["--tls-cert", &self.certificate, "--tls-key", &self.key]
    }

    /// The same for a server of the test.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        server_config(&self.certificate, &self.key)
    }

    /// What a client that trusts this certificate says first.
    pub fn hello(&self, version: &'static SupportedProtocolVersion) -> ClientConnection {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        ClientConnection::new(Arc::new(config), name).unwrap()
    }

    /// Connects, and gives the end at which everything is in clear text. The error is TLS's.
    pub fn tunnel(
        &self,
        address: SocketAddr,
        version: &'static SupportedProtocolVersion,
    ) -> Result<UnixStream, std::io::Error> {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        let mut connection = self.hello(version);
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        let (ours, theirs) = UnixStream::pair().unwrap();
        let connection = Arc::new(Mutex::new(connection));
        let up = (theirs.try_clone().unwrap(), socket.try_clone().unwrap());
        let shared = Arc::clone(&connection);
        thread::spawn(move || encrypt(up.0, up.1, &shared));
        thread::spawn(move || decrypt(socket, theirs, &connection));
        Ok(ours)
    }
}

/// None for no name at all.
fn names_of(host: &str) -> Option<String> {
    (!host.is_empty()).then(|| host.to_owned())
}

/// How a server speaks TLS whose certificates and key are in these files.
pub(crate) fn server_config(certificates: &str, key: &str) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(certificates).unwrap();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key);
    Arc::new(config.unwrap())
}

fn encrypt(mut from: UnixStream, mut to: TcpStream, connection: &Mutex<ClientConnection>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer).unwrap_or(0);
        let mut sealed = Vec::new();
        {
            let mut connection = connection.lock().unwrap();
            if count == 0 {
                connection.send_close_notify();
            } else {
                connection.writer().write_all(&buffer[..count]).unwrap();
            }
            while connection.wants_write() {
                connection.write_tls(&mut sealed).unwrap();
            }
        }
        if to.write_all(&sealed).is_err() || count == 0 {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
    }
}

/// Takes no more from the server than our end takes, so that a slow client is one through the tunnel, too.
fn decrypt(mut from: TcpStream, mut to: UnixStream, connection: &Mutex<ClientConnection>) {
    let mut sealed = vec![0; 64 << 10];
    let mut plain = vec![0; 64 << 10];
    'all: while let Ok(count @ 1..) = from.read(&mut sealed) {
        let mut rest = &sealed[..count];
        while !rest.is_empty() {
            let opened = {
                let mut connection = connection.lock().unwrap();
                connection.read_tls(&mut rest).unwrap();
                if connection.process_new_packets().is_err() {
                    break 'all;
                }
                let mut opened = Vec::new();
                while let Ok(count @ 1..) = connection.reader().read(&mut plain) {
                    opened.extend(&plain[..count]);
                }
                opened
            };
            if to.write_all(&opened).is_err() {
                break 'all;
            }
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
