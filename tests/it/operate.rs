//! docs/operate.md shows what the server really writes.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{
    Logged, PATIENCE, Server, all_logged, command_line, exchange, finish, logged, scratch, signal,
    upgrade_head, within,
};

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operate.md");
    fs::read_to_string(path).unwrap()
}

/// The fenced blocks in this language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fenced = text.split("\n```").skip(1).step_by(2);
    let of_language = fenced.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'));
    of_language.collect()
}

/// A line without what differs from run to run.
fn shape(mut line: Logged) -> Logged {
    for name in [
        "time",
        "session",
        "peer",
        "pid",
        "user",
        "durationMs",
        "url",
    ] {
        if let Some(value) = line.get_mut(name) {
            *value = "…".to_owned();
        }
    }
    // Whether the rest of a conversation is read or reset is a matter of moments.
    if line["event"] == "connectionClosed" {
        line.insert("why".to_owned(), "…".to_owned());
    }
    if let Some(name) = line.get_mut("name")
        && let Some((before, _)) = name.split_once('@')
    {
        *name = format!("{before}@…");
    }
    line
}

/// What happens in the document's example.
fn example(format: &str) -> Vec<Logged> {
    let dir = scratch();
    let mut command = Server::command();
    command.env("EXEC_SERVER_TOKEN", "word").args([
        "--listen",
        "ws://127.0.0.1:0",
        "--log-level",
        "info",
        "--log-format",
        format,
    ]);
    let mut server = Server::websocket_command(command);
    let url = format!("ws://{}", server.address());
    let mut command = command_line(&dir.dir());
    command.args(["run", "-e", &url, "sh", "-c", "exit 2"]);
    command.env("EXEC_SERVER_TOKEN", "word").env("USER", "ann");
    assert_eq!(finish(command, b"").status.code(), Some(2));
    within(PATIENCE, "the end of its connection", || {
        server.stderr().contains("connectionClosed")
    });
    let request = upgrade_head("/", Some("localhost"), "");
    assert_eq!(exchange(&mut server.dial(), request.as_bytes()).status, 401);
    signal(server.pid(), "TERM");
    server.ended(PATIENCE);
    within(PATIENCE, "its last line", || {
        server.stderr().contains("SIGTERM")
    });
    all_logged(&server.stderr())
        .into_iter()
        .map(shape)
        .collect()
}

#[test]
fn the_lines_of_the_log_are_real() {
    let document = document();
    let shown = |language: &str| -> Vec<Logged> {
        let block = blocks(&document, language)[0];
        let lines = block.lines().filter(|line| !line.is_empty());
        lines.map(|line| shape(logged(line).unwrap())).collect()
    };
    let real = example("text");
    assert_eq!(shown("text"), real);
    let lines = shown("json");
    let real = example("json");
    assert!(!lines.is_empty());
    for line in lines {
        assert!(real.contains(&line), "{line:?} is not among {real:?}");
    }
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_metric_and_event_is_in_the_document_and_no_other() {
    let document = document();
    let table = |head: &str| -> BTreeSet<String> {
        let rows = document
            .lines()
            .skip_while(|line| !line.starts_with(head))
            .skip(2);
        let rows = rows.take_while(|line| line.starts_with('|'));
        let cells = rows.map(|row| row.split('|').nth(1).unwrap());
        let names = cells.flat_map(quoted);
        names
            .map(|name| name.split('{').next().unwrap().to_owned())
            .collect()
    };
    let server = Server::websocket(&["--metrics"]);
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let page = exchange(&mut server.dial(), request.as_bytes()).text();
    let families = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE exec_server_"));
    let families = families.map(|line| line.split(' ').next().unwrap().to_owned());
    assert_eq!(table("| metric,"), families.collect());
    let log = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/log.rs");
    let log = fs::read_to_string(log).unwrap();
    let names = log.split("const fn name(self)").nth(2).unwrap();
    let names = names.split('}').next().unwrap();
    let names: BTreeSet<_> = names
        .split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    assert_eq!(table("| event |"), names);
}

#[test]
fn the_unit_s_command_line_is_understood() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd/exec-server.service");
    let unit = fs::read_to_string(unit).unwrap();
    let line = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="))
        .unwrap();
    let dir = scratch();
    let token = dir.path("token");
    fs::write(&token, "word").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let words = line.split(' ').skip(1).map(|word| match word {
        "ws://127.0.0.1:8765" => "ws://127.0.0.1:0",
        "%d/token" => &token,
        word => word,
    });
    let mut command = Server::command();
    command.args(words);
    let server = Server::websocket_command(command);
    within(PATIENCE, "the first line", || !server.stderr().is_empty());
    assert_eq!(all_logged(&server.stderr())[0]["event"], "listening");
}
