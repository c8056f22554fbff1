//! A line to `cat` and back, through pipes and through a pseudo-terminal: from sending
//! `process/write` to the notification that carries the line. A terminal gives it twice, once by
//! its own echo and once by `cat`; `first` ends with the echo and `all` with both.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64_simd::STANDARD;

use super::{Step, program};
use crate::client::{Client, Stdin};
use crate::failure::{During, Failure};
use crate::guard::Guarded;
use crate::message::{self, Event};
use crate::peer::terminal;
use crate::row::{Row, Unit};
use crate::sample::{Times, repeat};

const PIPE: &[(&str, &str)] = &[("pipe.p50", "cat, pipes")];
const FIRST: &[(&str, &str)] = &[("pty.p50", "bare pty")];
const ALL: &[(&str, &str)] = &[("pty.all", "cat, bare pty")];
pub const ROWS: &[Row] = &[
    Row::new(Unit::Seconds, "ws.pipe.p50", "ws, pipe, p50", PIPE),
    Row::new(
        Unit::Seconds,
        "ws.pipe.p99",
        "ws, pipe, p99",
        &[("pipe.p99", "cat, pipes")],
    ),
    Row::new(Unit::Seconds, "ws.pty.p50", "ws, pty, first, p50", FIRST),
    Row::new(Unit::Seconds, "ws.pty.all", "ws, pty, all, p50", ALL),
    Row::new(Unit::Seconds, "stdio.pipe.p50", "stdio, pipe, p50", PIPE),
    Row::new(
        Unit::Seconds,
        "stdio.pty.p50",
        "stdio, pty, first, p50",
        FIRST,
    ),
    Row::new(Unit::Seconds, "stdio.pty.all", "stdio, pty, all, p50", ALL),
];

const LINE: &[u8; 16] = b"0123456789abcde\n";
/// What a terminal makes of it: each of two newlines gains a carriage return.
const TWICE: u64 = 2 * (LINE.len() as u64 + 1);
const LEAST: usize = 8;
const WARM_UP: usize = 3;

pub fn server(step: &Step) -> Result<(), Failure> {
    let cat = program("cat")?;
    let (_server, mut client) = step.open(&[])?;
    for (key, stdin, expected) in [
        ("pipe", Stdin::Pipe, LINE.len() as u64),
        ("pty", Stdin::Terminal, TWICE),
    ] {
        let id = client.start(key, &[&cat], stdin)?;
        client.answer(id)?;
        let mut whole = Times::default();
        let mut first = repeat(step.budget(300), LEAST, WARM_UP, || {
            let (first, all) = echo(&mut client, key, expected)?;
            whole.push(all);
            Ok::<_, Failure>(first)
        })?;
        step.emit(&format!("{key}.p50"), first.quantile(0.5));
        step.emit(&format!("{key}.p99"), first.quantile(0.99));
        step.emit(&format!("{key}.all"), whole.quantile(0.5));
    }
    Ok(())
}

/// Sends one line; gives the times to its first and to its last byte.
fn echo(
    client: &mut Client,
    process: &str,
    expected: u64,
) -> Result<(Duration, Duration), Failure> {
    let base64 = STANDARD.encode_to_string(LINE);
    let begun = Instant::now();
    let id = client.write(process, &base64)?;
    let (mut first, mut all) = (None, None);
    let (mut seen, mut answered) = (0, false);
    while !answered || all.is_none() {
        match client.event()? {
            Event::Answer { id: other, .. } if other == id => answered = true,
            Event::Output { chunk } => {
                seen += message::decoded(chunk.len(), chunk.as_bytes());
                first = first.or_else(|| Some(begun.elapsed()));
                if seen >= expected {
                    all = Some(begun.elapsed());
                }
            }
            Event::Exited { .. } => {
                return Err(Failure::Unexpected("cat ended".to_owned()));
            }
            _ => {}
        }
    }
    Ok((first.unwrap_or_default(), all.unwrap_or_default()))
}

pub fn floor(step: &Step) -> Result<(), Failure> {
    let cat = program("cat")?;
    let mut command = Command::new(&cat);
    let mut child = Guarded::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
    let pipes = child.with(|child| child.stdin.take().zip(child.stdout.take()));
    let (mut stdin, mut stdout) =
        pipes.ok_or_else(|| Failure::Unexpected("cat has no pipes".to_owned()))?;
    let mut times = repeat(step.budget(200), LEAST, WARM_UP, || {
        let begun = Instant::now();
        stdin.write_all(LINE).during("writing to cat")?;
        stdout.read_exact(&mut [0; 16]).during("reading from cat")?;
        Ok::<_, Failure>(begun.elapsed())
    })?;
    step.emit("pipe.p50", times.quantile(0.5));
    step.emit("pipe.p99", times.quantile(0.99));

    // A machine without perl lacks this floor only.
    let mut command = terminal::command(&cat, "0123456789abcde", step.budget(200))?;
    let measured = command
        .stdin(Stdio::null())
        .output()
        .during("running perl")?;
    for line in String::from_utf8_lossy(&measured.stdout).lines() {
        if let Some((key, value)) = line.split_once('\t') {
            step.emit(key, value.parse().unwrap_or(f64::NAN));
        }
    }
    if measured.status.success() {
        Ok(())
    } else {
        let said = String::from_utf8_lossy(&measured.stderr);
        Err(Failure::Unexpected(format!(
            "the bare pty: {}",
            said.trim()
        )))
    }
}
