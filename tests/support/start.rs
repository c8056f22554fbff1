//! The params of `process/start`.

use serde_json::{Value, json};

use super::child;

/// A process to start; by default with no environment, in `/`, on pipes, with nothing on stdin.
#[derive(Clone)]
pub struct Start(pub Value);

impl Start {
    /// Any command.
    pub fn command<T: AsRef<str>>(id: &str, argv: &[T]) -> Self {
        let argv: Vec<&str> = argv.iter().map(AsRef::as_ref).collect();
        Self(json!({"processId": id, "argv": argv, "cwd": "/", "env": {}, "tty": false}))
    }

    /// The helper child with its arguments.
    pub fn child(id: &str, arguments: &[&str]) -> Self {
        let child = child();
        Self::command(id, &[&[child.as_str()], arguments].concat())
    }

    /// A shell script.
    pub fn shell(id: &str, script: &str) -> Self {
        Self::command(id, &["/bin/sh", "-c", script]).env("PATH", "/usr/bin:/bin")
    }

    /// On a terminal.
    pub fn tty(self) -> Self {
        self.with("tty", true)
    }

    /// With a pipe on stdin.
    pub fn pipe_stdin(self) -> Self {
        self.with("pipeStdin", true)
    }

    /// In this directory: a path or a `file:` URI.
    pub fn cwd(self, cwd: &str) -> Self {
        self.with("cwd", cwd)
    }

    /// With one more variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.0["env"][name] = value.into();
        self
    }

    /// With any other member.
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.0[member] = value.into();
        self
    }

    /// Without this member.
    pub fn without(mut self, member: &str) -> Self {
        self.0.as_object_mut().unwrap().remove(member);
        self
    }

    /// The id it is known by.
    pub fn id(&self) -> String {
        self.0["processId"].as_str().unwrap().to_string()
    }
}
