//! 32 requests in flight on one connection.
//!
//! For every answer that came, one more request goes out. Those that are due at the same time are
//! sent together in one write, so that the client is not what limits the server; or singly, a write
//! each, as callers that know nothing of each other do. On one core those writes are most of the
//! time: even the canned server has hardly four times the references' rate then.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use super::Step;
use super::roundtrip::{ANSWER, REQUEST, nothing};
use crate::failure::{During, Failure};
use crate::link::Link;
use crate::message;
use crate::peer::{Peer, canned};
use crate::procfs::Cpu;
use crate::row::{Row, Unit};

pub const ROWS: &[Row] = &[
    Row::new(
        Unit::PerSecond,
        "ws.together.rate",
        "ws, sent together",
        &[("tcp.together", "TCP"), ("canned.together", "canned ws")],
    ),
    cpu_row("ws.together.cpu", "ws, together, CPU a request"),
    Row::new(
        Unit::PerSecond,
        "ws.singly.rate",
        "ws, sent singly",
        &[("tcp.singly", "TCP"), ("canned.singly", "canned ws")],
    ),
    cpu_row("ws.singly.cpu", "ws, singly, CPU a request"),
    Row::new(
        Unit::PerSecond,
        "stdio.together.rate",
        "stdio, sent together",
        &[("pipe.together", "pipe")],
    ),
    cpu_row("stdio.together.cpu", "stdio, together, CPU a request"),
    Row::new(
        Unit::PerSecond,
        "stdio.singly.rate",
        "stdio, sent singly",
        &[("pipe.singly", "pipe")],
    ),
    cpu_row("stdio.singly.cpu", "stdio, singly, CPU a request"),
];

const fn cpu_row(key: &'static str, label: &'static str) -> Row {
    Row {
        key,
        label,
        unit: Unit::Seconds,
        floors: &[],
    }
}

const IN_FLIGHT: usize = 32;

/// How the requests that are due at the same time are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sending {
    Together,
    Singly,
}

impl Sending {
    const ALL: [(Self, &'static str); 2] = [(Self::Together, "together"), (Self::Singly, "singly")];
}

pub fn server(step: &Step) -> Result<(), Failure> {
    let (server, mut client) = step.open(&[])?;
    let (method, params) = nothing();
    let params = params.to_string();
    for (sending, name) in Sending::ALL {
        let before = Cpu::of(server.pid())?;
        let begun = Instant::now();
        let answered = keep_in_flight(
            step.budget(400),
            sending,
            &mut client,
            |client| {
                client.queue(method, &params);
            },
            |client| &mut client.link,
        )?;
        let seconds = begun.elapsed().as_secs_f64();
        let used = Cpu::of(server.pid())?.since(before);
        step.emit(&format!("{name}.rate"), answered as f64 / seconds);
        step.emit(&format!("{name}.cpu"), used.own / answered as f64);
    }
    Ok(())
}

/// Keeps 32 requests under way for so long, then takes what is still due; gives their number.
fn keep_in_flight<C>(
    budget: Duration,
    sending: Sending,
    connection: &mut C,
    mut queue: impl FnMut(&mut C),
    link: impl Fn(&mut C) -> &mut Link,
) -> Result<usize, Failure> {
    let begun = Instant::now();
    let (mut due, mut answered, mut wanted) = (0, 0, IN_FLIGHT);
    loop {
        for _ in 0..wanted {
            queue(connection);
            if sending == Sending::Singly {
                link(connection).flush()?;
            }
        }
        link(connection).flush()?;
        due += wanted;
        let count = answers(link(connection))?;
        due -= count;
        answered += count;
        if begun.elapsed() < budget {
            wanted = count;
        } else if due == 0 {
            return Ok(answered);
        } else {
            wanted = 0;
        }
    }
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
    for (sending, name) in Sending::ALL {
        let budget = step.budget(200);
        let peer = Peer::tcp(REQUEST, ANSWER)?;
        let stream = peer.connect()?;
        step.emit(
            &format!("tcp.{name}"),
            rate(budget, sending, &stream, &stream)?,
        );

        let (_peer, stdin, stdout) = Peer::pipe(REQUEST, ANSWER)?;
        step.emit(
            &format!("pipe.{name}"),
            rate(budget, sending, stdout, stdin)?,
        );

        let peer = Peer::canned_answers()?;
        let mut link = Link::websocket(peer.address())?;
        let begun = Instant::now();
        let answered = keep_in_flight(
            budget,
            sending,
            &mut link,
            |link| link.queue(canned::REQUEST),
            |link| link,
        )?;
        let seconds = begun.elapsed().as_secs_f64();
        step.emit(&format!("canned.{name}"), answered as f64 / seconds);
    }
    Ok(())
}

/// Answers a second of a peer that knows sizes only.
fn rate(
    budget: Duration,
    sending: Sending,
    mut from: impl Read,
    mut to: impl Write,
) -> Result<f64, Failure> {
    let requests = [b'x'; REQUEST * IN_FLIGHT];
    let mut answers = [0; ANSWER * IN_FLIGHT];
    let begun = Instant::now();
    let (mut answered, mut part, mut wanted) = (0, 0, IN_FLIGHT);
    while begun.elapsed() < budget {
        let due = &requests[..wanted * REQUEST];
        match sending {
            Sending::Together => to.write_all(due),
            Sending::Singly => due.chunks(REQUEST).try_for_each(|one| to.write_all(one)),
        }
        .during("sending")?;
        part += from.read(&mut answers).during("receiving")?;
        wanted = part / ANSWER;
        part %= ANSWER;
        answered += wanted;
    }
    Ok(answered as f64 / begun.elapsed().as_secs_f64())
}
