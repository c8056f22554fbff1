//! The program run to its end, for what it says to a command line.

use std::io::Read;
use std::process::{Command, Output, Stdio};

use super::{PATIENCE, Server, within};

/// Runs to the end; nothing on stdin.
pub fn run(arguments: &[&str]) -> Output {
    let mut command = Server::command();
    finish(command.args(arguments))
}

fn finish(command: &mut Command) -> Output {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut status = None;
    within(PATIENCE, &format!("{command:?} ends"), || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    let mut output = Output {
        status: status.unwrap(),
        stdout: Vec::new(),
        stderr: Vec::new(),
    };
    child
        .stdout
        .take()
        .unwrap()
        .read_to_end(&mut output.stdout)
        .unwrap();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_end(&mut output.stderr)
        .unwrap();
    output
}

/// Fails with this code and a message on stderr that has `text`; nothing on stdout.
#[track_caller]
pub fn fails(arguments: &[&str], code: i32, text: &str) {
    failed(run(arguments), arguments, code, text);
}

/// The same of what has ended; gives its stderr.
#[track_caller]
pub(super) fn failed(output: Output, arguments: &[&str], code: i32, text: &str) -> String {
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    assert!(stderr.contains(text), "{arguments:?}: {stderr}");
    assert_eq!(output.stdout, b"", "{arguments:?}: {stderr}");
    stderr
}
