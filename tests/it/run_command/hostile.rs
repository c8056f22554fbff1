//! A server that speaks to the user's terminal.

use std::process::Output;

use serde_json::json;

use crate::client::scripted::Scripted;
use crate::support::{command_line, finish, scratch};

/// Steers a terminal, forges a line, and turns what follows round.
const ODD: &str = "odd\u{1b}]0;x\u{7}\r\n\u{9b}2J\u{202e}";

/// What `run -v` of something says, where a server does this.
fn said(script: impl Fn(&mut crate::client::scripted::Line) + Send + 'static) -> (Vec<u8>, String) {
    let output = outcome(script);
    (output.stdout, String::from_utf8(output.stderr).unwrap())
}

/// All that comes of it.
fn outcome(script: impl Fn(&mut crate::client::scripted::Line) + Send + 'static) -> Output {
    let scratch = scratch();
    let server = Scripted::new(move |_, line| script(line));
    let mut command = command_line(&scratch.dir());
    command.args(["run", "-v", "-e", server.url(), "--", "something"]);
    let output = finish(command, b"");
    let stderr = str::from_utf8(&output.stderr).unwrap();
    for line in stderr.lines() {
        assert!(
            !line.contains(|c: char| c.is_control() || c == '\u{202e}'),
            "{line:?}"
        );
        let is_ours = line.starts_with("exec-server run: ");
        assert!(is_ours || line.starts_with("  "), "{line:?}");
    }
    output
}

#[test]
fn words_of_the_server_are_shown_and_the_command_s_output_is_passed_on() {
    let (stdout, stderr) = said(|line| {
        line.greet_with(&json!({ "cwd": "file:///", "executorVersion": ODD }));
        let id = line.start();
        line.output(&id, 1, ODD);
        line.say(json!({ "method": "process/exited", "params":
            { "processId": id, "seq": 2, "exitCode": 137, "signal": ODD } }));
        line.closed(&id, 3);
        line.hear();
    });
    assert_eq!(stdout, ODD.as_bytes());
    for part in ["server odd", "ended by signal odd"] {
        assert!(stderr.contains(part), "{stderr}");
    }
}

#[test]
fn an_error_of_the_server_is_shown_in_short() {
    let (_, stderr) = said(|line| {
        line.greet();
        let request = line.await_request("process/start");
        let message = format!("{ODD}{}", "long ".repeat(1 << 18));
        line.say(json!({ "id": request["id"], "error": { "code": -32603, "message": message } }));
        line.hear();
    });
    assert!(stderr.contains("(-32603): odd"), "{stderr:.1000}");
    assert!(stderr.len() < 20_000, "{} bytes", stderr.len());
}

#[test]
fn an_exit_code_that_no_process_can_have_is_no_success() {
    for (code, words) in [
        (256, "the exit code 256"),
        (-1, "no exit code"),
        (-256, "the exit code -256"),
        (1 << 31, "the exit code 2147483647"),
        (i64::MIN, "the exit code -2147483648"),
    ] {
        let output = outcome(move |line| {
            line.greet_with(&json!({ "cwd": "file:///" }));
            let id = line.start();
            line.say(json!({ "method": "process/exited", "params":
                { "processId": id, "seq": 1, "exitCode": code } }));
            line.closed(&id, 2);
            line.hear();
        });
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(255), "{code}: {stderr}");
        assert!(stderr.contains(words), "{code}: {stderr}");
    }
}

#[test]
fn a_confinement_that_is_none_is_that_of_a_refused_sandbox() {
    for level in [json!({ "launcher": "none" }), json!({})] {
        let scratch = scratch();
        let server = Scripted::new(move |_, line| {
            line.greet_with(&json!({ "cwd": "file:///" }));
            let request = line.await_request("process/start");
            line.answer(
                &request,
                json!({ "sandboxType": "linuxSeccomp", "sandboxLevel": level }),
            );
            let ended = line.await_request("process/terminate");
            line.answer(&ended, json!({ "running": true }));
        });
        let mut command = command_line(&scratch.dir());
        let sandbox = ["run", "--sandbox", "read-only", "-e", server.url(), "id"];
        command.args(sandbox);
        let output = finish(command, b"");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{stderr}");
        assert!(stderr.contains("was ended at once"), "{stderr}");
        server.await_end();
    }
}
