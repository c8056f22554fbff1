//! The tables of threads in ARCHITECTURE.md are those that there are, and the document stays short.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::support::{Client, PATIENCE, Start, Web, children_named, scratch, thread_names, within};

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document() -> String {
    fs::read_to_string(project().join("ARCHITECTURE.md")).unwrap()
}

/// The names in the first column of every table of threads; `conn-N` stands for all numbers.
fn told() -> BTreeSet<String> {
    let text = document();
    let mut names = BTreeSet::new();
    for table in text.split("\n| thread |").skip(1) {
        let rows = table
            .lines()
            .skip(2)
            .take_while(|line| line.starts_with('|'));
        for row in rows {
            let first = row.split('|').nth(1).unwrap();
            names.extend(first.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    names
}

/// What is between this and the next quotation mark, wherever `before` stands.
fn quoted<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = String> + 'a {
    let pieces = text.split(before).skip(1);
    pieces.map(|piece| piece.split('"').next().unwrap().replace("{number}", "N"))
}

/// The names that the source gives to threads, and to the guardian; without tests.
fn given(directory: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            given(&path, names);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let ways = [
            ".name(\"",
            ".name(format!(\"",
            "start_thread(\"",
            "start_thread(format!(\"",
            "Workers::named(\"",
            "const NAME: &CStr = c\"",
        ];
        for way in ways {
            names.extend(quoted(text, way));
        }
        let builders = text.matches("thread::Builder::new()").count();
        let named: usize = ways[..2].iter().map(|way| text.matches(way).count()).sum();
        // `start_thread` gets the name.
        let by_others = text.matches(".name(name.into())").count();
        assert_eq!(
            builders,
            named + by_others,
            "{}: a thread without a name",
            path.display()
        );
    }
}

#[test]
fn the_tables_have_every_thread_that_the_source_names_and_no_other() {
    let mut names = BTreeSet::new();
    given(&project().join("src"), &mut names);
    assert!(names.len() > 15, "{names:?}");
    assert_eq!(told(), names);
}

/// What the threads of a process are called now, but for the main thread.
fn running(pid: u32) -> BTreeSet<String> {
    let kind = |name: String| match &*name {
        "conn-stdio" => name,
        _ if name.starts_with("conn-") => "conn-N".to_owned(),
        _ => name,
    };
    thread_names(pid).into_iter().map(kind).collect()
}

#[test]
fn a_server_at_work_has_the_threads_of_the_table_and_no_others() {
    let mut client = Client::websocket_with(&["--session-retention", "60"]);
    let pid = client.server_pid();
    let web = Web::serve(|_, wire| wire.reply("200 OK", b"ok"));
    let (dir, told) = (scratch(), told());
    client.run(Start::child("p", &["echo", "x"]));
    client.ok("fs/getMetadata", json!({"path": dir.dir()}));
    client.ok("fs/watch", json!({"watchId": "w", "path": dir.dir()}));
    client.ok(
        "http/request",
        json!({"method": "GET", "url": web.url("/"), "requestId": "r"}),
    );
    let mut seen = BTreeSet::new();
    within(PATIENCE, "the threads of all that are seen", || {
        seen.extend(running(pid));
        ["conn-N", "process", "handover", "watch"]
            .iter()
            .all(|name| seen.contains(*name))
    });
    let unknown: Vec<_> = seen.difference(&told).collect();
    assert!(unknown.is_empty(), "not in the table: {unknown:?}");
    assert_eq!(children_named(pid, "exec-guardian").len(), 1);
}

#[test]
fn the_document_has_two_pages_before_its_appendices() {
    let text = document();
    let lines = text
        .lines()
        .take_while(|line| *line != "## Glossary")
        .count();
    assert!(lines <= 140, "{lines} lines");
}
