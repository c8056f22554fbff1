//! One run of the client, played from the model's side: every step is a tool call and what the client made of it.

use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::model::Model;
use crate::children::Guarded;
use crate::subject::Generation;

/// No single step takes longer.
const LIMIT: Duration = Duration::from_secs(45);

/// A client at work.
pub struct Turn {
    /// What it asked first: the whole context of its session.
    pub first: Value,
    model: Model,
    client: Guarded,
    generation: Generation,
}

impl Turn {
    /// Starts the client and waits for its first request.
    pub fn begin(
        mut command: Command,
        mut model: Model,
        generation: Generation,
        root: &Path,
    ) -> Self {
        let log =
            |name: &str| File::create(root.join(name)).expect("the run's directory can be written");
        command
            .stdin(Stdio::null())
            .stdout(log("client.jsonl"))
            .stderr(log("client.log"));
        let client = Guarded::spawn(&mut command);
        let first = model.request(LIMIT);
        let turn = Self {
            first: first.clone().unwrap_or_default(),
            model,
            client,
            generation,
        };
        assert!(first.is_some(), "the client never asks its model");
        turn
    }

    /// Lets the client run a command; gives what it tells the model.
    pub fn exec(&mut self, arguments: Value) -> String {
        self.ask_exec(arguments);
        self.told()
    }

    /// Lets the client run a command and does not wait.
    pub fn ask_exec(&mut self, arguments: Value) {
        self.model.call("exec_command", &arguments);
    }

    /// Types into a session, or polls it with no text.
    pub fn write_stdin(&mut self, session: u64, text: &str, yield_ms: u64) -> String {
        let arguments = json!({"session_id": session, "chars": text, "yield_time_ms": yield_ms});
        self.model.call("write_stdin", &arguments);
        self.told()
    }

    /// Lets the client call a tool of an MCP server; gives what it tells the model.
    pub fn mcp(&mut self, server: &str, tool: &str) -> String {
        self.model.call_in(&format!("mcp__{server}"), tool);
        self.told()
    }

    /// Lets the client apply a patch, in its generation's way.
    pub fn patch(&mut self, patch: &str) -> String {
        match self.generation {
            Generation::V130 => {
                self.model.call_custom("apply_patch", patch);
            }
            Generation::V169 | Generation::V171 => {
                self.ask_exec(json!({"cmd": format!("apply_patch <<'EOF'\n{patch}\nEOF\n")}))
            }
        }
        self.told()
    }

    /// Lets the client look at an image; gives the whole output.
    pub fn view_image(&mut self, path: &Path) -> Value {
        self.model.call("view_image", &json!({"path": path}));
        self.output()
    }

    /// Waits for the output of the last call, as text.
    pub fn told(&mut self) -> String {
        match self.output() {
            Value::String(text) => text,
            other => other.to_string(),
        }
    }

    fn output(&mut self) -> Value {
        let request = self
            .model
            .request(LIMIT)
            .unwrap_or_else(|| panic!("the client says nothing for {LIMIT:?}"));
        let last = request["input"].as_array().and_then(|input| {
            input.iter().rev().find(|item| {
                item["type"]
                    .as_str()
                    .is_some_and(|kind| kind.ends_with("_output"))
            })
        });
        last.map(|item| item["output"].clone())
            .unwrap_or_else(|| panic!("no output in {request}"))
    }

    /// Sends the client a signal, by name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("/bin/sh")
            .args([
                "-c",
                "kill -s \"$1\" \"$2\"",
                "sh",
                name,
                &self.client.pid().to_string(),
            ])
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "kill -s {name}"
        );
    }

    /// Says a last word; the client must end well.
    pub fn finish(mut self) {
        self.model.say("done");
        let status = self.ended();
        assert!(status.success(), "the client ended with {status}");
    }

    /// Waits for the client's end.
    pub fn ended(&mut self) -> ExitStatus {
        self.client
            .ended(LIMIT)
            .unwrap_or_else(|| panic!("the client does not end"))
    }
}
