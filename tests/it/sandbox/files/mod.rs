//! File requests under a policy. Each test asserts what the host has afterwards, and runs as whoever runs the tests and,
//! where that is root, as an ordinary user too.

mod content;
mod escapes;
mod examples;
mod handles;
mod helpers;
mod landlock;
mod policies;
mod views;

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, lchown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{entry, read_only, restricted, special};
use crate::support::sandbox::ORDINARY;
use crate::support::{Client, PATIENCE, RpcError, Scratch, Server, decode, encode, scratch};

/// Makes a test for each user of one body, which gets a [`Stage`].
macro_rules! as_each_user {
    ($($(#[$meta:meta])* fn $name:ident($stage:ident) $body:block)*) => {$(
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn behaviour($stage: &mut $crate::sandbox::files::Stage) $body

            #[test]
            fn as_ourselves() {
                behaviour(&mut $crate::sandbox::files::Stage::set(false));
            }

            #[test]
            fn as_an_ordinary_user() {
                needs!($crate::support::Need::Root);
                behaviour(&mut $crate::sandbox::files::Stage::set(true));
            }
        }
    )*};
}
use as_each_user;

/// A project and something beside it, and a server of the same owner.
///
/// ```text
///   proj/.git/config   proj/src/a.txt   proj/src/b.env   proj/sub/s   other/o.txt
///   proj/out -> other   proj/in -> sub
/// ```
struct Stage {
    client: Client,
    scratch: Scratch,
    owner: Option<u32>,
}

impl Stage {
    fn set(is_ordinary: bool) -> Self {
        let scratch = scratch();
        for directory in ["proj/.git", "proj/src", "proj/sub", "other"] {
            fs::create_dir_all(scratch.path(directory)).unwrap();
        }
        for file in [
            "proj/.git/config",
            "proj/src/a.txt",
            "proj/src/b.env",
            "proj/sub/s",
            "other/o.txt",
        ] {
            fs::write(scratch.path(file), file).unwrap();
        }
        symlink(scratch.path("other"), scratch.path("proj/out")).unwrap();
        symlink("sub", scratch.path("proj/in")).unwrap();
        let owner = is_ordinary.then_some(ORDINARY);
        let stage = Self {
            client: serve(owner, &[], &[]),
            scratch,
            owner,
        };
        stage.own(Path::new(&stage.scratch.dir()));
        stage
    }

    /// Starts another server in the place of the present one.
    fn serve(&mut self, arguments: &[&str], variables: &[(&str, &str)]) {
        self.client = serve(self.owner, arguments, variables);
    }

    /// Gives what the test has made to who the server is.
    fn own(&self, path: &Path) {
        let Some(user) = self.owner else { return };
        lchown(path, Some(user), Some(user)).unwrap();
        if !path.is_symlink() && path.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                self.own(&entry.unwrap().path());
            }
        }
    }

    fn path(&self, name: &str) -> String {
        self.scratch.path(name)
    }

    /// Makes a directory on the host.
    fn make(&self, name: &str) -> String {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        if let Some(user) = self.owner {
            chown(&path, Some(user), Some(user)).unwrap();
        }
        path
    }

    /// A request under a policy.
    #[track_caller]
    fn ask(&mut self, policy: &Value, method: &str, mut params: Value) -> Result<Value, RpcError> {
        params["sandbox"] = policy.clone();
        self.client.request(&format!("fs/{method}"), params)
    }

    #[track_caller]
    fn ok(&mut self, policy: &Value, method: &str, params: Value) -> Value {
        self.ask(policy, method, params.clone())
            .unwrap_or_else(|error| panic!("{method} {params}: {error:?}"))
    }

    /// Fails unless the request ends with this code and a message with this text.
    #[track_caller]
    fn refused(&mut self, policy: &Value, method: &str, params: Value, (code, text): (i64, &str)) {
        match self.ask(policy, method, params.clone()) {
            Ok(result) => panic!("{method} {params}: {result}"),
            Err(error) => {
                let fits = error.code == code && error.message.contains(text);
                assert!(fits, "{method} {params}: {error:?}");
            }
        }
    }

    #[track_caller]
    fn read(&mut self, policy: &Value, path: &str) -> Vec<u8> {
        let read = self.ok(policy, "readFile", json!({"path": path}));
        decode(read["dataBase64"].as_str().unwrap())
    }

    #[track_caller]
    fn write(&mut self, policy: &Value, path: &str, data: &str) {
        self.ok(policy, "writeFile", put(path, data));
    }

    /// Ends the server as its user would.
    #[track_caller]
    fn end(&mut self) {
        self.client.end_of_input();
        self.client.server.as_mut().unwrap().ended(PATIENCE);
    }

    /// Fails unless the host is as it was, once the server has ended: no place to mount on is left.
    #[track_caller]
    fn assert_host(&mut self, before: &[(PathBuf, Vec<u8>)]) {
        self.end();
        assert_eq!(self.host(), before);
    }

    /// A policy that reads everything and writes the project.
    fn workspace(&self) -> Value {
        restricted(&[everything(), entry(&self.path("proj"), "write")])
    }

    /// The workspace with `proj/sub` denied.
    fn denying(&self) -> Value {
        restricted(&[
            everything(),
            entry(&self.path("proj"), "write"),
            entry(&self.path("proj/sub"), "none"),
        ])
    }

    /// Every name on the host, with what files hold, whose they are, their modes, and when they were
    /// changed. Directories have mount points for a moment, which changes their times.
    fn host(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut ahead = vec![PathBuf::from(self.scratch.dir())];
        while let Some(path) = ahead.pop() {
            let about = path.symlink_metadata().unwrap();
            let mut content = if path.is_symlink() {
                fs::read_link(&path)
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes()
            } else if path.is_dir() {
                ahead.extend(
                    fs::read_dir(&path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
                Vec::new()
            } else {
                fs::read(&path).unwrap()
            };
            let times = match about.is_dir() {
                true => (0, 0),
                false => (about.ctime(), about.ctime_nsec()),
            };
            let about = (about.mode(), about.uid(), about.gid(), times);
            content.extend(format!("{about:?}").into_bytes());
            found.push((path, content));
        }
        found.sort();
        found
    }
}

fn serve(owner: Option<u32>, arguments: &[&str], variables: &[(&str, &str)]) -> Client {
    let mut command = Server::command();
    command.args(["--listen", "stdio"]).args(arguments);
    command.envs(variables.iter().copied());
    if let Some(user) = owner {
        command.uid(user).gid(user);
    }
    Client::stdio_command(command)
}

fn glob(pattern: &str) -> Value {
    json!({"path": {"type": "glob_pattern", "pattern": pattern}, "access": "none"})
}

/// The entry that lets everything be read.
fn everything() -> Value {
    special("root", "read")
}

/// Params of `fs/writeFile`.
fn put(path: &str, data: &str) -> Value {
    json!({"path": path, "dataBase64": encode(data.as_bytes())})
}

const READ_ONLY: (i64, &str) = (-32603, "Read-only file system (os error 30)");
const DENIED: (i64, &str) = (-32600, "Permission denied (os error 13)");
const MISSING: (i64, &str) = (-32004, "No such file or directory (os error 2)");

/// Requests that change something in `directory`, which has `file`. The last one removes it.
fn changes(directory: &str, file: &str) -> Vec<(&'static str, Value)> {
    let at = |name: &str| format!("{directory}/{name}");
    vec![
        ("writeFile", put(&at("new"), "x")),
        ("writeFile", put(&at(file), "x")),
        (
            "createDirectory",
            json!({"path": at("made"), "recursive": false}),
        ),
        (
            "copy",
            json!({"sourcePath": at(file), "destinationPath": at("copy"), "recursive": false}),
        ),
        ("symlink", json!({"path": at("link"), "target": "anything"})),
        ("setPermissions", json!({"path": at(file), "mode": 0o600})),
        (
            "setMetadata",
            json!({"path": at(file), "metadata": {"permissions": 0o600, "modifiedAtMs": 0, "size": 1}}),
        ),
        (
            "createDirectory",
            json!({"path": at("made-so"), "permissions": 0o700}),
        ),
        (
            "writeFile",
            json!({"path": at("made-new"), "dataBase64": "", "overwrite": false}),
        ),
        (
            "open",
            json!({"handleId": "c", "path": at("opened-new"), "mode": "create"}),
        ),
        (
            "hardLink",
            json!({"sourcePath": at(file), "destinationPath": at("hard")}),
        ),
        (
            "open",
            json!({"handleId": "w", "path": at(file), "mode": "replace"}),
        ),
        (
            "rename",
            json!({"sourcePath": at(file), "destinationPath": at("renamed")}),
        ),
        ("remove", json!({"path": at(file)})),
    ]
}
