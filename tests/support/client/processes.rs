//! What a client does with processes.

use serde_json::{Value, json};

use super::{Client, params};
use crate::observed::{Observed, Outcome, Sink};
use crate::{Start, encode};

impl Client {
    /// Fails unless a request is still answered.
    #[track_caller]
    pub fn still_serves(&mut self) {
        let write = self.ok(
            "process/write",
            params("nobody", json!({"chunk": "", "writeId": "1"})),
        );
        assert_eq!(write["status"], "unknownProcess");
    }

    /// Starts a process.
    #[track_caller]
    pub fn start(&mut self, start: Start) -> Value {
        self.ok("process/start", start.0)
    }

    /// Starts a process and waits for its end.
    #[track_caller]
    pub fn run(&mut self, start: Start) -> Outcome {
        let id = start.id();
        self.start(start);
        self.closed(&id)
    }

    /// Hands the output of a process that is about to start to `sink`.
    pub fn start_into(&mut self, start: Start, sink: Sink) {
        let id = start.id();
        let request = self.ask("process/start", start.0);
        // Registered before the answer is read: output may be right behind it.
        self.observed(&id).sink = Some(sink);
        self.answer(request).unwrap();
    }

    /// Waits for `process/exited`; gives its params.
    #[track_caller]
    pub fn exited(&mut self, process: &str) -> Value {
        self.wait(&format!("{process} exits"), |client| {
            client.observed(process).exited.clone()
        })
    }

    /// Waits for `process/closed`.
    #[track_caller]
    pub fn closed(&mut self, process: &str) -> Outcome {
        self.wait(&format!("{process} closes"), |client| {
            let seen = client.observed(process);
            seen.closed.then(|| seen.outcome())
        })
    }

    /// Waits until a stream of a process satisfies `enough`.
    #[track_caller]
    pub fn output(&mut self, process: &str, stream: &str, enough: impl Fn(&str) -> bool) -> String {
        self.wait(&format!("output of {process}"), |client| {
            let text = String::from_utf8_lossy(client.observed(process).bytes(stream)).into_owned();
            enough(&text).then_some(text)
        })
    }

    /// Waits for a whole first line on stdout or the terminal, and reads it as a number.
    #[track_caller]
    pub fn number(&mut self, process: &str) -> u32 {
        let line = self.wait(&format!("a number from {process}"), |client| {
            let seen = client.observed(process);
            let bytes = [seen.bytes("stdout"), seen.bytes("pty")].concat();
            let end = bytes.iter().position(|&byte| byte == b'\n')?;
            Some(String::from_utf8_lossy(&bytes[..end]).trim().to_string())
        });
        line.parse()
            .unwrap_or_else(|_| panic!("a number, not {line:?}"))
    }

    /// What is known about a process so far.
    pub fn observed(&mut self, process: &str) -> &mut Observed {
        self.processes.entry(process.to_string()).or_default()
    }

    /// Writes to a process; gives the status.
    #[track_caller]
    pub fn write(&mut self, process: &str, bytes: &[u8], write_id: &str) -> String {
        let params = params(
            process,
            json!({"chunk": encode(bytes), "writeId": write_id}),
        );
        self.ok("process/write", params)["status"]
            .as_str()
            .expect("a status")
            .to_string()
    }

    /// Reads with the given further params.
    #[track_caller]
    pub fn read(&mut self, process: &str, more: Value) -> Value {
        self.ok("process/read", params(process, more))
    }
}
