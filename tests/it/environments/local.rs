//! What only this machine shows: lives that end with their owner.

use std::time::Duration;

use exec_server::env::Environment;
use exec_server::env::local::LocalEnvironment;

use super::{await_output, command, watch};
use crate::support::{PATIENCE, alive, within};

fn pid_of(process: &dyn exec_server::env::RunningProcess) -> u32 {
    await_output(process, "\n").trim().parse().unwrap()
}

#[test]
fn processes_end_with_their_environment() {
    let environment = LocalEnvironment::new().unwrap();
    let process = environment.start(&command(&["pid-then-sleep"])).unwrap();
    let pid = pid_of(&*process);
    let forgotten = environment.start(&command(&["pid-then-sleep"])).unwrap();
    let other = pid_of(&*forgotten);
    drop(forgotten);
    assert!(alive(pid) && alive(other), "dropping a handle ends nothing");
    drop(environment);
    within(PATIENCE, "both processes end", || {
        !alive(pid) && !alive(other)
    });
}

#[test]
fn a_process_whose_handle_is_gone_can_go_on_printing() {
    let dir = crate::support::scratch();
    let environment = LocalEnvironment::new().unwrap();
    let mut shell = command(&[]);
    let script = format!(
        "{} write 3000000; echo done > {}",
        shell.argv[0],
        dir.path("end")
    );
    shell.argv = vec!["/bin/sh".into(), "-c".into(), script];
    drop(environment.start(&shell).unwrap());
    within(PATIENCE, "the program comes to its end", || {
        std::fs::exists(dir.path("end")).unwrap()
    });
}

#[test]
fn facts_are_of_this_machine() {
    let facts = LocalEnvironment::new().unwrap().facts().unwrap();
    let here = std::env::current_dir().unwrap();
    assert_eq!(facts.cwd.as_deref(), here.to_str());
    assert_eq!(facts.platform.as_deref(), Some("linux"));
    assert!(facts.extensions.iter().any(|name| name == "fs/rename"));
}

#[test]
fn a_link_says_where_it_leads() {
    let dir = crate::support::scratch();
    let environment = LocalEnvironment::new().unwrap();
    let files = environment.files();
    files.symlink("../x", &dir.path("l")).unwrap();
    assert_eq!(files.read_link(&dir.path("l")).unwrap(), "../x");
    assert!(files.read_link(&dir.path("no")).unwrap_err().is_not_found());
}

#[test]
fn what_must_be_confined_does_not_run() {
    let environment = LocalEnvironment::new().unwrap();
    let mut confined = command(&["true"]);
    confined.sandbox = Some("{}".into());
    let error = environment.start(&confined).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("sandbox"), "{error}");
    let process = environment.start(&command(&["true"])).unwrap();
    assert_eq!(watch(&*process).exit().code, 0);
    assert_eq!(process.next_event(Duration::ZERO).unwrap(), None);
}
