//! One small request at a time.
//!
//! The request is `process/terminate` of a process that does not exist, because every server has it
//! and it touches nothing; `fs/getMetadata` of a file where the server has that.
//! The floors move messages of the same size between two processes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Step;
use crate::client::Client;
use crate::failure::{During, Failure};
use crate::link::Link;
use crate::message;
use crate::peer::{Peer, canned};
use crate::procfs::Cpu;
use crate::row::{Row, Unit};
use crate::sample::repeat;

const TCP: &[(&str, &str)] = &[("tcp.p50", "TCP"), ("canned.p50", "canned ws")];
const TCP_P99: &[(&str, &str)] = &[("tcp.p99", "TCP"), ("canned.p99", "canned ws")];
const PIPE: &[(&str, &str)] = &[("pipe.p50", "pipe")];
const PIPE_P99: &[(&str, &str)] = &[("pipe.p99", "pipe")];

pub const ROWS: &[Row] = &[
    Row::new(Unit::Seconds, "ws.p50", "ws, p50", TCP),
    Row::new(Unit::Seconds, "ws.p99", "ws, p99", TCP_P99),
    Row::new(Unit::Seconds, "ws.cpu", "ws, server CPU a request", &[]),
    Row::new(
        Unit::Seconds,
        "ws.metadata.p50",
        "ws, fs/getMetadata, p50",
        TCP,
    ),
    Row::new(Unit::Seconds, "stdio.p50", "stdio, p50", PIPE),
    Row::new(Unit::Seconds, "stdio.p99", "stdio, p99", PIPE_P99),
    Row::new(
        Unit::Seconds,
        "stdio.metadata.p50",
        "stdio, fs/getMetadata, p50",
        PIPE,
    ),
];

/// Sizes of the request and of its answer, with a masked and a plain websocket frame's head.
pub const REQUEST: usize = canned::REQUEST.len() + 6;
pub const ANSWER: usize = canned::ANSWER.len() + 2;
const LEAST: usize = 100;
const WARM_UP: usize = 200;
const UNKNOWN_METHOD: i64 = -32601;

/// The request that changes nothing.
pub fn nothing() -> (&'static str, Value) {
    ("process/terminate", json!({"processId": "none"}))
}

pub fn server(step: &Step) -> Result<(), Failure> {
    let (server, mut client) = step.open(&[])?;
    let (method, params) = nothing();
    let params = params.to_string();
    let before = Cpu::of(server.pid())?;
    let mut times = repeat(step.budget(500), LEAST, WARM_UP, || {
        round_trip(&mut client, method, &params)
    })?;
    let used = Cpu::of(server.pid())?.since(before);
    step.emit("p50", times.quantile(0.5));
    step.emit("p99", times.quantile(0.99));
    step.emit("cpu", used.own / (times.len() + WARM_UP) as f64);

    let metadata = json!({"path": step.subject.path("/bin")});
    let id = client.request("fs/getMetadata", &metadata)?;
    match client.answer(id) {
        Err(Failure::Refused {
            code: UNKNOWN_METHOD,
            ..
        }) => return Ok(()),
        other => other?,
    }
    let metadata = metadata.to_string();
    let mut times = repeat(step.budget(250), LEAST, WARM_UP, || {
        round_trip(&mut client, "fs/getMetadata", &metadata)
    })?;
    step.emit("metadata.p50", times.quantile(0.5));
    Ok(())
}

/// Sends a request that cannot be refused, and waits for its answer.
pub fn round_trip(client: &mut Client, method: &str, params: &str) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let id = client.queue(method, &params);
    client.link.flush()?;
    while !message::answers(client.link.receive()?, id) {}
    Ok(begun.elapsed())
}

pub fn floor(step: &Step) -> Result<(), Failure> {
    let peer = Peer::tcp(REQUEST, ANSWER)?;
    let mut stream = peer.connect()?;
    let mut times = repeat(step.budget(300), LEAST, WARM_UP, || {
        let begun = Instant::now();
        exchange(&mut stream)?;
        Ok::<_, Failure>(begun.elapsed())
    })?;
    step.emit("tcp.p50", times.quantile(0.5));
    step.emit("tcp.p99", times.quantile(0.99));

    let (_peer, mut stdin, mut stdout) = Peer::pipe(REQUEST, ANSWER)?;
    let mut times = repeat(step.budget(300), LEAST, WARM_UP, || {
        let begun = Instant::now();
        stdin.write_all(&[b'x'; REQUEST]).during("piping")?;
        stdout.read_exact(&mut [0; ANSWER]).during("piping")?;
        Ok::<_, Failure>(begun.elapsed())
    })?;
    step.emit("pipe.p50", times.quantile(0.5));
    step.emit("pipe.p99", times.quantile(0.99));

    let peer = Peer::canned_answers()?;
    let mut link = Link::websocket(peer.address())?;
    let request = canned::REQUEST;
    let mut times = repeat(step.budget(300), LEAST, WARM_UP, || {
        let begun = Instant::now();
        link.send(request)?;
        while !message::answers(link.receive()?, canned::ID) {}
        Ok::<_, Failure>(begun.elapsed())
    })?;
    step.emit("canned.p50", times.quantile(0.5));
    step.emit("canned.p99", times.quantile(0.99));
    Ok(())
}

fn exchange(stream: &mut TcpStream) -> Result<(), Failure> {
    stream.write_all(&[b'x'; REQUEST]).during("sending")?;
    stream.read_exact(&mut [0; ANSWER]).during("receiving")
}
