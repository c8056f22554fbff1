//! A session over streams that break off at any byte, or come a byte at a time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{
    Client, PATIENCE, Server, child, comes_true, descriptors, frame, scratch, upgrade_head, within,
    working_children,
};

const TEXT: u8 = 1;
/// Descriptors of the guardian, which the first process starts and which stays: a pipe and a pidfd.
const GUARDIAN: usize = 3;

/// What a short session says.
fn script(directory: &str) -> Vec<Value> {
    let file = format!("{directory}/f");
    let start = json!({
        "processId": "p", "argv": [child(), "cat"], "cwd": "/", "env": {}, "tty": false, "pipeStdin": true,
    });
    vec![
        json!({"id": 1, "method": "initialize", "params": {"clientName": "broken"}}),
        json!({"method": "initialized", "params": {}}),
        json!({"id": 2, "method": "fs/writeFile", "params": {"path": file, "dataBase64": "aGVsbG8="}}),
        json!({"id": 3, "method": "fs/readFile", "params": {"path": file}}),
        json!({"id": 4, "method": "process/start", "params": start}),
        json!({"id": 5, "method": "process/write", "params": {"processId": "p", "chunk": "aGVsbG8=", "writeId": "1"}}),
    ]
}

/// The same as the bytes of a websocket: the request for it and the messages, each with what the answer to it has.
fn websocket_parts(directory: &str) -> Vec<(Vec<u8>, Option<String>)> {
    let head = upgrade_head("/", Some("localhost"), "").into_bytes();
    let mut parts = vec![(head, Some("\r\n\r\n".to_owned()))];
    for message in script(directory) {
        let answer = message.get("id").map(|id| format!("\"id\":{id},"));
        parts.push((frame(TEXT, true, message.to_string().as_bytes()), answer));
    }
    parts
}

/// Reads until what has come since `from` has `text`; how much has come then.
fn read_until(stream: &mut impl Read, come: &mut Vec<u8>, from: usize, text: &str) -> usize {
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&come[from..]).contains(text) {
        let count = stream.read(&mut buffer).unwrap_or_else(|error| {
            let come = String::from_utf8_lossy(come);
            panic!("{error} while waiting for {text} after {come}")
        });
        assert!(count > 0, "no {text} in {}", String::from_utf8_lossy(come));
        come.extend(&buffer[..count]);
    }
    come.len()
}

/// For every beginning of the session two connections that are lost after it: one on which each answer was waited for,
/// and one that is lost with a reset, as nobody has read the answers.
fn break_at_every_byte<S: Read + Write>(
    server: &Server,
    parts: &[(Vec<u8>, Option<String>)],
    connect: impl Fn() -> S,
) {
    let pid = server.pid();
    let before = descriptors(pid);
    let length = parts.iter().map(|(bytes, _)| bytes.len()).sum::<usize>();
    for end in 0..=length {
        let mut hasty = connect();
        let mut patient = connect();
        let mut left = end;
        let (mut come, mut seen) = (Vec::new(), 0);
        for (bytes, answer) in parts {
            let sent = left.min(bytes.len());
            left -= sent;
            // The server may have hung up already.
            let _ = hasty.write_all(&bytes[..sent]);
            patient.write_all(&bytes[..sent]).unwrap();
            if let Some(answer) = answer.as_ref().filter(|_| sent == bytes.len()) {
                seen = read_until(&mut patient, &mut come, seen, answer);
            }
        }
    }
    within(PATIENCE, "nothing is left of what was lost", || {
        descriptors(pid) <= before + GUARDIAN && working_children(pid).is_empty()
    });
}

#[test]
fn a_websocket_lost_at_any_byte_leaves_nothing_and_costs_nobody_else() {
    let server = Server::websocket(&["--session-retention", "1"]);
    let mut bystander = server.connect();
    let dir = scratch();
    break_at_every_byte(&server, &websocket_parts(&dir.dir()), || {
        let stream = TcpStream::connect(server.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    });
    bystander.still_serves();
}

#[test]
fn a_unix_socket_lost_at_any_byte_leaves_nothing() {
    let dir = scratch();
    let path = dir.path("s");
    let mut command = Server::command();
    command.args([
        "--listen",
        &format!("unix://{path}"),
        "--session-retention",
        "1",
    ]);
    let server = Server::websocket_command(command);
    break_at_every_byte(&server, &websocket_parts(&dir.dir()), || {
        let stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    });
}

#[test]
fn standard_input_that_ends_at_any_byte_ends_the_server_and_what_it_started() {
    let dir = scratch();
    let lines = script(&dir.dir())
        .into_iter()
        .map(|message| format!("{message}\n"));
    let bytes = lines.collect::<String>().into_bytes();
    for end in (0..=bytes.len()).step_by(13) {
        let mut command = Server::command();
        let command = command.args(["--listen", "stdio"]).stdin(Stdio::piped());
        let mut server = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = server.stdin.take().unwrap();
        stdin.write_all(&bytes[..end]).unwrap();
        drop(stdin);
        let has_ended = comes_true(PATIENCE, || server.try_wait().unwrap().is_some());
        assert!(has_ended, "it goes on after {end} bytes");
        assert!(server.wait().unwrap().success(), "after {end} bytes");
    }
}

/// The results of the script's requests, without what differs from run to run.
fn results(client: &mut Client) -> Vec<Value> {
    let result = |id: i64| {
        let mut result = client.answer(id).unwrap();
        if id == 1 {
            result["sessionId"] = Value::Null;
        }
        result
    };
    (1..=5).map(result).collect()
}

#[test]
fn a_session_a_byte_at_a_time_is_answered_as_one_at_once() {
    let server = Server::websocket(&[]);
    let dir = scratch();
    let frames: Vec<Vec<u8>> = script(&dir.dir())
        .iter()
        .map(|message| frame(TEXT, true, message.to_string().as_bytes()))
        .collect();
    let connect = || {
        let mut client = server.connect_silent();
        client.asks_for_start(4, "p");
        client
    };
    let mut at_once = connect();
    at_once.send_raw(frames.concat());
    let mut slowly = connect();
    for byte in frames.concat() {
        slowly.send_raw(vec![byte]);
    }
    assert_eq!(results(&mut slowly), results(&mut at_once));
}
