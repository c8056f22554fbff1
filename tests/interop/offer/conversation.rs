//! What a client says through a rendezvous, and hears.

use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::Message;

use support::PATIENCE;
use support::plane::Plane;

/// Members that differ from run to run, or that ours has beyond 0.130: `wire` compares those.
const LEFT_OUT: [&str; 7] = [
    "sessionId",
    "environmentInfo",
    "sandboxDenied",
    "sandboxType",
    "signal",
    "data",
    "seq",
];

/// Works as a client does, and gives everything that was heard.
pub fn hold(plane: &Plane) -> Value {
    let socket = TcpStream::connect(plane.address()).expect("the plane listens");
    let url = format!("ws://{}/", plane.address());
    let (mut websocket, _) = tungstenite::client(url, socket).expect("the plane upgrades");
    let patience = Some(PATIENCE);
    websocket
        .get_ref()
        .set_read_timeout(patience)
        .expect("a limit");
    let start = json!({
        "processId": "p", "argv": ["/bin/sh", "-c", "echo out; exit 3"], "cwd": "/",
        "env": {}, "tty": false, "pipeStdin": false, "arg0": null,
    });
    let messages = [
        json!({"id": 1, "method": "initialize", "params": {"clientName": "t", "resumeSessionId": null}}),
        json!({"method": "initialized", "params": {}}),
        json!({"id": 2, "method": "nonsense", "params": {}}),
        json!({"id": 3, "method": "process/start", "params": start}),
    ];
    let mut heard = Vec::new();
    for message in messages {
        websocket
            .send(Message::text(message.to_string()))
            .expect("the plane takes it");
    }
    // 0.130 tells what a fast process does before the start is answered at times, and the exit before the output; ours
    // never, which other tests hold.
    let (mut is_closed, mut is_answered) = (false, false);
    while !(is_closed && is_answered) {
        let message = websocket.read().expect("an answer in time");
        let Message::Text(text) = message else {
            continue;
        };
        let mut said: Value = serde_json::from_str(&text).expect("JSON");
        leave_out(&mut said);
        is_closed |= said["method"] == "process/closed";
        is_answered |= said["id"] == 3;
        heard.push(said);
    }
    heard.sort_by_key(|said| match said["method"].as_str() {
        None => 0,
        Some("process/output") => 1,
        Some(_) => 2,
    });
    // What is no JSON is answered, and the connection goes on.
    websocket
        .send(Message::binary(&b"\x08\x01\x12\x01s"[..]))
        .expect("the plane takes it");
    let short = Some(Duration::from_secs(5));
    websocket
        .get_ref()
        .set_read_timeout(short)
        .expect("a limit");
    if let Ok(Message::Text(text)) = websocket.read() {
        let mut said = serde_json::from_str(&text).expect("JSON");
        leave_out(&mut said);
        heard.push(said);
    }
    json!(heard)
}

fn leave_out(said: &mut Value) {
    for part in ["result", "params", "error"] {
        if let Some(members) = said.get_mut(part).and_then(Value::as_object_mut) {
            members.retain(|name, _| !LEFT_OUT.contains(&name.as_str()));
        }
    }
}
