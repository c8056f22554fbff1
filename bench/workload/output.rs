//! 256 MiB of a child's output, and the server's CPU for it (the child's own is not counted).
//!
//! The client finds every message and counts the bytes by the length of their base64, which it does
//! not decode; the sum must be exact. A second time, on ws, it parses and decodes everything as an
//! ordinary client must. The canned server shows what either client can take at most.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Instant;

use base64_simd::{AsOut as _, STANDARD};

use super::{Step, program};
use crate::client::Stdin;
use crate::failure::{During, Failure};
use crate::guard::Guarded;
use crate::link::Link;
use crate::message::{self, Event};
use crate::peer::{Peer, canned};
use crate::procfs::Cpu;
use crate::row::{Row, Unit};
use crate::subject::Transport;

pub const ROWS: &[Row] = &[
    Row::new(
        Unit::MegabytesPerSecond,
        "ws.rate",
        "ws",
        &[
            ("canned.rate", "canned ws"),
            ("pipe.rate", "head to a pipe"),
        ],
    ),
    Row::new(
        Unit::MegabytesPerSecond,
        "ws.decoded.rate",
        "ws, client decodes",
        &[("canned.decoded.rate", "canned ws")],
    ),
    Row::new(
        Unit::CpuPerGib,
        "ws.cpu",
        "ws, server CPU",
        &[("canned.cpu", "canned ws")],
    ),
    Row::new(
        Unit::MegabytesPerSecond,
        "stdio.rate",
        "stdio",
        &[("pipe.rate", "head to a pipe")],
    ),
    Row::new(Unit::CpuPerGib, "stdio.cpu", "stdio, server CPU", &[]),
];

const BYTES: u64 = 256 * 1024 * 1024;
/// CPU seconds of one run, times this, are CPU seconds a GiB.
const A_GIB: f64 = (1u64 << 30) as f64 / BYTES as f64;

/// What the client does with a chunk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Counting,
    Decoding,
}

pub fn server(step: &Step) -> Result<(), Failure> {
    one(step, Reading::Counting, "")?;
    if step.transport == Transport::Websocket {
        one(step, Reading::Decoding, "decoded.")?;
    }
    Ok(())
}

fn one(step: &Step, reading: Reading, prefix: &str) -> Result<(), Failure> {
    let head = program("head")?;
    let (server, mut client) = step.open(&[])?;
    let count = BYTES.to_string();
    let before = Cpu::of(server.pid())?;
    let begun = Instant::now();
    client.start("p", &[&head, "-c", &count, "/dev/zero"], Stdin::Closed)?;
    drain(&mut client.link, reading)?;
    let seconds = begun.elapsed().as_secs_f64();
    let used = Cpu::of(server.pid())?.since(before);
    step.emit(&format!("{prefix}rate"), BYTES as f64 / 1e6 / seconds);
    step.emit(&format!("{prefix}cpu"), used.own * A_GIB);
    Ok(())
}

/// Takes messages up to `process/closed`, and checks that no byte is missing.
fn drain(link: &mut Link, reading: Reading) -> Result<(), Failure> {
    let mut bytes = 0;
    let mut space = vec![0; 64 * 1024];
    loop {
        let message = link.receive()?;
        if reading == Reading::Counting
            && let Some(more) = message::output_bytes(message)
        {
            bytes += more;
            continue;
        }
        match message::event(message)? {
            Event::Output { chunk } => bytes += decode(chunk, &mut space)?,
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

fn decode(chunk: &str, space: &mut Vec<u8>) -> Result<u64, Failure> {
    space.resize(space.len().max(chunk.len()), 0);
    STANDARD
        .decode(chunk.as_bytes(), space.as_out())
        .map(|bytes| bytes.len() as u64)
        .map_err(|error| Failure::Unexpected(format!("output that is not base64: {error}")))
}

pub fn floor(step: &Step) -> Result<(), Failure> {
    for (reading, prefix) in [(Reading::Counting, ""), (Reading::Decoding, "decoded.")] {
        let peer = Peer::canned_output(BYTES)?;
        let mut link = Link::websocket(peer.address())?;
        let before = Cpu::of(peer.pid())?;
        let begun = Instant::now();
        link.send(canned::REQUEST)?;
        drain(&mut link, reading)?;
        let seconds = begun.elapsed().as_secs_f64();
        let used = Cpu::of(peer.pid())?.since(before);
        step.emit(
            &format!("canned.{prefix}rate"),
            BYTES as f64 / 1e6 / seconds,
        );
        step.emit(&format!("canned.{prefix}cpu"), used.own * A_GIB);
    }

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
