//! The envelope, the greeting, and sessions.

use serde_json::json;

use super::super::case::{Case, Step, shell};
use crate::subject::{Generation, Transport};

const ENVELOPE: &str = "(envelope)";
const INITIALIZE: &str = "initialize";

fn send(name: &'static str, texts: &[&str]) -> Case {
    let steps = texts
        .iter()
        .map(|text| Step::Send(text.to_string()))
        .collect();
    Case::new(ENVELOPE, name, steps)
}

pub fn cases() -> Vec<Case> {
    let read = r#"{"id":1,"method":"process/read","params":{"processId":"nobody"}}"#;
    vec![
        send("not JSON", &["{nope", read]),
        send("an empty array", &["[]", read]),
        send("a batch", &[&format!("[{read}]")]),
        send("a scalar", &["17", read]),
        send(
            "an unknown method",
            &[r#"{"id":1,"method":"nope/nope","params":{}}"#],
        ),
        send(
            "an unknown method first",
            &[r#"{"id":1,"method":"nope/nope"}"#],
        )
        .silent(),
        send("an unknown notification", &[r#"{"method":"nope/nope"}"#]),
        send("an answer to nothing", &[r#"{"id":77,"result":{}}"#]),
        send(
            "an error to nothing",
            &[r#"{"id":77,"error":{"code":1,"message":"x"}}"#],
        ),
        send(
            "a text id",
            &[r#"{"id":"seven","method":"process/read","params":{"processId":"nobody"}}"#],
        ),
        send(
            "a negative id",
            &[r#"{"id":-7,"method":"process/read","params":{"processId":"nobody"}}"#],
        ),
        send(
            "a fraction as id",
            &[r#"{"id":1.5,"method":"process/read","params":{"processId":"nobody"}}"#],
        ),
        send(
            "a jsonrpc member",
            &[
                r#"{"jsonrpc":"2.0","id":1,"method":"process/read","params":{"processId":"nobody"}}"#,
            ],
        ),
        send(
            "unknown members",
            &[r#"{"id":1,"method":"process/read","params":{"processId":"nobody","x":1},"y":2}"#],
        ),
        send(
            "null params",
            &[r#"{"id":1,"method":"process/read","params":null}"#],
        ),
        send(
            "params as an array",
            &[r#"{"id":1,"method":"process/read","params":["nobody",null,null,null]}"#],
        ),
        send(
            "a trace",
            &[
                r#"{"id":1,"method":"process/read","params":{"processId":"nobody"},"trace":{"traceparent":"x"}}"#,
            ],
        ),
        send(
            "a member twice",
            &[r#"{"id":1,"id":2,"method":"process/read","params":{"processId":"nobody"}}"#],
        ),
        send("before the greeting", &[read]).silent(),
        send(
            "before initialized",
            &[
                r#"{"id":0,"method":"initialize","params":{"clientName":"x"}}"#,
                read,
            ],
        )
        .silent(),
        send("initialized first", &[r#"{"method":"initialized"}"#]).silent(),
        send(
            "initialized again",
            &[r#"{"method":"initialized","params":{}}"#, read],
        ),
        Case::ask(
            INITIALIZE,
            "good",
            json!({"clientName": "x", "resumeSessionId": null}),
        )
        .silent(),
        Case::ask(INITIALIZE, "with a name only", json!({"clientName": ""})).silent(),
        Case::ask(INITIALIZE, "without a name", json!({})).silent(),
        Case::ask(INITIALIZE, "with a bad name", json!({"clientName": 7})).silent(),
        Case::ask(INITIALIZE, "twice", json!({"clientName": "x"})),
        Case::ask(
            INITIALIZE,
            "an unknown session",
            json!({"clientName": "x", "resumeSessionId": "nobody"}),
        )
        .silent(),
        Case::new(
            INITIALIZE,
            "again after a failure",
            vec![
                Step::Ask(
                    INITIALIZE,
                    json!({"clientName": "x", "resumeSessionId": "nobody"}),
                ),
                Step::Ask(INITIALIZE, json!({"clientName": "x"})),
            ],
        )
        .silent(),
        Case::new(
            INITIALIZE,
            "a session taken up again",
            vec![
                shell(
                    "p",
                    "echo before; until [ -e go ]; do sleep 0.05; done; echo after; exit 5",
                    json!({}),
                ),
                Step::Output("p", "before"),
                Step::Resume,
                Step::Make("go"),
                Step::Closed("p"),
                Step::Ask("process/read", json!({"processId": "p", "afterSeq": 0})),
            ],
        )
        .over(Transport::Websocket),
        Case::new(INITIALIZE, "a session in use", vec![Step::Intrude]).over(Transport::Websocket),
        Case::new(
            INITIALIZE,
            "another session's process",
            vec![Step::Ask("process/read", json!({"processId": "p"}))],
        )
        .only(Generation::V169),
    ]
}
