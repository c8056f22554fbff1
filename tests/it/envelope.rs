//! What is around every message: bad ones are answered or ignored, and neither the connection nor its processes suffer.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Client, Start, frame, params};

/// What a bad message must be met with.
#[derive(Clone, Copy)]
enum Met {
    /// An error with this code, for the message's own id or, where that cannot be told, for -1.
    Error(i64),
    /// No answer at all.
    Silence,
}
use Met::{Error, Silence};

const INVALID: Met = Error(-32600);

const BAD: &[(&str, &str, Met)] = &[
    ("malformed", "{bad", INVALID),
    ("unterminated", r#"{"id":900,"method":"x"#, INVALID),
    ("empty batch", "[]", INVALID),
    (
        "batch",
        r#"[{"id":900,"method":"nope"},{"id":901,"method":"nope"}]"#,
        INVALID,
    ),
    ("number", "42", INVALID),
    ("string", r#""x""#, INVALID),
    ("null", "null", INVALID),
    ("float id", r#"{"id":1.5,"method":"nope"}"#, INVALID),
    ("bool id", r#"{"id":true,"method":"nope"}"#, INVALID),
    ("null id", r#"{"id":null,"method":"nope"}"#, INVALID),
    ("object id", r#"{"id":{},"method":"nope"}"#, INVALID),
    (
        "id beyond i64",
        r#"{"id":9223372036854775808,"method":"nope"}"#,
        INVALID,
    ),
    ("nothing but an id", r#"{"id":900}"#, INVALID),
    ("empty object", "{}", INVALID),
    ("method not text", r#"{"id":900,"method":7}"#, INVALID),
    (
        "duplicate id",
        r#"{"id":900,"id":900,"method":"nope"}"#,
        INVALID,
    ),
    ("trailing word", r#"{"id":900,"method":"nope"} x"#, INVALID),
    (
        "two in one",
        r#"{"id":900,"method":"nope"}{"id":901,"method":"nope"}"#,
        INVALID,
    ),
    ("lone surrogate", r#"{"id":900,"method":"\ud800"}"#, INVALID),
    (
        "unknown method",
        r#"{"id":900,"method":"nope"}"#,
        Error(-32601),
    ),
    (
        "params not a struct",
        r#"{"id":900,"method":"process/read","params":"x"}"#,
        Error(-32602),
    ),
    (
        "missing params",
        r#"{"id":900,"method":"process/read"}"#,
        Error(-32602),
    ),
    (
        "unknown notification",
        r#"{"method":"nope","params":{}}"#,
        Silence,
    ),
    (
        "request as notification",
        r#"{"method":"process/read","params":{"processId":"x"}}"#,
        Silence,
    ),
    ("stray response", r#"{"id":900,"result":{}}"#, Silence),
    (
        "stray error",
        r#"{"id":900,"error":{"code":1,"message":"x"}}"#,
        Silence,
    ),
];

/// Starts a process, lets `bad` happen, and holds connection and process to account.
fn survives(client: &mut Client, name: &str, bad: impl FnOnce(&mut Client)) {
    client.start(Start::child(name, &["cat"]).pipe_stdin());
    bad(client);
    client.still_serves();
    assert_eq!(
        client.unclaimed(),
        Vec::<&String>::new(),
        "{name}: more than one answer"
    );
    assert_eq!(client.write(name, b"alive\n", "1"), "accepted");
    client.output(name, "stdout", |text| text == "alive\n");
}

fn meet(client: &mut Client, name: &str, met: Met) {
    match met {
        Error(code) => {
            let (id, answer) = client.any_answer();
            assert!(id == -1 || id == 900, "{name}: answered to {id}");
            assert_eq!(answer.expect_err(name).code, code, "{name}");
        }
        Silence => {
            client.still_serves();
            assert_eq!(client.unclaimed(), Vec::<&String>::new(), "{name}");
        }
    }
}

over_both! {
    fn a_bad_message_costs_neither_connection_nor_process(client) {
        for &(name, message, met) in BAD {
            survives(client, name, |client| {
                client.send(message);
                meet(client, name, met);
            });
        }
    }

    fn deep_nesting_is_an_error_and_not_a_crash(client) {
        for levels in [1_000, 1_000_000] {
            survives(client, &format!("nested {levels}"), |client| {
                let deep = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
                client.send(&format!(r#"{{"id":900,"method":"process/read","params":{deep}}}"#));
                let (_, answer) = client.any_answer();
                assert!(matches!(answer.unwrap_err().code, -32600 | -32602));
            });
        }
    }

    fn ids_are_echoed_with_their_type(client) {
        for id in [json!("abc"), json!(""), json!("\u{1f600}\"\\\n"), json!(0), json!(-7), json!(i64::MAX), json!(i64::MIN), json!("7")] {
            client.send(&json!({"id": id, "method": "environment/status"}).to_string());
            assert_eq!(client.answer(id).unwrap()["status"], "ready");
        }
    }

    fn members_that_mean_nothing_are_ignored(client) {
        for request in [
            r#"{"jsonrpc":"2.0","id":900,"method":"environment/status","params":null}"#,
            r#"{"jsonrpc":17,"id":900,"method":"environment/status"}"#,
            r#"{"id":900,"method":"environment/status","params":{},"extra":{"deep":[1,2]}}"#,
            r#"{"params":{"more":1},"method":"environment/status","id":900}"#,
            r#"{"id":900,"method":"environment/status","trace":{"traceparent":"00-x","tracestate":null}}"#,
            r#"{"id":900,"method":"environment\/status"}"#,
        ] {
            client.send(request);
            assert_eq!(client.answer(900).unwrap()["status"], "ready", "{request}");
        }
    }

    fn params_may_come_by_position(client) {
        let error = client.err("process/read", json!(["ghost", null, null, null]));
        assert_eq!((error.code, error.message.as_str()), (-32600, "unknown process id ghost"));
        assert_eq!(client.ok("process/terminate", json!(["ghost"])), json!({"running": false}));
    }

    fn unknown_params_are_ignored(client) {
        let answer = client.ok("process/terminate", params("ghost", json!({"color": "blue"})));
        assert_eq!(answer["running"], false);
    }

    fn the_words_of_an_unknown_method_come_back(client) {
        let error = client.err("pro\"cess/\u{e9}", Value::Null);
        assert_eq!(error.code, -32601);
        assert_eq!(error.message, "exec-server stub does not implement `pro\"cess/\u{e9}` yet");
    }
}

#[test]
fn blank_lines_and_carriage_returns_are_nothing_on_stdio() {
    let mut client = Client::stdio();
    client.send_raw(b"\n\r\n   \n\t\n{\"id\":900,\"method\":\"environment/status\"}\r\n".to_vec());
    assert_eq!(client.answer(900).unwrap()["status"], "ready");
    assert_eq!(client.unclaimed(), Vec::<&String>::new());
}

#[test]
fn a_last_line_without_its_end_counts_on_stdio() {
    let mut client = Client::stdio();
    client.send_raw(b"{\"id\":900,\"method\":\"environment/status\"}".to_vec());
    client.end_of_input();
    assert_eq!(client.answer(900).unwrap()["status"], "ready");
    assert_eq!(client.hang_up(), Vec::<u16>::new());
}

#[test]
fn an_id_may_have_1024_bytes_as_it_is_written() {
    let mut client = Client::websocket();
    let longest = "i".repeat(1022);
    let ask = |id: &str| json!({"id": id, "method": "environment/status"}).to_string();
    client.send(&ask(&longest));
    assert_eq!(client.answer(longest.as_str()).unwrap()["status"], "ready");
    client.send(&ask(&format!("{longest}i")));
    let (id, answer) = client.any_answer();
    assert_eq!((id, answer.unwrap_err().code), (json!(-1), -32600));
}

#[test]
fn a_line_that_is_not_utf8_is_an_error_on_stdio() {
    let mut client = Client::stdio();
    survives(&mut client, "utf8", |client| {
        client.send_message(b"{\"id\":900,\"method\":\"\xff\xfe\"}");
        meet(client, "invalid UTF-8", INVALID);
    });
}

#[test]
fn an_empty_websocket_message_is_an_error() {
    let mut client = Client::websocket();
    survives(&mut client, "empty", |client| {
        client.send("");
        meet(client, "empty", INVALID);
    });
}

#[test]
fn a_binary_message_is_read_as_text() {
    let mut client = Client::websocket();
    client.send_binary(br#"{"id":900,"method":"environment/status"}"#);
    assert_eq!(client.answer(900).unwrap()["status"], "ready");
}

#[test]
fn a_message_in_fragments_with_a_ping_between_is_one_message() {
    let mut client = Client::websocket();
    client.send_fragments(
        br#"{"id":900,"method":"environment/status"}"#,
        7,
        Some(b"hello"),
    );
    assert_eq!(client.pong(), b"hello");
    assert_eq!(client.answer(900).unwrap()["status"], "ready");
}

const ASK: &str = r#"{"id":900,"method":"environment/status"}"#;
const ASK_NEXT: &str = r#"{"id":901,"method":"environment/status"}"#;

/// What comes right behind a request, and what would complete it, must not delay the answer.
fn answers_though_more_is_coming(
    client: &mut Client,
    request: Vec<u8>,
    tails: &[(Vec<u8>, Vec<u8>)],
) {
    client.initialize();
    client.patience = Duration::from_secs(5);
    for (tail, rest) in tails {
        client.send_raw([request.clone(), tail.clone()].concat());
        assert_eq!(client.answer(900).unwrap()["status"], "ready");
        client.send_raw(rest.clone());
        if !rest.is_empty() {
            assert_eq!(client.answer(901).unwrap()["status"], "ready");
        }
    }
}

#[test]
fn the_beginning_of_a_line_does_not_hold_up_an_answer() {
    let (begin, end) = ASK_NEXT.split_at(10);
    let tails = [
        ("", ""),
        ("\n", ""),
        ("\r\n", ""),
        (begin, end),
        ("\n \n", ""),
    ]
    .map(|(tail, rest)| {
        let rest = if rest.is_empty() {
            String::new()
        } else {
            format!("{rest}\n")
        };
        (tail.as_bytes().to_vec(), rest.into_bytes())
    });
    let mut client = Client::stdio_silent(&[]);
    answers_though_more_is_coming(&mut client, format!("{ASK}\n").into_bytes(), &tails);
}

#[test]
fn the_beginning_of_a_frame_does_not_hold_up_an_answer() {
    const TEXT: u8 = 1;
    const PING: u8 = 9;
    let next = frame(TEXT, true, ASK_NEXT.as_bytes());
    let ping = frame(PING, true, b"hello");
    let first = frame(TEXT, false, &ASK_NEXT.as_bytes()[..10]);
    let last = frame(0, true, &ASK_NEXT.as_bytes()[10..]);
    let tails = [
        (Vec::new(), Vec::new()),
        (next[..1].to_vec(), next[1..].to_vec()),
        (next[..10].to_vec(), next[10..].to_vec()),
        (ping.clone(), Vec::new()),
        (ping[..3].to_vec(), [&ping[3..], &next].concat()),
        ([&first, &ping[..]].concat(), last),
    ];
    let mut client = Client::websocket_silent(&[]);
    answers_though_more_is_coming(&mut client, frame(TEXT, true, ASK.as_bytes()), &tails);
}

/// A request so long, in a member that means nothing.
fn long_request(length: usize) -> Vec<u8> {
    let mut request = br#"{"id":900,"method":"environment/status","padding":""#.to_vec();
    request.resize(length - 2, b'x');
    request.extend(br#""}"#);
    request
}

const LIMIT: usize = 64 << 20;

#[test]
fn a_message_of_64_mib_is_taken_and_one_byte_more_refused_on_stdio() {
    let mut client = Client::stdio();
    client.send_message(&long_request(LIMIT));
    assert_eq!(client.answer(900).unwrap()["status"], "ready");
    survives(&mut client, "long", |client| {
        client.send_message(&long_request(LIMIT + 1));
        meet(client, "too long", INVALID);
    });
}

#[test]
fn a_message_of_64_mib_is_taken_and_one_byte_more_refused_on_a_websocket() {
    let mut client = Client::websocket();
    client.send_fragments(&long_request(LIMIT), 1 << 20, None);
    assert_eq!(client.answer(900).unwrap()["status"], "ready");
    survives(&mut client, "long", |client| {
        client.send_fragments(&long_request(LIMIT + 1), 1 << 20, None);
        meet(client, "too long", INVALID);
    });
    survives(&mut client, "long frame", |client| {
        client.send_message(&long_request(LIMIT + (1 << 20)));
        meet(client, "too long in one frame", INVALID);
    });
}

#[test]
fn a_frame_that_promises_more_than_there_is_memory_ends_one_connection_only() {
    let mut client = Client::websocket();
    let mut other = client.server.as_ref().unwrap().connect();
    let mut head = vec![0x81, 0x80 | 127];
    head.extend(u64::MAX.to_be_bytes());
    head.extend([0; 4]);
    other.send_raw(head);
    other.send_raw(vec![b'x'; 4096]);
    client.still_serves();
}
