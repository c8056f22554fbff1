//! What a client sends: messages, frames of every kind, and bytes past all framing.

use serde_json::Value;

use super::Client;
use crate::websocket;

impl Client {
    /// Sends text as one message.
    pub fn send(&mut self, text: &str) {
        self.send_message(text.as_bytes());
    }

    /// Sends bytes as one message, text or not.
    pub fn send_message(&mut self, message: &[u8]) {
        self.transcript.note("->", message);
        if message.len() < 1 << 20
            && let Ok(value) = serde_json::from_slice::<Value>(message)
            && value["method"] == "process/start"
            && let Some(process) = value["params"]["processId"].as_str()
        {
            self.starting
                .insert(value["id"].to_string(), process.to_string());
        }
        self.link.send(message);
    }

    /// Sends one message in a binary frame.
    pub fn send_binary(&mut self, message: &[u8]) {
        self.send_raw(websocket::frame(websocket::BINARY, true, message));
    }

    /// Sends one message in frames of at most `size` bytes, with a ping behind the first if wanted.
    pub fn send_fragments(&mut self, message: &[u8], size: usize, ping: Option<&[u8]>) {
        let last = message.len().div_ceil(size) - 1;
        for (number, piece) in message.chunks(size).enumerate() {
            let opcode = if number == 0 {
                websocket::TEXT
            } else {
                websocket::CONTINUATION
            };
            self.send_raw(websocket::frame(opcode, number == last, piece));
            if let (0, Some(payload)) = (number, ping) {
                self.send_raw(websocket::frame(websocket::PING, true, payload));
            }
        }
    }

    /// Sends a ping.
    pub fn ping(&mut self, payload: &[u8]) {
        self.send_raw(websocket::frame(websocket::PING, true, payload));
    }

    /// Sends a close frame.
    pub fn send_close(&mut self, code: u16) {
        self.send_raw(websocket::frame(
            websocket::CLOSE,
            true,
            &code.to_be_bytes(),
        ));
    }

    /// Sends bytes past all framing.
    pub fn send_raw(&mut self, bytes: Vec<u8>) {
        self.transcript.note("->raw", &bytes);
        self.link.send_raw(bytes);
    }

    /// Bytes that are sent past all framing ask with this id for a start of this process.
    pub fn asks_for_start(&mut self, id: i64, process: &str) {
        self.starting.insert(id.to_string(), process.to_owned());
    }

    /// Closes stdin of a server on stdio, after everything sent.
    pub fn end_of_input(&mut self) {
        self.link.end_of_input();
    }
}
