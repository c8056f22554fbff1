//! The command line as a person uses it: whole processes from their start to their end. `ws` is a
//! websocket over loopback, `stdio` is ssh to a real sshd, where this machine has one.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{Step, program};
use crate::failure::{During, Failure};
use crate::row::{Row, Unit};
use crate::sample::repeat;
use crate::scratch::{self, Scratch};
use crate::subject::Transport;

use support::sshd::Sshd;

pub const ROWS: &[Row] = &[
    Row::new(
        Unit::Seconds,
        "ws.run",
        "run true, over ws",
        &[
            ("run", "env true"),
            ("ssh", "ssh"),
            ("multiplexed", "ssh, multiplexed"),
        ],
    ),
    Row::new(
        Unit::Seconds,
        "stdio.run",
        "run true, over ssh",
        &[("ssh", "ssh"), ("multiplexed", "ssh, multiplexed")],
    ),
    Row::new(
        Unit::MegabytesPerSecond,
        "ws.fetch",
        "cp of 1 GiB from there, over ws",
        &[("copy", "cat over TCP")],
    ),
    Row::new(
        Unit::MegabytesPerSecond,
        "ws.send",
        "cp of 1 GiB to there, over ws",
        &[("copy", "cat over TCP")],
    ),
    Row::new(
        Unit::MegabytesPerSecond,
        "stdio.fetch",
        "cp of 1 GiB from there, over ssh",
        &[("scp.fetch", "scp")],
    ),
    Row::new(
        Unit::MegabytesPerSecond,
        "stdio.send",
        "cp of 1 GiB to there, over ssh",
        &[("scp.send", "scp")],
    ),
];

const COPY_BYTES: usize = 1 << 30;
const LEAST: usize = 3;
const WARM_UP: usize = 1;
/// As `cat` has it.
const CAT_BUFFER: usize = 128 * 1024;

/// Ours alone has a command line to measure.
pub fn server(step: &Step) -> Result<(), Failure> {
    if !step.subject.is_this_project() {
        return Ok(());
    }
    let scratch = Scratch::new()?;
    match step.transport {
        Transport::Websocket => {
            let (server, _link) = step.start(&[])?;
            let address = server.address().unwrap_or_default();
            own(step, &scratch, &["-e", &format!("ws://{address}")])
        }
        Transport::Stdio => {
            let Some(sshd) = sshd(&scratch)? else {
                return Ok(());
            };
            let binary = scratch::text(&step.binary)?;
            let mut args = sshd.options();
            args.extend(["127.0.0.1", binary, "--listen", "stdio"].map(str::to_owned));
            let text = format!(
                "default = \"box\"\n[[environments]]\nid = \"box\"\nprogram = \"ssh\"\nargs = {args:?}\n"
            );
            let config = scratch.at("environments.toml");
            std::fs::write(&config, text).during("writing environments.toml")?;
            own(step, &scratch, &["--config", scratch::text(&config)?])
        }
    }
}

fn own(step: &Step, scratch: &Scratch, place: &[&str]) -> Result<(), Failure> {
    let mut run = Command::new(&step.binary);
    run.arg("run").args(place).args(["-n", &program("true")?]);
    step.emit("run", timed(step, &mut run)?);

    let source = scratch.file("source", COPY_BYTES)?;
    let target = scratch.at("target");
    let (here, there) = (scratch::text(&source)?, scratch::text(&target)?);
    for (name, from, to) in [
        ("fetch", format!(":{here}"), there.to_owned()),
        ("send", here.to_owned(), format!(":{there}")),
    ] {
        let mut copy = Command::new(&step.binary);
        copy.arg("cp").args(place).args([from, to]);
        step.emit(name, rate(copied(step, &target, || waited(&mut copy))?));
        same_size(&target)?;
    }
    Ok(())
}

pub fn floor(step: &Step) -> Result<(), Failure> {
    let scratch = Scratch::new()?;
    let mut env = Command::new(program("env")?);
    step.emit("run", timed(step, env.arg("true"))?);

    let source = scratch.file("source", COPY_BYTES)?;
    let target = scratch.at("target");
    step.emit(
        "copy",
        rate(copied(step, &target, || cat(&source, &target))?),
    );

    let Some(sshd) = sshd(&scratch)? else {
        return Ok(());
    };
    let mut ssh = Command::new("ssh");
    ssh.args(sshd.options()).args(["127.0.0.1", "true"]);
    step.emit("ssh", timed(step, &mut ssh)?);

    let socket = scratch.at("control");
    let control = [
        format!("ControlPath={}", scratch::text(&socket)?),
        "ControlMaster=auto".to_owned(),
        "ControlPersist=20".to_owned(),
    ];
    let mut multiplexed = Command::new("ssh");
    multiplexed.args(sshd.options());
    for option in &control {
        multiplexed.args(["-o", option]);
    }
    multiplexed.args(["127.0.0.1", "true"]);
    step.emit("multiplexed", timed(step, &mut multiplexed)?);

    let (here, there) = (scratch::text(&source)?, scratch::text(&target)?);
    for (name, from, to) in [
        ("scp.fetch", format!("127.0.0.1:{here}"), there.to_owned()),
        ("scp.send", here.to_owned(), format!("127.0.0.1:{there}")),
    ] {
        let mut scp = Command::new("scp");
        scp.arg("-q").args(sshd.options()).args([from, to]);
        step.emit(name, rate(copied(step, &target, || waited(&mut scp))?));
        same_size(&target)?;
    }
    Ok(())
}

/// An sshd, where this machine has one; a machine without it goes without these figures.
fn sshd(scratch: &Scratch) -> Result<Option<Sshd>, Failure> {
    let directory = scratch.at("sshd");
    std::fs::create_dir(&directory).during("making a directory for sshd")?;
    match Sshd::start(&directory) {
        Ok(sshd) => Ok(Some(sshd)),
        Err(why) => {
            eprintln!("no ssh: {why}");
            Ok(None)
        }
    }
}

/// The median time of a whole process, in seconds.
fn timed(step: &Step, command: &mut Command) -> Result<f64, Failure> {
    settle()?;
    let mut times = repeat(step.budget(500), LEAST, WARM_UP, || waited(command))?;
    Ok(times.quantile(0.5))
}

/// The median time of a copy, in seconds. Its target is not there before: to replace a file makes
/// the file system write the new one to the disk at once, which is not what is compared.
fn copied(
    step: &Step,
    target: &Path,
    mut copy: impl FnMut() -> Result<Duration, Failure>,
) -> Result<f64, Failure> {
    settle()?;
    let mut times = repeat(step.budget(0), LEAST, WARM_UP, || {
        match std::fs::remove_file(target) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
        .during("removing the target")?;
        copy()
    })?;
    Ok(times.quantile(0.5))
}

/// Lets the disk have what was written before, which would take from what is measured next.
fn settle() -> Result<(), Failure> {
    Command::new("sync").status().during("running sync")?;
    Ok(())
}

/// How long a whole process takes; it must succeed.
fn waited(command: &mut Command) -> Result<Duration, Failure> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit());
    let begun = Instant::now();
    let status = command
        .status()
        .during(format_args!("running {command:?}"))?;
    match status.success() {
        true => Ok(begun.elapsed()),
        false => Err(Failure::Unexpected(format!(
            "{command:?} ended with {status}"
        ))),
    }
}

/// Megabytes a second.
fn rate(seconds: f64) -> f64 {
    COPY_BYTES as f64 / 1e6 / seconds
}

/// A file through a TCP connection into another file, by reading and writing alone.
fn cat(source: &Path, target: &Path) -> Result<Duration, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").during("listening")?;
    let address = listener.local_addr().during("listening")?;
    let source = File::open(source).during("opening the source")?;
    let begun = Instant::now();
    let sending = thread::spawn(move || pump(source, listener.accept()?.0));
    let stream = TcpStream::connect(address).during("connecting")?;
    let target = File::create(target).during("making the target")?;
    pump(stream, target).during("receiving")?;
    match sending.join() {
        Ok(sent) => sent.during("sending")?,
        Err(_) => return Err(Failure::Unexpected("the sender panicked".to_owned())),
    }
    Ok(begun.elapsed())
}

fn pump(mut from: impl Read, mut to: impl Write) -> std::io::Result<()> {
    let mut buffer = vec![0; CAT_BUFFER];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => to.write_all(&buffer[..count])?,
        }
    }
}

fn same_size(target: &Path) -> Result<(), Failure> {
    let size = std::fs::metadata(target)
        .during("looking at the target")?
        .len();
    match size == COPY_BYTES as u64 {
        true => Ok(()),
        false => Err(Failure::Unexpected(format!("{size} bytes arrived"))),
    }
}
