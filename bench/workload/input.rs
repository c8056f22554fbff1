//! 64 MiB of `process/write` to a `dd` that throws them away. It ends by itself after the last byte
//! and reports how many it had, which proves that all were delivered: `accepted` does not.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use base64_simd::STANDARD;

use super::{Step, program};
use crate::client::Stdin;
use crate::failure::{During, Failure};
use crate::guard::Guarded;
use crate::message::Event;
use crate::procfs::Cpu;
use crate::row::{Row, Unit};

const FLOORS: &[(&str, &str)] = &[("pipe.rate", "pipe to dd")];

pub const ROWS: &[Row] = &[
    Row::new(Unit::MegabytesPerSecond, "ws.rate", "ws", FLOORS),
    Row::new(Unit::CpuPerGib, "ws.cpu", "ws, server CPU", &[]),
    Row::new(Unit::MegabytesPerSecond, "stdio.rate", "stdio", FLOORS),
    Row::new(Unit::CpuPerGib, "stdio.cpu", "stdio, server CPU", &[]),
];

const BYTES: usize = 64 * 1024 * 1024;
const CHUNK: usize = 256 * 1024;
/// Writes under way at a time; enough that neither end waits for the other.
const IN_FLIGHT: usize = 8;
const A_GIB: f64 = (1u64 << 30) as f64 / BYTES as f64;
const DD: [&str; 4] = ["of=/dev/null", "bs=64k", "count=1024", "iflag=fullblock"];

pub fn server(step: &Step) -> Result<(), Failure> {
    let dd = program("dd")?;
    let argv: Vec<&str> = std::iter::once(dd.as_str()).chain(DD).collect();
    let base64 = STANDARD.encode_to_string(vec![b'i'; CHUNK]);
    let (server, mut client) = step.open(&[])?;
    let id = client.start("dd", &argv, Stdin::Pipe)?;
    client.answer(id)?;

    let before = Cpu::of(server.pid())?;
    let begun = Instant::now();
    let (mut sent, mut accepted) = (0, 0);
    let (mut report, mut exited) = (Vec::new(), None);
    loop {
        while sent < BYTES / CHUNK && sent - accepted < IN_FLIGHT {
            client.write("dd", &base64)?;
            sent += 1;
        }
        match client.event()? {
            Event::Answer { result, .. } if result.contains(r#""accepted""#) => accepted += 1,
            Event::Answer { result, .. } => {
                return Err(Failure::Unexpected(format!(
                    "a write was answered {result}"
                )));
            }
            Event::Output { chunk } => {
                let bytes = STANDARD.decode_to_vec(chunk);
                report.extend(bytes.map_err(|error| Failure::Unexpected(error.to_string()))?);
            }
            Event::Exited { .. } => exited = Some(begun.elapsed()),
            Event::Closed { .. } => break,
            _ => {}
        }
    }
    let used = Cpu::of(server.pid())?.since(before);
    let report = String::from_utf8_lossy(&report);
    if !report.contains(&BYTES.to_string()) {
        return Err(Failure::Unexpected(format!("dd reported {report:?}")));
    }
    let Some(time) = exited else {
        return Err(Failure::Unexpected("closed came without exited".to_owned()));
    };
    step.emit("rate", BYTES as f64 / 1e6 / time.as_secs_f64());
    step.emit("cpu", used.own * A_GIB);
    Ok(())
}

pub fn floor(step: &Step) -> Result<(), Failure> {
    let bytes = vec![b'i'; CHUNK];
    let mut command = Command::new(program("dd")?);
    command.args(DD).stdin(Stdio::piped()).stderr(Stdio::null());
    let mut child = Guarded::spawn(&mut command)?;
    let mut stdin = child
        .with(|child| child.stdin.take())
        .ok_or_else(|| Failure::Unexpected("dd has no pipe".to_owned()))?;
    let begun = Instant::now();
    for _ in 0..BYTES / CHUNK {
        stdin.write_all(&bytes).during("writing to dd")?;
    }
    child.with(|child| child.wait()).during("waiting for dd")?;
    step.emit(
        "pipe.rate",
        BYTES as f64 / 1e6 / begun.elapsed().as_secs_f64(),
    );
    Ok(())
}
