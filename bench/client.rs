//! The requests that the workloads are made of.

use std::fmt::Write as _;

use serde_json::json;

use crate::failure::Failure;
use crate::link::Link;
use crate::message::{self, Event};
use crate::subject::Subject;

/// An initialized connection.
pub struct Client {
    pub link: Link,
    subject: Subject,
    last_id: u64,
    text: String,
}

/// How the process of a workload is connected.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stdin {
    Closed,
    Pipe,
    Terminal,
}

impl Client {
    /// Sends `initialize` and takes its answer, the point where start-up ends; then `initialized`.
    pub fn open(link: Link, subject: Subject) -> Result<Self, Failure> {
        let mut client = Self {
            link,
            subject,
            // Ids of one width keep all messages of a workload at one length.
            last_id: 1_000_000,
            text: String::new(),
        };
        let id = client.request(
            "initialize",
            &json!({"clientName": "bench", "resumeSessionId": null}),
        )?;
        client.answer(id)?;
        client
            .link
            .send(br#"{"method":"initialized","params":{}}"#)?;
        Ok(client)
    }

    /// Sends a request and gives its id.
    pub fn request(&mut self, method: &str, params: &serde_json::Value) -> Result<u64, Failure> {
        let id = self.queue(method, params);
        self.link.flush()?;
        Ok(id)
    }

    /// Puts a request behind others that are sent with it.
    pub fn queue(&mut self, method: &str, params: &impl std::fmt::Display) -> u64 {
        self.last_id += 1;
        self.text.clear();
        // Writing to a String cannot fail.
        let _ = write!(
            self.text,
            r#"{{"id":{},"method":"{method}","params":{params}}}"#,
            self.last_id
        );
        self.link.queue(self.text.as_bytes());
        self.last_id
    }

    /// Waits for the answer to `id`, past any notification.
    pub fn answer(&mut self, id: u64) -> Result<(), Failure> {
        loop {
            match self.event()? {
                Event::Answer { id: seen, .. } if seen == id => return Ok(()),
                _ => {}
            }
        }
    }

    /// The next message. A refusal is a failure: no workload sends a request that should be refused.
    pub fn event(&mut self) -> Result<Event<'_>, Failure> {
        match message::event(self.link.receive()?)? {
            Event::Refused { code, message } => Err(Failure::Refused { code, message }),
            event => Ok(event),
        }
    }

    /// Sends `process/start` and gives the request's id.
    pub fn start(&mut self, process: &str, argv: &[&str], stdin: Stdin) -> Result<u64, Failure> {
        self.start_in(process, argv, stdin, None)
    }

    /// The same under a policy.
    pub fn start_in(
        &mut self,
        process: &str,
        argv: &[&str],
        stdin: Stdin,
        sandbox: Option<&serde_json::Value>,
    ) -> Result<u64, Failure> {
        let mut params = json!({
            "processId": process,
            "argv": argv,
            "cwd": self.subject.path("/"),
            "env": {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"},
            "tty": stdin == Stdin::Terminal,
            "pipeStdin": stdin == Stdin::Pipe,
            "arg0": null,
        });
        if let Some(sandbox) = sandbox {
            params["sandbox"] = sandbox.clone();
        }
        self.request("process/start", &params)
    }

    /// Sends `process/write` of a piece of base64.
    pub fn write(&mut self, process: &str, base64: &str) -> Result<u64, Failure> {
        let write_id = self.last_id;
        let params = format_args!(
            r#"{{"processId":"{process}","chunk":"{base64}","writeId":"{write_id}"}}"#
        );
        let id = self.queue("process/write", &params);
        self.link.flush()?;
        Ok(id)
    }
}
