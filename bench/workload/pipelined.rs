//! 32 requests in flight on one connection.
//!
//! For every answer that came, one more request goes out; those that are due together go in one
//! write, on the floors too. So the client is not what limits a server that takes them together.

use std::io::{Read, Write};
use std::time::Instant;

use super::Step;
use super::roundtrip::{ANSWER, REQUEST, nothing};
use crate::client::Client;
use crate::failure::{During, Failure};
use crate::link::Link;
use crate::message;
use crate::peer::{self, Peer};
use crate::procfs::Cpu;
use crate::row::{Goal, Row, Unit};
use crate::server::Server;

pub const ROWS: &[Row] = &[
    Row {
        key: "ws.rate",
        label: "ws",
        unit: Unit::PerSecond,
        floors: &[("tcp.rate", "TCP"), ("canned.rate", "canned ws")],
        goal: Some(Goal::TimesReference(4.0)),
    },
    Row {
        key: "ws.cpu",
        label: "ws, server CPU a request",
        unit: Unit::Seconds,
        floors: &[],
        goal: None,
    },
    Row {
        key: "stdio.rate",
        label: "stdio",
        unit: Unit::PerSecond,
        floors: &[("pipe.rate", "pipe")],
        goal: Some(Goal::TimesReference(4.0)),
    },
    Row {
        key: "stdio.cpu",
        label: "stdio, server CPU a request",
        unit: Unit::Seconds,
        floors: &[],
        goal: None,
    },
];

const IN_FLIGHT: usize = 32;

pub fn server(step: &Step) -> Result<(), Failure> {
    let (server, link) = Server::start(step.subject, &step.binary, step.transport)?;
    let mut client = Client::open(link, step.subject)?;
    let (method, params) = nothing();
    let params = params.to_string();
    for _ in 0..IN_FLIGHT {
        client.queue(method, &params);
    }
    client.link.flush()?;
    let before = Cpu::of(server.pid())?;
    let (budget, begun) = (step.budget(500), Instant::now());
    let mut answered = 0;
    while begun.elapsed() < budget {
        let count = answers(&mut client.link)?;
        for _ in 0..count {
            client.queue(method, &params);
        }
        client.link.flush()?;
        answered += count;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let used = Cpu::of(server.pid())?.since(before);
    step.emit("rate", answered as f64 / seconds);
    step.emit("cpu", used.own / answered as f64);
    Ok(())
}

/// Waits for one message at least, and counts the good answers among all that are there.
fn answers(link: &mut Link) -> Result<usize, Failure> {
    let mut count = usize::from(is_answer(link.receive()?)?);
    while let Some(message) = link.buffered()? {
        count += usize::from(is_answer(message)?);
    }
    Ok(count)
}

fn is_answer(message: &[u8]) -> Result<bool, Failure> {
    match message::event(message)? {
        message::Event::Answer { .. } => Ok(true),
        message::Event::Refused { code, message } => Err(Failure::Refused { code, message }),
        _ => Ok(false),
    }
}

pub fn floor(step: &Step) -> Result<(), Failure> {
    let peer = Peer::tcp(REQUEST, ANSWER)?;
    let stream = peer.connect()?;
    step.emit("tcp.rate", rate(step, &stream, &stream)?);

    let (_peer, stdin, stdout) = Peer::pipe(REQUEST, ANSWER)?;
    step.emit("pipe.rate", rate(step, stdout, stdin)?);

    let peer = Peer::canned_answers()?;
    let mut link = Link::websocket(peer.address())?;
    let queue = |link: &mut Link, count| {
        for _ in 0..count {
            link.queue(peer::canned::REQUEST);
        }
        link.flush()
    };
    queue(&mut link, IN_FLIGHT)?;
    let (budget, begun) = (step.budget(300), Instant::now());
    let mut answered = 0;
    while begun.elapsed() < budget {
        let count = answers(&mut link)?;
        queue(&mut link, count)?;
        answered += count;
    }
    step.emit(
        "canned.rate",
        answered as f64 / begun.elapsed().as_secs_f64(),
    );
    Ok(())
}

/// Answers a second of a peer that knows sizes only.
fn rate(step: &Step, mut from: impl Read, mut to: impl Write) -> Result<f64, Failure> {
    let requests = [b'x'; REQUEST * IN_FLIGHT];
    let mut answers = [0; ANSWER * IN_FLIGHT];
    to.write_all(&requests).during("sending")?;
    let (budget, begun) = (step.budget(300), Instant::now());
    let (mut answered, mut part) = (0, 0);
    while begun.elapsed() < budget {
        part += from.read(&mut answers).during("receiving")?;
        let count = part / ANSWER;
        part %= ANSWER;
        to.write_all(&requests[..count * REQUEST])
            .during("sending")?;
        answered += count;
    }
    Ok(answered as f64 / begun.elapsed().as_secs_f64())
}
