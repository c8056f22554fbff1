//! The HTTP side of the websocket port: who may in, and what everything else is told.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use crate::support::{
    Client, PATIENCE, Server, exchange, refused_or_silent, threads, upgrade_head, within,
};

/// A status, or any refusal that says what is wrong with the request where the exact one is nobody's concern.
#[derive(Clone, Copy)]
enum Want {
    Status(u16),
    Refusal,
}
use Want::{Refusal, Status};

fn meets(want: Want, status: u16) -> bool {
    match want {
        Status(exact) => status == exact,
        // 505 is the one of the fives that blames the request: for its version of HTTP.
        Refusal => (400..500).contains(&status) || status == 505,
    }
}

fn status(server: &Server, request: &str) -> u16 {
    exchange(&mut server.dial(), request.as_bytes()).status
}

#[test]
fn any_origin_is_forbidden() {
    let server = Server::websocket(&[]);
    let own = format!("http://{}", server.address());
    for origin in [
        "http://evil.example",
        "null",
        "",
        "https://localhost",
        own.as_str(),
    ] {
        for name in ["Origin", "origin", "ORIGIN"] {
            for target in ["/", "/readyz", "/livez"] {
                let request =
                    upgrade_head(target, Some("localhost"), &format!("{name}: {origin}\r\n"));
                assert_eq!(
                    status(&server, &request),
                    403,
                    "{name}: {origin} on {target}"
                );
            }
        }
    }
    let two = upgrade_head(
        "/",
        Some("localhost"),
        "Origin: http://a.example\r\nOrigin: http://b.example\r\n",
    );
    assert!(meets(Refusal, status(&server, &two)));
    assert_eq!(
        status(&server, &upgrade_head("/", Some("localhost"), "")),
        101
    );
}

#[test]
fn a_listed_origin_is_let_in_and_no_other() {
    let server = Server::websocket(&["--allow-origin", "http://ok.example"]);
    for (origin, want) in [
        ("http://ok.example", 101),
        ("http://ok.example.evil.example", 403),
        ("https://ok.example", 403),
        ("http://ok.example:81", 403),
        ("null", 403),
    ] {
        let request = upgrade_head("/", Some("localhost"), &format!("Origin: {origin}\r\n"));
        assert_eq!(status(&server, &request), want, "{origin}");
    }
}

#[test]
fn on_loopback_the_host_is_an_address_or_localhost() {
    let server = Server::websocket(&[]);
    let own = server.address().to_string();
    for (host, want) in [
        (Some(own.as_str()), Status(101)),
        (Some("127.0.0.1"), Status(101)),
        (Some("localhost"), Status(101)),
        (Some("LocalHost:80"), Status(101)),
        (Some("[::1]:9"), Status(101)),
        (Some("[::1]"), Status(101)),
        (Some("evil.example"), Status(403)),
        (Some("evil.example:80"), Status(403)),
        (Some("localhost.evil.example"), Status(403)),
        (Some("127.0.0.1.evil.example"), Status(403)),
        (Some("evil.example@127.0.0.1"), Refusal),
        (Some("127.0.0.1:x"), Refusal),
        (Some(""), Refusal),
        (None, Refusal),
    ] {
        let answer = status(&server, &upgrade_head("/", host, ""));
        assert!(meets(want, answer), "Host {host:?}: {answer}");
    }
    let two = upgrade_head("/", Some("localhost"), "Host: evil.example\r\n");
    assert!(meets(Refusal, status(&server, &two)), "two hosts");
}

#[test]
fn only_a_good_upgrade_on_the_root_is_one() {
    let server = Server::websocket(&[]);
    let good = upgrade_head("/", Some("localhost"), "");
    for (name, request, want) in [
        ("good", good.clone(), Status(101)),
        (
            "query",
            upgrade_head("/?a=b", Some("localhost"), ""),
            Status(101),
        ),
        (
            "protocol offered",
            upgrade_head("/", Some("localhost"), "Sec-WebSocket-Protocol: chat\r\n"),
            Status(101),
        ),
        (
            "deflate offered",
            upgrade_head(
                "/",
                Some("localhost"),
                "Sec-WebSocket-Extensions: permessage-deflate\r\n",
            ),
            Status(101),
        ),
        (
            "list in Connection",
            good.replace("Connection: Upgrade", "Connection: keep-alive, Upgrade"),
            Status(101),
        ),
        (
            "lower case",
            good.replace("Upgrade", "upgrade"),
            Status(101),
        ),
        (
            "other path",
            upgrade_head("/other", Some("localhost"), ""),
            Status(404),
        ),
        (
            "path that walks",
            upgrade_head("/../", Some("localhost"), ""),
            Status(404),
        ),
        ("POST", good.replacen("GET", "POST", 1), Status(405)),
        ("DELETE", good.replacen("GET", "DELETE", 1), Status(405)),
        (
            "plain GET",
            "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".into(),
            Refusal,
        ),
        (
            "other version",
            good.replace("Version: 13", "Version: 12"),
            Refusal,
        ),
        (
            "no version",
            good.replace("Sec-WebSocket-Version: 13\r\n", ""),
            Refusal,
        ),
        (
            "no key",
            good.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
            Refusal,
        ),
        (
            "other upgrade",
            good.replace("Upgrade: websocket", "Upgrade: h2c"),
            Refusal,
        ),
        ("HTTP/1.0", good.replace("HTTP/1.1", "HTTP/1.0"), Refusal),
    ] {
        let answer = status(&server, &request);
        assert!(meets(want, answer), "{name}: {answer}");
    }
}

#[test]
fn health_is_told_without_an_upgrade() {
    let server = Server::websocket(&[]);
    for target in ["/readyz", "/livez"] {
        let get = |method: &str| {
            status(
                &server,
                &format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            )
        };
        assert_eq!(get("GET"), 200, "{target}");
        assert_eq!(get("POST"), 405, "{target}");
        let forged = format!("GET {target} HTTP/1.1\r\nHost: evil.example\r\n\r\n");
        assert_eq!(status(&server, &forged), 403, "{target} under another name");
    }
    assert_eq!(
        status(&server, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        404
    );
}

#[test]
fn nonsense_is_refused_and_the_server_lives_on() {
    let server = Server::websocket(&[]);
    let mut client = server.connect();
    let good = upgrade_head("/", Some("localhost"), "");
    let corpus: Vec<Vec<u8>> = vec![
        b"hello there\r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n".to_vec(),
        b"GET / SMTP\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nno colon here\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\n: nameless\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: local\0host\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n".to_vec(),
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        good.replace("dGhlIHNhbXBsZSBub25jZQ==", "\u{e9}")
            .into_bytes(),
        good.replace("dGhlIHNhbXBsZSBub25jZQ==", "short")
            .into_bytes(),
        good.replace(
            "\r\n\r\n",
            "\r\nSec-WebSocket-Protocol: \u{e9}\u{e9}\r\n\r\n",
        )
        .into_bytes(),
        format!("{{\"id\":1,\"method\":\"initialize\"}}\n{}", "\n".repeat(4)).into_bytes(),
    ];
    for garbage in corpus {
        let shown = String::from_utf8_lossy(&garbage).into_owned();
        let mut stream = server.dial();
        let answer = refused_or_silent(&mut stream, &[&garbage[..], b"\r\n\r\n"].concat());
        let reply = answer.unwrap_or_else(|error| panic!("{shown:?}: {error}"));
        let lenient = shown.contains("Protocol: ") && reply.status == 101;
        assert!(
            lenient || meets(Refusal, reply.status),
            "{shown:?}: {}",
            reply.status
        );
    }
    client.still_serves();
}

#[test]
fn a_head_without_measure_is_refused() {
    let server = Server::websocket(&[]);
    let long = upgrade_head(
        "/",
        Some("localhost"),
        &format!("X-Long: {}\r\n", "x".repeat(200_000)),
    );
    let many = upgrade_head("/", Some("localhost"), &"X-Many: 1\r\n".repeat(5_000));
    let endless = format!("GET /{} HTTP/1.1\r\n", "x".repeat(200_000));
    for request in [long, many, endless] {
        let answer = status(&server, &request);
        assert!(meets(Refusal, answer), "{answer}");
    }
    server.connect().still_serves();
}

#[test]
fn one_connection_too_many_is_told_to_come_back() {
    let server = Server::websocket(&["--max-connections", "2"]);
    let mut first = server.connect();
    let second = server.connect();
    let request = upgrade_head("/", Some("localhost"), "");
    assert_eq!(status(&server, &request), 503);
    first.still_serves();
    drop(second);
    within(PATIENCE, "the place is free again", || {
        status(&server, &request) == 101
    });
}

#[test]
fn who_shows_no_token_keeps_nobody_out() {
    let mut command = Server::command();
    command.env("EXEC_SERVER_TOKEN", "word").args([
        "--listen",
        "ws://127.0.0.1:0",
        "--max-connections",
        "4",
    ]);
    let server = Server::websocket_command(command);
    let token = "Authorization: Bearer word\r\n";
    let connect = || {
        let mut client = Client::dial_with(server.address(), token);
        client.initialize();
        client
    };
    let mut clients = vec![connect()];
    let half_a_request = || {
        let mut socket = server.dial();
        socket.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        socket
    };
    let mut idle: Vec<_> = (0..300).map(|_| half_a_request()).collect();
    clients.extend((0..3).map(|_| connect()));
    // The oldest made room, long before their time was over.
    for socket in &mut idle[..300 - 256] {
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let end = socket.read(&mut [0; 64]);
        let is_closed = match &end {
            Ok(count) => *count == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        };
        assert!(is_closed, "{end:?}");
    }
    // Who was let in does not.
    let request = upgrade_head("/", Some("localhost"), token);
    assert_eq!(status(&server, &request), 503);
    for client in &mut clients {
        client.still_serves();
    }
}

#[test]
fn who_only_connects_does_not_outrun_a_client_for_the_last_place() {
    let server = Server::websocket(&["--max-connections", "2"]);
    let mut first = server.connect();
    let request = upgrade_head("/", Some("localhost"), "");
    let (begin, end) = request.split_at(20);
    let mut slow = server.dial();
    slow.write_all(begin.as_bytes()).unwrap();
    let silent: Vec<_> = (0..100).map(|_| server.dial()).collect();
    assert_eq!(exchange(&mut slow, end.as_bytes()).status, 101);
    first.still_serves();
    drop(silent);
}

#[test]
fn connections_leave_nothing_behind() {
    let server = Server::websocket(&[]);
    server.connect().still_serves();
    let before = threads(server.pid());
    for _ in 0..50 {
        server.connect().still_serves();
        drop(server.dial());
    }
    within(
        Duration::from_secs(20),
        "the threads of gone connections are gone",
        || threads(server.pid()) <= before + 1,
    );
}

#[test]
fn a_close_frame_is_answered() {
    let server = Server::websocket(&[]);
    let mut client = server.connect();
    client.send_close(1000);
    assert_eq!(client.hang_up(), [1000]);
}

#[test]
fn a_ping_is_answered() {
    let server = Server::websocket(&[]);
    let mut client = server.connect();
    client.send_fragments(b"{}", 1, Some(b"are you there"));
    assert_eq!(client.pong(), b"are you there");
}
