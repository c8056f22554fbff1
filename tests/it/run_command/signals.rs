//! Signals that we get.

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{EVERY, Environments, Running, alive, signal, within};

/// Starts a shell script and waits until it says that it is ready, with its process id.
fn start(environments: &Environments, environment: &str, script: &str) -> (Running, u32) {
    let script = format!("{script}; echo $$; while :; do sleep 0.05; done");
    let mut command = environments.command(&["run", "-e", environment, "/bin/sh", "-c", &script]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut running = Running::new(command.spawn().unwrap());
    let stdout = running.0.stdout.as_mut().unwrap();
    let mut line = Vec::new();
    let mut byte = [0];
    while byte != *b"\n" {
        stdout.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    let pid = String::from_utf8(line).unwrap().trim().parse().unwrap();
    (running, pid)
}

#[test]
fn they_are_passed_on_to_the_command() {
    let environments = Environments::start();
    for environment in EVERY {
        for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129), ("QUIT", 131)] {
            let (mut running, pid) = start(&environments, environment, ":");
            signal(running.0.id(), name);
            let status = running.ended(Duration::from_secs(20));
            assert_eq!(status.code(), Some(code), "{environment}: {name}");
            within(Duration::from_secs(5), "the command is gone", || {
                !alive(pid)
            });
        }
    }
}

#[test]
fn a_command_may_answer_them_as_it_likes() {
    let environments = Environments::start();
    for environment in EVERY {
        let (mut running, _) = start(&environments, environment, "trap 'exit 42' TERM");
        signal(running.0.id(), "TERM");
        assert_eq!(
            running.ended(Duration::from_secs(20)).code(),
            Some(42),
            "{environment}"
        );
    }
}

#[test]
fn a_second_one_ends_what_ignores_the_first() {
    let environments = Environments::start();
    for environment in EVERY {
        let (mut running, pid) = start(&environments, environment, "trap '' INT TERM HUP QUIT");
        let begun = Instant::now();
        signal(running.0.id(), "INT");
        signal(running.0.id(), "TERM");
        let status = running.ended(Duration::from_secs(20));
        assert_eq!(status.code(), Some(137), "{environment}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{environment}");
        within(Duration::from_secs(5), "the command is gone", || {
            !alive(pid)
        });
    }
}

#[test]
fn while_connecting_one_ends_us() {
    let environments = Environments::start();
    // Somebody who takes the connection and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", silent.local_addr().unwrap());
    let mut command = environments.command(&["run", "-e", &url, "/bin/true"]);
    command.stdin(Stdio::null());
    let mut running = Running::new(command.spawn().unwrap());
    let (_socket, _) = silent.accept().unwrap();
    signal(running.0.id(), "INT");
    assert_eq!(running.ended(Duration::from_secs(5)).code(), Some(130));
}
