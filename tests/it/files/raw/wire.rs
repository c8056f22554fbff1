//! A connection of which every byte is in the test's hand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::{PATIENCE, Scratch, Server, frame, scratch, upgrade};

pub const MIB: usize = 1 << 20;
/// The opcode of raw bytes.
pub const BINARY: u8 = 2;

/// A connection of which every byte is in the test's hand, with the file `f` in a directory.
pub struct Wire {
    pub kind: Kind,
    pub input: BufReader<Box<dyn Read>>,
    pub output: Option<Box<dyn Write>>,
    pub server: Server,
    pub dir: Scratch,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Lines,
    WebSocket,
}

impl Wire {
    pub fn new(kind: Kind) -> Self {
        let dir = scratch();
        let mut wire = match kind {
            Kind::Lines => {
                let (server, stdin, stdout) = Server::stdio(&[]);
                let input: Box<dyn Read> = Box::new(stdout);
                Self {
                    kind,
                    input: BufReader::new(input),
                    output: Some(Box::new(stdin)),
                    server,
                    dir,
                }
            }
            Kind::WebSocket => {
                let server = Server::websocket(&[]);
                let stream = TcpStream::connect(server.address()).unwrap();
                let (stream, early) = upgrade(stream, "");
                assert!(early.is_empty());
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let input: Box<dyn Read> = Box::new(stream.try_clone().unwrap());
                Self {
                    kind,
                    input: BufReader::new(input),
                    output: Some(Box::new(stream)),
                    server,
                    dir,
                }
            }
        };
        wire.send(json!({"id": 0, "method": "initialize", "params": {"clientName": "t", "resumeSessionId": null}}));
        wire.send(json!({"method": "initialized", "params": {}}));
        assert!(wire.receive()["result"]["sessionId"].is_string());
        wire
    }

    /// Opens `f` as the handle `h`.
    pub fn open(&mut self, mode: &str) {
        let path = self.dir.path("f");
        self.send(json!({"id": 1, "method": "fs/open", "params": {"handleId": "h", "path": path, "mode": mode}}));
        assert_eq!(self.receive()["result"], json!({"handleId": "h"}));
    }

    pub fn content(&self) -> Vec<u8> {
        std::fs::read(self.dir.path("f")).unwrap()
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        let output = self.output.as_mut().expect("an open connection");
        output.write_all(bytes).unwrap();
        output.flush().unwrap();
    }

    pub fn message(&self, message: &Value) -> Vec<u8> {
        let text = message.to_string();
        match self.kind {
            Kind::Lines => (text + "\n").into_bytes(),
            Kind::WebSocket => frame(1, true, text.as_bytes()),
        }
    }

    pub fn payload(&self, payload: &[u8]) -> Vec<u8> {
        match self.kind {
            Kind::Lines => payload.to_vec(),
            Kind::WebSocket => frame(BINARY, true, payload),
        }
    }

    pub fn send(&mut self, message: Value) {
        let bytes = self.message(&message);
        self.bytes(&bytes);
    }

    /// A write of raw bytes, in one piece with its announcement.
    pub fn write(&mut self, id: i64, params: Value, payload: &[u8]) {
        let message = json!({"id": id, "method": "fs/writeBlock", "params": params});
        let bytes = [self.message(&message), self.payload(payload)].concat();
        self.bytes(&bytes);
    }

    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.input.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// The next frame that is no ping: final, opcode, payload.
    pub fn frame(&mut self) -> (bool, u8, Vec<u8>) {
        loop {
            let head = self.exactly(2);
            let len = match head[1] {
                126 => self
                    .exactly(2)
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
                127 => self
                    .exactly(8)
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
                short => short.into(),
            };
            assert!(len <= MIB, "a frame of {len} bytes");
            let payload = self.exactly(len);
            if head[0] & 0x0f < 8 {
                return (head[0] & 0x80 != 0, head[0] & 0x0f, payload);
            }
        }
    }

    pub fn receive(&mut self) -> Value {
        let text = match self.kind {
            Kind::Lines => {
                let mut line = Vec::new();
                self.input.read_until(b'\n', &mut line).unwrap();
                line
            }
            Kind::WebSocket => {
                let (is_final, opcode, payload) = self.frame();
                assert!(is_final && opcode == 1, "opcode {opcode}");
                payload
            }
        };
        let text = String::from_utf8(text).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
    }

    pub fn receive_payload(&mut self, len: usize) -> Vec<u8> {
        match self.kind {
            Kind::Lines => self.exactly(len),
            Kind::WebSocket => {
                let (mut is_final, opcode, mut whole) = self.frame();
                assert_eq!(opcode, BINARY);
                while !is_final {
                    let (last, opcode, more) = self.frame();
                    assert_eq!(opcode, 0);
                    whole.extend(more);
                    is_final = last;
                }
                assert_eq!(whole.len(), len);
                whole
            }
        }
    }

    #[track_caller]
    pub fn done(&mut self, id: i64) {
        assert_eq!(self.receive(), json!({"id": id, "result": {}}));
    }

    #[track_caller]
    pub fn refused(&mut self, id: i64, code: i64, words: &str) {
        let answer = self.receive();
        assert_eq!(
            (&answer["id"], &answer["error"]["code"]),
            (&json!(id), &json!(code)),
            "{answer}"
        );
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(words), "{message}");
    }

    /// The connection still does what it is told.
    #[track_caller]
    pub fn lives(&mut self) {
        self.send(json!({"id": 99, "method": "environment/status", "params": {}}));
        assert_eq!(
            self.receive(),
            json!({"id": 99, "result": {"status": "ready"}})
        );
    }
}

/// Makes two tests of one body, one a transport, with a wire of its own.
macro_rules! over_raw {
    ($(fn $name:ident($wire:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn behaviour($wire: &mut Wire) $body

            #[test]
            fn over_stdio() {
                behaviour(&mut Wire::new(Kind::Lines));
            }

            #[test]
            fn over_websocket() {
                behaviour(&mut Wire::new(Kind::WebSocket));
            }
        }
    )*};
}

pub(super) use over_raw;
