//! Servers that say what a test wants, in the order it wants.

use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::support::PATIENCE;

/// A server whose connections follow a script, one behind the other.
pub struct Scripted {
    url: String,
    done: Receiver<()>,
}

/// One connection of it.
pub struct Line {
    socket: WebSocket<TcpStream>,
    /// Answered to `initialize`.
    pub session: &'static str,
}

impl Scripted {
    /// Each connection gets its number, from 0, and is closed at the end of its script.
    pub fn new(script: impl Fn(usize, &mut Line) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let (tell, done) = channel();
        thread::spawn(move || {
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let Ok(socket) = tungstenite::accept(stream) else {
                    continue;
                };
                let session = "session-1";
                script(number, &mut Line { socket, session });
                let _ = tell.send(());
            }
        });
        Self { url, done }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits for the end of a script.
    pub fn await_end(&self) {
        self.done.recv_timeout(PATIENCE).expect("the script's end");
    }
}

impl Line {
    /// The next message; null when the client has hung up.
    pub fn hear(&mut self) -> Value {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return serde_json::from_str(&text).unwrap(),
                Ok(Message::Close(_)) | Err(_) => return Value::Null,
                Ok(_) => {}
            }
        }
    }

    /// Waits for a request of this method and gives it.
    pub fn await_request(&mut self, method: &str) -> Value {
        loop {
            let message = self.hear();
            assert!(!message.is_null(), "hung up before {method}");
            if message["method"] == method {
                return message;
            }
        }
    }

    /// Says something.
    pub fn say(&mut self, message: Value) {
        self.socket
            .send(Message::text(message.to_string()))
            .unwrap();
    }

    /// Says it as it is.
    pub fn say_raw(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    /// Answers a request.
    pub fn answer(&mut self, request: &Value, result: Value) {
        self.say(json!({ "id": request["id"], "result": result }));
    }

    /// Goes through the handshake, as 0.130 does, and gives what the client said.
    pub fn greet(&mut self) -> Value {
        let request = self.await_request("initialize");
        let result = json!({ "sessionId": self.session });
        self.answer(&request, result);
        self.await_request("initialized");
        if request["params"]["resumeSessionId"].is_null() {
            let asked = self.await_request("environment/info");
            let error = json!({ "code": -32601, "message": "unknown method: environment/info" });
            self.say(json!({ "id": asked["id"], "error": error }));
        }
        request["params"].clone()
    }

    /// Begins the handshake, and tells about itself with the answer.
    pub fn greet_with(&mut self, info: &Value) {
        let request = self.await_request("initialize");
        let result = json!({ "sessionId": "s", "environmentInfo": info });
        self.answer(&request, result);
    }

    /// Waits for the start of a process and answers it. Its id.
    pub fn start(&mut self) -> String {
        let request = self.await_request("process/start");
        let id = request["params"]["processId"].as_str().unwrap().to_owned();
        self.answer(&request, json!({ "processId": id }));
        id
    }

    /// Tells of output.
    pub fn output(&mut self, id: &str, seq: u64, text: &str) {
        let chunk = crate::support::encode(text.as_bytes());
        self.say(json!({ "method": "process/output", "params":
            { "processId": id, "seq": seq, "stream": "stdout", "chunk": chunk } }));
    }

    /// Tells of the exit.
    pub fn exited(&mut self, id: &str, seq: u64, code: i32) {
        self.say(json!({ "method": "process/exited", "params":
            { "processId": id, "seq": seq, "exitCode": code } }));
    }

    /// Tells of the end.
    pub fn closed(&mut self, id: &str, seq: u64) {
        self.say(json!({ "method": "process/closed", "params": { "processId": id, "seq": seq } }));
    }
}
