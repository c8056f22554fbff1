//! Our program under the name of a 0.130 client's sandbox helper.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{read_only, workspace};
use crate::support::{PATIENCE, Running, Server, child, finish, scratch, signal};

const NAME: &str = "codex-linux-sandbox";

/// The helper's command line before the command, in the directory of the policy.
fn form(policy: &Value, directory: &str) -> Vec<String> {
    let profile = policy["permissions"].to_string();
    [
        "--sandbox-policy-cwd",
        directory,
        "--command-cwd",
        directory,
    ]
    .into_iter()
    .chain(["--permission-profile", &profile, "--"])
    .map(str::to_owned)
    .collect()
}

/// The helper, by its name alone.
fn helper(words: &[String]) -> Command {
    let mut command = Server::command();
    command.arg0(NAME).args(words);
    command
}

fn confined(policy: &Value, directory: &str, command: &[&str]) -> Command {
    let words = form(policy, directory);
    let mut helper = helper(&words);
    helper.args(command);
    helper
}

#[track_caller]
fn assert_ended(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    stderr
}

#[test]
fn the_command_has_our_streams_and_is_confined() {
    let project = scratch();
    let script =
        "cat; echo complaint >&2; echo made >inside; echo bad >/tmp/outside-of-the-project";
    let command = confined(
        &workspace(&project.dir()),
        &project.dir(),
        &["/bin/sh", "-c", script],
    );
    let output = finish(command, b"from our stdin\n");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.stdout, b"from our stdin\n", "{stderr}");
    assert!(stderr.contains("complaint"), "{stderr}");
    assert!(
        !output.status.success(),
        "a write outside must fail: {stderr}"
    );
    assert_eq!(
        fs::read_to_string(project.path("inside")).unwrap(),
        "made\n"
    );
    assert!(!fs::exists("/tmp/outside-of-the-project").unwrap());
}

#[test]
fn no_mount_point_is_left_on_the_host() {
    let project = scratch();
    let command = confined(
        &workspace(&project.dir()),
        &project.dir(),
        &["/bin/sh", "-c", "ls -A"],
    );
    let output = finish(command, b"");
    assert_ended(&output, 0);
    assert!(!output.stdout.is_empty(), "inside there are mount points");
    assert_eq!(fs::read_dir(project.dir()).unwrap().count(), 0);
}

#[test]
fn a_link_of_that_name_is_the_helper() {
    let place = scratch();
    let link = place.path(NAME);
    symlink(Server::command().get_program(), &link).unwrap();
    let mut command = Command::new(&link);
    command
        .args(form(&read_only(), "/"))
        .args(["/bin/sh", "-c", "exit 7"]);
    assert_ended(&finish(command, b""), 7);
}

#[test]
fn a_signal_that_ends_the_command_shows_in_the_exit_code() {
    let command = confined(&read_only(), "/", &["/bin/sh", "-c", "kill -TERM $$"]);
    assert_ended(&finish(command, b""), 128 + 15);
}

#[test]
fn signals_are_passed_on_to_the_command() {
    for (name, code) in [("TERM", 21), ("INT", 22), ("HUP", 23), ("USR1", 24)] {
        let script = format!("trap 'exit {code}' {name}; echo ready; while :; do sleep 0.05; done");
        let mut command = confined(&read_only(), "/", &["/bin/sh", "-c", &script]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut running = Running::new(command.spawn().unwrap());
        let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        signal(running.0.id(), name);
        let status = running.ended(PATIENCE);
        assert_eq!(status.code(), Some(code), "{name}");
    }
}

#[test]
fn an_unknown_option_refuses_and_names_it() {
    let mut words = form(&read_only(), "/");
    words.insert(0, "--more-confined".to_owned());
    let mut command = helper(&words);
    command.arg("/bin/true");
    let stderr = assert_ended(&finish(command, b""), 2);
    assert!(
        stderr.contains("unknown option `--more-confined`"),
        "{stderr}"
    );
}

#[test]
fn a_profile_that_makes_no_sense_runs_nothing() {
    let made = scratch();
    let mut command = helper(&[]);
    let target = made.path("made");
    command.args([
        "--sandbox-policy-cwd",
        "/",
        "--permission-profile",
        "nonsense",
        "--",
    ]);
    command.args([&child(), "make", &target]);
    let stderr = assert_ended(&finish(command, b""), 125);
    assert!(stderr.starts_with(NAME), "{stderr}");
    assert!(!fs::exists(target).unwrap());
}

#[test]
fn where_nothing_can_be_confined_nothing_runs() {
    let place = scratch();
    let link = place.path(NAME);
    symlink(Server::command().get_program(), &link).unwrap();
    let target = place.path("made");
    let mut command = Command::new(child());
    command.args(["deny", "namespaces,landlock", &link]);
    command
        .args(form(&read_only(), "/"))
        .args([&child(), "make", &target]);
    let stderr = assert_ended(&finish(command, b""), 125);
    assert!(
        stderr.contains("the sandbox was refused (launcher)"),
        "{stderr}"
    );
    assert!(stderr.contains("cause: "), "{stderr}");
    assert!(stderr.contains("the command was not run"), "{stderr}");
    assert!(!fs::exists(target).unwrap());
}

#[test]
fn a_program_that_is_not_there_is_told_by_the_usual_code() {
    let command = confined(&read_only(), "/", &["no-such-program-anywhere"]);
    let stderr = assert_ended(&finish(command, b""), 127);
    assert!(stderr.contains("no-such-program-anywhere"), "{stderr}");
    let command = confined(&read_only(), "/", &["/etc/passwd"]);
    assert_ended(&finish(command, b""), 126);
}
