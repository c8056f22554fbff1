//! Who breaks RFC 6455 is told the right close code, and loses the connection and nothing else.

use serde_json::json;

use crate::support::{Client, Server, Start, frame, params};

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;

const NORMAL: u16 = 1000;
const PROTOCOL: u16 = 1002;
const NOT_TEXT: u16 = 1007;

/// The close code that the server sends to these bytes of a client that has introduced itself.
#[track_caller]
fn is_met_with(server: &Server, code: u16, bytes: &[&[u8]]) {
    let mut client = server.connect();
    bytes
        .iter()
        .for_each(|bytes| client.send_raw(bytes.to_vec()));
    assert_eq!(client.hang_up(), [code], "{bytes:02x?}");
}

/// A close frame with this code and reason.
fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(CLOSE, true, &[&code.to_be_bytes(), reason].concat())
}

#[test]
fn text_that_is_not_utf8_ends_the_connection_with_1007() {
    let server = Server::websocket(&[]);
    for bad in [
        &b"{\"id\":1,\"method\":\"\xff\"}"[..],
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"a character that is cut \xe2\x82",
    ] {
        is_met_with(&server, NOT_TEXT, &[&frame(TEXT, true, bad)]);
    }
}

#[test]
fn text_in_frames_is_known_to_be_wrong_before_its_last_one() {
    let server = Server::websocket(&[]);
    let bad = [
        frame(TEXT, false, b"good \xe2\x82"),
        frame(CONTINUATION, false, b"\xac then \xff bad"),
    ];
    is_met_with(&server, NOT_TEXT, &[&bad[0], &bad[1]]);
    let cut = [
        frame(TEXT, false, b"good"),
        frame(CONTINUATION, true, b"\xe2\x82"),
    ];
    is_met_with(&server, NOT_TEXT, &[&cut[0], &cut[1]]);
}

#[test]
fn a_character_may_be_cut_between_two_frames() {
    let mut client = Client::websocket();
    let request = r#"{"id":"a€😀","method":"environment/status"}"#;
    for size in 1..4 {
        client.send_fragments(request.as_bytes(), size, None);
        assert_eq!(client.answer("a€😀").unwrap()["status"], "ready", "{size}");
    }
}

#[test]
fn bytes_that_are_no_text_in_a_binary_message_cost_only_the_request() {
    let mut client = Client::websocket();
    client.send_binary(b"{\"id\":900,\"method\":\"\xff\"}");
    let (id, answer) = client.any_answer();
    assert_eq!((id, answer.unwrap_err().code), (json!(-1), -32600));
    client.still_serves();
}

#[test]
fn a_close_frame_is_answered_when_it_may_be_sent_and_else_met_with_1002() {
    let server = Server::websocket(&[]);
    is_met_with(&server, NORMAL, &[&frame(CLOSE, true, b"")]);
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999,
    ] {
        is_met_with(&server, NORMAL, &[&close(code, "done €".as_bytes())]);
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
        is_met_with(&server, PROTOCOL, &[&close(code, b"")]);
    }
    is_met_with(&server, PROTOCOL, &[&frame(CLOSE, true, b"\x03")]);
    is_met_with(&server, PROTOCOL, &[&close(1000, b"\xff")]);
}

#[test]
fn frames_that_cannot_be_are_met_with_1002() {
    let server = Server::websocket(&[]);
    let length = |length: u64| [&[0x82, 0x80 | 127][..], &length.to_be_bytes(), &[0; 4]].concat();
    let mut reserved_bit = frame(TEXT, true, b"{}");
    reserved_bit[0] |= 0x40;
    for bytes in [
        length(1 << 63),
        length(u64::MAX),
        frame(3, true, b""),
        frame(11, true, b""),
        frame(PING, false, b""),
        frame(PING, true, &[b'x'; 126]),
        frame(CONTINUATION, true, b"{}"),
        [frame(TEXT, false, b"{"), frame(BINARY, true, b"}")].concat(),
        reserved_bit,
        // Not masked.
        vec![0x81, 2, b'{', b'}'],
    ] {
        is_met_with(&server, PROTOCOL, &[&bytes]);
    }
}

#[test]
fn a_broken_frame_costs_neither_the_session_nor_others() {
    let server = Server::websocket(&[]);
    let mut other = server.connect();
    let mut client = server.connect();
    client.start(Start::child("p", &["cat"]).pipe_stdin());
    let session = client.session.clone();
    client.send_raw(frame(TEXT, true, b"\xff"));
    assert_eq!(client.hang_up(), [NOT_TEXT]);
    other.still_serves();
    let mut client = server.connect_silent();
    client.try_resume(&session).unwrap();
    client.ok("process/terminate", params("p", json!({})));
}

#[test]
fn what_follows_a_text_that_is_none_costs_nobody_anything() {
    let server = Server::websocket(&[]);
    let mut other = server.connect();
    let long = [b'a'; 600];
    let whole = frame(TEXT, true, b"{}");
    let bad = frame(TEXT, true, &[&long[..], b"\xff"].concat());
    let in_frames = [
        frame(TEXT, false, &long),
        frame(PING, true, b"between"),
        frame(CONTINUATION, true, b"\xff"),
    ]
    .concat();
    for pieces in [
        vec![whole.clone(), in_frames.clone(), whole.clone()],
        vec![in_frames, frame(CONTINUATION, true, b"x"), whole.clone()],
        vec![
            whole.clone(),
            bad[..bad.len() - 1].to_vec(),
            bad[bad.len() - 1..].to_vec(),
            whole,
        ],
    ] {
        let mut client = server.connect_silent();
        for piece in pieces {
            client.send_raw(piece);
        }
        assert_eq!(client.hang_up(), [NOT_TEXT]);
        other.still_serves();
    }
}

#[test]
fn a_large_frame_in_any_pieces_is_unmasked_and_judged_as_a_whole() {
    let server = Server::websocket(&[]);
    let mut client = server.connect();
    // Characters of three bytes, which pieces of the frame cut.
    let name = "\u{20ac}".repeat(60_000);
    let request =
        json!({"id": "cut", "method": "process/terminate", "params": {"processId": name}});
    let bytes = frame(TEXT, true, request.to_string().as_bytes());
    for piece in bytes.chunks(7_919) {
        client.send_raw(piece.to_vec());
    }
    let answer = client.ok("process/terminate", params("p", json!({})));
    assert_eq!(answer, json!({"running": false}));
    let mut bad = request.to_string().into_bytes();
    bad[100_000] = 0xff;
    let bad = frame(TEXT, true, &bad);
    // Known to be wrong before the last of it has come.
    is_met_with(&server, NOT_TEXT, &[&bad[..150_000]]);
}
