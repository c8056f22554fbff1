//! 256 MiB of a child's output, and the server's CPU for it (the child's own is not counted).
//!
//! The client finds every message and counts the bytes by the length of their base64, which it does
//! not decode; the sum must be exact. The canned server shows what this client can take at most.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{Step, program};
use crate::client::{Client, Stdin};
use crate::failure::{During, Failure};
use crate::guard::Guarded;
use crate::link::Link;
use crate::message::{self, Event};
use crate::peer::{Peer, canned};
use crate::procfs::Cpu;
use crate::row::{Goal, Row, Unit};
use crate::server::Server;

pub const ROWS: &[Row] = &[
    Row {
        key: "ws.rate",
        label: "ws",
        unit: Unit::MegabytesPerSecond,
        floors: &[
            ("canned.rate", "canned ws"),
            ("pipe.rate", "head to a pipe"),
        ],
        goal: Some(Goal::ShareOfFloor(0.85, "canned.rate")),
    },
    Row {
        key: "ws.cpu",
        label: "ws, server CPU",
        unit: Unit::CpuPerGib,
        floors: &[("canned.cpu", "canned ws")],
        goal: Some(Goal::Limit(1.3)),
    },
    Row {
        key: "stdio.rate",
        label: "stdio",
        unit: Unit::MegabytesPerSecond,
        floors: &[("pipe.rate", "head to a pipe")],
        goal: Some(Goal::TimesReference(5.0)),
    },
    Row {
        key: "stdio.cpu",
        label: "stdio, server CPU",
        unit: Unit::CpuPerGib,
        floors: &[],
        goal: None,
    },
];

const BYTES: u64 = 256 * 1024 * 1024;
/// CPU seconds of one run, times this, are CPU seconds a GiB.
const A_GIB: f64 = (1u64 << 30) as f64 / BYTES as f64;

pub fn server(step: &Step) -> Result<(), Failure> {
    let head = program("head")?;
    let (server, link) = Server::start(step.subject, &step.binary, step.transport)?;
    let mut client = Client::open(link, step.subject)?;
    let before = Cpu::of(server.pid())?;
    let begun = Instant::now();
    let count = BYTES.to_string();
    client.start("p", &[&head, "-c", &count, "/dev/zero"], Stdin::Closed)?;
    drain(&mut client.link)?;
    let seconds = begun.elapsed().as_secs_f64();
    let used = Cpu::of(server.pid())?.since(before);
    step.emit("rate", BYTES as f64 / 1e6 / seconds);
    step.emit("cpu", used.own * A_GIB);
    Ok(())
}

/// Takes messages up to `process/closed`, and checks that no byte is missing.
fn drain(link: &mut Link) -> Result<(), Failure> {
    let mut bytes = 0;
    loop {
        let message = link.receive()?;
        if let Some(more) = message::output_bytes(message) {
            bytes += more;
            continue;
        }
        match message::event(message)? {
            Event::Refused { code, message } => return Err(Failure::Refused { code, message }),
            Event::Closed { .. } => break,
            _ => {}
        }
    }
    if bytes == BYTES {
        Ok(())
    } else {
        Err(Failure::Unexpected(format!(
            "{bytes} bytes of output came instead of {BYTES}"
        )))
    }
}

pub fn floor(step: &Step) -> Result<(), Failure> {
    let peer = Peer::canned_output(BYTES)?;
    let mut link = Link::websocket(peer.address())?;
    let before = Cpu::of(peer.pid())?;
    let begun = Instant::now();
    link.send(canned::REQUEST)?;
    drain(&mut link)?;
    let seconds = begun.elapsed().as_secs_f64();
    let used = Cpu::of(peer.pid())?.since(before);
    step.emit("canned.rate", BYTES as f64 / 1e6 / seconds);
    step.emit("canned.cpu", used.own * A_GIB);

    let begun = Instant::now();
    let mut command = Command::new(program("head")?);
    command.args(["-c", &BYTES.to_string(), "/dev/zero"]);
    let mut child = Guarded::spawn(command.stdout(Stdio::piped()))?;
    let mut stdout = child
        .with(|child| child.stdout.take())
        .ok_or_else(|| Failure::Unexpected("head has no pipe".to_owned()))?;
    let mut buffer = vec![0; 64 * 1024];
    while stdout.read(&mut buffer).during("reading from head")? > 0 {}
    let seconds = begun.elapsed().as_secs_f64();
    step.emit("pipe.rate", BYTES as f64 / 1e6 / seconds);
    Ok(())
}
