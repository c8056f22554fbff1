//! The generations of the wire, the servers that speak them, and how each is started.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use crate::children::Guarded;
use support::PATIENCE;

/// A release of clients. What 0.169 has brought is in all that follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Generation {
    V130,
    V169,
    V171,
}

/// Whose server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    Reference,
    Ours,
}

/// How a client reaches a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    Websocket,
    Stdio,
}

impl Generation {
    pub const ALL: [Self; 3] = [Self::V130, Self::V169, Self::V171];

    /// As the table of differences writes it.
    pub fn version(self) -> &'static str {
        match self {
            Self::V130 => "0.130.0",
            Self::V169 | Self::V171 => "0.169.0",
        }
    }

    /// Whether what is for `other` is for this one, too.
    pub fn is_like(self, other: Self) -> bool {
        (self == Self::V130) == (other == Self::V130)
    }

    /// A path as clients of this generation write it.
    pub fn path(self, path: &Path) -> String {
        let native = path.to_str().expect("paths of a run are text");
        match self {
            Self::V130 => native.to_string(),
            Self::V169 | Self::V171 => format!("file://{native}"),
        }
    }
}

impl Transport {
    pub const ALL: [Self; 2] = [Self::Websocket, Self::Stdio];
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V130 => "0.130",
            Self::V169 => "0.169",
            Self::V171 => "0.171",
        })
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reference => "reference",
            Self::Ours => "ours",
        })
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Websocket => "ws",
            Self::Stdio => "stdio",
        })
    }
}

/// The words that start a server of this kind on a transport; `home` is for a reference's own files.
pub fn server_command(program: &Path, whose: Whose, transport: Transport, home: &Path) -> Command {
    let mut command = Command::new(program);
    if whose == Whose::Reference {
        command.arg("exec-server");
    }
    command
        .env("CODEX_HOME", home)
        .env_remove("RUST_LOG")
        .env_remove("EXEC_SERVER_LOG");
    command.arg("--listen").arg(match transport {
        Transport::Websocket => "ws://127.0.0.1:0",
        Transport::Stdio => "stdio",
    });
    command
}

/// Starts a command that serves websockets; gives it and where it listens.
pub fn listening(command: &mut Command) -> (Guarded, SocketAddr) {
    let server = Guarded::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()));
    let stdout = server.with(|child| child.stdout.take());
    let (first, line) = channel();
    thread::spawn(move || {
        let mut line = String::new();
        let _ = stdout.map(|stdout| BufReader::new(stdout).read_line(&mut line));
        let _ = first.send(line);
    });
    let line = line.recv_timeout(PATIENCE).unwrap_or_default();
    let address = line
        .trim_end()
        .strip_prefix("ws://")
        .and_then(|address| address.parse().ok());
    let address =
        address.unwrap_or_else(|| panic!("the server does not start: its first line is {line:?}"));
    (server, address)
}
