//! Who outlives whom: no process outlives its session, and no session its server.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::support::{
    Client, PATIENCE, Server, Start, alive, children_named, cpu_ticks, descendants, descriptors,
    settled, signal, threads, within, zombies_of,
};

/// Processes of every stubborn kind; gives the ids of their groups and of what they put in the background.
fn stubborn(client: &mut Client) -> Vec<u32> {
    let mut pids = Vec::new();
    for tty in [false, true] {
        let name = |kind: &str| format!("{kind} {tty}");
        client.start(Start::child(&name("plain"), &["pid-then-sleep"]).with("tty", tty));
        pids.push(client.number(&name("plain")));

        let deaf = "trap '' TERM HUP INT; echo $$; while :; do sleep 1; done";
        client.start(Start::shell(&name("deaf"), deaf).with("tty", tty));
        pids.push(client.number(&name("deaf")));

        let parent = "trap '' TERM HUP INT; sleep 1000 & echo $!; wait; while :; do sleep 1; done";
        client.start(Start::shell(&name("parent"), parent).with("tty", tty));
        pids.push(client.number(&name("parent")));
    }
    client.start(Start::child("orphaned", &["background", "pid-then-sleep"]));
    pids.push(client.number("orphaned"));
    client.start(Start::shell(
        "deaf orphan",
        "(trap '' TERM HUP INT; sleep 1000) & echo $!",
    ));
    pids.push(client.number("deaf orphan"));
    client.exited("orphaned");
    client.exited("deaf orphan");
    assert!(pids.iter().all(|&pid| alive(pid)));
    pids
}

/// A process that only the guardian can end when the server is killed.
fn stubborn_orphan(client: &mut Client) -> u32 {
    let script = "(trap '' TERM HUP INT; sleep 1000) & echo $!";
    client.start(Start::shell("another deaf orphan", script));
    client.exited("another deaf orphan");
    client.number("another deaf orphan")
}

#[track_caller]
fn all_gone(pids: &[u32]) {
    within(PATIENCE, &format!("all of {pids:?} are gone"), || {
        !pids.iter().any(|&pid| alive(pid))
    });
}

over_both! {
    fn nothing_survives_the_server_when_it_is_killed(client) {
        let pids = stubborn(client);
        client.server.as_mut().unwrap().kill();
        all_gone(&pids);
    }

    fn nor_when_its_guardian_was_killed_before(client) {
        let pids = stubborn(client);
        let server = client.server_pid();
        for _ in 0..2 {
            let guardian = children_named(server, "exec-guardian");
            signal(guardian[0], "KILL");
            within(PATIENCE, "there is another", || {
                let next = children_named(server, "exec-guardian");
                next.len() == 1 && next != guardian
            });
        }
        assert_eq!(zombies_of(server), 0);
        let more = stubborn_orphan(client);
        client.server.as_mut().unwrap().kill();
        all_gone(&pids);
        all_gone(&[more]);
    }

    fn the_server_ends_in_order_on_term_and_interrupt(client) {
        let pids = stubborn(client);
        let server = client.server.as_mut().unwrap();
        signal(server.pid(), "TERM");
        let status = server.ended(PATIENCE);
        assert_eq!(status.code(), Some(0), "{status}");
        all_gone(&pids);
    }
}

#[test]
fn an_idle_server_ends_within_two_seconds_of_a_signal() {
    for name in ["TERM", "INT"] {
        let mut client = Client::websocket();
        let mut piped = Client::stdio();
        client.start(Start::shell("p", "trap '' TERM; while :; do sleep 1; done"));
        for client in [&mut client, &mut piped] {
            let server = client.server.as_mut().unwrap();
            signal(server.pid(), name);
            // Two seconds are promised; one more is for the machine the test runs on.
            assert_eq!(server.ended(Duration::from_secs(3)).code(), Some(0));
        }
    }
}

/// Far more than anybody has room for.
fn flood(id: &str) -> Start {
    Start::child(id, &["write", &(4_u64 << 30).to_string()])
}

over_both! {
    fn a_client_that_reads_nothing_does_not_delay_the_end(client) {
        client.start(flood("p"));
        settled(|| cpu_ticks(client.server_pid()));
        let server = client.server.as_mut().unwrap();
        signal(server.pid(), "TERM");
        assert_eq!(server.ended(Duration::from_secs(3)).code(), Some(0));
    }
}

#[test]
fn nor_does_a_terminal_that_nobody_reads() {
    // The terminal of one server is another server's, which does not read it since we do not.
    let mut client = Client::stdio();
    let program = Server::command().get_program().to_str().unwrap().to_owned();
    let inner = Start::command("inner", &[&program, "--listen", "stdio"]);
    client.start(inner.tty());
    let list = client.ok("process/list", json!({}));
    let pid = list["processes"][0]["pid"].as_u64().unwrap() as u32;
    let messages = [
        json!({"id": 1, "method": "initialize", "params": {"clientName": "test"}}),
        json!({"method": "initialized", "params": {}}),
        json!({"id": 2, "method": "process/start", "params": flood("p").0}),
    ];
    for (number, message) in messages.iter().enumerate() {
        let line = format!("{message}\n");
        client.write("inner", line.as_bytes(), &number.to_string());
    }
    client.wait("the flood", |client| {
        (client.observed("inner").bytes("pty").len() > 1 << 20).then_some(())
    });
    settled(|| cpu_ticks(pid));
    signal(pid, "TERM");
    within(Duration::from_secs(3), "the server ends", || !alive(pid));
}

#[test]
fn the_end_of_stdin_is_the_end_of_everything() {
    let mut client = Client::stdio();
    let pids = stubborn(&mut client);
    client.end_of_input();
    let status = client.server.as_mut().unwrap().ended(PATIENCE);
    assert_eq!(status.code(), Some(0), "{status}");
    all_gone(&pids);
}

#[test]
fn a_pipe_that_was_lent_waits_again_afterwards() {
    // The shell lends its own pipe, and its flags, to the server.
    let mut command = Command::new("/bin/sh");
    let script = "\"$0\" --listen stdio; grep flags: /proc/self/fdinfo/0 /proc/self/fdinfo/1";
    command
        .args(["-c", script])
        .arg(Server::command().get_program());
    let output = command.stdin(Stdio::piped()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let flags: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    assert_eq!(flags.len(), 2, "{text}");
    for flags in flags {
        let flags = u32::from_str_radix(flags, 8).unwrap();
        // O_NONBLOCK.
        assert_eq!(flags & 0o4000, 0, "{text}");
    }
}

#[test]
fn what_was_asked_before_the_end_of_stdin_is_answered() {
    let mut client = Client::stdio();
    let asked: Vec<i64> = (0..200)
        .map(|_| client.ask("environment/status", json!({})))
        .collect();
    client.end_of_input();
    for id in asked {
        assert_eq!(client.answer(id).unwrap()["status"], "ready");
    }
    client.hang_up();
    assert_eq!(
        client.server.as_mut().unwrap().ended(PATIENCE).code(),
        Some(0)
    );
}

#[test]
fn a_client_that_vanishes_leaves_a_session_that_ends_in_time() {
    let server = Server::websocket(&["--session-retention", "1"]);
    let mut client = server.connect();
    let pids = stubborn(&mut client);
    let mut other = server.connect();
    other.start(Start::child("mine", &["pid-then-sleep"]));
    let mine = other.number("mine");
    drop(client);
    all_gone(&pids);
    assert!(alive(mine), "another session is another matter");
    other.still_serves();
}

#[test]
fn a_client_that_is_killed_leaves_a_session_too() {
    let server = Server::websocket(&["--session-retention", "1"]);
    // A client that is a process of its own: it holds a socket, and gets no chance to close it in order.
    let mut client = server.connect();
    client.start(Start::child("p", &["pid-then-sleep"]));
    let pid = client.number("p");
    let session = client.session.clone();
    drop(client);
    let mut relay = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "lifetime::a_client_for_another_test",
            "--nocapture",
        ])
        .env("TEST_RESUME_ADDRESS", server.address().to_string())
        .env("TEST_RESUME_SESSION", &session)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // While it holds the session, nobody else can.
    let resume = json!({"clientName": "test", "resumeSessionId": session});
    within(PATIENCE, "the other client has the session", || {
        let mut probe = server.connect_silent();
        match probe.request("initialize", resume.clone()) {
            Err(error) => error.code == -32010,
            Ok(_) => false,
        }
    });
    assert!(alive(pid));
    relay.kill().unwrap();
    relay.wait().unwrap();
    all_gone(&[pid]);
}

/// Not a test by itself: the client process that `a_client_that_is_killed_leaves_a_session_too` starts and kills.
#[test]
fn a_client_for_another_test() {
    let (Ok(address), Ok(session)) = (
        std::env::var("TEST_RESUME_ADDRESS"),
        std::env::var("TEST_RESUME_SESSION"),
    ) else {
        return;
    };
    let params = json!({"clientName": "test", "resumeSessionId": session});
    let mut client = Client::dial(address.parse().unwrap());
    within(PATIENCE, "the session is free", || {
        client.request("initialize", params.clone()).is_ok()
    });
    loop {
        std::thread::park();
    }
}

#[test]
fn ended_processes_leave_neither_zombies_nor_descriptors_nor_threads() {
    let mut client = Client::websocket();
    let pid = client.server_pid();
    let mut run = |from: u32, to: u32| {
        for number in from..to {
            let start = Start::child(&number.to_string(), &["echo", "hi"]);
            client.run(start.with("tty", number % 2 == 0));
        }
    };
    run(0, 2);
    let before = (descriptors(pid), threads(pid));
    run(2, 60);
    within(PATIENCE, "threads and descriptors are as before", || {
        descriptors(pid) <= before.0 && threads(pid) <= before.1
    });
    within(PATIENCE, "all children are reaped", || zombies_of(pid) == 0);
}

#[test]
fn a_reader_of_stdout_that_goes_ends_the_server_while_stdin_stays_open() {
    for program in ["yes", "sleep 1000"] {
        let mut command = Server::command();
        command.args(["--listen", "stdio"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = command.spawn().unwrap();
        let argv = json!(["/bin/sh", "-c", format!("exec {program}")]);
        let start =
            json!({"id": 2, "method": "process/start", "params": {"processId": "p", "argv": argv}});
        let stdin = server.stdin.as_mut().unwrap();
        writeln!(
            stdin,
            r#"{{"id":1,"method":"initialize","params":{{"clientName":"t"}}}}"#
        )
        .unwrap();
        writeln!(stdin, "{{\"method\":\"initialized\"}}\n{start}").unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let started = |line: &String| line.contains("\"id\":2");
        let answer = lines.by_ref().map(Result::unwrap).find(started).unwrap();
        assert!(answer.contains("\"result\""), "{answer}");
        let children = descendants(server.id());
        assert!(children.len() > 1, "{children:?}");
        drop(lines);
        let mut status = None;
        within(PATIENCE, &format!("{program}: the server ends"), || {
            status = server.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(0), "{program}");
        all_gone(&children[1..]);
    }
}
