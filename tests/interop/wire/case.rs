//! One short session about one method, written once for both generations.

use serde_json::{Value, json};

use crate::subject::{Generation, Transport};

/// One step of a session.
pub enum Step {
    /// A request, and its answer.
    Ask(&'static str, Value),
    /// Any text as a message, and all that comes of it.
    Send(String),
    /// `process/closed` of this process, and `process/exited`, which 0.130 may tell after it.
    Closed(&'static str),
    /// Output of this process that has this in it.
    Output(&'static str, &'static str),
    /// The last notification of this method.
    Told(&'static str),
    /// An empty file is made, by others.
    Make(&'static str),
    /// Hangs up, connects again, and takes the same session up again.
    Resume,
    /// Connects once more, keeping the first connection, and asks for the same session.
    Intrude,
}

/// What a case finds in its directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ground {
    /// Files of every kind.
    Kinds,
    /// A project with its metadata, and something beside it.
    Project,
}

/// A session.
pub struct Case {
    /// What it is counted under.
    pub method: &'static str,
    pub name: &'static str,
    /// Whether the greeting goes first.
    pub greeted: bool,
    /// Whether files afterwards count.
    pub files: bool,
    pub ground: Ground,
    /// Whether the values of answers count, or their types only.
    pub facts: bool,
    only: Option<Generation>,
    transport: Option<Transport>,
    pub steps: Vec<Step>,
}

impl Case {
    /// Steps on a fresh connection that has been greeted.
    ///
    /// In texts, `@name` alone is a path of the fixture as the generation writes it; `{F}` is its native path, `{HTTP}`
    /// the address of a web server, `{T}` the server's directory for temporary files, `{HELPER}` the program by the name of 0.130's
    /// sandbox helper; `{NET}`, `{USER}` and `{PID}` are
    /// the host's namespaces. `@` before an absolute path is that path.
    pub fn new(method: &'static str, name: &'static str, steps: Vec<Step>) -> Self {
        Self {
            method,
            name,
            greeted: true,
            files: method.starts_with("fs/"),
            ground: Ground::Kinds,
            facts: false,
            only: None,
            transport: None,
            steps,
        }
    }

    /// A single request.
    pub fn ask(method: &'static str, name: &'static str, params: Value) -> Self {
        Self::new(method, name, vec![Step::Ask(method, params)])
    }

    /// In another directory.
    pub fn on(mut self, ground: Ground) -> Self {
        self.ground = ground;
        self
    }

    /// With nothing said before.
    pub fn silent(mut self) -> Self {
        self.greeted = false;
        self
    }

    /// The answer tells facts of a machine: names and types count.
    pub fn facts(mut self) -> Self {
        self.facts = true;
        self
    }

    /// For one generation.
    pub fn only(mut self, generation: Generation) -> Self {
        self.only = Some(generation);
        self
    }

    /// For one transport.
    pub fn over(mut self, transport: Transport) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Whether it is played to that generation over that transport.
    pub fn fits(&self, generation: Generation, transport: Transport) -> bool {
        let only_169 = generation == Generation::V130 && NEW_IN_169.contains(&self.method);
        !only_169
            && self.only.is_none_or(|only| generation.is_like(only))
            && self.transport.is_none_or(|only| only == transport)
    }
}

/// What 0.130 does not know.
const NEW_IN_169: &[&str] = &[
    "process/signal",
    "environment/info",
    "environment/status",
    "environmentConfig/read",
    "capabilityRoots/discoverV1",
    "capabilities/discoverV2",
    "fs/canonicalize",
    "fs/open",
    "fs/readBlock",
    "fs/writeBlock",
    "fs/close",
    "fs/walk",
    "fs/watchMissing",
];

/// A start in the fixture, with more members.
pub fn start(process: &str, argv: &[&str], more: Value) -> Step {
    let mut params = json!({
        "processId": process, "argv": argv, "cwd": "@", "tty": false, "env": {"PATH": "/usr/bin:/bin"},
    });
    for (member, value) in more.as_object().into_iter().flatten() {
        params[member] = value.clone();
    }
    Step::Ask("process/start", params)
}

/// A start of a shell script.
pub fn shell(process: &str, script: &str, more: Value) -> Step {
    start(process, &["/bin/sh", "-c", script], more)
}
