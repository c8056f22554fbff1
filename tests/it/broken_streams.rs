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

/// The same as the bytes of a websocket, with the request for it.
fn websocket_bytes(directory: &str) -> Vec<u8> {
    let mut bytes = upgrade_head("/", Some("localhost"), "").into_bytes();
    for message in script(directory) {
        bytes.extend(frame(TEXT, true, message.to_string().as_bytes()));
    }
    bytes
}

/// Sends the beginning of `bytes` on a connection of its own, which is then lost: with a reset, where an answer has come
/// that nobody has read.
fn break_at_every_byte<S: Read + Write>(server: &Server, bytes: &[u8], connect: impl Fn() -> S) {
    let pid = server.pid();
    let before = descriptors(pid);
    for end in 0..=bytes.len() {
        let mut stream = connect();
        // The server may have hung up already.
        let _ = stream.write_all(&bytes[..end]);
    }
    within(PATIENCE, "nothing is left of what was lost", || {
        descriptors(pid) <= before && working_children(pid).is_empty()
    });
}

#[test]
fn a_websocket_lost_at_any_byte_leaves_nothing_and_costs_nobody_else() {
    let server = Server::websocket(&["--session-retention", "1"]);
    let mut bystander = server.connect();
    let dir = scratch();
    break_at_every_byte(&server, &websocket_bytes(&dir.dir()), || {
        TcpStream::connect(server.address()).unwrap()
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
    break_at_every_byte(&server, &websocket_bytes(&dir.dir()), || {
        UnixStream::connect(&path).unwrap()
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
    let mut at_once = server.connect_silent();
    at_once.send_raw(frames.concat());
    let mut slowly = server.connect_silent();
    for byte in frames.concat() {
        slowly.send_raw(vec![byte]);
    }
    assert_eq!(results(&mut slowly), results(&mut at_once));
}
