//! A project with a server beside it, and what a command under a policy came to there.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Client, Scratch, Server, Start, names, scratch};

/// A project in a directory of its own, and a server beside it.
pub struct Site {
    pub scratch: Scratch,
    pub user: Option<u32>,
    pub client: Client,
    runs: usize,
}

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    pub code: i64,
    pub stdout: String,
    pub stderr: String,
    pub start: Value,
}

impl Site {
    pub fn new(user: Option<u32>) -> Self {
        let scratch = scratch();
        for directory in ["proj/.git", "proj/src", "proj/sub/a", "other"] {
            fs::create_dir_all(scratch.path(directory)).unwrap();
        }
        for (file, text) in [
            ("proj/.git/config", "[core]\n"),
            ("proj/src/a.txt", "a\n"),
            ("proj/sub/s", "secret\n"),
            ("other/o.txt", "other\n"),
        ] {
            fs::write(scratch.path(file), text).unwrap();
        }
        if let Some(user) = user {
            give(Path::new(&scratch.dir()), user);
        }
        Self {
            client: Self::serve(user),
            scratch,
            user,
            runs: 0,
        }
    }

    pub fn serve(user: Option<u32>) -> Client {
        let mut command = Server::command();
        command.args(["--listen", "stdio"]);
        if let Some(user) = user {
            command.uid(user).gid(user).env("HOME", "/nonexistent");
        }
        Client::stdio_command(command)
    }

    /// `@` stands for the site, `proj` is the project: by its `cwd` in the old form, by `workspaceRoots` in the new.
    pub fn managed(&self, is_new: bool, network: &str, entries: &str) -> Value {
        let style = if is_new { "file://" } else { "" };
        let entries = entries.replace('@', &format!("{style}{}", self.scratch.dir()));
        // The pattern of a glob is a plain path in both generations.
        let entries = entries.replace(&format!(r#""pattern":"{style}"#), r#""pattern":""#);
        let entries: Value = serde_json::from_str(&format!("[{entries}]")).unwrap();
        let project = format!("{style}{}", self.scratch.path("proj"));
        let mut sandbox = json!({
            "permissions": {
                "type": "managed",
                "file_system": {"type": "restricted", "entries": entries},
                "network": network,
            },
            "windowsSandboxLevel": "disabled",
            "cwd": project,
        });
        if is_new {
            sandbox["workspaceRoots"] = json!([project]);
        }
        sandbox
    }

    pub fn start(&mut self, sandbox: Value, script: &str) -> (String, Value) {
        self.runs += 1;
        let id = format!("p{}", self.runs);
        let start = Start::shell(&id, script)
            .cwd(&self.scratch.path("proj"))
            .with("sandbox", sandbox);
        let answer = self.client.start(start);
        (id, answer)
    }

    #[track_caller]
    pub fn run(&mut self, sandbox: Value, script: &str) -> Ran {
        let (id, start) = self.start(sandbox, script);
        let outcome = self.client.closed(&id);
        Ran {
            code: outcome.code,
            stdout: outcome.stdout,
            stderr: outcome.stderr,
            start,
        }
    }

    /// Runs the script under the entries in the words of both generations; both must come to the same.
    #[track_caller]
    pub fn both(&mut self, entries: &str, script: &str) -> Ran {
        let old = self.managed(false, "restricted", entries);
        let new = self.managed(true, "restricted", entries);
        let old = self.run(old, script);
        let new = self.run(new, script);
        assert_eq!(
            (old.code, &old.stdout, &old.stderr),
            (new.code, &new.stdout, &new.stderr)
        );
        new
    }

    pub fn exists(&self, path: &str) -> bool {
        Path::new(&self.scratch.path(path)).exists()
    }

    pub fn text(&self, path: &str) -> String {
        fs::read_to_string(self.scratch.path(path)).unwrap()
    }

    /// The names in the project.
    pub fn names(&self) -> Vec<String> {
        names(&self.scratch.path("proj"))
    }
}

pub fn give(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), user);
        }
    }
}

/// Makes two tests of one body, one a user.
macro_rules! as_both_users {
    ($($(#[$meta:meta])* fn $name:ident($site:ident) $body:block)*) => {$(
        $(#[$meta])*
        mod $name {
            use super::*;

            fn behaviour($site: &mut Site) $body

            #[test]
            fn as_myself() {
                behaviour(&mut Site::new(None));
            }

            #[test]
            fn as_an_ordinary_user() {
                needs!($crate::support::Need::Root);
                behaviour(&mut Site::new(Some(ORDINARY)));
            }
        }
    )*};
}

pub(super) use as_both_users;
