//! The listener speaking TLS: as good as in clear text, and what goes wrong is told.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};

use crate::support::{
    Certificate, Client, PATIENCE, Server, Start, exchange, fails, scratch, signal, threads,
    upgrade_head, within,
};

/// A server and a client of its own, through TLS.
fn client(flags: &[&str]) -> Client {
    let dir = scratch();
    let certificate = Certificate::make(&dir, "own");
    let server = Server::websocket(&[&certificate.flags(), flags].concat());
    let tunnel = certificate.tunnel(server.address(), &TLS13).unwrap();
    let mut client = Client::over(tunnel, "");
    client.server = Some(server);
    client.initialize();
    client
}

/// What the plain transports are tested with, in TLS.
macro_rules! as_in_clear_text {
    ($($subject:ident::$behaviour:ident)*) => {$(
        #[test]
        fn $behaviour() {
            crate::$subject::$behaviour::behaviour(&mut client(&[]));
        }
    )*};
}

as_in_clear_text! {
    bulk::a_quarter_gibibyte_reaches_a_slow_reader_and_costs_no_memory
    bulk::input_of_64_mib_arrives_whole_and_costs_no_memory
    bulk::input_comes_back_as_output_byte_for_byte
    bulk::two_hundred_processes_run_at_once
    bulk::a_client_that_never_reads_costs_no_memory_and_is_still_obeyed
}

#[test]
fn the_address_says_wss_and_both_versions_are_spoken() {
    let dir = scratch();
    let certificate = Certificate::make(&dir, "own");
    for scheme in ["ws", "wss"] {
        let mut command = Server::command();
        command
            .args(["--listen", &format!("{scheme}://127.0.0.1:0")])
            .args(certificate.flags());
        let server = Server::websocket_command(command);
        assert!(server.stdout().starts_with("wss://127.0.0.1:"));
        for version in [&TLS12, &TLS13] {
            let tunnel = certificate.tunnel(server.address(), version).unwrap();
            let mut client = Client::over(tunnel, "");
            client.initialize();
            let shown = client.run(Start::child("p", &["echo", "hi"])).stdout;
            assert_eq!(shown, "hi\n", "{version:?}");
        }
    }
}

#[test]
fn many_requests_at_once_are_answered_in_turn() {
    let mut client = client(&[]);
    let ids: Vec<_> = (0..2000)
        .map(|_| client.ask("environment/info", serde_json::Value::Null))
        .collect();
    for id in ids {
        client.answer(id).unwrap();
    }
}

#[test]
fn pings_are_answered_in_both_directions() {
    let mut client = client(&["--ping-interval", "0.1"]);
    client.send_fragments(b"{}", 1, Some(b"are you there"));
    assert_eq!(client.pong(), b"are you there");
    // Three unanswered pings would have ended it.
    client.settle(Duration::from_millis(600), Client::is_gone);
    client.still_serves();
}

#[test]
fn the_end_is_said_in_tls_too() {
    let dir = scratch();
    let certificate = Certificate::make(&dir, "own");
    let server = Server::websocket(&certificate.flags());
    for version in [&TLS12, &TLS13] {
        let mut session = rustls::StreamOwned::new(certificate.hello(version), server.dial());
        session
            .write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        // An end without close_notify would be an error here.
        let mut text = String::new();
        session.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    }
    let tunnel = certificate.tunnel(server.address(), &TLS13).unwrap();
    let mut client = Client::over(tunnel, "");
    client.initialize();
    client.send_close(1000);
    assert_eq!(client.hang_up(), [1000]);
}

#[test]
fn the_rules_for_pages_and_tokens_hold_inside() {
    let dir = scratch();
    let certificate = Certificate::make(&dir, "own");
    let mut command = Server::command();
    command
        .env("EXEC_SERVER_TOKEN", "word")
        .args(["--listen", "ws://0.0.0.0:0"])
        .args(certificate.flags());
    let server = Server::websocket_command(command);
    let token = "Authorization: Bearer word\r\n";
    for (extra, expected) in [
        (String::new(), 401),
        (token.to_owned(), 101),
        (format!("{token}Origin: null\r\n"), 403),
    ] {
        let tunnel = certificate.tunnel(server.address(), &TLS13).unwrap();
        let request = upgrade_head("/", Some("any.example"), &extra);
        let mut tunnel = TcpStream::from(std::os::fd::OwnedFd::from(tunnel));
        let reply = exchange(&mut tunnel, request.as_bytes());
        assert_eq!(reply.status, expected, "{extra:?}");
    }
    assert!(!server.stderr().contains("clear text"));
}

#[test]
fn who_speaks_the_wrong_language_is_told_so() {
    let dir = scratch();
    let certificate = Certificate::make(&dir, "own");
    let encrypted = Server::websocket(&certificate.flags());
    let request = upgrade_head("/", Some("localhost"), "");
    let reply = exchange(&mut encrypted.dial(), request.as_bytes());
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("wss://"), "{reply:?}");

    let clear = Server::websocket(&[]);
    certificate.tunnel(clear.address(), &TLS13).unwrap_err();
    clear.connect().still_serves();
}

#[test]
fn broken_handshakes_end_and_leave_nothing_behind() {
    let dir = scratch();
    let certificate = Certificate::make(&dir, "own");
    let server = Server::websocket(&certificate.flags());
    let connect = || {
        let tunnel = certificate.tunnel(server.address(), &TLS13).unwrap();
        let mut client = Client::over(tunnel, "");
        client.initialize();
        client.still_serves();
    };
    connect();
    let before = threads(server.pid());
    let mut hello = Vec::new();
    certificate.hello(&TLS13).write_tls(&mut hello).unwrap();
    let mut broken: Vec<Vec<u8>> = [1, 5, 6, 40, hello.len() - 1]
        .iter()
        .map(|&length| hello[..length].to_vec())
        .collect();
    broken.push(b"\x16\x03\x01\xff\xff".to_vec());
    broken.push(b"\x16\x03\x01\x00\x04\x02\x00\x00\x00".to_vec());
    for at in (0..hello.len()).step_by(7) {
        let mut mutant = hello.clone();
        mutant[at] ^= 0x55;
        broken.push(mutant);
    }
    for bytes in broken {
        let mut socket = server.dial();
        socket.write_all(&bytes).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // An alert, perhaps, and then the end; a reset is one too.
        let ended = socket.read_to_end(&mut Vec::new());
        let is_end = match &ended {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        };
        assert!(is_end, "{}: {ended:?}", bytes.escape_ascii());
    }
    connect();
    within(PATIENCE, "the threads are gone", || {
        threads(server.pid()) <= before
    });
}

#[test]
fn a_handshake_has_ten_seconds_however_it_is_spread() {
    let dir = scratch();
    let certificate = Certificate::make(&dir, "own");
    let server = Server::websocket(&certificate.flags());
    let mut hello = Vec::new();
    certificate.hello(&TLS13).write_tls(&mut hello).unwrap();
    let mut socket = server.dial();
    let begun = Instant::now();
    let (mut bytes, mut end) = (hello.iter(), [0]);
    socket
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    loop {
        // A byte at a time, and never the last one.
        if let Some(byte) = bytes.next().filter(|_| bytes.len() > 0) {
            let _ = socket.write_all(&[*byte]);
        }
        match socket.read(&mut end) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => break,
        }
        assert!(begun.elapsed() < PATIENCE, "the server waits on");
    }
    assert!(begun.elapsed() > Duration::from_secs(8));
}

#[test]
fn one_connection_too_many_is_told_so_in_tls() {
    let dir = scratch();
    let certificate = Certificate::make(&dir, "own");
    let flags = [&certificate.flags()[..], &["--max-connections", "1"]].concat();
    let server = Server::websocket(&flags);
    let first = certificate.tunnel(server.address(), &TLS13).unwrap();
    let mut first = Client::over(first, "");
    first.initialize();
    let mut second = rustls::StreamOwned::new(certificate.hello(&TLS13), server.dial());
    let request = upgrade_head("/", Some("localhost"), "");
    second.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    second.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    first.still_serves();
}

#[test]
fn the_certificate_is_read_again_on_a_hang_up() {
    let dir = scratch();
    let first = Certificate::make(&dir, "own");
    let server = Server::websocket(&first.flags());
    let tunnel = first.tunnel(server.address(), &TLS13).unwrap();
    let mut client = Client::over(tunnel, "");
    client.initialize();

    let second = Certificate::make(&dir, "own");
    second.tunnel(server.address(), &TLS13).unwrap_err();
    signal(server.pid(), "HUP");
    within(PATIENCE, "the second certificate is shown", || {
        second.tunnel(server.address(), &TLS13).is_ok()
    });
    first.tunnel(server.address(), &TLS13).unwrap_err();
    client.still_serves();

    fs::write(&second.key, "nonsense").unwrap();
    signal(server.pid(), "HUP");
    within(PATIENCE, "the broken key is told", || {
        server.stderr().contains(&second.key)
    });
    second.tunnel(server.address(), &TLS13).unwrap();
    client.still_serves();
}

#[test]
fn a_key_that_others_can_read_is_told() {
    let dir = scratch();
    let certificate = Certificate::make(&dir, "own");
    fs::set_permissions(&certificate.key, fs::Permissions::from_mode(0o644)).unwrap();
    let server = Server::websocket(&certificate.flags());
    within(PATIENCE, "the warning", || {
        server
            .stderr()
            .contains(&format!("chmod 600 {}", certificate.key))
    });
}

#[test]
fn what_is_wrong_with_the_files_is_told() {
    let dir = scratch();
    let (own, other) = (
        Certificate::make(&dir, "own"),
        Certificate::make(&dir, "other"),
    );
    let (empty, torn) = (dir.path("empty"), dir.path("torn"));
    fs::write(&empty, "").unwrap();
    fs::write(
        &torn,
        "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    for (certificate, key, text) in [
        (
            "/no/such",
            own.key.as_str(),
            "cannot read /no/such: No such file",
        ),
        (
            &own.certificate,
            "/no/such",
            "cannot read /no/such: No such file",
        ),
        (&empty, &own.key, &format!("no certificate in {empty}")),
        (
            &own.key,
            &own.key,
            &format!("no certificate in {}", own.key),
        ),
        (
            &own.certificate,
            &empty,
            &format!("no private key in {empty}"),
        ),
        (
            &own.certificate,
            &own.certificate,
            &format!("no private key in {}", own.certificate),
        ),
        (
            &torn,
            &own.key,
            &format!("{torn} is no good PEM: what is between its lines is not base64"),
        ),
        (
            &own.certificate,
            &other.key,
            &format!("cannot be used with the key in {}", other.key),
        ),
    ] {
        fails(&["--tls-cert", certificate, "--tls-key", key], 1, text);
    }
    fails(&["--tls-cert", &own.certificate], 1, "needs --tls-key");
    fails(&["--tls-key", &own.key], 1, "needs --tls-cert");
    let files = own.flags();
    fails(
        &[&["--listen", "stdio"], &files[..]].concat(),
        1,
        "--tls-cert",
    );
    fails(&["--listen", "wss://127.0.0.1:0"], 1, "--tls-cert");
    fails(
        &[&["--listen", "ws://0.0.0.0:0"], &files[..]].concat(),
        1,
        "--ws-auth",
    );
}
