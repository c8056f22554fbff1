//! Whose certificate a client believes, and `exec-server cert` and `token`, which make what a server needs.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread;

use exec_server::net::{Dial, Fingerprint, Stage, Target, Trust};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use serde_json::json;

use crate::support::{Certificate, Need, PATIENCE, Scratch, Server, finish, scratch};

/// `env check` of a URL or environment, with these variables and flags.
fn check(place: &str, variables: &[(&str, &str)], flags: &[&str]) -> Output {
    let mut command = Server::command();
    for name in ["SSL_CERT_FILE", "CODEX_CA_CERTIFICATE"] {
        command.env_remove(name);
    }
    command
        .args(["env", "check", place, "--json"])
        .args(flags)
        .envs(variables.iter().copied());
    finish(command, b"")
}

#[track_caller]
fn is_believed(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[track_caller]
fn is_refused(output: &Output, words: &str) {
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text.contains(words), "{words}: {text}");
}

fn url(server: &Server, host: &str) -> String {
    format!("wss://{host}:{}", server.address().port())
}

#[test]
fn a_certificate_of_an_authority_is_believed_where_it_is_itself_in_the_file() {
    let dir = scratch();
    let own = Certificate::authority(&dir, "own", "localhost", 2199, None);
    let server = Server::websocket(&own.flags());
    let file = [("SSL_CERT_FILE", &*own.certificate)];
    is_believed(&check(&url(&server, "localhost"), &file, &[]));
    is_refused(
        &check(&url(&server, "localhost"), &[], &[]),
        "is pinned by its fingerprint",
    );
    // Its name counts as always.
    is_refused(
        &check(&url(&server, "127.0.0.1"), &file, &[]),
        "not valid for name",
    );
}

#[test]
fn one_that_is_out_of_date_is_not() {
    let dir = scratch();
    let old = Certificate::authority(&dir, "old", "localhost", 2021, None);
    let server = Server::websocket(&old.flags());
    let file = [("SSL_CERT_FILE", &*old.certificate)];
    is_refused(&check(&url(&server, "localhost"), &file, &[]), "expired");
}

#[test]
fn only_the_very_certificate_of_the_file_is_believed() {
    let dir = scratch();
    let own = Certificate::authority(&dir, "own", "localhost", 2199, None);
    for (name, host) in [("again", "localhost"), ("other", "example.org")] {
        let same_key = Certificate::authority(&dir, name, host, 2198, Some(&own));
        let server = Server::websocket(&same_key.flags());
        let file = [("SSL_CERT_FILE", &*own.certificate)];
        is_refused(
            &check(&url(&server, "localhost"), &file, &[]),
            "CaUsedAsEndEntity",
        );
    }
}

/// Refused whatever names the file: variables, `ca_file`, or the request of a server.
#[track_caller]
fn vouches_for_nobody(dir: &Scratch, trusted: &Certificate, server: &Server) {
    let place = url(server, "localhost");
    for variable in ["SSL_CERT_FILE", "CODEX_CA_CERTIFICATE"] {
        let file = [(variable, &*trusted.certificate)];
        is_refused(&check(&place, &file, &[]), "UnknownIssuer");
    }
    let keys = format!("url = \"{place}\"\nca_file = {:?}", trusted.certificate);
    is_refused(&check_configured(dir, &keys, &[]), "UnknownIssuer");
}

#[test]
fn a_certificate_in_the_file_that_is_no_authority_vouches_for_itself_only() {
    let dir = scratch();
    // With and without extensions that say so, and one for a name that is not asked for.
    made(&dir, &["cert", "--name", "localhost"]).unwrap();
    let ours = Certificate::open(&dir.path("cert.pem"), &dir.path("key.pem"), "localhost");
    let plain = Certificate::make_for(&dir, "plain", "localhost");
    let elsewhere = Certificate::make_for(&dir, "elsewhere", "example.org");
    for issuer in [&ours, &plain, &elsewhere] {
        let minted = issuer.issue(&dir, "minted", "localhost", 2199);
        let server = Server::websocket(&minted.flags());
        vouches_for_nobody(&dir, issuer, &server);
        // Itself in the file, it is believed, whoever has issued it.
        let file = [("SSL_CERT_FILE", &*minted.certificate)];
        is_believed(&check(&url(&server, "localhost"), &file, &[]));
    }
}

#[test]
fn an_authority_in_the_file_vouches_for_others_while_it_is_valid() {
    let dir = scratch();
    let authority = Certificate::authority(&dir, "authority", "", 2199, None);
    let leaf = authority.issue(&dir, "leaf", "localhost", 2199);
    let server = Server::websocket(&leaf.flags());
    let file = [("SSL_CERT_FILE", &*authority.certificate)];
    is_believed(&check(&url(&server, "localhost"), &file, &[]));
    is_refused(
        &check(&url(&server, "127.0.0.1"), &file, &[]),
        "not valid for name",
    );

    let old = Certificate::authority(&dir, "old", "", 2021, None);
    let leaf = old.issue(&dir, "leaf", "localhost", 2199);
    let server = Server::websocket(&leaf.flags());
    vouches_for_nobody(&dir, &old, &server);
}

#[test]
fn a_certificate_in_the_file_is_believed_while_it_is_valid() {
    let dir = scratch();
    let authority = Certificate::authority(&dir, "authority", "", 2199, None);
    let old = authority.issue(&dir, "old", "localhost", 2021);
    let server = Server::websocket(&old.flags());
    for trusted in [&authority, &old] {
        let file = [("SSL_CERT_FILE", &*trusted.certificate)];
        is_refused(&check(&url(&server, "localhost"), &file, &[]), "expired");
    }
}

#[test]
fn a_request_of_a_server_believes_as_a_client_does() {
    let dir = scratch();
    let plain = Certificate::make_for(&dir, "plain", "localhost");
    let minted = plain.issue(&dir, "minted", "localhost", 2199);
    for (certificate, status) in [(&plain, Some(200)), (&minted, None)] {
        let page = Server::websocket(&certificate.flags());
        let mut command = Server::command();
        command
            .env_remove("CODEX_CA_CERTIFICATE")
            .env("SSL_CERT_FILE", &plain.certificate)
            .args(["--listen", "ws://127.0.0.1:0"]);
        let server = Server::websocket_command(command);
        let mut client = server.connect();
        let url = format!("https://localhost:{}/readyz", page.address().port());
        let asked = json!({"requestId": "r", "method": "GET", "url": url});
        match (client.request("http/request", asked), status) {
            (Ok(reply), Some(status)) => assert_eq!(reply["status"], status, "{reply}"),
            (Err(error), None) => {
                let text = format!("{error:?}");
                assert!(text.contains("UnknownIssuer"), "{text}");
            }
            (other, _) => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_authority_in_the_file_is_no_server_without_a_name() {
    let dir = scratch();
    let authority = Certificate::authority(&dir, "authority", "", 2199, None);
    let server = Server::websocket(&authority.flags());
    let file = [("SSL_CERT_FILE", &*authority.certificate)];
    is_refused(
        &check(&url(&server, "localhost"), &file, &[]),
        "not valid for",
    );
}

#[test]
fn what_openssl_makes_in_one_line_is_believed() {
    needs!(Need::Program("openssl"));
    let dir = scratch();
    let mut openssl = Command::new("openssl");
    openssl.current_dir(dir.dir()).args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "k.pem",
        "-out",
        "c.pem",
        "-days",
        "30",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
    ]);
    let made = finish(openssl, b"");
    assert!(made.status.success(), "{made:?}");
    let [key, certificate] = ["k.pem", "c.pem"].map(|name| dir.path(name));
    let server = Server::websocket(&["--tls-cert", &certificate, "--tls-key", &key]);
    let place = url(&server, "localhost");
    is_believed(&check(&place, &[("SSL_CERT_FILE", &certificate)], &[]));
    // As openssl prints it, behind `sha256 Fingerprint=`.
    let mut openssl = Command::new("openssl");
    openssl.args([
        "x509",
        "-noout",
        "-fingerprint",
        "-sha256",
        "-in",
        &certificate,
    ]);
    let printed = String::from_utf8(finish(openssl, b"").stdout).unwrap();
    let (_, digits) = printed.trim().split_once('=').unwrap();
    is_believed(&check(&place, &[], &["--pin", &format!("sha256:{digits}")]));
    is_believed(&check(&place, &[], &["--pin", digits]));
}

#[test]
fn a_pin_replaces_name_validity_and_authorities() {
    let dir = scratch();
    let old = Certificate::authority(&dir, "old", "example.org", 2021, None);
    let server = Server::websocket(&old.flags());
    let place = url(&server, "127.0.0.1");
    let pin = Fingerprint::of(old.der()).to_string();
    is_believed(&check(&place, &[], &["--pin", &pin]));

    let other = Certificate::make(&dir, "other");
    let wrong = Fingerprint::of(other.der()).to_string();
    let refused = check(
        &place,
        &[("SSL_CERT_FILE", &old.certificate)],
        &["--pin", &wrong],
    );
    is_refused(&refused, &pin);
    is_refused(&refused, "openssl x509 -noout -fingerprint -sha256");

    // Of `run`, `cp` and the file too; an authority that would do has no say.
    let flags = ["-e", &place, "--pin"];
    let here = dir.path("here");
    fs::write(&here, "bytes").unwrap();
    let there = format!(":{}", dir.path("there"));
    for (words, pin, code) in [
        (&["run", "/bin/true"][..], &pin, 0),
        (&["run", "/bin/true"], &wrong, 255),
        (&["cp", &here, &there], &pin, 0),
        (&["cp", &here, &there], &wrong, 255),
    ] {
        let mut command = Server::command();
        command.arg(words[0]).args(flags).arg(pin).args(&words[1..]);
        let output = finish(command, b"");
        assert_eq!(output.status.code(), Some(code), "{words:?}: {output:?}");
    }
}

/// Writes an `exec-server.toml` with one environment `it`, and checks that.
fn check_configured(dir: &Scratch, keys: &str, variables: &[(&str, &str)]) -> Output {
    let text = format!("[environments.it]\n{keys}\n");
    fs::write(dir.path("exec-server.toml"), text).unwrap();
    let home = dir.dir();
    let variables = [&[("EXEC_SERVER_HOME", &*home)], variables].concat();
    check("it", &variables, &[])
}

#[test]
fn an_environment_has_its_own_pin_or_authorities() {
    let dir = scratch();
    let own = Certificate::make_for(&dir, "own", "localhost");
    let other = Certificate::make_for(&dir, "other", "localhost");
    let server = Server::websocket(&own.flags());
    let at = format!("url = \"{}\"", url(&server, "localhost"));
    let pin = |certificate: &Certificate| {
        let pin = Fingerprint::of(certificate.der()).to_string();
        format!("{at}\npin = \"{}\"", pin.to_uppercase())
    };
    is_believed(&check_configured(&dir, &pin(&own), &[]));
    is_refused(
        &check_configured(&dir, &pin(&other), &[]),
        "the one that is pinned",
    );
    // A relative path starts at the file. What is trusted elsewhere does not count.
    let usual = [("SSL_CERT_FILE", &*own.certificate)];
    is_believed(&check_configured(&dir, &at, &usual));
    is_believed(&check_configured(
        &dir,
        &format!("{at}\nca_file = \"own.crt\""),
        &[],
    ));
    let others = format!("{at}\nca_file = \"other.crt\"");
    is_refused(
        &check_configured(&dir, &others, &usual),
        "invalid peer certificate",
    );
    for (name, content, words) in [
        ("no", None, "No such file"),
        ("empty", Some(""), "there is none in it"),
        (
            "torn",
            Some("-----BEGIN CERTIFICATE-----\n%\n"),
            "no certificate from",
        ),
    ] {
        if let Some(content) = content {
            fs::write(dir.path(name), content).unwrap();
        }
        let keys = format!("{at}\nca_file = \"{name}\"");
        is_refused(&check_configured(&dir, &keys, &usual), words);
    }
    let fifo = dir.path("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let keys = format!("{at}\nca_file = \"fifo\"");
    is_refused(&check_configured(&dir, &keys, &usual), "not a regular file");
}

#[test]
fn what_cannot_be_pinned_is_told() {
    let digits = "ab".repeat(32);
    let pin = format!("sha256:{digits}");
    let expects = "expected sha256: and 64 hexadecimal digits";
    for (arguments, words) in [
        (
            &["run", "-e", "ws://127.0.0.1:1", "--pin", &pin, "true"][..],
            "goes with a URL of wss://",
        ),
        (&["run", "--pin", &pin, "true"], "goes with a URL of wss://"),
        (
            &["run", "-e", "box", "--pin", &pin, "true"],
            "exec-server.toml",
        ),
        (
            &["cp", "-e", "unix:///run/x", "--pin", &pin, "a", ":b"],
            "goes with a URL of wss://",
        ),
        (&["env", "--pin", &pin], "goes with a URL of wss://"),
        (&["env", "check", "wss://h", "--pin", &digits[1..]], expects),
        (&["env", "check", "wss://h", "--pin", &pin[..70]], expects),
        (
            &["env", "check", "wss://h", "--pin", &format!("{pin}00")],
            expects,
        ),
    ] {
        let mut command = Server::command();
        command.args(arguments);
        let output = finish(command, b"");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
    }
    let dir = scratch();
    for (keys, words) in [
        (
            format!("url = \"ws://127.0.0.1:1\"\npin = \"{pin}\""),
            "pin requires a url with wss://",
        ),
        (
            format!("url = \"unix:///run/x\"\npin = \"{pin}\""),
            "pin requires a url with wss://",
        ),
        (
            format!("program = \"p\"\npin = \"{pin}\""),
            "pin requires a url with wss://",
        ),
        (
            "url = \"ws://127.0.0.1:1\"\nca_file = \"f\"".to_owned(),
            "ca_file requires a url with wss://",
        ),
        (format!("url = \"wss://h\"\npin = \"{digits}0\""), expects),
        (
            format!("url = \"wss://h\"\nca_file = \"f\"\npin = \"{pin}\""),
            "both pin and ca_file",
        ),
    ] {
        let output = check_configured(&dir, &keys, &[]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(255), "{keys}: {stderr}");
        assert!(stderr.contains(words), "{keys}: {stderr}");
        assert!(stderr.contains("exec-server.toml:"), "{keys}: {stderr}");
    }
}

#[test]
fn who_shows_the_pinned_certificate_must_have_its_key() {
    let dir = scratch();
    let (own, other) = (
        Certificate::make(&dir, "own"),
        Certificate::make(&dir, "other"),
    );
    let chain = CertificateDer::pem_file_iter(&own.certificate).unwrap();
    let key = PrivateKeyDer::from_pem_file(&other.key).unwrap();
    let stolen = CertifiedKey::new(
        chain.map(Result::unwrap).collect(),
        ring::sign::any_supported_type(&key).unwrap(),
    );
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(stolen.clone())));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
            while connection.is_handshaking() && connection.complete_io(&mut socket).is_ok() {}
        });
        let mut dial = Dial::new(Target::parse(&format!("wss://{address}")).unwrap());
        dial.timeout = PATIENCE;
        dial.trust = Trust::Pin(Fingerprint::of(own.der()));
        let error = match dial.run() {
            Ok(_) => panic!("believed with {version:?}"),
            Err(error) => error,
        };
        assert_eq!(error.stage, Stage::Tls, "{error}");
        assert!(
            error.to_string().contains("BadSignature"),
            "{version:?}: {error}"
        );
        thread.join().unwrap();
    }
}

/// A command of ours in a directory; its stdout, if it ends well.
fn made(dir: &Scratch, arguments: &[&str]) -> Result<String, String> {
    let mut command = Server::command();
    command.current_dir(dir.dir()).args(arguments);
    let output = finish(command, b"");
    let stderr = String::from_utf8(output.stderr).unwrap();
    match output.status.code() {
        Some(0) => {
            assert_eq!(stderr, "", "{arguments:?}");
            Ok(String::from_utf8(output.stdout).unwrap())
        }
        code => {
            assert_eq!(
                (code, output.stdout),
                (Some(1), vec![]),
                "{arguments:?}: {stderr}"
            );
            Err(stderr)
        }
    }
}

fn mode(path: &str) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_token_has_256_bits_and_its_file_is_its_owners_alone() {
    let dir = scratch();
    let [first, second] = [(); 2].map(|()| made(&dir, &["token"]).unwrap());
    assert_ne!(first, second);
    let is_base64url = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    assert!(first.trim_end().chars().all(is_base64url), "{first}");
    assert_eq!((first.len(), &first[43..]), (44, "\n"));

    let file = dir.path("token");
    assert_eq!(made(&dir, &["token", "token"]).as_deref(), Ok(""));
    let before = fs::read_to_string(&file).unwrap();
    assert_eq!((before.len(), mode(&file)), (44, 0o600));
    let refused = made(&dir, &["token", "token"]).unwrap_err();
    assert!(
        refused.contains("File exists") && refused.contains("--force"),
        "{refused}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), before);

    // In its place, whoever could read the old one.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    made(&dir, &["token", "--force", "token"]).unwrap();
    assert_ne!(fs::read_to_string(&file).unwrap(), before);
    assert_eq!(mode(&file), 0o600);
    assert_eq!(fs::read_dir(dir.dir()).unwrap().count(), 1);
}

#[test]
fn no_link_leads_a_token_elsewhere() {
    let dir = scratch();
    let [link, target] = ["link", "target"].map(|name| dir.path(name));
    symlink(&target, &link).unwrap();
    made(&dir, &["token", "link"]).unwrap_err();
    assert!(!fs::exists(&target).unwrap());
    made(&dir, &["token", "link", "--force"]).unwrap_err();
    assert!(!fs::exists(&target).unwrap());
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    for arguments in [["token", "no/such"], ["token", "/dev/full"], ["token", "."]] {
        made(&dir, &arguments).unwrap_err();
    }
}

#[test]
fn only_a_regular_file_is_replaced() {
    let dir = scratch();
    let run = |program: &str, argument: &str| {
        let mut command = Command::new(program);
        let done = command.current_dir(dir.dir()).arg(argument).status();
        assert!(done.unwrap().success());
    };
    run("mkfifo", "pipe");
    run("mkdir", "directory");
    let _socket = UnixListener::bind(dir.path("socket")).unwrap();
    for name in ["pipe", "directory", "socket"] {
        let path = dir.path(name);
        let before = fs::symlink_metadata(&path).unwrap();
        let refused = made(&dir, &["token", "--force", &path]).unwrap_err();
        assert!(refused.contains("no regular file"), "{refused}");
        let after = fs::symlink_metadata(&path).unwrap();
        assert_eq!((before.ino(), before.mode()), (after.ino(), after.mode()));
    }

    // Of a key and its certificate, neither is replaced where one cannot be.
    fs::write(dir.path("key.pem"), "old").unwrap();
    run("mkfifo", "cert.pem");
    let refused = made(&dir, &["cert", "--force"]).unwrap_err();
    assert!(refused.contains("cert.pem: what is there"), "{refused}");
    assert_eq!(fs::read_to_string(dir.path("key.pem")).unwrap(), "old");
}

#[test]
fn what_cannot_be_printed_is_a_failure() {
    let dir = scratch();
    let mut command = Command::new("sh");
    let program = Server::command().get_program().to_owned();
    command.args(["-c", "\"$0\" token >/dev/full"]).arg(program);
    command.current_dir(dir.dir());
    let output = finish(command, b"");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn a_certificate_that_we_make_is_believed_by_pin_and_by_file() {
    let dir = scratch();
    let printed = made(
        &dir,
        &["cert", "--name", "localhost", "--name", "127.0.0.1", "."],
    )
    .unwrap();
    let [key, certificate] = ["key.pem", "cert.pem"].map(|name| dir.path(name));
    assert_eq!((mode(&key), mode(&certificate) & 0o600), (0o600, 0o600));
    let server = Server::websocket(&["--tls-cert", &certificate, "--tls-key", &key]);
    assert!(!server.stderr().contains("chmod"), "{}", server.stderr());
    let pin = printed
        .lines()
        .find_map(|line| line.strip_prefix("fingerprint: "))
        .unwrap();
    let file = [("SSL_CERT_FILE", &*certificate)];
    for host in ["localhost", "127.0.0.1"] {
        is_believed(&check(&url(&server, host), &[], &["--pin", pin]));
        is_believed(&check(&url(&server, host), &file, &[]));
    }
    // What it says to type has the flags that there are.
    let flags = "--tls-cert ./cert.pem --tls-key ./key.pem --ws-auth capability-token --ws-token-file token";
    assert!(printed.contains(flags), "{printed}");
    assert!(
        printed.contains(&format!("run -e wss://localhost:8765 --pin {pin}")),
        "{printed}"
    );

    let refused = made(&dir, &["cert"]).unwrap_err();
    assert!(refused.contains("key.pem: File exists"), "{refused}");
    fs::remove_file(&key).unwrap();
    let refused = made(&dir, &["cert"]).unwrap_err();
    assert!(refused.contains("cert.pem: File exists"), "{refused}");
    assert!(!fs::exists(&key).unwrap(), "a key without its certificate");
    let again = made(&dir, &["cert", "--force"]).unwrap();
    assert!(!again.contains(pin), "{again}");
    assert_eq!(mode(&key), 0o600);
}

#[test]
fn openssl_agrees_about_a_certificate_that_we_make() {
    needs!(Need::Program("openssl"));
    let dir = scratch();
    let long = format!("{}.example.org", "a".repeat(60));
    let names = [
        "--name",
        &long,
        "--name",
        "::1",
        "--name",
        "10.1.2.3",
        "--name",
        "localhost",
    ];
    let printed = made(&dir, &[&["cert"][..], &names].concat()).unwrap();
    let openssl = |arguments: &[&str]| {
        let mut command = Command::new("openssl");
        command.current_dir(dir.dir()).args(arguments);
        let output = finish(command, b"");
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {text}");
        text.into_owned()
    };
    let x509 = ["x509", "-noout", "-in", "cert.pem"];
    let text = openssl(&[&x509[..], &["-text"]].concat());
    for words in [
        "Version: 3 (0x2)",
        "ecdsa-with-SHA256",
        "CA:FALSE",
        "Digital Signature",
        "TLS Web Server Authentication",
        "IP Address:0:0:0:0:0:0:0:1",
        &format!("DNS:{long}"),
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    for (flag, name) in [
        ("-checkhost", &*long),
        ("-checkip", "10.1.2.3"),
        ("-checkip", "::1"),
    ] {
        let said = openssl(&[&x509[..], &[flag, name]].concat());
        assert!(said.contains("does match"), "{name}: {said}");
    }
    // Valid now, for no more than 825 days.
    openssl(&[&x509[..], &["-checkend", "0"]].concat());
    let late = (825 * 24 * 60 * 60).to_string();
    let mut command = Command::new("openssl");
    command
        .current_dir(dir.dir())
        .args(x509)
        .args(["-checkend", &late]);
    assert!(!finish(command, b"").status.success(), "valid for longer");
    let said = openssl(&["verify", "-x509_strict", "-CAfile", "cert.pem", "cert.pem"]);
    assert!(said.contains("OK"), "{said}");
    let said = openssl(&[&x509[..], &["-fingerprint", "-sha256"]].concat());
    let (_, digits) = said.trim().split_once('=').unwrap();
    let pin = digits.replace(':', "").to_lowercase();
    assert!(
        printed.contains(&format!("fingerprint: sha256:{pin}\n")),
        "{printed}"
    );
    let said = openssl(&["pkey", "-in", "key.pem", "-noout", "-text"]);
    assert!(said.contains("prime256v1"), "{said}");
}

#[test]
fn without_a_name_it_is_for_this_machine() {
    let dir = scratch();
    let printed = made(&dir, &["cert"]).unwrap();
    assert!(
        printed.contains("localhost, 127.0.0.1, valid until 2"),
        "{printed}"
    );
    let mut command = Server::command();
    command
        .current_dir(dir.dir())
        .args(["cert", "--name", "a b"]);
    let output = finish(command, b"");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
