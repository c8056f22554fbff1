//! Whole files, one at a time: `fs/readFile` of 64 MiB in one answer, `fs/writeFile` of 8 MiB, and
//! the server's CPU for both. Larger writes would not fit the one frame of 16 MiB that servers take.
//!
//! The client counts the bytes by the length of their base64, which it does not decode, and keeps
//! no more than the ends of an answer. The floors do the same with the standard library. All of it
//! stays in the page cache.

use std::fs;
use std::time::{Duration, Instant};

use base64_simd::STANDARD;
use serde_json::json;

use super::Step;
use crate::client::Client;
use crate::failure::{During, Failure};
use crate::message::Outline;
use crate::procfs::Cpu;
use crate::row::{Row, Unit};
use crate::sample::repeat;
use crate::scratch::{self, Scratch};
use crate::server::Server;

const READ: &[(&str, &str)] = &[("read.rate", "fs::read")];
const WRITE: &[(&str, &str)] = &[("write.rate", "fs::write")];

pub const ROWS: &[Row] = &[
    Row::new(
        Unit::MegabytesPerSecond,
        "ws.read.rate",
        "ws, fs/readFile 64 MiB",
        READ,
    ),
    cpu("ws.read.cpu", "ws, the same, server CPU"),
    Row::new(
        Unit::MegabytesPerSecond,
        "ws.write.rate",
        "ws, fs/writeFile 8 MiB",
        WRITE,
    ),
    cpu("ws.write.cpu", "ws, the same, server CPU"),
    Row::new(
        Unit::MegabytesPerSecond,
        "stdio.read.rate",
        "stdio, fs/readFile 64 MiB",
        READ,
    ),
    cpu("stdio.read.cpu", "stdio, the same, server CPU"),
    Row::new(
        Unit::MegabytesPerSecond,
        "stdio.write.rate",
        "stdio, fs/writeFile 8 MiB",
        WRITE,
    ),
    cpu("stdio.write.cpu", "stdio, the same, server CPU"),
];

const fn cpu(key: &'static str, label: &'static str) -> Row {
    Row {
        key,
        label,
        unit: Unit::CpuPerGib,
        floors: &[],
    }
}

const READ_BYTES: usize = 64 * 1024 * 1024;
const WRITE_BYTES: usize = 8 * 1024 * 1024;
/// Ours refuses answers that its clients do not take, unless they say that they do.
const MAX_ANSWER: usize = 2 * READ_BYTES;
const LEAST: usize = 3;
const WARM_UP: usize = 1;

pub fn server(step: &Step) -> Result<(), Failure> {
    let scratch = Scratch::new()?;
    let source = scratch.file("source", READ_BYTES)?;
    let target = scratch.at("target");
    let (server, mut client) = step.open(&[])?;

    let source = step.subject.path(scratch::text(&source)?);
    let params = json!({"path": source, "maxMessageBytes": MAX_ANSWER}).to_string();
    measured(step, &server, "read", READ_BYTES, || {
        read(&mut client, &params)
    })?;

    let content = scratch::content(WRITE_BYTES);
    let path = step.subject.path(scratch::text(&target)?);
    let data = STANDARD.encode_to_string(&content);
    let params = json!({"path": path, "dataBase64": data}).to_string();
    measured(step, &server, "write", WRITE_BYTES, || {
        write(&mut client, &params)
    })?;
    if fs::read(&target).during("reading what was written")? == content {
        Ok(())
    } else {
        Err(Failure::Unexpected(
            "fs/writeFile wrote something else".to_owned(),
        ))
    }
}

/// Repeats a transfer of so many bytes, and emits its rate and what CPU it takes. The warm-up comes
/// before the CPU is looked at, because it is much of so few transfers.
fn measured(
    step: &Step,
    server: &Server,
    key: &str,
    bytes: usize,
    mut transfer: impl FnMut() -> Result<Duration, Failure>,
) -> Result<(), Failure> {
    for _ in 0..WARM_UP {
        transfer()?;
    }
    let before = Cpu::of(server.pid())?;
    let mut times = repeat(step.budget(800), LEAST, 0, transfer)?;
    let used = Cpu::of(server.pid())?.since(before);
    step.emit(&format!("{key}.rate"), rate_of(bytes, times.quantile(0.5)));
    let gibibytes = (bytes * times.len()) as f64 / (1u64 << 30) as f64;
    step.emit(&format!("{key}.cpu"), used.own / gibibytes);
    Ok(())
}

/// Megabytes a second.
fn rate_of(bytes: usize, seconds: f64) -> f64 {
    bytes as f64 / 1e6 / seconds
}

fn read(client: &mut Client, params: &str) -> Result<Duration, Failure> {
    let mut outline = Outline::default();
    let begun = Instant::now();
    client.queue("fs/readFile", &params);
    client.link.flush()?;
    client.link.receive_pieces(|piece| outline.add(piece))?;
    let time = begun.elapsed();
    match outline.file_bytes()? {
        bytes if bytes == READ_BYTES as u64 => Ok(time),
        bytes => Err(Failure::Unexpected(format!(
            "{bytes} bytes of a file came instead of {READ_BYTES}"
        ))),
    }
}

/// The client's own masking of the request is over when the time begins.
fn write(client: &mut Client, params: &str) -> Result<Duration, Failure> {
    let id = client.queue("fs/writeFile", &params);
    let begun = Instant::now();
    client.link.flush()?;
    client.answer(id)?;
    Ok(begun.elapsed())
}

pub fn floor(step: &Step) -> Result<(), Failure> {
    let scratch = Scratch::new()?;
    let source = scratch.file("source", READ_BYTES)?;
    let mut times = repeat(step.budget(300), LEAST, WARM_UP, || {
        let begun = Instant::now();
        let content = fs::read(&source).during("reading a file")?;
        let time = begun.elapsed();
        drop(content);
        Ok::<_, Failure>(time)
    })?;
    step.emit("read.rate", rate_of(READ_BYTES, times.quantile(0.5)));

    let content = scratch::content(WRITE_BYTES);
    let target = scratch.at("target");
    let mut times = repeat(step.budget(300), LEAST, WARM_UP, || {
        let begun = Instant::now();
        fs::write(&target, &content).during("writing a file")?;
        Ok::<_, Failure>(begun.elapsed())
    })?;
    step.emit("write.rate", rate_of(WRITE_BYTES, times.quantile(0.5)));
    Ok(())
}
