//! The workloads. Each is one file: what it measures on a server, its floors, and its rows.
//!
//! A step is one workload on one subject over one transport, in a process of its own, so that it
//! can be pinned, timed out, and be none of its neighbours' business.

mod command;
mod confined;
mod echo;
mod files;
mod input;
mod memory;
mod output;
mod parallel;
mod pipelined;
mod restricted;
mod roundtrip;
mod spawn;
mod startup;
mod transfer;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use crate::failure::Failure;
use crate::row::Row;
use crate::subject::{Subject, Transport};

/// One of the workloads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    Startup,
    Roundtrip,
    Pipelined,
    Spawn,
    Confined,
    Parallel,
    Echo,
    Output,
    Input,
    Files,
    Restricted,
    Transfer,
    Memory,
    Command,
}

/// What a step is to measure, and where its figures go.
pub struct Step {
    pub subject: Subject,
    pub transport: Transport,
    pub binary: PathBuf,
    /// Measures less, for a first look.
    pub quick: bool,
}

impl Step {
    /// A time to spend on one figure.
    pub fn budget(&self, milliseconds: u64) -> Duration {
        Duration::from_millis(if self.quick {
            milliseconds / 2
        } else {
            milliseconds
        })
    }

    /// Hands a figure to the run, at once: what was measured before a failure counts.
    pub fn emit(&self, key: &str, value: f64) {
        let mut out = std::io::stdout().lock();
        let written = match self.subject {
            Subject::Floor => writeln!(out, "{key}\t{value}"),
            _ => writeln!(out, "{}.{key}\t{value}", self.transport.name()),
        };
        // Without a reader the run is over, and this step is about to be told so.
        let _ = written.and_then(|()| out.flush());
    }
}

impl Workload {
    pub const ALL: [Self; 14] = [
        Self::Startup,
        Self::Roundtrip,
        Self::Pipelined,
        Self::Spawn,
        Self::Confined,
        Self::Parallel,
        Self::Echo,
        Self::Output,
        Self::Input,
        Self::Files,
        Self::Restricted,
        Self::Transfer,
        Self::Memory,
        Self::Command,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Roundtrip => "roundtrip",
            Self::Pipelined => "pipelined",
            Self::Spawn => "spawn",
            Self::Confined => "confined",
            Self::Parallel => "parallel",
            Self::Echo => "echo",
            Self::Output => "output",
            Self::Input => "input",
            Self::Files => "files",
            Self::Restricted => "restricted",
            Self::Transfer => "transfer",
            Self::Memory => "memory",
            Self::Command => "command",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|workload| workload.name() == name)
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Startup => "Start-up: from spawn to the answer of initialize",
            Self::Roundtrip => "Request round trip, one at a time",
            Self::Pipelined => "32 requests in flight",
            Self::Spawn => "process/start of true, to closed",
            Self::Confined => "The same under a read-only policy",
            Self::Parallel => "16 processes in flight",
            Self::Echo => "Echo of a line through cat",
            Self::Output => "256 MiB of output",
            Self::Input => "64 MiB of input",
            Self::Files => "Files: small requests, one at a time",
            Self::Restricted => "Files: writing under a policy, one at a time",
            Self::Transfer => "Files: whole large ones, one at a time",
            Self::Memory => "Memory of the server",
            Self::Command => "The command line, whole processes",
        }
    }

    /// Short latencies mean little across two halted virtual cores: one core for client and server.
    pub fn pinned(self) -> bool {
        !matches!(
            self,
            Self::Parallel
                | Self::Output
                | Self::Input
                | Self::Transfer
                | Self::Memory
                | Self::Command
        )
    }

    /// More than a step of it takes on a slow machine: most take one second, four copies of 1 GiB
    /// through ssh's ciphers half a minute.
    pub fn deadline(self) -> Duration {
        match self {
            Self::Command => Duration::from_secs(150),
            _ => Duration::from_secs(30),
        }
    }

    /// Memory hardly varies, and fills many connections: it is not measured in every round.
    pub fn rounds(self, rounds: usize) -> usize {
        if self == Self::Memory {
            rounds.min(2)
        } else {
            rounds
        }
    }

    pub fn transports(self) -> &'static [Transport] {
        if self == Self::Memory {
            &[Transport::Websocket]
        } else {
            &Transport::ALL
        }
    }

    pub fn rows(self) -> &'static [Row] {
        match self {
            Self::Startup => startup::ROWS,
            Self::Roundtrip => roundtrip::ROWS,
            Self::Pipelined => pipelined::ROWS,
            Self::Spawn => spawn::ROWS,
            Self::Confined => confined::ROWS,
            Self::Parallel => parallel::ROWS,
            Self::Echo => echo::ROWS,
            Self::Output => output::ROWS,
            Self::Input => input::ROWS,
            Self::Files => files::ROWS,
            Self::Restricted => restricted::ROWS,
            Self::Transfer => transfer::ROWS,
            Self::Memory => memory::ROWS,
            Self::Command => command::ROWS,
        }
    }

    /// Measures, and emits the figures.
    pub fn measure(self, step: &Step) -> Result<(), Failure> {
        let floor = step.subject == Subject::Floor;
        match self {
            Self::Startup if floor => startup::floor(step),
            Self::Startup => startup::server(step),
            Self::Roundtrip if floor => roundtrip::floor(step),
            Self::Roundtrip => roundtrip::server(step),
            Self::Pipelined if floor => pipelined::floor(step),
            Self::Pipelined => pipelined::server(step),
            Self::Spawn if floor => spawn::floor(step),
            Self::Spawn => spawn::server(step),
            Self::Confined if floor => confined::floor(step),
            Self::Confined => confined::server(step),
            Self::Parallel if floor => parallel::floor(step),
            Self::Parallel => parallel::server(step),
            Self::Echo if floor => echo::floor(step),
            Self::Echo => echo::server(step),
            Self::Output if floor => output::floor(step),
            Self::Output => output::server(step),
            Self::Input if floor => input::floor(step),
            Self::Input => input::server(step),
            Self::Files if floor => files::floor(step),
            Self::Files => files::server(step),
            Self::Restricted if floor => restricted::floor(step),
            Self::Restricted => restricted::server(step),
            Self::Transfer if floor => transfer::floor(step),
            Self::Transfer => transfer::server(step),
            Self::Memory if floor => Ok(()),
            Self::Memory => memory::server(step),
            Self::Command if floor => command::floor(step),
            Self::Command => command::server(step),
        }
    }
}

/// Where a program of the host is.
fn program(name: &str) -> Result<String, Failure> {
    ["/bin", "/usr/bin", "/usr/local/bin"]
        .iter()
        .map(|directory| format!("{directory}/{name}"))
        .find(|path| std::path::Path::new(path).is_file())
        .ok_or_else(|| Failure::Unexpected(format!("this machine has no {name}")))
}
