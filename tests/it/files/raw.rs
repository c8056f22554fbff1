//! Blocks as raw bytes behind their message: every way in which such a stream can be cut or wrong.

mod wire;

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use wire::{BINARY, Kind, MIB, Wire, over_raw};

use crate::support::{PATIENCE, frame, patterned, upgrade};

fn block(offset: u64, count: u64) -> Value {
    json!({"handleId": "h", "offset": offset, "rawBytes": count})
}

over_raw! {
    fn blocks_are_written_and_read_as_they_are(wire) {
        wire.open("replace");
        let data = patterned(3 * MIB + 5);
        for (index, part) in data.chunks(MIB).enumerate() {
            let offset = (index * MIB) as u64;
            wire.write(index as i64, block(offset, part.len() as u64), part);
        }
        (0..4).for_each(|id| wire.done(id));
        assert!(wire.content() == data);
        wire.send(json!({"id": 5, "method": "fs/close", "params": {"handleId": "h"}}));
        wire.done(5);
        wire.open("read");
        for (id, (offset, len)) in [(0, MIB), (MIB, MIB), (2 * MIB, MIB + 5), (7, 100), (3 * MIB, 5)].into_iter().enumerate() {
            let len = len.min(MIB);
            let params = json!({"handleId": "h", "offset": offset, "len": len, "raw": true});
            wire.send(json!({"id": id, "method": "fs/readBlock", "params": params}));
            let eof = offset + len == data.len();
            assert_eq!(wire.receive(), json!({"id": id, "result": {"eof": eof, "rawBytes": len}}));
            assert!(wire.receive_payload(len) == data[offset..offset + len], "{len} at {offset}");
        }
        wire.lives();
    }

    fn many_reads_at_once_are_answered_in_order(wire) {
        let data = patterned(4 * MIB);
        std::fs::write(wire.dir.path("f"), &data).unwrap();
        wire.open("read");
        for id in 0..64 {
            let params = json!({"handleId": "h", "offset": id % 4 * MIB, "len": MIB, "raw": true});
            wire.send(json!({"id": id, "method": "fs/readBlock", "params": params}));
            wire.send(json!({"id": id + 100, "method": "fs/readBlock", "params": {"handleId": "h", "offset": id, "len": 1}}));
        }
        for id in 0..64 {
            assert_eq!(wire.receive()["id"], json!(id));
            assert!(wire.receive_payload(MIB) == data[id % 4 * MIB..(id % 4 + 1) * MIB], "block {id}");
            assert_eq!(wire.receive()["id"], json!(id + 100));
        }
    }

    fn nothing_to_read_is_followed_by_nothing(wire) {
        std::fs::write(wire.dir.path("f"), "x").unwrap();
        wire.open("read");
        wire.send(json!({"id": 1, "method": "fs/readBlock", "params": {"handleId": "h", "offset": 9, "len": 1, "raw": true}}));
        assert_eq!(wire.receive(), json!({"id": 1, "result": {"eof": true, "rawBytes": 0}}));
        wire.send(json!({"id": 2, "method": "fs/readBlock", "params": {"handleId": "x", "offset": 9, "len": 1, "raw": true}}));
        wire.refused(2, -32004, "unknown file handle `x`");
        wire.send(json!({"id": 3, "method": "fs/readBlock", "params": {"handleId": "h", "offset": 0, "len": MIB + 1, "raw": true}}));
        wire.refused(3, -32600, "file read block length must be between 1 and 1048576");
        wire.lives();
    }

    fn a_payload_may_come_byte_by_byte(wire) {
        wire.open("replace");
        let message = json!({"id": 2, "method": "fs/writeBlock", "params": block(1, 9)});
        let all = [wire.message(&message), wire.payload(b"\n{\"id\":1}")].concat();
        for byte in all {
            wire.bytes(&[byte]);
        }
        wire.done(2);
        assert_eq!(wire.content(), b"\0\n{\"id\":1}");
        wire.lives();
    }

    fn bytes_of_a_bad_request_are_no_messages(wire) {
        wire.open("replace");
        let junk = b"{\"id\":7,\"method\":\"environment/status\",\"params\":{}}\n";
        let count = junk.len() as u64;
        wire.write(2, json!({"handleId": "x", "offset": 0, "rawBytes": count}), junk);
        wire.refused(2, -32004, "unknown file handle `x`");
        wire.write(3, json!({"handleId": "h", "offset": -1, "rawBytes": count}), junk);
        wire.refused(3, -32602, "invalid value");
        wire.write(4, json!({"rawBytes": count}), junk);
        wire.refused(4, -32602, "missing field `handleId`");
        wire.write(5, json!({"handleId": "h", "offset": 0, "chunk": "", "rawBytes": count}), junk);
        wire.refused(5, -32602, "chunk and rawBytes exclude each other");
        wire.write(6, json!({"handleId": "h", "offset": u64::MAX, "rawBytes": count}), junk);
        wire.refused(6, -32600, "file write range exceeds");
        assert_eq!(wire.content(), b"");
        wire.lives();
    }

    fn a_payload_above_the_limit_is_skipped(wire) {
        wire.open("replace");
        let large = patterned(MIB + 1);
        wire.write(2, block(0, MIB as u64 + 1), &large);
        wire.refused(2, -32600, "file write block length must be between 1 and 1048576");
        wire.write(3, block(0, 3), b"abc");
        wire.done(3);
        assert_eq!(wire.content(), b"abc");
        // Far more than would ever be held is passed over as it comes.
        let message = json!({"id": 4, "method": "fs/writeBlock", "params": block(0, 64 * MIB as u64)});
        let message = wire.message(&message);
        wire.bytes(&message);
        wire.refused(4, -32600, "file write block length");
        let piece = patterned(MIB);
        match wire.kind {
            Kind::Lines => (0..64).for_each(|_| wire.bytes(&piece)),
            Kind::WebSocket => (0..64).for_each(|part| {
                let opcode = if part == 0 { BINARY } else { 0 };
                wire.bytes(&frame(opcode, part == 63, &piece));
            }),
        }
        wire.lives();
    }

    fn no_bytes_at_all_are_no_block(wire) {
        wire.open("replace");
        wire.send(json!({"id": 2, "method": "fs/writeBlock", "params": block(0, 0)}));
        wire.refused(2, -32600, "file write block length must be between 1 and 1048576");
        for (id, bytes) in [(3, json!(-1)), (4, json!("5")), (5, json!(null)), (6, json!(1.5))] {
            let params = json!({"handleId": "h", "offset": 0, "rawBytes": bytes});
            wire.send(json!({"id": id, "method": "fs/writeBlock", "params": params}));
            assert_eq!(wire.receive()["error"]["code"], json!(-32602));
        }
        wire.lives();
    }

    fn a_payload_before_the_handshake_is_skipped(wire) {
        let mut silent = match wire.kind {
            Kind::Lines => return,
            Kind::WebSocket => {
                let (stream, _) = upgrade(TcpStream::connect(wire.server.address()).unwrap(), "");
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream
            }
        };
        let message = json!({"id": 2, "method": "fs/writeBlock", "params": block(0, 5)}).to_string();
        silent.write_all(&[frame(1, true, message.as_bytes()), frame(BINARY, true, b"{bad}")].concat()).unwrap();
        silent.write_all(&frame(1, true, br#"{"id":3,"method":"nope"}"#)).unwrap();
        let mut answers = Vec::new();
        while !String::from_utf8_lossy(&answers).contains(r#""id":3"#) {
            let mut buffer = [0; 4096];
            let count = silent.read(&mut buffer).unwrap();
            answers.extend(&buffer[..count]);
        }
        let answers = String::from_utf8_lossy(&answers);
        assert!(answers.contains("client must call initialize") && !answers.contains("failed to parse"), "{answers}");
    }

    fn an_end_in_the_middle_of_a_payload_writes_nothing(wire) {
        wire.open("replace");
        let message = json!({"id": 2, "method": "fs/writeBlock", "params": block(0, 1000)});
        let message = wire.message(&message);
        let payload = wire.payload(&[7; 1000]);
        wire.bytes(&[message, payload[..500].to_vec()].concat());
        match wire.kind {
            Kind::Lines => {
                wire.output = None;
                let mut rest = String::new();
                wire.input.read_to_string(&mut rest).unwrap();
                assert_eq!(rest, "");
                assert!(wire.server.ended(PATIENCE).success());
            }
            Kind::WebSocket => {
                // The server notices by itself that this connection is gone, and serves others.
                wire.output = None;
                wire.input = BufReader::new(Box::new(std::io::empty()));
                wire.server.connect().ok("environment/status", json!({}));
            }
        }
        assert_eq!(wire.content(), b"");
    }
}

#[test]
fn a_websocket_payload_may_be_in_frames_with_pings_between() {
    let mut wire = Wire::new(Kind::WebSocket);
    wire.open("replace");
    let data = patterned(MIB);
    let message = json!({"id": 2, "method": "fs/writeBlock", "params": block(0, MIB as u64)});
    let mut bytes = wire.message(&message);
    for (index, part) in data.chunks(300_001).enumerate() {
        let opcode = if index == 0 { BINARY } else { 0 };
        bytes.extend(frame(opcode, false, part));
        bytes.extend(frame(9, true, b"?"));
    }
    bytes.extend(frame(0, true, b""));
    wire.bytes(&bytes);
    wire.done(2);
    assert!(wire.content() == data);
    wire.lives();
}

#[test]
fn a_websocket_payload_of_another_length_is_refused() {
    let mut wire = Wire::new(Kind::WebSocket);
    wire.open("replace");
    for (id, payload) in [(2, &b"abcd"[..]), (3, b"abcdef"), (4, b"")] {
        wire.write(id, block(0, 5), payload);
        wire.refused(id, -32602, "not as many bytes as rawBytes says");
    }
    let mut bytes =
        wire.message(&json!({"id": 5, "method": "fs/writeBlock", "params": block(0, 5)}));
    bytes.extend(
        [
            frame(BINARY, false, b"abc"),
            frame(0, false, b"defg"),
            frame(0, true, b"h"),
        ]
        .concat(),
    );
    wire.bytes(&bytes);
    wire.refused(5, -32602, "not as many bytes as rawBytes says");
    assert_eq!(wire.content(), b"");
    wire.lives();
}

#[test]
fn a_websocket_text_in_place_of_a_payload_is_a_message() {
    let mut wire = Wire::new(Kind::WebSocket);
    wire.open("replace");
    wire.send(json!({"id": 2, "method": "fs/writeBlock", "params": block(0, 5)}));
    wire.send(json!({"id": 3, "method": "environment/status", "params": {}}));
    wire.refused(2, -32602, "a text message came in place of the rawBytes");
    assert_eq!(
        wire.receive(),
        json!({"id": 3, "result": {"status": "ready"}})
    );
    wire.write(4, block(0, 2), b"ok");
    wire.done(4);
    assert_eq!(wire.content(), b"ok");
}

#[test]
fn a_payload_under_way_does_not_hold_up_a_process() {
    let mut wire = Wire::new(Kind::WebSocket);
    wire.open("replace");
    let child = crate::support::child();
    let params = json!({"processId": "p", "argv": [child, "cat"], "cwd": "/", "env": {}, "tty": false, "pipeStdin": true});
    wire.send(json!({"id": 2, "method": "process/start", "params": params}));
    assert!(wire.receive()["result"].is_object());
    wire.send(
        json!({"id": 3, "method": "process/write", "params": {"processId": "p", "chunk": "aGkK"}}),
    );
    let message = json!({"id": 4, "method": "fs/writeBlock", "params": block(0, 5)});
    let message = wire.message(&message);
    wire.bytes(&message);
    let mut seen = Vec::new();
    while !seen
        .iter()
        .any(|it: &Value| it["method"] == "process/output")
    {
        seen.push(wire.receive());
    }
    let payload = wire.payload(b"later");
    wire.bytes(&payload);
    loop {
        let answer = wire.receive();
        if answer["id"] == json!(4) {
            assert_eq!(answer["result"], json!({}));
            break;
        }
    }
    assert_eq!(wire.content(), b"later");
}
