//! One `true` after the other, from sending `process/start` to `process/closed`.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Step, program};
use crate::client::{Client, Stdin};
use crate::failure::{During, Failure};
use crate::message::Event;
use crate::procfs::Cpu;
use crate::row::{Row, Unit};
use crate::sample::repeat;

const FLOORS: &[(&str, &str)] = &[("pipes.p50", "with pipes"), ("plain.p50", "without")];
const FLOORS_P99: &[(&str, &str)] = &[("pipes.p99", "with pipes"), ("plain.p99", "without")];

pub const ROWS: &[Row] = &[
    Row::new(Unit::Seconds, "ws.p50", "ws, p50", FLOORS),
    Row::new(Unit::Seconds, "ws.p99", "ws, p99", FLOORS_P99),
    Row::new(Unit::Seconds, "stdio.p50", "stdio, p50", FLOORS),
    Row::new(Unit::Seconds, "stdio.p99", "stdio, p99", FLOORS_P99),
    Row::new(
        Unit::Seconds,
        "stdio.cpu",
        "stdio, server CPU a process",
        &[],
    ),
    Row::new(
        Unit::Seconds,
        "stdio.children",
        "stdio, the child's CPU",
        &[],
    ),
];

const LEAST: usize = 10;
const WARM_UP: usize = 2;

pub fn server(step: &Step) -> Result<(), Failure> {
    let program = program("true")?;
    let (server, mut client) = step.open(&[])?;
    let mut number = 0;
    let before = Cpu::of(server.pid())?;
    let mut times = repeat(step.budget(600), LEAST, WARM_UP, || {
        number += 1;
        run(&mut client, &format!("p{number}"), &program)
    })?;
    let used = Cpu::of(server.pid())?.since(before);
    step.emit("p50", times.quantile(0.5));
    step.emit("p99", times.quantile(0.99));
    step.emit("cpu", used.own / f64::from(number));
    step.emit("children", used.children / f64::from(number));
    Ok(())
}

fn run(client: &mut Client, process: &str, program: &str) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let id = client.start(process, &[program], Stdin::Closed)?;
    until_closed(client, process, id, begun)
}

/// The time from `begun` until the process that request `id` has started is closed.
pub fn until_closed(
    client: &mut Client,
    process: &str,
    id: u64,
    begun: Instant,
) -> Result<Duration, Failure> {
    let (mut answered, mut closed) = (false, None);
    while !answered || closed.is_none() {
        match client.event()? {
            Event::Answer { id: seen, .. } if seen == id => answered = true,
            Event::Closed { process: seen } if seen == process => closed = Some(begun.elapsed()),
            Event::Exited { code } if code != 0 => {
                return Err(Failure::Unexpected(format!("true ended with {code}")));
            }
            _ => {}
        }
    }
    Ok(closed.unwrap_or_default())
}

pub fn floor(step: &Step) -> Result<(), Failure> {
    let program = program("true")?;
    let mut times = repeat(step.budget(600), LEAST, WARM_UP, || {
        let begun = Instant::now();
        bare(&program)?;
        Ok::<_, Failure>(begun.elapsed())
    })?;
    step.emit("pipes.p50", times.quantile(0.5));
    step.emit("pipes.p99", times.quantile(0.99));

    let mut plain = Command::new(&program);
    let mut times = repeat(step.budget(400), LEAST, WARM_UP, || {
        let begun = Instant::now();
        plain.status().during("running true")?;
        Ok::<_, Failure>(begun.elapsed())
    })?;
    step.emit("plain.p50", times.quantile(0.5));
    step.emit("plain.p99", times.quantile(0.99));
    Ok(())
}

/// The least that a server must do: `posix_spawn` with pipes, both read to their end, wait.
pub fn bare(program: &str) -> Result<(), Failure> {
    let mut child = Command::new(program)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .during("starting true")?;
    let mut rest = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_end(&mut rest).during("reading")?;
    }
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_end(&mut rest).during("reading")?;
    }
    child.wait().during("waiting")?;
    Ok(())
}
