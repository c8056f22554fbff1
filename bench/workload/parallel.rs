//! 16 processes in flight on one connection: how many `true` a second, and at what cost.

use std::thread;
use std::time::Instant;

use super::{Step, program, spawn};
use crate::client::{Client, Stdin};
use crate::failure::Failure;
use crate::message::Event;
use crate::procfs::Cpu;
use crate::row::{Row, Unit};
use crate::server::Server;

const FLOORS: &[(&str, &str)] = &[("rate", "16 threads, with pipes")];

pub const ROWS: &[Row] = &[
    Row {
        key: "ws.rate",
        label: "ws",
        unit: Unit::PerSecond,
        floors: FLOORS,
    },
    Row {
        key: "ws.cpu",
        label: "ws, server CPU a process",
        unit: Unit::Seconds,
        floors: &[],
    },
    Row {
        key: "ws.children",
        label: "ws, the child's CPU",
        unit: Unit::Seconds,
        floors: &[],
    },
    Row {
        key: "stdio.rate",
        label: "stdio",
        unit: Unit::PerSecond,
        floors: FLOORS,
    },
    Row {
        key: "stdio.cpu",
        label: "stdio, server CPU a process",
        unit: Unit::Seconds,
        floors: &[],
    },
];

const IN_FLIGHT: usize = 16;

pub fn server(step: &Step) -> Result<(), Failure> {
    let program = program("true")?;
    let (server, link) = Server::start(step.subject, &step.binary, step.transport)?;
    let mut client = Client::open(link, step.subject)?;
    let before = Cpu::of(server.pid())?;
    let (budget, begun) = (step.budget(800), Instant::now());
    let mut started = 0;
    let mut start = |client: &mut Client| {
        started += 1;
        client.start(&format!("p{started}"), &[&program], Stdin::Closed)
    };
    for _ in 0..IN_FLIGHT {
        start(&mut client)?;
    }
    let (mut closed, mut live) = (0, IN_FLIGHT);
    while live > 0 {
        if matches!(client.event()?, Event::Closed { .. }) {
            closed += 1;
            live -= 1;
            if begun.elapsed() < budget {
                start(&mut client)?;
                live += 1;
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let used = Cpu::of(server.pid())?.since(before);
    let closed = f64::from(closed);
    step.emit("rate", closed / seconds);
    step.emit("cpu", used.own / closed);
    step.emit("children", used.children / closed);
    Ok(())
}

pub fn floor(step: &Step) -> Result<(), Failure> {
    let program = program("true")?;
    let (budget, begun) = (step.budget(800), Instant::now());
    let count = thread::scope(|scope| {
        let loops: Vec<_> = (0..IN_FLIGHT)
            .map(|_| {
                scope.spawn(|| {
                    let mut count = 0;
                    while begun.elapsed() < budget {
                        spawn::bare(&program)?;
                        count += 1;
                    }
                    Ok::<_, Failure>(count)
                })
            })
            .collect();
        let mut sum = 0;
        for handle in loops {
            let count: i32 = handle
                .join()
                .map_err(|_| Failure::Unexpected("a spawning thread panicked".to_owned()))??;
            sum += count;
        }
        Ok::<_, Failure>(sum)
    })?;
    step.emit("rate", f64::from(count) / begun.elapsed().as_secs_f64());
    Ok(())
}
