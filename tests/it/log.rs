//! What the server tells its operator, and what it must not.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::support::{
    Certificate, Client, Environments, Logged, Need, PATIENCE, Server, Start, all_logged, child,
    command_line, exchange, finish, sandbox::Sandbox, scratch, signal, upgrade_head, within,
};

const FORMATS: [&str; 2] = ["text", "json"];

fn serve(format: &str, flags: &[&str]) -> Server {
    let log = ["--log-level", "info", "--log-format", format];
    Server::websocket(&[&log, flags].concat())
}

/// The lines about an event, once there are so many.
#[track_caller]
fn told(server: &Server, event: &str, count: usize) -> Vec<Logged> {
    let about = || {
        let lines = all_logged(&server.stderr());
        lines
            .into_iter()
            .filter(|line| line["event"] == event)
            .collect::<Vec<_>>()
    };
    within(PATIENCE, event, || about().len() >= count);
    let lines = about();
    assert_eq!(lines.len(), count, "{event} in\n{}", server.stderr());
    lines
}

fn greet(server: &Server, name: &str) -> Client {
    let mut client = server.connect_silent();
    let reply = client.ok("initialize", json!({"clientName": name}));
    client.session = reply["sessionId"].as_str().unwrap().to_owned();
    client.notify("initialized", json!({}));
    client
}

#[test]
fn a_process_is_told_of_from_its_start_to_its_end() {
    for format in FORMATS {
        let server = serve(format, &[]);
        let mut client = greet(&server, "an agent");
        client.run(Start::child("p", &["exit", "3"]));
        client.run(Start::shell("q", "kill -9 $$"));
        client.run(Start::command("r", &["/bin/sleep", "60"]).with("timeoutMs", 50));
        client.start(Start::command("s", &["/bin/sleep", "60"]));
        client.ok("process/terminate", json!({"processId": "s"}));
        client.closed("s");
        let tag = &client.session[..8];
        let began = &told(&server, "sessionBegan", 1)[0];
        assert_eq!((&*began["session"], &*began["name"]), (tag, "an agent"));
        let started = told(&server, "processStarted", 4);
        let exited = told(&server, "processExited", 4);
        for (start, exit) in started.iter().zip(&exited) {
            assert_eq!(start["level"], "info");
            for field in ["process", "pid", "connection", "session"] {
                assert_eq!(start[field], exit[field], "{field}");
            }
            assert_eq!(start["session"], tag);
            assert_eq!(start["connection"], began["connection"]);
            assert_eq!(start["sandbox"], "none");
            let user = fs::metadata(format!("/proc/{}", server.pid())).unwrap();
            let user = std::os::unix::fs::MetadataExt::uid(&user).to_string();
            // Where the server's memory is closed its files in /proc are root's.
            assert!(start["user"] == user || user == "0", "{start:?}");
            assert!(exit["durationMs"].parse::<u64>().unwrap() < 30_000);
        }
        assert_eq!(started[0]["program"], "child");
        assert_eq!(started[1]["program"], "sh");
        let how = |exit: &Logged| {
            let signal = exit.get("signal").cloned().unwrap_or_default();
            let (code, timed_out) = (exit["code"].clone(), exit["timedOut"].clone());
            (code, signal, timed_out, exit["terminated"].clone())
        };
        let how: Vec<_> = exited.iter().map(how).collect();
        let wanted = [
            ("3", "", "false", "false"),
            ("137", "SIGKILL", "false", "false"),
            ("143", "SIGTERM", "true", "false"),
            ("137", "SIGKILL", "false", "true"),
        ];
        let wanted = wanted.map(|(code, signal, timed_out, terminated)| {
            (
                code.into(),
                signal.into(),
                timed_out.into(),
                terminated.into(),
            )
        });
        assert_eq!(how, wanted);
    }
}

#[test]
fn a_confined_process_is_told_of_with_its_launcher_and_its_denial() {
    needs!(Need::Namespaces);
    let server = serve("text", &["--sandbox-launcher", "bundled"]);
    let start = Start::shell("p", "echo x > /nobody-may-write-here");
    let policy = Sandbox::read_only().json();
    server.connect().run(start.with("sandbox", policy));
    assert_eq!(told(&server, "processStarted", 1)[0]["sandbox"], "bundled");
    assert_eq!(told(&server, "processExited", 1)[0]["denied"], "true");
}

#[test]
fn what_a_policy_refuses_is_told() {
    let server = serve(
        "json",
        &["--bwrap", "/no/such/bwrap", "--sandbox-launcher", "bundled"],
    );
    let mut client = server.connect();
    let policy = Sandbox::read_only().json();
    let start = Start::child("p", &["exit", "0"]).with("sandbox", policy);
    client.request("process/start", start.0).unwrap_err();
    let refused = &told(&server, "requestRefused", 1)[0];
    assert_eq!(
        (&*refused["cause"], &*refused["method"]),
        ("policy", "process/start")
    );
    assert_eq!(refused["session"], client.session[..8]);
}

#[test]
fn sessions_and_connections_come_and_go_in_the_log() {
    let server = serve(
        "json",
        &["--session-retention", "0.2", "--ping-interval", "1"],
    );
    let first = greet(&server, "one");
    let session = first.session.clone();
    let opened = &told(&server, "connectionOpened", 1)[0];
    assert!(opened["peer"].starts_with("127.0.0.1:"), "{opened:?}");
    first.ignore_pings();
    let mut second = None;
    within(PATIENCE, "the session is taken over", || {
        let mut next = server.connect_silent();
        let is_resumed = next.try_resume(&session).is_ok();
        second = is_resumed.then_some(next);
        is_resumed
    });
    let over = &told(&server, "sessionTakenOver", 1)[0];
    assert_eq!((&*over["session"], &*over["name"]), (&session[..8], "one"));
    assert_eq!(over["from"], opened["connection"]);
    drop((first, second));
    let expired = &told(&server, "sessionExpired", 1)[0];
    assert_eq!(
        (&*expired["session"], &*expired["name"]),
        (&session[..8], "one")
    );
    let lines = all_logged(&server.stderr());
    let closed = lines
        .iter()
        .filter(|line| line["event"] == "connectionClosed");
    let closed: Vec<_> = closed.filter(|line| line.contains_key("session")).collect();
    assert_eq!(closed.len(), 2, "{}", server.stderr());
    assert!(closed.iter().all(|line| !line["why"].is_empty()));
}

#[test]
fn a_session_that_is_taken_up_again_is_told_of() {
    let server = serve("text", &[]);
    let first = server.connect();
    let session = first.session.clone();
    drop(first);
    within(PATIENCE, "it can be resumed", || {
        server.connect_silent().try_resume(&session).is_ok()
    });
    let resumed = &told(&server, "sessionResumed", 1)[0];
    assert_eq!(
        (&*resumed["session"], &*resumed["name"]),
        (&session[..8], "test")
    );
    assert!(!server.stderr().contains(&session), "the whole id is a key");
}

/// Names with all that could end a line, a value or an object, or steer a terminal.
const FORGED: &str =
    "x\" pid=1 level=error\n2026-01-01T00:00:00.000Z error forged \u{1b}[2J\\ {}\u{202e}'";

#[test]
fn no_name_forges_a_line() {
    for format in FORMATS {
        let dir = scratch();
        let program = format!("{}/{FORGED}", dir.dir());
        fs::copy(child(), &program).unwrap();
        let server = serve(format, &[]);
        let mut client = greet(&server, FORGED);
        client.run(Start::command(FORGED, &[&program, "exit", "0"]));
        let started = &told(&server, "processStarted", 1)[0];
        assert_eq!(
            (&*started["program"], &*started["process"]),
            (FORGED, FORGED)
        );
        assert_eq!(told(&server, "sessionBegan", 1)[0]["name"], FORGED);
        let long = "n".repeat(100_000);
        greet(&server, &long);
        assert!(told(&server, "sessionBegan", 2)[1]["name"].len() < 300);

        let host = "evil\"level=error";
        let request = upgrade_head("/", Some(host), "");
        assert_eq!(exchange(&mut server.dial(), request.as_bytes()).status, 403);
        let path = "/x\"level=error,\\u{a}";
        let request = upgrade_head(path, Some("localhost"), "");
        assert_eq!(exchange(&mut server.dial(), request.as_bytes()).status, 404);
        let refused = told(&server, "connectionRefused", 2);
        assert_eq!(
            (&*refused[0]["host"], &*refused[0]["level"]),
            (host, "warn")
        );
        assert_eq!(
            (&*refused[1]["path"], &*refused[1]["level"]),
            (path, "info")
        );
        let lines = server.stderr();
        assert!(
            !lines.contains('\u{1b}') && !lines.contains('\u{202e}'),
            "{lines}"
        );
        assert!(lines.lines().all(|line| line.len() <= 4096));
        assert!(
            all_logged(&lines)
                .iter()
                .all(|line| line["event"] != "forged")
        );
    }
}

#[test]
fn refusals_of_every_kind_are_told_with_their_cause() {
    let mut command = Server::command();
    command.env("EXEC_SERVER_TOKEN", "canary-token").args([
        "--listen",
        "ws://127.0.0.1:0",
        "--max-connections",
        "1",
        "--max-processes",
        "1",
    ]);
    let server = Server::websocket_command(command);
    let ask = |target: &str, host: &str, extra: &str| {
        let request = upgrade_head(target, Some(host), extra);
        exchange(&mut server.dial(), request.as_bytes()).status
    };
    let good = "Authorization: Bearer canary-token\r\n";
    assert_eq!(
        ask("/", "localhost", "Authorization: Bearer canary-wrong\r\n"),
        401
    );
    assert_eq!(ask("/", "evil.example", good), 403);
    assert_eq!(
        ask("/", "localhost", "Origin: https://evil.example\r\n"),
        403
    );
    let _client = Client::dial_with(server.address(), good);
    assert_eq!(ask("/", "localhost", good), 503);
    let refused = told(&server, "connectionRefused", 4);
    let causes = refused
        .iter()
        .map(|line| (&*line["cause"], &*line["status"]));
    let wanted = [
        ("token", "401"),
        ("host", "403"),
        ("origin", "403"),
        ("connections", "503"),
    ];
    assert!(causes.eq(wanted), "{refused:?}");
    assert_eq!(refused[2]["origin"], "https://evil.example");
    assert!(!server.stderr().contains("canary"), "{}", server.stderr());
}

#[test]
fn a_limit_that_is_reached_is_told() {
    let server = serve("text", &["--max-processes", "1"]);
    let mut client = server.connect();
    client.start(Start::command("p", &["/bin/sleep", "60"]));
    client
        .request("process/start", Start::child("q", &["exit", "0"]).0)
        .unwrap_err();
    let refused = &told(&server, "requestRefused", 1)[0];
    assert_eq!(
        (&*refused["cause"], &*refused["method"]),
        ("limits", "process/start")
    );
    assert_eq!(refused["session"], client.session[..8]);
}

#[test]
fn an_origin_that_a_library_sends_is_explained_to_its_user_and_in_the_log() {
    let server = Server::websocket(&[]);
    let request = upgrade_head("/", Some("localhost"), "Origin: http://localhost\r\n");
    let reply = exchange(&mut server.dial(), request.as_bytes());
    assert_eq!(reply.status, 403);
    for text in [
        &reply.text(),
        &told(&server, "connectionRefused", 1)[0]["why"],
    ] {
        assert!(
            text.contains("websocket-client") && text.contains("suppress_origin=True"),
            "{text}"
        );
    }
}

#[test]
fn arguments_are_told_only_if_the_operator_wants_them_and_each_is_shortened() {
    let long = format!("canary{}", "y".repeat(10_000));
    for format in FORMATS {
        let run = |flags: &[&str]| {
            let server = serve(format, flags);
            let start = Start::child("p", &["exit", "0", "canary \"1\"\n", &long]);
            server.connect().run(start.env("CANARY", "canary-value"));
            let line = told(&server, "processStarted", 1).remove(0);
            assert!(!server.stderr().contains("canary-value"));
            (line, server.stderr().contains("canary"))
        };
        let (line, is_told) = run(&[]);
        assert!(!is_told && !line.contains_key("argv"));
        let (line, _) = run(&["--log-argv"]);
        let argv = &line["argv"];
        assert!(argv.contains("exit") && argv.contains("canary "), "{argv}");
        assert!(argv.len() < 400, "{argv}");
    }
}

#[test]
fn what_is_refused_again_and_again_is_counted() {
    let server = Server::websocket(&[]);
    let request = upgrade_head("/", Some("evil.example"), "");
    for _ in 0..120 {
        assert_eq!(exchange(&mut server.dial(), request.as_bytes()).status, 403);
    }
    // By itself, when the time is over.
    let repeated = || {
        let lines = all_logged(&server.stderr());
        let repeated = lines.into_iter().filter(|line| line["event"] == "repeated");
        repeated.collect::<Vec<_>>()
    };
    let times = || {
        repeated()
            .iter()
            .map(|line| line["times"].parse::<u64>().unwrap())
            .sum::<u64>()
    };
    let written = || server.stderr().matches(" connectionRefused ").count() as u64;
    within(Duration::from_secs(30), "all are told or counted", || {
        written() + times() == 120
    });
    assert!(written() <= 60 && !repeated().is_empty());
    assert!(
        repeated()
            .iter()
            .all(|line| line["of"] == "connectionRefused" && line["seconds"] == "10")
    );
}

#[test]
fn the_end_tells_what_was_counted() {
    let mut server = Server::websocket(&[]);
    let request = upgrade_head("/", Some("evil.example"), "");
    for _ in 0..30 {
        exchange(&mut server.dial(), request.as_bytes());
    }
    signal(server.pid(), "TERM");
    server.ended(PATIENCE);
    within(PATIENCE, "the count", || {
        server
            .stderr()
            .contains(" repeated of=connectionRefused times=")
    });
}

/// A server whose standard error is a pipe that is read only by the caller.
fn with_pipe() -> (std::process::Child, String) {
    let mut command = Server::command();
    command.args(["--listen", "ws://127.0.0.1:0", "--log-level", "info"]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    (child, line.trim().trim_start_matches("ws://").to_owned())
}

#[test]
fn a_log_that_nobody_reads_costs_lines_and_not_the_server() {
    let (mut child, address) = with_pipe();
    let address = address.parse().unwrap();
    let mut client = Client::dial(address);
    client.initialize();
    // A pipe has room for some 300 of these lines.
    let name = "n".repeat(250);
    for number in 0..300 {
        client.run(Start::child(&format!("{number}{name}"), &["exit", "0"]));
    }
    client.still_serves();
    let mut pipe = child.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        text
    });
    // Whether the pipe has been read is seen by a line that is taken again.
    for number in 0..20 {
        client.run(Start::child(&format!("after-{number}"), &["exit", "0"]));
    }
    signal(child.id(), "TERM");
    child.wait().unwrap();
    let lines = all_logged(&reader.join().unwrap());
    let lost = lines.iter().filter(|line| line["event"] == "linesLost");
    let lost: u64 = lost.map(|line| line["lines"].parse::<u64>().unwrap()).sum();
    assert!(lost > 100, "{lost}");
    let processes = lines
        .iter()
        .filter(|line| line["event"].starts_with("process"))
        .count() as u64;
    // All that happened to 320 processes, the connection and the end were written or counted.
    assert!(
        (processes..=processes + 6).contains(&(640 - lost.min(640))),
        "{processes} {lost}"
    );
}

#[test]
fn a_log_that_cannot_be_written_is_no_reason_to_end() {
    for redirection in ["2>/dev/full", "2>&-", "--log /dev/full"] {
        let program = Server::command().get_program().to_str().unwrap().to_owned();
        let mut command = Command::new("/bin/sh");
        let script =
            format!("exec '{program}' --listen ws://127.0.0.1:0 --log-level info {redirection}");
        command.args(["-c", &script]).env_remove("EXEC_SERVER_LOG");
        let server = Server::websocket_command(command);
        let mut client = server.connect();
        client.run(Start::child("p", &["exit", "0"]));
        client.still_serves();
    }
}

#[test]
fn a_log_file_is_its_owners_appended_to_and_opened_anew_on_a_hang_up() {
    let dir = scratch();
    let (file, old) = (dir.path("log"), dir.path("log.1"));
    fs::write(&file, "before\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let server = serve("text", &["--log", &file]);
    server.connect().run(Start::child("p", &["exit", "0"]));
    within(PATIENCE, "the exit", || {
        fs::read_to_string(&file).unwrap().contains("processExited")
    });
    assert!(fs::read_to_string(&file).unwrap().starts_with("before\n"));
    fs::rename(&file, &old).unwrap();
    signal(server.pid(), "HUP");
    within(PATIENCE, "the new file", || {
        fs::read_to_string(&file).is_ok_and(|text| text.contains(" reloaded files=log"))
    });
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    server.connect().run(Start::child("q", &["exit", "0"]));
    within(PATIENCE, "its lines", || {
        fs::read_to_string(&file).unwrap().contains("process=q")
    });
    assert!(!fs::read_to_string(&old).unwrap().contains("process=q"));
    assert_eq!(server.stderr(), "");
}

#[test]
fn a_hang_up_says_in_one_line_what_was_read_again_and_what_was_not() {
    let dir = scratch();
    let certificate = Certificate::make(&dir, "own");
    let token = dir.path("token");
    fs::write(&token, "word").unwrap();
    let auth = ["--ws-auth", "capability-token", "--ws-token-file", &token];
    let server = serve("text", &[&certificate.flags()[..], &auth].concat());
    signal(server.pid(), "HUP");
    let line = &told(&server, "reloaded", 1)[0];
    assert_eq!(
        (&*line["level"], &*line["files"]),
        ("info", "secret,certificate")
    );
    fs::write(&token, "").unwrap();
    signal(server.pid(), "HUP");
    let line = &told(&server, "reloaded", 2)[1];
    assert_eq!((&*line["level"], &*line["files"]), ("warn", "certificate"));
    assert!(
        line["why"].contains(&token) && line["kept"].contains("former"),
        "{line:?}"
    );
}

#[test]
fn the_commands_of_the_client_keep_a_log_of_their_own() {
    let all = Environments::start();
    let file = all.scratch.path("client.log");
    let run = |arguments: &[&str]| {
        let mut command = all.command(arguments);
        command.env("TEST_TOKEN", "a-token-that-nobody-guesses");
        finish(command, b"canary-input")
    };
    let output = run(&["run", "-e", "ws", "--log", &file, "sh", "-c", "cat; exit 7"]);
    assert_eq!(
        (output.status.code(), &*output.stdout),
        (Some(7), &b"canary-input"[..])
    );
    assert!(output.stderr.is_empty());
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let log = fs::read_to_string(&file).unwrap();
    let address = all.ws.address().to_string();
    for words in [
        "connecting",
        "without a proxy",
        &address,
        "initialize: server",
        "exit code 7",
    ] {
        assert!(log.contains(words), "{words} in\n{log}");
    }
    let before = all_logged(&log).len();
    let output = run(&["cp", "--log", &file, &all.scratch.path("token"), "ws:copy"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let log = fs::read_to_string(&file).unwrap();
    assert!(all_logged(&log).len() > before + 3, "{log}");
    for secret in ["a-token-that", "canary"] {
        assert!(!log.contains(secret), "{secret} in\n{log}");
    }
    let output = run(&["run", "-e", "ws", "--log", "-", "true"]);
    let shown = String::from_utf8(output.stderr).unwrap();
    assert!(all_logged(&shown).len() > 3, "{shown}");
    // Nobody is there.
    let output = run(&["run", "-e", "ws://127.0.0.1:1", "--log", &file, "true"]);
    assert_eq!(output.status.code(), Some(255));
    assert!(fs::read_to_string(&file).unwrap().contains("exit code 255"));
}

#[test]
fn a_session_of_our_client_has_its_command_and_its_user_in_its_name() {
    let server = serve("text", &[]);
    let dir = scratch();
    let mut command = command_line(&dir.dir());
    let url = format!("ws://{}", server.address());
    command
        .args(["run", "-e", &url, "true"])
        .env("USER", "somebody");
    assert_eq!(finish(command, b"").status.code(), Some(0));
    let name = &told(&server, "sessionBegan", 1)[0]["name"];
    assert!(name.starts_with("exec-server run of somebody@"), "{name}");
}
