//! What a bwrap says about itself.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::context::{Awaited, SpawnContext};
use crate::sandbox::bwrap::Capabilities;
use crate::sys::socket::set_nonblocking;
use crate::sys::spawn::{self, Launch, Program, Restrictions};

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How much is read: five times what the longest known one prints.
const LONGEST: u64 = 64 * 1024;

/// What was found out about a bwrap by asking it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Help {
    pub(super) version: String,
    pub(super) capabilities: Capabilities,
}

/// Asks a program that is said to be bwrap. The error says why it is not fit.
pub(super) fn ask(bwrap: BorrowedFd<'_>, context: &SpawnContext<'_>) -> Result<Help, String> {
    let help = said(bwrap, context, c"--help")?;
    let capabilities = Capabilities::from_help(&help);
    if !capabilities.perms {
        return Err("its --help does not list --perms, which bwrap has since 0.5.0".to_owned());
    }
    let version = said(bwrap, context, c"--version")?;
    Ok(Help {
        version: version_of(&version),
        capabilities,
    })
}

fn version_of(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    let last = first.split_whitespace().last().unwrap_or("unknown");
    last.chars()
        .filter(|letter| letter.is_ascii_graphic())
        .take(32)
        .collect()
}

/// What a run with one option prints on either stream. The exit code says nothing: old ones fail after `--help`.
fn said(
    bwrap: BorrowedFd<'_>,
    context: &SpawnContext<'_>,
    option: &CStr,
) -> Result<String, String> {
    let (reader, writer) = io::pipe().map_err(|error| format!("no pipe: {error}"))?;
    set_nonblocking(reader.as_fd()).map_err(|error| format!("no pipe: {error}"))?;
    let argv = [c"bwrap".to_owned(), option.to_owned()];
    let launch = Launch {
        program: Program::Open(bwrap),
        argv: &argv,
        env: &[],
        cwd: c"/",
        stdin: context.null,
        stdout: writer.as_fd(),
        stderr: writer.as_fd(),
        has_terminal: false,
        limits: &[],
        descriptors: &[],
        restrictions: Restrictions::default(),
        guardian: context.guardian,
    };
    let leader =
        spawn::spawn(&launch).map_err(|failure| format!("it cannot be run: {}", failure.error))?;
    drop(writer);
    let deadline = Instant::now() + PATIENCE;
    let text = read_until(&File::from(OwnedFd::from(reader)), deadline, context);
    match (text, context.see_out(leader, deadline)) {
        (Some(text), Some(_)) => Ok(text),
        _ => Err(format!(
            "its {} did not end within {} s",
            option.to_string_lossy(),
            PATIENCE.as_secs()
        )),
    }
}

/// All that comes before the end, as far as it is of interest; none if the end does not come in time, or the start is given
/// up.
fn read_until(file: &File, deadline: Instant, context: &SpawnContext<'_>) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        let awaited = context.await_readable(Some(file.as_fd()), left).ok()?;
        if awaited == Awaited::Cancelled {
            return None;
        }
        let room = LONGEST - text.len() as u64;
        match file.take(room).read_to_end(&mut text) {
            Ok(_) => return Some(String::from_utf8_lossy(&text).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_short_printable_word() {
        assert_eq!(version_of("bubblewrap 0.8.0\n"), "0.8.0");
        assert_eq!(version_of(""), "unknown");
        assert_eq!(version_of("bubblewrap \u{1b}[31m1"), "[31m1");
        assert_eq!(version_of(&"x".repeat(100)).len(), 32);
    }
}
