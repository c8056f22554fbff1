//! What a server holds: idle after one `initialize`, with a thousand more connections (upgraded
//! only, then initialized), with 200 live processes; and the size of its binary. Each but the second
//! after a pause, since what is idle has not been asked for anything for a while.

use std::time::Duration;

use super::{Step, program};
use crate::client::{Client, Stdin};
use crate::failure::{During, Failure};
use crate::link::Link;
use crate::procfs::Memory;
use crate::row::{Row, Unit};
use crate::server::Server;
use crate::subject::Transport;

pub const ROWS: &[Row] = &[
    row("ws.idle.rss", "idle, resident"),
    row("ws.idle.pss", "idle, proportional"),
    row("ws.idle.anonymous", "idle, anonymous"),
    row("ws.upgraded.rss", "1000 connections, upgraded"),
    row("ws.connections.rss", "1000 connections, initialized"),
    row("ws.connections.anonymous", "the same, anonymous"),
    row("ws.processes.rss", "200 live processes"),
    row("ws.processes.anonymous", "the same, anonymous"),
    row("ws.binary", "the binary on disk"),
];

const fn row(key: &'static str, label: &'static str) -> Row {
    Row {
        key,
        label,
        unit: Unit::Bytes,
        floors: &[],
    }
}

/// The pause before a server counts as idle.
const PAUSE: Duration = Duration::from_secs(3);
const CONNECTIONS: usize = 1000;
const PROCESSES: usize = 200;

pub fn server(step: &Step) -> Result<(), Failure> {
    let size = std::fs::metadata(&step.binary)
        .during(format_args!("looking at {}", step.binary.display()))?
        .len();
    step.emit("binary", size as f64);

    let (server, first) = Server::start(step.subject, &step.binary, Transport::Websocket, &[])?;
    let _first = Client::open(first, step.subject)?;
    let alone = idle(server.pid())?;
    step.emit("idle.rss", alone.resident);
    step.emit("idle.pss", alone.proportional);
    step.emit("idle.anonymous", alone.anonymous);

    let links: Vec<Link> = (0..CONNECTIONS)
        .map(|_| server.connect())
        .collect::<Result<_, _>>()?;
    step.emit("upgraded.rss", Memory::of(server.pid())?.resident);
    let clients: Vec<Client> = links
        .into_iter()
        .map(|link| Client::open(link, step.subject))
        .collect::<Result<_, _>>()?;
    let connected = idle(server.pid())?;
    step.emit("connections.rss", connected.resident);
    step.emit("connections.anonymous", connected.anonymous);
    drop((clients, server));

    let sleep = program("sleep")?;
    let (server, link) = Server::start(step.subject, &step.binary, Transport::Websocket, &[])?;
    let mut client = Client::open(link, step.subject)?;
    for number in 0..PROCESSES {
        let id = client.start(&format!("p{number}"), &[&sleep, "600"], Stdin::Closed)?;
        client.answer(id)?;
    }
    let busy = idle(server.pid())?;
    step.emit("processes.rss", busy.resident);
    step.emit("processes.anonymous", busy.anonymous);
    Ok(())
}

/// What the server has when it is idle.
fn idle(pid: u32) -> Result<Memory, Failure> {
    std::thread::sleep(PAUSE);
    Memory::of(pid)
}
