//! The things that a workload is measured on, and how a server of each kind is started.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The server of this project.
    Ours,
    /// The same from before a change that is measured.
    Before,
    /// `codex exec-server` 0.130.
    Reference0130,
    /// `codex exec-server` 0.169.
    Reference0169,
    /// The least that the machine allows: the same work with no server in between.
    Floor,
}

/// How a client reaches a server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Websocket,
    Stdio,
}

impl Subject {
    pub const ALL: [Self; 5] = [
        Self::Ours,
        Self::Before,
        Self::Reference0130,
        Self::Reference0169,
        Self::Floor,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Before => "before",
            Self::Reference0130 => "0.130",
            Self::Reference0169 => "0.169",
            Self::Floor => "floor",
        }
    }

    /// Whether it has this project's flags, methods and commands.
    pub fn is_this_project(self) -> bool {
        matches!(self, Self::Ours | Self::Before)
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|subject| subject.name() == name)
    }

    /// A directory or file as this server's wire wants it. Ours takes both forms.
    pub fn path(self, path: &str) -> String {
        match self {
            Self::Reference0130 => path.to_owned(),
            Self::Ours | Self::Before | Self::Reference0169 | Self::Floor => {
                format!("file://{path}")
            }
        }
    }

    /// The command that serves on `transport`.
    pub fn command(self, binary: &Path, transport: Transport) -> Command {
        let mut command = Command::new(binary);
        if !self.is_this_project() {
            command.arg("exec-server").env("CODEX_HOME", state());
        }
        command.env_remove("RUST_LOG");
        command.arg("--listen").arg(match transport {
            Transport::Websocket => "ws://127.0.0.1:0",
            Transport::Stdio => "stdio",
        });
        command
    }
}

impl Transport {
    pub const ALL: [Self; 2] = [Self::Websocket, Self::Stdio];

    pub fn name(self) -> &'static str {
        match self {
            Self::Websocket => "ws",
            Self::Stdio => "stdio",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|transport| transport.name() == name)
    }
}

/// The bench's own directory. The references complain about a home that is missing or below the
/// temporary directory, so it is in the cache.
pub fn state() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/".into()));
    cache
        .unwrap_or_else(|| home().join(".cache"))
        .join("exec-server/bench")
}
