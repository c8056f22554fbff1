//! Requests that the websocket port must take, and those that it must not.

use super::*;
use crate::serve::access::auth;

const HOST: &str = "Host: 127.0.0.1:8765";
const UPGRADE: &str = "Upgrade: websocket\nConnection: keep-alive, Upgrade";
const VERSION: &str = "Sec-WebSocket-Version: 13";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

fn local() -> UpgradePolicy {
    UpgradePolicy {
        loopback: true,
        allow_origins: vec!["https://good.example".into()],
        allow_hosts: vec!["dev.example".into()],
        websocket: true,
        metrics: false,
        authenticator: None,
    }
}

fn request(lines: &[&str]) -> Vec<u8> {
    (lines.join("\n") + "\n\n")
        .replace('\n', "\r\n")
        .into_bytes()
}

fn upgrade_with(extra: &[&str]) -> Vec<u8> {
    let lines = ["GET / HTTP/1.1", HOST, UPGRADE, VERSION, KEY];
    request(&[&lines, extra].concat())
}

/// The status code, after checking that the answer is whole.
fn status(policy: &UpgradePolicy, received: &[u8], draining: bool) -> u16 {
    match policy.examine(received, draining) {
        Progress::NeedMore => 0,
        Progress::Metrics { .. } => 200,
        Progress::Upgrade { response, head_len } => {
            assert!(response.ends_with(b"\r\n\r\n") && head_len <= received.len());
            101
        }
        Progress::Respond(answer) => {
            let answer = String::from_utf8(answer.bytes).unwrap();
            let (head, text) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.contains("\r\nConnection: close"), "{head}");
            if !received.starts_with(b"HEAD") {
                assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", text.len())));
                // The reference's words for a token have no line end, and are compared.
                assert!(text.ends_with('\n') || head.starts_with("HTTP/1.1 401 "));
            }
            head.split(' ').nth(1).unwrap().parse().unwrap()
        }
    }
}

#[test]
fn a_good_request_is_upgraded_and_the_rest_is_left_for_the_websocket() {
    let mut received = upgrade_with(&[
        "Sec-WebSocket-Protocol: x",
        "Sec-WebSocket-Extensions: permessage-deflate",
    ]);
    let length = received.len();
    received.extend_from_slice(b"\x81\x80frame");
    let Progress::Upgrade { response, head_len } = local().examine(&received, false) else {
        panic!("refused");
    };
    assert_eq!(head_len, length);
    assert_eq!(
        String::from_utf8(response).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
    for end in 0..length {
        assert_eq!(local().examine(&received[..end], false), Progress::NeedMore);
    }
}

#[test]
fn pages_are_kept_out_before_anything_else() {
    for (extra, expected) in [
        ("Origin: null", 403),
        ("ORIGIN: http://127.0.0.1:8765", 403),
        ("Origin: https://evil.example", 403),
        ("Origin: HTTPS://good.example", 403),
        ("Origin:", 403),
        (
            "Origin: https://good.example\norigin: https://good.example",
            403,
        ),
        ("Origin: https://good.example", 101),
    ] {
        assert_eq!(
            status(&local(), &upgrade_with(&[extra]), false),
            expected,
            "{extra}"
        );
    }
    for line in ["GET /readyz HTTP/1.1", "POST /x HTTP/1.1", "GET / HTTP/1.0"] {
        let received = request(&[line, "Origin: null"]);
        assert_eq!(status(&local(), &received, false), 403, "{line}");
    }
}

#[test]
fn the_host_must_be_ours_on_a_loopback_listener() {
    let wide = UpgradePolicy {
        websocket: true,
        ..UpgradePolicy::default()
    };
    for (hosts, on_loopback, elsewhere) in [
        ("Host: localhost:1", 101, 101),
        ("Host: dev.example:1", 101, 101),
        ("Host: evil.example", 403, 101),
        ("Host:", 403, 101),
        ("X: y", 400, 400),
        ("Host: localhost\nHost: evil.example", 400, 400),
    ] {
        let received = request(&["GET / HTTP/1.1", hosts, UPGRADE, VERSION, KEY]);
        assert_eq!(status(&local(), &received, false), on_loopback, "{hosts}");
        assert_eq!(status(&wide, &received, false), elsewhere, "{hosts}");
    }
}

#[test]
fn routes_and_methods() {
    for (line, expected, draining) in [
        ("GET /readyz HTTP/1.1", 200, 503),
        ("HEAD /readyz?x HTTP/1.1", 200, 503),
        ("GET /livez HTTP/1.1", 200, 200),
        ("POST /livez HTTP/1.1", 405, 405),
        ("GET / HTTP/1.1", 400, 503),
        ("POST / HTTP/1.1", 405, 405),
        ("GET /healthz HTTP/1.1", 404, 404),
        ("GET // HTTP/1.1", 404, 404),
        ("GET http://127.0.0.1/ HTTP/1.1", 400, 400),
        ("OPTIONS * HTTP/1.1", 400, 400),
        ("GET /readyz HTTP/1.0", 400, 400),
        ("PRI * HTTP/2.0", 400, 400),
    ] {
        let received = request(&[line, HOST]);
        assert_eq!(status(&local(), &received, false), expected, "{line}");
        assert_eq!(status(&local(), &received, true), draining, "{line}");
    }
    assert_eq!(status(&local(), &upgrade_with(&[]), true), 503);
}

#[test]
fn a_token_is_asked_for_last() {
    let settings = auth::Settings {
        token: Some("canary".into()),
        ..auth::Settings::default()
    };
    let rules = settings.rules().unwrap().unwrap();
    let asking = UpgradePolicy {
        authenticator: Some(Arc::new(Authenticator::open(rules).unwrap())),
        ..local()
    };
    let good = "Authorization: Bearer canary";
    for (extra, expected) in [
        (&[good][..], 101),
        (&["AUTHORIZATION: bearer   canary  "], 101),
        (&[good, "Authorization: Bearer other"], 101),
        (&["Authorization: Bearer other", good], 401),
        (&["Authorization: Bearer canary2"], 401),
        (&["Authorization: Basic canary"], 401),
        (&["Authorization:"], 401),
        (&["Sec-WebSocket-Protocol: canary"], 401),
        (&["Cookie: token=canary"], 401),
        (&[], 401),
        (&[good, "Origin: null"], 403),
        (&["Origin: null"], 403),
        (&[good, "Origin: https://good.example"], 101),
        (&["Origin: https://good.example"], 401),
    ] {
        assert_eq!(
            status(&asking, &upgrade_with(extra), false),
            expected,
            "{extra:?}"
        );
    }
    for (lines, expected) in [
        (
            &["GET /?token=canary HTTP/1.1", HOST, UPGRADE, VERSION, KEY][..],
            401,
        ),
        (&["GET / HTTP/1.1", HOST], 400),
        (&["GET / HTTP/1.1", HOST, UPGRADE, KEY], 426),
        (&["POST / HTTP/1.1", HOST], 405),
        (&["GET /nope HTTP/1.1", HOST], 404),
        (&["GET /readyz HTTP/1.1", HOST], 200),
        (&["GET /livez HTTP/1.1", HOST], 200),
        (
            &[
                "GET / HTTP/1.1",
                "Host: evil.example",
                UPGRADE,
                VERSION,
                KEY,
                good,
            ],
            403,
        ),
    ] {
        assert_eq!(
            status(&asking, &request(lines), false),
            expected,
            "{lines:?}"
        );
    }
    assert_eq!(status(&asking, &upgrade_with(&[]), true), 503);
}

#[test]
fn metrics_are_told_where_they_are_wanted_and_the_rules_are_the_websocket_s() {
    let get = |extra: &[&str]| request(&[&["GET /metrics HTTP/1.1", HOST], extra].concat());
    assert_eq!(status(&local(), &get(&[]), false), 404);
    let telling = UpgradePolicy {
        metrics: true,
        ..local()
    };
    let alone = UpgradePolicy {
        websocket: false,
        ..telling.clone()
    };
    for policy in [&telling, &alone] {
        let told = policy.examine(&get(&[]), true);
        assert_eq!(told, Progress::Metrics { with_text: true });
        assert_eq!(status(policy, &get(&["Origin: null"]), false), 403);
        let rebound = request(&["GET /metrics HTTP/1.1", "Host: evil.example"]);
        assert_eq!(status(policy, &rebound, false), 403);
        assert_eq!(
            status(policy, &request(&["GET /livez HTTP/1.1", HOST]), false),
            200
        );
    }
    assert_eq!(status(&alone, &upgrade_with(&[]), false), 404);
    let settings = auth::Settings {
        token: Some("canary".into()),
        ..auth::Settings::default()
    };
    let rules = settings.rules().unwrap().unwrap();
    let asking = UpgradePolicy {
        authenticator: Some(Arc::new(Authenticator::open(rules).unwrap())),
        ..telling
    };
    assert_eq!(status(&asking, &get(&[]), false), 401);
    assert_eq!(
        status(&asking, &get(&["Authorization: Bearer canary"]), false),
        200
    );
}

#[test]
fn what_is_wrong_with_an_upgrade_is_named() {
    for (lines, expected, text) in [
        (
            vec![VERSION, KEY],
            400,
            "Connection header did not include 'upgrade'",
        ),
        (
            vec!["Connection: upgrade", VERSION, KEY],
            400,
            "`Upgrade` header did not include 'websocket'",
        ),
        (
            vec![UPGRADE, KEY],
            426,
            "`Sec-WebSocket-Version` header did not include '13'",
        ),
        (
            vec![UPGRADE, "Sec-WebSocket-Version: 12", KEY],
            426,
            "Sec-WebSocket-Version: 13\r\n",
        ),
        (vec![UPGRADE, VERSION, VERSION, KEY], 400, "exactly one"),
        (
            vec![UPGRADE, VERSION],
            400,
            "`Sec-WebSocket-Key` header missing",
        ),
        (
            vec![UPGRADE, VERSION, "Sec-WebSocket-Key: x"],
            400,
            "16 bytes",
        ),
        (
            vec![UPGRADE, VERSION, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j"],
            400,
            "16 bytes",
        ),
        (vec![UPGRADE, VERSION, KEY, KEY], 400, "sent once"),
        (
            vec![UPGRADE, VERSION, KEY, "Content-Length: 5"],
            400,
            "no body",
        ),
        (
            vec![UPGRADE, VERSION, KEY, "Transfer-Encoding: chunked"],
            400,
            "no body",
        ),
    ] {
        let received = request(&[&["GET / HTTP/1.1", HOST], &lines[..]].concat());
        assert_eq!(status(&local(), &received, false), expected, "{lines:?}");
        let Progress::Respond(answer) = local().examine(&received, false) else {
            panic!("upgraded");
        };
        assert!(
            String::from_utf8(answer.bytes).unwrap().contains(text),
            "{lines:?}"
        );
    }
}

#[test]
fn junk_is_answered_at_once_and_length_is_bounded() {
    for junk in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"\x00",
        b"\xff\xfe",
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \x01\r\n\r\n",
        b"{\"id\":1,\"method\":\"initialize\"}\n",
    ] {
        assert_eq!(
            status(&local(), junk, false),
            400,
            "{}",
            junk.escape_ascii()
        );
    }
    let many = vec!["A: b"; MAX_HEADERS];
    assert_eq!(status(&local(), &upgrade_with(&many), false), 431);
    let long = format!("A: {}", "b".repeat(MAX_HEAD));
    assert_eq!(status(&local(), &upgrade_with(&[&long]), false), 431);
    assert_eq!(status(&local(), &vec![b'a'; MAX_HEAD], false), 0);
    assert_eq!(status(&local(), &vec![b'a'; MAX_HEAD + 1], false), 431);
    assert_eq!(status(&local(), &b"\r\n".repeat(MAX_HEAD), false), 431);
}

#[test]
fn no_mutation_of_a_request_panics_or_breaks_the_answer() {
    let good = upgrade_with(&["Origin: https://good.example"]);
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    for _ in 0..20_000 {
        let mut mutant = good.clone();
        for _ in 0..=next(4) {
            let at = next(mutant.len());
            match next(3) {
                0 => mutant[at] = next(256) as u8,
                1 => mutant.truncate(at + 1),
                _ => {
                    let piece = mutant[at..].to_vec();
                    let to = next(mutant.len());
                    mutant.splice(to..to, piece);
                }
            }
        }
        let status = status(&local(), &mutant, false);
        assert!(matches!(status, 0 | 101 | 200 | 400..=599), "{status}");
    }
}

#[test]
fn answers_outside_a_request_are_whole() {
    let busy = String::from_utf8(too_many_connections().bytes).unwrap();
    assert!(busy.starts_with("HTTP/1.1 503 ") && busy.contains("\r\nRetry-After: "));
    let late = String::from_utf8(timed_out().bytes).unwrap();
    assert!(late.starts_with("HTTP/1.1 408 ") && late.contains("\r\nConnection: close\r\n"));
    let clear = String::from_utf8(wants_tls().bytes).unwrap();
    assert!(clear.starts_with("HTTP/1.1 400 ") && clear.contains("wss://"));
}

#[test]
fn addresses_and_localhost_are_ours() {
    for host in [
        "127.0.0.1",
        "127.0.0.1:8765",
        "127.0.0.1:",
        "127.0.0.1.",
        "10.0.0.7:1",
        "[::1]",
        "[::1]:8765",
        "localhost",
        "LOCALHOST:1",
        "localhost.",
        "localhost.:80",
    ] {
        assert!(is_own_host(host.as_bytes(), &[]), "{host}");
    }
}

#[test]
fn names_and_oddities_are_not() {
    for host in [
        "",
        ":80",
        ".",
        "evil.example",
        "evil.example:8765",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.localhost",
        "localhost..",
        "user@localhost",
        "user@127.0.0.1",
        "127.0.0.1:80@evil.example",
        "127.0.0.1:x",
        "127.0.0.1:99999",
        "127.0.0.1:80:80",
        "127.1",
        "0x7f.0.0.1",
        "::1",
        "[::1",
        "::1]",
        "[::1]x",
        "[::1%lo]",
        "[evil.example]",
        "[127.0.0.1]",
        "127.0.0.1,evil.example",
        "localhost\t",
    ] {
        assert!(!is_own_host(host.as_bytes(), &[]), "{host}");
    }
    assert!(!is_own_host(b"\xff", &[]));
}

#[test]
fn listed_names_are_allowed_with_their_port_if_it_has_one() {
    let allowed = ["dev.example".to_owned(), "b.example:81".to_owned()];
    for (host, ours) in [
        ("dev.example", true),
        ("Dev.Example:9", true),
        ("b.example:81", true),
        ("b.example", false),
        ("b.example:82", false),
        ("xdev.example", false),
        ("dev.example:x", false),
    ] {
        assert_eq!(is_own_host(host.as_bytes(), &allowed), ours, "{host}");
    }
}
