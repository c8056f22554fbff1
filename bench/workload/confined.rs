//! One `true` after the other under a policy that lets it read and not write, without a network.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::spawn::until_closed;
use super::{Step, program};
use crate::client::Stdin;
use crate::failure::{During, Failure};
use crate::row::{Row, Unit};
use crate::sample::repeat;
use crate::scratch::Scratch;
use crate::subject::Subject;
use exec_server::sandbox::bundled::BUNDLED_BWRAP;

const FLOORS: &[(&str, &str)] = &[("bwrap.p50", "the same bwrap line")];

pub const ROWS: &[Row] = &[
    Row::new(Unit::Seconds, "ws.p50", "ws, p50", FLOORS),
    Row::new(Unit::Seconds, "stdio.p50", "stdio, p50", FLOORS),
    Row::new(
        Unit::Seconds,
        "stdio.landlock",
        "stdio, what Landlock adds to a plain start, p50",
        &[],
    ),
];

const LEAST: usize = 10;
const WARM_UP: usize = 2;

/// What `bwrap` is told for that policy.
const LINE: &[&str] = &[
    "--die-with-parent",
    "--unshare-user",
    "--unshare-pid",
    "--unshare-ipc",
    "--unshare-net",
    "--disable-userns",
    "--cap-drop",
    "ALL",
    "--ro-bind",
    "/",
    "/",
    "--dev",
    "/dev",
    "--proc",
    "/proc",
];

/// And where the server is root, whose files of the machine would be in reach otherwise.
const FOR_ROOT: &[&str] = &["--remount-ro", "/proc"];

pub fn server(step: &Step) -> Result<(), Failure> {
    if step.subject == Subject::Reference0130 {
        // It ignores the policy.
        return Ok(());
    }
    let program = program("true")?;
    // The floor's bwrap: that of the machine, which comes first, is another program.
    let flags: &[&str] = match (step.subject, BUNDLED_BWRAP) {
        (subject, Some(_)) if subject.is_this_project() => &["--sandbox-launcher", "bundled"],
        _ => &[],
    };
    let confined = median(step, &program, flags, true)?;
    step.emit("p50", confined);
    if step.subject.is_this_project() {
        let flags = ["--sandbox-launcher", "landlock"];
        let confined = median(step, &program, &flags, true)?;
        let plain = median(step, &program, &flags, false)?;
        step.emit("landlock", (confined - plain).max(0.0));
    }
    Ok(())
}

fn median(step: &Step, program: &str, flags: &[&str], is_confined: bool) -> Result<f64, Failure> {
    let (_server, mut client) = step.open(flags)?;
    let sandbox = is_confined.then(|| {
        json!({
            "permissions": {
                "type": "managed",
                "file_system": {"type": "restricted", "entries": [
                    {"path": {"type": "special", "value": {"kind": "root"}}, "access": "read"},
                ]},
                "network": "restricted",
            },
            "windowsSandboxLevel": "disabled",
        })
    });
    let mut number = 0;
    let mut times = repeat(step.budget(1000), LEAST, WARM_UP, || {
        number += 1;
        let process = format!("p{number}");
        let begun = Instant::now();
        let id = client.start_in(&process, &[program], Stdin::Closed, sandbox.as_ref())?;
        until_closed(&mut client, &process, id, begun)
    })?;
    Ok(times.quantile(0.5))
}

pub fn floor(step: &Step) -> Result<(), Failure> {
    let program = program("true")?;
    let Some(bundled) = BUNDLED_BWRAP else {
        // Built without it: there is nothing that would be the same everywhere.
        return Ok(());
    };
    let scratch = Scratch::new()?;
    let bwrap = scratch.at("bwrap");
    fs::write(&bwrap, bundled.elf().map_err(Failure::Unexpected)?).during("writing bwrap")?;
    fs::set_permissions(&bwrap, fs::Permissions::from_mode(0o755)).during("writing bwrap")?;
    let mut line = Command::new(&bwrap);
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let more = if is_root { FOR_ROOT } else { &[] };
    line.args(LINE)
        .args(more)
        .args(["--", &program])
        .stdin(Stdio::null());
    let mut times = repeat(step.budget(1000), LEAST, WARM_UP, || {
        let begun = Instant::now();
        line.status().during("running bwrap")?;
        Ok::<Duration, Failure>(begun.elapsed())
    })?;
    step.emit("bwrap.p50", times.quantile(0.5));
    Ok(())
}
