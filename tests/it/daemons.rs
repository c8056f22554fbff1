//! Descendants that have left their group and session, as daemons do: they end with who started them.

use std::fs::{self, File};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::support::{
    Client, Environments, PATIENCE, Scratch, Server, Start, alive, child, children_named,
    descriptors, params, resident, scratch, session, settled, signal, threads, within, zombies_of,
};

/// Starts a process that says the number of a daemon of its own, which leads a session.
fn daemon(client: &mut Client, id: &str, script: &str) -> u32 {
    client.start(Start::shell(id, script));
    let pid = client.number(id);
    within(PATIENCE, "it has left the session", || {
        session(pid) == Some(pid)
    });
    pid
}

/// A daemon whose parent has ended.
fn plain(client: &mut Client, id: &str) -> u32 {
    let pid = daemon(client, id, "setsid sleep 1000 >/dev/null 2>&1 & echo $!");
    client.exited(id);
    pid
}

/// Daemons of every kind, of processes that have ended and of one that has not.
fn every_kind(client: &mut Client) -> Vec<u32> {
    let twice = "setsid sh -c 'sleep 1000 >/dev/null 2>&1 & echo $!'";
    let deaf = "setsid sh -c 'trap \"\" TERM HUP INT; echo $$; exec sleep 1000' &";
    let parent = "setsid sleep 1000 >/dev/null 2>&1 & echo $!; exec sleep 1000";
    let tree = "setsid sh -c 'trap \"\" TERM; echo $$; while :; do setsid sleep 0.3; done' &";
    let mut pids = vec![plain(client, "plain")];
    for (id, script) in [("deaf", deaf), ("parent", parent), ("tree", tree)] {
        pids.push(daemon(client, id, script));
    }
    client.start(Start::shell("twice", twice));
    pids.push(client.number("twice"));
    client.start(Start::shell("tty", parent).tty());
    pids.push(client.number("tty"));
    assert!(pids.iter().all(|&pid| alive(pid)));
    pids
}

/// Starts what forks and exits all the time; whether it has ended, by the lock that it keeps.
fn forking(client: &mut Client, scratch: &Scratch) -> impl FnMut() -> bool + use<> {
    let path = scratch.path("lock");
    fs::write(&path, "").unwrap();
    // With job control each has a group of its own, without a program to be run in between.
    let script = format!(
        "exec 9<{path}; flock -n 9 || exit; echo locked; exec >/dev/null 2>&1
         hop() {{ [ -e {path} ] || exit; set -m; hop & exit; }}
         hop"
    );
    client.start(Start::command("p", &["bash", "-c", &script]));
    client.output("p", "stdout", |text| text == "locked\n");
    let file = File::open(path).unwrap();
    assert!(file.try_lock().is_err(), "it has the lock");
    move || file.try_lock().is_ok()
}

#[track_caller]
fn all_gone(pids: &[u32]) {
    within(PATIENCE, &format!("all of {pids:?} are gone"), || {
        !pids.iter().any(|&pid| alive(pid))
    });
}

over_both! {
    fn they_end_with_a_server_that_is_killed(client) {
        let pids = every_kind(client);
        client.server.as_mut().unwrap().kill();
        all_gone(&pids);
    }

    fn they_end_when_its_guardian_was_killed_before(client) {
        let pids = every_kind(client);
        let server = client.server_pid();
        let guardian = children_named(server, "exec-guardian");
        signal(guardian[0], "KILL");
        within(PATIENCE, "there is another", || {
            let next = children_named(server, "exec-guardian");
            next.len() == 1 && next != guardian
        });
        assert!(pids.iter().all(|&pid| alive(pid)));
        client.server.as_mut().unwrap().kill();
        all_gone(&pids);
    }

    fn they_end_with_a_server_that_is_told_to(client) {
        let pids = every_kind(client);
        let server = client.server.as_mut().unwrap();
        signal(server.pid(), "TERM");
        assert_eq!(server.ended(Duration::from_secs(4)).code(), Some(0));
        assert!(!pids.iter().any(|&pid| alive(pid)), "none outlives the server by a moment");
    }

    fn terminate_ends_those_of_its_process_and_no_other(client) {
        let bystander = plain(client, "bystander");
        for script in ["setsid sleep 1000 >/dev/null 2>&1 & echo $!", "setsid sleep 1000 >/dev/null 2>&1 & echo $!; exec sleep 1000"] {
            let pid = daemon(client, script, script);
            client.ok("process/terminate", params(script, json!({})));
            all_gone(&[pid]);
        }
        assert!(alive(bystander));
        client.ok("process/terminate", params("bystander", json!({})));
        all_gone(&[bystander]);
    }

    fn terminate_ends_one_that_always_forks_and_exits(client) {
        let scratch = scratch();
        let is_over = forking(client, &scratch);
        client.ok("process/terminate", params("p", json!({})));
        within(PATIENCE, "it has ended", is_over);
    }

    fn one_that_always_forks_and_exits_ends_with_a_server_that_is_killed(client) {
        let scratch = scratch();
        let is_over = forking(client, &scratch);
        client.server.as_mut().unwrap().kill();
        within(PATIENCE, "it has ended", is_over);
    }

    fn terminate_with_a_grace_asks_them_first(client) {
        let scratch = scratch();
        let said = scratch.path("said");
        let script = format!("setsid sh -c 'trap \"echo bye > {said}; exit\" TERM; echo $$; while :; do sleep 0.05; done' & wait");
        let pid = daemon(client, "p", &script);
        client.ok("process/terminate", params("p", json!({"graceMs": 20_000})));
        all_gone(&[pid]);
        assert_eq!(fs::read_to_string(&said).unwrap(), "bye\n");
    }

    fn the_deaf_are_killed_at_the_end_of_a_grace(client) {
        let script = "setsid sh -c 'trap \"\" TERM; echo $$; exec sleep 1000 >/dev/null 2>&1' & wait";
        let pid = daemon(client, "p", script);
        within(PATIENCE, "it sleeps", || {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n")
        });
        client.ok("process/terminate", params("p", json!({"graceMs": 1500})));
        assert_eq!(client.closed("p").code, 143);
        assert!(alive(pid), "it has its grace though its leader has gone");
        all_gone(&[pid]);
    }

    fn they_end_when_the_time_of_their_process_is_up(client) {
        let script = "setsid sleep 1000 >/dev/null 2>&1 & echo $!; exec sleep 1000";
        client.start(Start::shell("p", script).with("timeoutMs", 700));
        let pid = client.number("p");
        assert!(client.closed("p").timed_out);
        all_gone(&[pid]);
    }

    fn the_end_of_a_process_by_itself_leaves_them(client) {
        let pid = plain(client, "p");
        client.closed("p");
        client.run(Start::child("another", &["true"]));
        assert!(alive(pid));
    }

    fn those_without_their_mark_end_with_the_server(client) {
        let script = "setsid sh -c 'prlimit --locks=7:7 sleep 1000 >/dev/null 2>&1 & echo $!'";
        client.start(Start::shell("p", script));
        let pid = client.number("p");
        within(PATIENCE, "it has another limit", || {
            fs::read_to_string(format!("/proc/{pid}/limits")).is_ok_and(|text| {
                let mut lines = text.lines();
                lines.any(|line| line.starts_with("Max file locks") && line.contains(" 7 "))
            })
        });
        let server = client.server.as_mut().unwrap();
        signal(server.pid(), "TERM");
        assert_eq!(server.ended(Duration::from_secs(4)).code(), Some(0));
        all_gone(&[pid]);
    }

    fn those_of_a_server_inside_end_with_its_process(client) {
        let program = Server::command().get_program().to_str().unwrap().to_owned();
        let inner = Start::shell("inner", &format!("setsid {program} --listen stdio; :"));
        client.start(inner.pipe_stdin());
        let start = Start::shell("p", "setsid sleep 1000 >/dev/null 2>&1 & echo $!");
        let messages = [
            json!({"id": 1, "method": "initialize", "params": {"clientName": "test"}}),
            json!({"method": "initialized", "params": {}}),
            json!({"id": 2, "method": "process/start", "params": start.0}),
        ];
        for (number, message) in messages.iter().enumerate() {
            client.write("inner", format!("{message}\n").as_bytes(), &number.to_string());
        }
        let closed = |text: &str| text.contains("process/closed");
        let said = client.output("inner", "stdout", closed);
        let output = said.lines().find(|line| line.contains("process/output")).unwrap();
        let output: serde_json::Value = serde_json::from_str(output).unwrap();
        let chunk = crate::support::decode(output["params"]["chunk"].as_str().unwrap());
        let pid: u32 = String::from_utf8(chunk).unwrap().trim().parse().unwrap();
        assert!(alive(pid));
        client.ok("process/terminate", params("inner", json!({})));
        all_gone(&[pid]);
    }

    fn those_that_are_to_be_kept_are(client, "--keep-daemons") {
        let terminated = daemon(client, "p", "setsid sleep 1000 >/dev/null 2>&1 & echo $!; exec sleep 1000");
        client.ok("process/terminate", params("p", json!({})));
        client.closed("p");
        let kept = plain(client, "q");
        client.start(Start::shell("r", "sleep 1000 >/dev/null 2>&1 & echo $!"));
        let in_group = client.number("r");
        let server = client.server.as_mut().unwrap();
        signal(server.pid(), "TERM");
        assert_eq!(server.ended(Duration::from_secs(4)).code(), Some(0));
        all_gone(&[in_group]);
        for pid in [terminated, kept] {
            assert!(alive(pid));
            let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
            let own = fs::read_to_string("/proc/self/limits").unwrap();
            let locks = |text: &str| text.lines().find(|line| line.starts_with("Max file locks")).map(str::to_owned);
            assert_eq!(locks(&limits), locks(&own), "nothing of theirs is changed");
            assert_eq!(descriptors(pid), 3);
            signal(pid, "KILL");
        }
    }
}

#[test]
fn they_end_with_the_input_of_their_server() {
    let mut client = Client::stdio();
    let pids = every_kind(&mut client);
    client.end_of_input();
    let status = client.server.as_mut().unwrap().ended(PATIENCE);
    assert_eq!(status.code(), Some(0), "{status}");
    all_gone(&pids);
}

#[test]
fn they_end_with_their_session_and_not_with_another() {
    let server = Server::websocket(&["--session-retention", "1"]);
    let mut client = server.connect();
    let pids = every_kind(&mut client);
    let mut other = server.connect();
    let mine = plain(&mut other, "mine");
    drop(client);
    all_gone(&pids);
    assert!(alive(mine), "another session is another matter");
    other.still_serves();
}

#[test]
fn so_do_those_of_processes_that_the_session_has_forgotten() {
    let server = Server::websocket(&["--session-retention", "1"]);
    let mut client = server.connect();
    let pid = plain(&mut client, "p");
    client.closed("p");
    within(PATIENCE, "its name is free", || {
        client.ok("process/list", json!({}))["processes"] == json!([])
    });
    assert!(alive(pid));
    drop(client);
    all_gone(&[pid]);
}

/// The guardian's deputy is left then.
#[test]
fn with_server_and_guardian_killed_together_nothing_is_left() {
    let mut client = Client::websocket();
    let script = "setsid sleep 1000 >/dev/null 2>&1 & echo $!; exec sleep 1000";
    let daemon = daemon(&mut client, "p", script);
    let list = client.ok("process/list", json!({}));
    let process = list["processes"][0]["pid"].as_u64().unwrap() as u32;
    let server = client.server_pid();
    let guardian = children_named(server, "exec-guardian")[0];
    let mut deputy = 0;
    within(PATIENCE, "it has a deputy", || {
        let found = children_named(guardian, "exec-guardian");
        deputy = found.first().copied().unwrap_or_default();
        found.len() == 1
    });
    for pid in [guardian, deputy] {
        let command_line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        let name = command_line.split(|byte| *byte == 0).next();
        assert_eq!(name, Some(&b"exec-guardian"[..]));
    }
    for pid in [server, guardian] {
        signal(pid, "STOP");
    }
    signal(guardian, "KILL");
    client.server.as_mut().unwrap().kill();
    all_gone(&[process, guardian, daemon, deputy]);
}

#[test]
fn a_thousand_processes_leave_nothing() {
    let mut client = Client::stdio();
    let server = client.server_pid();
    let mut run = |from: u32, to: u32| {
        for number in from..to {
            client.run(Start::child(&number.to_string(), &["true"]));
        }
    };
    run(0, 100);
    settled(|| threads(server));
    let before = (descriptors(server), threads(server), resident(server));
    run(100, 1100);
    within(PATIENCE, "all are reaped", || zombies_of(server) == 0);
    within(PATIENCE, "threads and descriptors are as before", || {
        descriptors(server) <= before.0 && threads(server) <= before.1
    });
    let grown = resident(server).saturating_sub(before.2);
    assert!(grown < 4096, "{grown} KiB more");
}

#[test]
fn orphans_are_reaped_at_once() {
    let mut client = Client::stdio();
    let server = client.server_pid();
    for number in 0..20 {
        let id = number.to_string();
        client.run(Start::shell(&id, "setsid sh -c 'sleep 0.1 & :' & :"));
    }
    within(PATIENCE, "none is left", || {
        zombies_of(server) == 0 && children_named(server, "sleep").is_empty()
    });
}

#[test]
fn a_process_1_that_does_not_reap_is_left_no_zombie() {
    let program = Server::command().get_program().to_str().unwrap().to_owned();
    let mut command = Command::new("unshare");
    command.args([
        "--user",
        "--map-root-user",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]);
    command.args([&child(), "first", &program, "--listen", "stdio"]);
    let mut client = Client::stdio_command(command);
    let unshare = client.server_pid();
    let first = {
        let mut found = Vec::new();
        within(PATIENCE, "process 1 is there", || {
            found = children_named(unshare, "child");
            found.len() == 1
        });
        found[0]
    };
    let workspace = scratch();
    let sandbox = json!({
        "permissions": {
            "type": "managed",
            "file_system": {"type": "restricted", "entries": [
                {"path": {"type": "special", "value": {"kind": "root"}}, "access": "read"},
                {"path": {"type": "path", "path": workspace.dir()}, "access": "write"},
            ]},
            "network": "restricted",
        },
        "windowsSandboxLevel": "disabled",
    });
    for number in 0..20 {
        client.run(Start::child(&format!("plain {number}"), &["true"]));
        let confined = Start::child(&format!("confined {number}"), &["true"]);
        client.run(
            confined
                .cwd(&workspace.dir())
                .with("sandbox", sandbox.clone()),
        );
    }
    let script = "setsid sleep 1000 >/dev/null 2>&1 & echo started";
    assert_eq!(
        client.run(Start::shell("daemon", script)).stdout,
        "started\n"
    );
    let server = children_named(first, "exec-server")[0];
    within(PATIENCE, "no zombie is left while it serves", || {
        zombies_of(server) == 0 && zombies_of(first) == 0
    });
    client.end_of_input();
    within(PATIENCE, "the server ends", || !alive(server));
    // It waits for the server, and for nothing else: what else is a zombie stays one as long as it lives, which is until
    // it is told that we have looked.
    within(
        PATIENCE,
        "process 1 has reaped the server, and nothing else is left",
        || zombies_of(first) == 0,
    );
    assert!(alive(first));
}

#[test]
fn a_local_run_leaves_none() {
    let environments = Environments::start();
    let script = "setsid sleep 1000 >/dev/null 2>&1 & echo $!";
    let said = environments.stdout(&["run", "-e", "local", "sh", "-c", script]);
    let pid: u32 = said.trim().parse().unwrap();
    all_gone(&[pid]);
}

on_every_launcher! {
    fn a_confined_process_leaves_none(stage) {
        let script = "setsid sleep 1000 >/dev/null 2>&1 & echo started; exec sleep 1000";
        let policy = stage.policy().json();
        let workspace = stage.workspace();
        let server = stage.client.server_pid();
        let started = |client: &mut Client, id: &str| {
            client.start(Start::shell(id, script).cwd(&workspace).with("sandbox", policy.clone()));
            client.output(id, "stdout", |text| text.contains("started"));
            let mut sleeping = Vec::new();
            within(PATIENCE, "both sleep", || {
                let all = crate::support::descendants(server);
                let name = |pid: u32| fs::read_to_string(format!("/proc/{pid}/comm"));
                sleeping = all.into_iter().filter(|&pid| name(pid).is_ok_and(|it| it == "sleep\n")).collect();
                sleeping.len() == 2
            });
            sleeping
        };
        let pids = started(&mut stage.client, "p");
        stage.client.ok("process/terminate", params("p", json!({})));
        all_gone(&pids);
        let pids = started(&mut stage.client, "q");
        stage.client.server.as_mut().unwrap().kill();
        all_gone(&pids);
    }
}
