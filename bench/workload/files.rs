//! Small requests about files, one at a time: `fs/readFile` of 1 KiB beside `fs/getMetadata` of the
//! same file, and `fs/readDirectory` of 10,000 entries with the server's CPU for one.
//!
//! The floors do the same with the standard library, and no server in between.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use super::Step;
use super::roundtrip::round_trip;
use crate::client::Client;
use crate::failure::{During, Failure};
use crate::message::Event;
use crate::procfs::Cpu;
use crate::row::{Row, Unit};
use crate::sample::{Times, repeat};
use crate::scratch::{self, Scratch};

const STAT: &[(&str, &str)] = &[("metadata.p50", "fs::metadata")];
const READ: &[(&str, &str)] = &[("read.p50", "fs::read")];
const LIST: &[(&str, &str)] = &[("list.p50", "fs::read_dir")];

pub const ROWS: &[Row] = &[
    Row::new(
        Unit::Seconds,
        "ws.metadata.p50",
        "ws, fs/getMetadata, p50",
        STAT,
    ),
    Row::new(
        Unit::Seconds,
        "ws.read.p50",
        "ws, fs/readFile 1 KiB, p50",
        READ,
    ),
    Row::new(
        Unit::Seconds,
        "ws.list.p50",
        "ws, 10,000 entries, p50",
        LIST,
    ),
    Row::new(
        Unit::Seconds,
        "ws.list.cpu",
        "ws, 10,000 entries, server CPU",
        LIST,
    ),
    Row::new(
        Unit::Seconds,
        "stdio.metadata.p50",
        "stdio, fs/getMetadata, p50",
        STAT,
    ),
    Row::new(
        Unit::Seconds,
        "stdio.read.p50",
        "stdio, fs/readFile 1 KiB, p50",
        READ,
    ),
    Row::new(
        Unit::Seconds,
        "stdio.list.p50",
        "stdio, 10,000 entries, p50",
        LIST,
    ),
    Row::new(
        Unit::Seconds,
        "stdio.list.cpu",
        "stdio, 10,000 entries, CPU",
        LIST,
    ),
];

const SIZE: usize = 1024;
const ENTRIES: usize = 10_000;
const LEAST: usize = 100;
const WARM_UP: usize = 200;
/// The same for directories, whose listing takes a thousand times as long.
const LISTINGS: usize = 5;
const LISTINGS_WARM_UP: usize = 2;

pub fn server(step: &Step) -> Result<(), Failure> {
    let scratch = Scratch::new()?;
    let file = scratch.file("file", SIZE)?;
    let directory = scratch.directory("directory", ENTRIES)?;
    let (server, mut client) = step.open(&[])?;
    let params = |path: &Path| {
        scratch::text(path).map(|path| json!({"path": step.subject.path(path)}).to_string())
    };

    let file = params(&file)?;
    for (method, key) in [
        ("fs/getMetadata", "metadata.p50"),
        ("fs/readFile", "read.p50"),
    ] {
        let id = client.queue(method, &file);
        client.link.flush()?;
        client.answer(id)?;
        let mut times = repeat(step.budget(400), LEAST, WARM_UP, || {
            round_trip(&mut client, method, &file)
        })?;
        step.emit(key, times.quantile(0.5));
    }

    let directory = params(&directory)?;
    complete(&mut client, &directory)?;
    let before = Cpu::of(server.pid())?;
    let mut times = repeat(step.budget(600), LISTINGS, LISTINGS_WARM_UP, || {
        round_trip(&mut client, "fs/readDirectory", &directory)
    })?;
    let used = Cpu::of(server.pid())?.since(before);
    step.emit("list.p50", times.quantile(0.5));
    step.emit(
        "list.cpu",
        used.own / (times.len() + LISTINGS_WARM_UP) as f64,
    );
    Ok(())
}

/// Lists the directory once, and checks that no entry is missing.
fn complete(client: &mut Client, params: &str) -> Result<(), Failure> {
    client.queue("fs/readDirectory", &params);
    client.link.flush()?;
    let Event::Answer { result, .. } = client.event()? else {
        return Err(Failure::Unexpected("no answer to a listing".to_owned()));
    };
    let result: Value =
        serde_json::from_str(result).map_err(|error| Failure::Unexpected(error.to_string()))?;
    match result["entries"].as_array().map(Vec::len) {
        Some(ENTRIES) => Ok(()),
        other => Err(Failure::Unexpected(format!(
            "{other:?} entries instead of {ENTRIES}"
        ))),
    }
}

pub fn floor(step: &Step) -> Result<(), Failure> {
    let scratch = Scratch::new()?;
    let file = scratch.file("file", SIZE)?;
    let directory = scratch.directory("directory", ENTRIES)?;
    let mut times = plain(step, LEAST, || fs::metadata(&file))?;
    step.emit("metadata.p50", times.quantile(0.5));
    let mut times = plain(step, LEAST, || fs::read(&file))?;
    step.emit("read.p50", times.quantile(0.5));
    let mut times = plain(step, LISTINGS, || list(&directory))?;
    step.emit("list.p50", times.quantile(0.5));
    Ok(())
}

/// Repeats one call of the standard library.
fn plain<T>(
    step: &Step,
    least: usize,
    mut call: impl FnMut() -> io::Result<T>,
) -> Result<Times, Failure> {
    repeat(step.budget(100), least, LISTINGS_WARM_UP, || {
        let begun = Instant::now();
        let done = call().during("asking the file system")?;
        let time = begun.elapsed();
        drop(done);
        Ok(time)
    })
}

/// Names and types of all entries.
fn list(directory: &Path) -> io::Result<Vec<(std::ffi::OsString, fs::FileType)>> {
    fs::read_dir(directory)?
        .map(|entry| entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?))))
        .collect()
}
