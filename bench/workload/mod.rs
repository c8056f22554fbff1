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

use crate::client::Client;
use crate::failure::Failure;
use crate::link::Link;
use crate::row::Row;
use crate::server::Server;
use crate::subject::{Subject, Transport};

/// Measures on a step's subject, and emits the figures.
type Measure = fn(&Step) -> Result<(), Failure>;

/// Something that is measured on every subject.
pub struct Workload {
    pub name: &'static str,
    pub title: &'static str,
    pub rows: &'static [Row],
    server: Measure,
    floor: Option<Measure>,
    /// Short latencies mean little across two halted virtual cores: one core for client and server.
    pub is_pinned: bool,
    /// More than a step of it takes on a slow machine; most take one second.
    pub deadline: Duration,
    pub most_rounds: usize,
    pub transports: &'static [Transport],
}

/// What most workloads have in common.
const USUAL: Workload = Workload {
    name: "",
    title: "",
    rows: &[],
    server: |_| Ok(()),
    floor: None,
    is_pinned: true,
    deadline: Duration::from_secs(30),
    most_rounds: usize::MAX,
    transports: &Transport::ALL,
};

pub static ALL: [Workload; 14] = [
    Workload {
        name: "startup",
        title: "Start-up: from spawn to the answer of initialize",
        rows: startup::ROWS,
        server: startup::server,
        floor: Some(startup::floor),
        is_pinned: true,
        ..USUAL
    },
    Workload {
        name: "roundtrip",
        title: "Request round trip, one at a time",
        rows: roundtrip::ROWS,
        server: roundtrip::server,
        floor: Some(roundtrip::floor),
        is_pinned: true,
        ..USUAL
    },
    Workload {
        name: "pipelined",
        title: "32 requests in flight",
        rows: pipelined::ROWS,
        server: pipelined::server,
        floor: Some(pipelined::floor),
        is_pinned: true,
        ..USUAL
    },
    Workload {
        name: "spawn",
        title: "process/start of true, to closed",
        rows: spawn::ROWS,
        server: spawn::server,
        floor: Some(spawn::floor),
        is_pinned: true,
        ..USUAL
    },
    Workload {
        name: "confined",
        title: "The same under a read-only policy",
        rows: confined::ROWS,
        server: confined::server,
        floor: Some(confined::floor),
        is_pinned: true,
        ..USUAL
    },
    Workload {
        name: "parallel",
        title: "16 processes in flight",
        rows: parallel::ROWS,
        server: parallel::server,
        floor: Some(parallel::floor),
        is_pinned: false,
        ..USUAL
    },
    Workload {
        name: "echo",
        title: "Echo of a line through cat",
        rows: echo::ROWS,
        server: echo::server,
        floor: Some(echo::floor),
        is_pinned: true,
        ..USUAL
    },
    Workload {
        name: "output",
        title: "256 MiB of output",
        rows: output::ROWS,
        server: output::server,
        floor: Some(output::floor),
        is_pinned: false,
        ..USUAL
    },
    Workload {
        name: "input",
        title: "64 MiB of input",
        rows: input::ROWS,
        server: input::server,
        floor: Some(input::floor),
        is_pinned: false,
        ..USUAL
    },
    Workload {
        name: "files",
        title: "Files: small requests, one at a time",
        rows: files::ROWS,
        server: files::server,
        floor: Some(files::floor),
        is_pinned: true,
        ..USUAL
    },
    Workload {
        name: "restricted",
        title: "Files: writing under a policy, one at a time",
        rows: restricted::ROWS,
        server: restricted::server,
        floor: Some(restricted::floor),
        is_pinned: true,
        ..USUAL
    },
    Workload {
        name: "transfer",
        title: "Files: whole large ones, one at a time",
        rows: transfer::ROWS,
        server: transfer::server,
        floor: Some(transfer::floor),
        is_pinned: false,
        ..USUAL
    },
    Workload {
        name: "memory",
        title: "Memory of the server",
        rows: memory::ROWS,
        server: memory::server,
        floor: None,
        is_pinned: false,
        // Memory hardly varies, and fills many connections.
        most_rounds: 2,
        transports: &[Transport::Websocket],
        ..USUAL
    },
    Workload {
        name: "command",
        title: "The command line, whole processes",
        rows: command::ROWS,
        server: command::server,
        floor: Some(command::floor),
        is_pinned: false,
        // Four copies of 1 GiB through ssh's ciphers take half a minute.
        deadline: Duration::from_secs(150),
        ..USUAL
    },
];

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

    /// Starts the server with these flags of our own, and opens the first connection to it.
    pub fn open(&self, flags: &[&str]) -> Result<(Server, Client), Failure> {
        let (server, link) = self.start(flags)?;
        Ok((server, Client::open(link, self.subject)?))
    }

    /// Starts the server; the connection to it has said nothing yet.
    pub fn start(&self, flags: &[&str]) -> Result<(Server, Link), Failure> {
        Server::start(self.subject, &self.binary, self.transport, flags)
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
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|workload| workload.name == name)
    }

    /// Measures, and emits the figures.
    pub fn measure(&self, step: &Step) -> Result<(), Failure> {
        match (step.subject, self.floor) {
            (Subject::Floor, None) => Ok(()),
            (Subject::Floor, Some(floor)) => floor(step),
            _ => (self.server)(step),
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
