//! 16 processes in flight on one connection: how many `true` a second, and at what cost.

use std::thread;
use std::time::Instant;

use super::{Step, program, spawn};
use crate::client::{Client, Stdin};
use crate::failure::Failure;
use crate::message::Event;
use crate::procfs::Cpu;
use crate::row::{Row, Unit};

const FLOORS: &[(&str, &str)] = &[("rate", "16 threads, with pipes")];

pub const ROWS: &[Row] = &[
    Row::new(Unit::PerSecond, "ws.rate", "ws", FLOORS),
    Row::new(Unit::Seconds, "ws.cpu", "ws, server CPU a process", &[]),
    Row::new(Unit::Seconds, "ws.children", "ws, the child's CPU", &[]),
    Row::new(Unit::PerSecond, "stdio.rate", "stdio", FLOORS),
    Row::new(
        Unit::Seconds,
        "stdio.cpu",
        "stdio, server CPU a process",
        &[],
    ),
];

const IN_FLIGHT: usize = 16;

pub fn server(step: &Step) -> Result<(), Failure> {
    let program = program("true")?;
    let (server, mut client) = step.open(&[])?;
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
