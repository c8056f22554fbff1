//! `GET /metrics`: what it tells, in which form, and to whom; and health when there is no room.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::net::UnixStream;

use serde_json::json;

use crate::support::{
    Client, PATIENCE, Server, Start, all_logged, exchange, fails, scratch, upgrade_head, within,
};

/// Samples by name with labels, as they are written.
type Samples = BTreeMap<String, f64>;

fn get(target: &str, extra: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{extra}\r\n")
}

fn status(server: &Server, request: &str) -> u16 {
    exchange(&mut server.dial(), request.as_bytes()).status
}

#[track_caller]
fn scrape(server: &Server) -> Samples {
    let reply = exchange(&mut server.dial(), get("/metrics", "").as_bytes());
    assert_eq!(reply.status, 200, "{}", reply.text());
    let form = Some("text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(reply.header("content-type"), form);
    read(&reply.text())
}

fn is_name(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_lowercase() || c == '_';
    text.starts_with(is_letter) && text.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}

/// The labels of `{a="b",c="d"}` with values that need no escape.
fn labels(text: &str) -> Vec<(&str, &str)> {
    let inner = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'));
    let pairs = inner.unwrap_or_else(|| panic!("labels {text}")).split(',');
    let pair = |pair| {
        let (name, value) = str::split_once(pair, '=').unwrap_or_else(|| panic!("{text}"));
        let value = value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'));
        let value = value.unwrap_or_else(|| panic!("{text}"));
        assert!(
            is_name(name) && !value.contains(['"', '\\', '\n']),
            "{text}"
        );
        (name, value)
    };
    pairs.map(pair).collect()
}

/// Reads a page, and holds it against all that the format asks for.
#[track_caller]
fn read(page: &str) -> Samples {
    assert!(page.ends_with('\n'));
    let mut samples = Samples::new();
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    let mut family = ("", "");
    let mut buckets: Vec<(f64, f64)> = Vec::new();
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').unwrap();
            assert!(is_name(name) && name.starts_with("exec_server_"), "{line}");
            assert!(text.ends_with('.') && !text.contains('\\'), "{line}");
            assert!(!kinds.contains_key(name), "{name} is there twice");
            family = (name, "");
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!((name, ""), family, "{line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            kinds.insert(name, kind);
            family = (name, kind);
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        let (name, its) = match sample.find('{') {
            Some(at) => (&sample[..at], labels(&sample[at..])),
            None => (sample, Vec::new()),
        };
        assert!(is_name(name) && value >= 0.0, "{line}");
        match family.1 {
            "histogram" => {
                let part = name.strip_prefix(family.0).unwrap();
                match (part, &its[..]) {
                    ("_bucket", [("le", bound)]) => {
                        let bound = bound.replace("+Inf", "inf").parse().unwrap();
                        let (last, count) = buckets.last().copied().unwrap_or((-1.0, 0.0));
                        assert!(bound > last && value >= count, "{line}");
                        buckets.push((bound, value));
                    }
                    ("_sum", []) => {}
                    ("_count", []) => assert_eq!(buckets.last(), Some(&(f64::INFINITY, value))),
                    _ => panic!("{line}"),
                }
            }
            _ => assert_eq!(name, family.0, "{line}"),
        }
        assert!(
            samples.insert(sample.to_owned(), value).is_none(),
            "{line} is there twice"
        );
    }
    samples
}

/// Those of counters and of the histogram, which must not shrink.
fn growing(samples: &Samples) -> impl Iterator<Item = (&String, &f64)> {
    let is_counter = |name: &str| name.contains("_total") || name.contains("_seconds_");
    samples.iter().filter(move |(name, _)| is_counter(name))
}

#[test]
fn the_page_is_what_the_format_asks_for_and_counters_only_grow() {
    let server = Server::websocket(&["--metrics"]);
    let first = scrape(&server);
    let mut client = server.connect();
    client.run(Start::shell("p", "echo $PPID; exit 3"));
    let second = scrape(&server);
    let names = |samples: &Samples| samples.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&first), names(&second), "no client makes a sample");
    assert!(growing(&first).count() > 60);
    for (name, value) in growing(&first) {
        assert!(second[name] >= *value, "{name}");
    }
    for name in [
        "memory_resident_bytes",
        "open_descriptors",
        "max_descriptors",
        "start_time_seconds",
    ] {
        assert!(second[&format!("exec_server_{name}")] > 0.0, "{name}");
    }
    let info = second
        .iter()
        .find(|(name, _)| name.starts_with("exec_server_build_info{"));
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(info.is_some_and(|(name, value)| *value == 1.0 && name.contains(&version)));
}

#[test]
fn what_happens_is_counted() {
    let server = Server::websocket(&["--metrics", "--max-processes", "2"]);
    let dir = scratch();
    let mut client = server.connect();
    client.run(Start::shell("exited", "printf 12345; exit 3"));
    client.run(Start::shell("signalled", "kill -9 $$"));
    client.run(Start::command("late", &["/bin/sleep", "60"]).with("timeoutMs", 50));
    client.start(Start::command("told", &["/bin/cat"]).pipe_stdin());
    client.write("told", b"1234567", "1");
    client.output("told", "stdout", |text| text == "1234567");
    client.ok("process/terminate", json!({"processId": "told"}));
    client.closed("told");
    client.ok(
        "fs/writeFile",
        json!({"path": dir.path("f"), "dataBase64": "MTIzNDU2Nzg5"}),
    );
    client.ok("fs/readFile", json!({"path": dir.path("f")}));
    client.start(Start::command("a", &["/bin/sleep", "60"]));
    client.start(Start::command("b", &["/bin/sleep", "60"]));
    client
        .request(
            "process/start",
            Start::command("c", &["/bin/sleep", "60"]).0,
        )
        .unwrap_err();
    client.request("no/such", json!({})).unwrap_err();
    assert_eq!(status(&server, &get("/", "Origin: null\r\n")), 403);
    let samples = scrape(&server);
    for (name, value) in [
        ("connections", 1),
        ("connections_total", 1),
        ("sessions{state=\"attached\"}", 1),
        ("sessions{state=\"detached\"}", 0),
        ("sessions_total", 1),
        ("processes", 2),
        ("processes_started_total", 6),
        ("processes_ended_total{cause=\"exited\"}", 1),
        ("processes_ended_total{cause=\"signalled\"}", 1),
        ("processes_ended_total{cause=\"timedOut\"}", 1),
        ("processes_ended_total{cause=\"terminated\"}", 1),
        ("process_start_seconds_count", 6),
        ("bytes_total{direction=\"out\",kind=\"output\"}", 12),
        ("bytes_total{direction=\"in\",kind=\"input\"}", 7),
        ("bytes_total{direction=\"in\",kind=\"files\"}", 9),
        ("bytes_total{direction=\"out\",kind=\"files\"}", 9),
        ("requests_total{method=\"process/start\"}", 7),
        ("requests_total{method=\"fs/readFile\"}", 1),
        ("requests_total{method=\"initialize\"}", 1),
        ("requests_total{method=\"unknown\"}", 1),
        ("refusals_total{cause=\"limits\"}", 1),
        ("refusals_total{cause=\"origin\"}", 1),
        ("refusals_total{cause=\"token\"}", 0),
        ("memory_accounted_bytes{kind=\"input\"}", 0),
    ] {
        let found = samples.get(&format!("exec_server_{name}"));
        assert_eq!(found, Some(&f64::from(value)), "{name}");
    }
}

#[test]
fn metrics_are_told_to_who_may_connect_and_to_no_page() {
    let plain = Server::websocket(&[]);
    assert_eq!(status(&plain, &get("/metrics", "")), 404);
    let mut command = Server::command();
    command.env("EXEC_SERVER_TOKEN", "word");
    command.args(["--listen", "ws://127.0.0.1:0", "--metrics"]);
    let server = Server::websocket_command(command);
    let token = "Authorization: Bearer word\r\n";
    assert_eq!(status(&server, &get("/metrics", "")), 401);
    assert_eq!(
        status(&server, &get("/metrics", "Authorization: Bearer other\r\n")),
        401
    );
    assert_eq!(status(&server, &get("/metrics", token)), 200);
    let page = format!("{token}Origin: https://evil.example\r\n");
    assert_eq!(status(&server, &get("/metrics", &page)), 403);
    let rebound = format!("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n{token}\r\n");
    assert_eq!(status(&server, &rebound), 403);
    assert_eq!(
        status(&server, &get("/metrics", token).replace("GET", "POST")),
        404
    );
    let head = get("/metrics", token).replace("GET", "HEAD");
    assert_eq!(exchange(&mut server.dial(), head.as_bytes()).text(), "");
}

#[test]
fn metrics_may_have_a_listener_of_their_own() {
    let dir = scratch();
    let socket = dir.path("metrics");
    let server = Server::websocket(&["--metrics", &socket]);
    assert_eq!(status(&server, &get("/metrics", "")), 404);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.write_all(get("/metrics", "").as_bytes()).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
    let (head, page) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    read(page);

    // A server on standard input and output, too, may have one; nothing but metrics is there.
    let flags = ["--metrics", "127.0.0.1:0", "--log-level", "info"];
    let mut client = Client::stdio_with(&flags);
    client.still_serves();
    let log = || client.server.as_ref().unwrap().stderr();
    within(PATIENCE, "the address", || log().contains("for=metrics"));
    let lines = all_logged(&log());
    let line = lines.iter().find(|line| line.contains_key("for")).unwrap();
    let address = line["url"].strip_prefix("http://").unwrap().to_owned();
    let ask = |request: &str| {
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        exchange(&mut stream, request.as_bytes())
    };
    read(&ask(&get("/metrics", "")).text());
    assert_eq!(ask(&get("/livez", "")).status, 200);
    assert_eq!(ask(&get("/metrics", "Origin: null\r\n")).status, 403);
    assert_eq!(ask(&upgrade_head("/", Some("localhost"), "")).status, 404);

    fails(&["--metrics", "0.0.0.0:0"], 1, "--ws-auth");
    fails(
        &["--listen", "stdio", "--metrics"],
        2,
        "--metrics 127.0.0.1:9464",
    );
}

#[test]
fn who_asks_and_never_reads_holds_nobody_up() {
    let server = Server::websocket(&["--metrics"]);
    let ask = || {
        let mut stream = server.dial();
        stream.write_all(get("/metrics", "").as_bytes()).unwrap();
        stream
    };
    let deaf: Vec<_> = (0..64).map(|_| ask()).collect();
    scrape(&server);
    server.connect().still_serves();
    drop(deaf);
}

#[test]
fn health_and_metrics_are_told_when_all_connections_are_in_use() {
    let server = Server::websocket(&["--max-connections", "1", "--metrics"]);
    let mut client = server.connect();
    // More than may wait to be refused, and all of them silent.
    let silent: Vec<_> = (0..40).map(|_| server.dial()).collect();
    for target in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(status(&server, &get(target, "")), 200, "{target}");
    }
    assert_eq!(
        status(&server, &upgrade_head("/", Some("localhost"), "")),
        503
    );
    client.still_serves();
    drop(silent);
}
