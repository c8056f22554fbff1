//! What only this machine shows: lives that end with their owner.

use std::fs;
use std::process::Command;
use std::time::Duration;

use exec_server::serve::local_environment;

use serde_json::json;

use super::{await_output, command, watch};
use crate::support::sandbox::{Launcher, Who};
use crate::support::{Need, PATIENCE, alive, example, finish, scratch, within};

fn pid_of(process: &exec_server::rpc::client::Process) -> u32 {
    await_output(process, "\n").trim().parse().unwrap()
}

#[test]
fn processes_end_with_their_environment() {
    let environment = local_environment();
    let process = environment.start(&command(&["pid-then-sleep"])).unwrap();
    let pid = pid_of(&process);
    let forgotten = environment.start(&command(&["pid-then-sleep"])).unwrap();
    let other = pid_of(&forgotten);
    drop(forgotten);
    assert!(alive(pid) && alive(other), "dropping a handle ends nothing");
    drop(environment);
    within(PATIENCE, "both processes end", || {
        !alive(pid) && !alive(other)
    });
}

#[test]
fn a_process_whose_handle_is_gone_can_go_on_printing() {
    let dir = scratch();
    let environment = local_environment();
    let mut shell = command(&[]);
    let script = format!(
        "{} write 3000000; echo done > {}",
        shell.argv[0],
        dir.path("end")
    );
    shell.argv = vec!["/bin/sh".into(), "-c".into(), script];
    drop(environment.start(&shell).unwrap());
    within(PATIENCE, "the program comes to its end", || {
        fs::exists(dir.path("end")).unwrap()
    });
}

#[test]
fn facts_are_of_this_machine() {
    let facts = local_environment().facts().unwrap();
    let here = std::env::current_dir().unwrap();
    assert_eq!(facts.cwd.as_deref(), here.to_str());
    assert_eq!(facts.platform.as_deref(), Some("linux"));
    assert!(facts.extensions.iter().any(|name| name == "fs/rename"));
}

/// Everything may be read, and one directory written.
fn policy(directory: &str) -> String {
    json!({
        "permissions": {
            "type": "managed",
            "file_system": {"type": "restricted", "entries": [
                {"path": {"type": "special", "value": {"kind": "root"}}, "access": "read"},
                {"path": {"type": "path", "path": directory}, "access": "write"},
            ]},
            "network": "restricted",
        },
        "windowsSandboxLevel": "disabled",
    })
    .to_string()
}

#[test]
fn a_program_with_the_library_confines_what_it_starts() {
    needs!(Need::Launcher(Launcher::Bundled, Who::Myself));
    let dir = scratch();
    let inside = dir.path("inside");
    fs::create_dir(&inside).unwrap();
    let mut program = Command::new(example("client"));
    let script = "echo a > inside/f; echo b > outside; exit 7";
    let policy = policy(&inside);
    program.args(["--confine", &policy, "/bin/sh", "-c", script]);
    program.current_dir(dir.dir());
    let output = finish(program, b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!fs::exists(dir.path("outside")).unwrap(), "{stderr}");
    assert_eq!(output.status.code(), Some(7), "{stderr}");
    assert_eq!(fs::read(dir.path("inside/f")).unwrap(), b"a\n", "{stderr}");
}

#[test]
fn a_program_that_would_not_know_itself_inside_is_not_put_there() {
    // As this one, whose `main` is none of ours.
    let dir = scratch();
    let environment = local_environment();
    let mut confined = command(&["true"]);
    confined.sandbox = Some(policy(&dir.dir()));
    match environment.start(&confined) {
        Ok(process) => assert_eq!(watch(&process).exit().code, 0, "under Landlock"),
        Err(error) => assert!(error.to_string().contains("take_over"), "{error}"),
    }
}

#[test]
fn what_must_be_confined_does_not_run() {
    let environment = local_environment();
    let mut confined = command(&["true"]);
    confined.sandbox = Some("{}".into());
    let error = environment.start(&confined).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("sandbox"), "{error}");
    let process = environment.start(&command(&["true"])).unwrap();
    assert_eq!(watch(&process).exit().code, 0);
    assert_eq!(process.next_event(Duration::ZERO).unwrap(), None);
}
