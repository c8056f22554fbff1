//! What a path shows to a program, without waiting for anybody: for comparing with what file requests show.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use super::Tried;

pub fn attempt(arguments: &[&str]) -> Option<Tried> {
    match *arguments {
        ["look", path] => Some(Ok(look(path))),
        _ => None,
    }
}

/// `name=what` for each way to look, with `E` and the number of the error if it fails.
fn look(path: &str) -> String {
    let fields = [
        ("stat", fs::metadata(path).map(kind)),
        ("read", read(path)),
        ("list", list(path)),
        (
            "link",
            fs::read_link(path).map(|target| target.display().to_string()),
        ),
        (
            "real",
            fs::canonicalize(path).map(|real| real.display().to_string()),
        ),
    ];
    let told = fields.map(|(name, result)| match result {
        Ok(what) => format!("{name}={what}"),
        Err(error) => format!("{name}=E{}", error.raw_os_error().unwrap_or(0)),
    });
    told.join("\t")
}

fn kind(status: fs::Metadata) -> String {
    match status {
        status if status.is_dir() => "directory",
        status if status.is_file() => "file",
        _ => "other",
    }
    .into()
}

fn list(path: &str) -> io::Result<String> {
    fs::read_dir(path)?.try_for_each(|entry| entry.map(drop))?;
    Ok("ok".into())
}

/// The first bytes of a regular file.
fn read(path: &str) -> io::Result<String> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Ok("no file".into());
    }
    let mut start = Vec::new();
    file.take(16).read_to_end(&mut start)?;
    Ok(format!("{start:?}"))
}
