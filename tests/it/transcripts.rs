//! Recorded exchanges with the reference, replayed against ours and compared field by field.
//!
//! `tests/data/transcripts.jsonl` has one exchange a line, each on a fresh connection: `initialized` says whether the
//! greeting went before, `setup` was sent and answered before `send`, `<<CLOSED>>` means that the reference hung up.
//! Everything that was received in one exchange is taken together: answers by their id, notifications by process and
//! number, where neighbouring output is one piece because no client may rely on how it is cut.
//!
//! Exchanges about files have a directory of their own, which stands where the recorded one stood.
//!
//! What is another on every run (session ids, addresses, the facts of the machine) is made equal first. Every other
//! difference needs a row in `recorded/differences.rs` of the support, and every row needs a difference.

mod fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::support::recorded::differences::DIFFERENCES;
use crate::support::recorded::fields::{Fields, equalize, flatten};
use crate::support::{Client, PATIENCE, Server, Web, decode};
use fixture::Fixture;

const TRANSCRIPTS: &str = include_str!("../data/transcripts.jsonl");

/// What was asked by HTTP in the recordings.
const WEB: &str = "http://127.0.0.1:18099";

#[test]
fn every_difference_from_the_reference_is_intended() {
    let server = Server::websocket(&[]);
    let web = web();
    let mut unexplained = String::new();
    let mut used = BTreeSet::new();
    let mut records = 0;
    for line in TRANSCRIPTS.lines() {
        let line = line.replace(WEB, &web.url(""));
        let record: Value = serde_json::from_str(&line).unwrap();
        let (name, version) = (
            record["name"].as_str().unwrap(),
            record["version"].as_str().unwrap(),
        );
        let expected = expected(&record);
        let actual = replay(&server, &record);
        let pointers: BTreeSet<&String> = expected.keys().chain(actual.keys()).collect();
        for pointer in pointers {
            let (theirs, ours) = (expected.get(pointer), actual.get(pointer));
            if theirs == ours {
                continue;
            }
            let rows = DIFFERENCES.iter().enumerate();
            let explains: Vec<usize> = rows
                .filter(|(_, row)| row.explains(name, version, pointer))
                .map(|(number, _)| number)
                .collect();
            if explains.is_empty() {
                let show =
                    |value: Option<&String>| value.map_or("nothing", String::as_str).to_string();
                unexplained += &format!(
                    "{version} {name} {pointer}\n    theirs {}\n    ours   {}\n",
                    show(theirs),
                    show(ours)
                );
            }
            used.extend(explains);
        }
        records += 1;
    }
    assert!(records >= 142, "{records} records");
    for (number, row) in DIFFERENCES.iter().enumerate() {
        if !used.contains(&number) {
            unexplained += &format!("a row without a difference: {row:?}\n");
        }
    }
    assert!(unexplained.is_empty(), "\n{unexplained}");
}

/// Answers as the web server of the recordings did.
fn web() -> Web {
    Web::serve(|asked, wire| {
        let common = "server: BaseHTTP/0.6 Python/3.11.7\r\ndate: now";
        match asked.path() {
            "/redir" => wire.reply(&format!("302 Found\r\n{common}\r\nlocation: /x"), b""),
            _ => wire.reply(&format!("200 OK\r\n{common}\r\nx-a: 1\r\nx-a: 2"), b"body"),
        }
    })
}

/// The messages of a record: `send` may be one or several.
fn messages(value: &Value) -> Vec<&str> {
    match value {
        Value::String(one) => vec![one],
        several => several
            .as_array()
            .unwrap()
            .iter()
            .map(|message| message.as_str().unwrap())
            .collect(),
    }
}

fn expected(record: &Value) -> Fields {
    // The answer to the greeting has records of its own.
    let before = messages(&record["setup_recv"])
        .into_iter()
        .skip(usize::from(record["initialized"] == true));
    let mut heard = Vec::new();
    let mut closed = false;
    for message in before.chain(messages(&record["recv"])) {
        match message {
            "<<CLOSED>>" | "<<EOF>>" => closed = true,
            message => heard.push(serde_json::from_str(message).unwrap()),
        }
    }
    fields(&heard, closed)
}

fn replay(server: &Server, record: &Value) -> Fields {
    let fixture = Fixture::of(record);
    let moved = fixture.as_ref().map(|fixture| fixture.moved_here(record));
    let record = moved.as_ref().unwrap_or(record);
    let mut client = match record["transport"].as_str().unwrap() {
        "ws" => server.connect_silent(),
        _ => Client::stdio_silent(&[]),
    };
    if record["initialized"] == true {
        client.initialize();
    }
    client.record();
    let mut before = messages(&record["setup_recv"]);
    if record["initialized"] == true {
        before.remove(0);
    }
    send_and_settle(&mut client, messages(&record["setup"]), &before);
    let after = messages(&record["recv"]);
    send_and_settle(
        &mut client,
        messages(&record["send"]),
        &[before, after].concat(),
    );
    let mut all = client.record();
    if let Some(fixture) = fixture {
        all = all
            .iter()
            .map(|message| fixture.moved_back(message))
            .collect();
    }
    fields(&all, client.is_gone())
}

/// Sends, then waits for the answers, for as much of every process as the reference told, and for the close of what
/// was told to end. What does not come in some seconds is a difference.
fn send_and_settle(client: &mut Client, send: Vec<&str>, expected: &[&str]) {
    for message in &send {
        client.send(message);
    }
    let expected: Vec<Value> = expected
        .iter()
        .filter_map(|message| serde_json::from_str(message).ok())
        .collect();
    // What is told to end comes to its end, and so does what only ours could start.
    let told_to_end = send
        .iter()
        .any(|message| message.contains("process/terminate") || message.contains("process/signal"));
    let theirs_started = expected
        .iter()
        .any(|message| message["result"]["processId"].is_string());
    let ends = told_to_end || !theirs_started;
    client.settle(Duration::from_secs(3), |client| {
        let heard = client.recorded();
        let answers =
            |all: &[Value], id: &Value| all.iter().filter(|message| message["id"] == *id).count();
        let told = |heard: &[Value]| {
            (
                output_length(heard),
                count(heard, "process/exited"),
                count(heard, "process/closed"),
                count(heard, "http/request/bodyDelta"),
            )
        };
        let (ours, theirs) = (told(heard), told(&expected));
        expected
            .iter()
            .filter(|message| !message["id"].is_null())
            .all(|message| answers(heard, &message["id"]) >= answers(&expected, &message["id"]))
            && ours.0 >= theirs.0
            && ours.1 >= theirs.1
            && ours.2 >= theirs.2
            && ours.3 >= theirs.3
            && (!(ends && client.has_started("p")) || ours.2 > 0)
    });
    // Its answer comes behind everything that was under way, or the connection is gone.
    client.send(r#"{"id":"sentinel","method":"environment/status"}"#);
    client.settle(PATIENCE, |client| client.has_answer("sentinel"));
    // What is sent next may use the same ids.
    client.claim_all();
}

fn count(heard: &[Value], method: &str) -> usize {
    heard
        .iter()
        .filter(|message| message["method"] == method)
        .count()
}

fn output_length(heard: &[Value]) -> usize {
    let output = heard
        .iter()
        .filter(|message| message["method"] == "process/output");
    output
        .map(|message| decode(message["params"]["chunk"].as_str().unwrap()).len())
        .sum()
}

/// Everything heard in one exchange as pointers and values.
fn fields(heard: &[Value], closed: bool) -> Fields {
    let mut fields = Fields::new();
    if closed {
        fields.insert("/connection".into(), "closed".into());
    }
    let mut notifications: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for message in heard {
        let mut message = message.clone();
        equalize(&mut message);
        if message["method"].is_null() {
            if message["id"] != "sentinel" {
                let mut at = format!("/answer {}", message["id"]);
                // An id may be used again once it is answered.
                while fields
                    .keys()
                    .any(|field| field.starts_with(&format!("{at}/")))
                {
                    at += " again";
                }
                flatten(at, &message, &mut fields);
            }
            continue;
        }
        let params = &message["params"];
        let process = params["processId"]
            .as_str()
            .or(params["requestId"].as_str());
        let process = process.unwrap().to_string();
        let before = notifications.entry(process).or_default();
        let same = |last: &Value| {
            last["method"] == "process/output"
                && last["params"]["stream"] == message["params"]["stream"]
        };
        match before.last_mut() {
            Some(last) if message["method"] == "process/output" && same(last) => {
                let joined = last["params"]["chunk"].as_str().unwrap().to_string()
                    + message["params"]["chunk"].as_str().unwrap();
                last["params"]["chunk"] = joined.into();
            }
            _ => before.push(message),
        }
    }
    for (process, messages) in notifications {
        for (number, mut message) in messages.into_iter().enumerate() {
            // Counted again, because pieces were joined; that the numbers have no gap is checked on every arrival.
            message["params"]["seq"] = (number + 1).into();
            flatten(format!("/{process} {}", number + 1), &message, &mut fields);
        }
    }
    fields
}
