//! `fs/writeFile` of 1 KiB under a policy that lets one directory be written, one at a time and
//! warm, beside the same request without a policy.
//!
//! The floor writes the file with the standard library, and no server in between.

use std::fs;
use std::time::Instant;

use serde_json::{Value, json};

use super::Step;
use super::roundtrip::round_trip;
use crate::failure::{During, Failure};
use crate::row::{Row, Unit};
use crate::sample::repeat;
use crate::scratch::{self, Scratch};
use crate::subject::Subject;

const WRITE: &[(&str, &str)] = &[("write.p50", "fs::write")];
pub const ROWS: &[Row] = &[
    Row::new(
        Unit::Seconds,
        "ws.plain.p50",
        "ws, fs/writeFile 1 KiB, p50",
        WRITE,
    ),
    Row::new(
        Unit::Seconds,
        "ws.restricted.p50",
        "ws, the same under a policy, p50",
        WRITE,
    ),
    Row::new(
        Unit::Seconds,
        "stdio.plain.p50",
        "stdio, fs/writeFile 1 KiB, p50",
        WRITE,
    ),
    Row::new(
        Unit::Seconds,
        "stdio.restricted.p50",
        "stdio, the same under a policy, p50",
        WRITE,
    ),
];

/// 1 KiB and its base64.
const SIZE: usize = 1024;
const CONTENT: &str = "eHh4";
const GROUPS: usize = SIZE / 3;
/// The references take some 40 ms for one.
const LEAST: usize = 10;
const WARM_UP: usize = 5;

pub fn server(step: &Step) -> Result<(), Failure> {
    let scratch = Scratch::new()?;
    let file = scratch.file("file", SIZE)?;
    let root = file.parent().unwrap_or(&file);
    let path = |path| scratch::text(path).map(|path| step.subject.path(path));
    let mut params = json!({
        "path": path(&file)?,
        "dataBase64": CONTENT.repeat(GROUPS) + "eA==",
    });
    let plain = params.to_string();
    params["sandbox"] = policy(step.subject, &path(root)?);
    let confined = params.to_string();

    let (_server, mut client) = step.open(&[])?;
    for (params, key) in [(plain, "plain.p50"), (confined, "restricted.p50")] {
        let id = client.queue("fs/writeFile", &params);
        client.link.flush()?;
        client.answer(id)?;
        let mut times = repeat(step.budget(400), LEAST, WARM_UP, || {
            round_trip(&mut client, "fs/writeFile", &params)
        })?;
        step.emit(key, times.quantile(0.5));
    }
    Ok(())
}

/// Everything may be read, and what is below `root` written.
fn policy(subject: Subject, root: &str) -> Value {
    let mut policy = json!({
        "permissions": {
            "type": "managed",
            "file_system": {
                "type": "restricted",
                "entries": [
                    {"path": {"type": "special", "value": {"kind": "root"}}, "access": "read"},
                    {"path": {"type": "path", "path": root}, "access": "write"},
                ],
            },
            "network": "restricted",
        },
        "windowsSandboxLevel": "disabled",
        "cwd": root,
    });
    if subject != Subject::Reference0130 {
        policy["workspaceRoots"] = json!([root]);
    }
    policy
}

pub fn floor(step: &Step) -> Result<(), Failure> {
    let scratch = Scratch::new()?;
    let file = scratch.file("file", SIZE)?;
    let content = scratch::content(SIZE);
    let mut times = repeat(step.budget(100), LEAST, WARM_UP, || {
        let begun = Instant::now();
        fs::write(&file, &content).during("writing a file")?;
        Ok(begun.elapsed())
    })?;
    step.emit("write.p50", times.quantile(0.5));
    Ok(())
}
