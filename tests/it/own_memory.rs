//! What other processes of its user learn about the server from `/proc`, and what its children get of what it has.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::support::plane::{Plane, Style};
use crate::support::sandbox::{ORDINARY, Who, is_root};
use crate::support::{
    Client, PATIENCE, Server, Start, child, children_named, scratch, within, working_children,
};

/// What is known to the server alone.
const SECRETS: [(&str, &str); 4] = [
    ("EXEC_SERVER_TOKEN", "the-token-of-this-server"),
    (
        "CODEX_EXEC_SERVER_REMOTE_BEARER_TOKEN",
        "the-bearer-of-this-server",
    ),
    ("CODEX_API_KEY", "the-key-of-this-server"),
    (
        "HTTPS_PROXY",
        "http://user:the-password-of-this-server@127.0.0.1:9",
    ),
];

/// The users that a server can be here.
fn users() -> Vec<Who> {
    if is_root() {
        vec![Who::Myself, Who::Another]
    } else {
        vec![Who::Myself]
    }
}

fn server(who: Who, arguments: &[&str]) -> Command {
    let mut command = Server::command();
    command.args(arguments).envs(SECRETS);
    who.apply(&mut command);
    command
}

fn stdio(who: Who) -> Client {
    Client::stdio_command(server(who, &["--listen", "stdio"]))
}

/// Fails if a process tells more about itself than that it is there.
#[track_caller]
fn assert_closed(who: Who, what: &str, pid: u32) {
    // Root may read it, so nothing must be in it.
    if let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) {
        let environment = String::from_utf8_lossy(&environment);
        for (name, secret) in SECRETS {
            assert!(
                !environment.contains(secret),
                "{what} as {who:?}: {name} in {environment:?}"
            );
        }
    }
    if who == Who::Myself && is_root() {
        return;
    }
    let pid = pid.to_string();
    for attempt in [
        &["environ", &pid][..],
        &["open-memory", &pid],
        &["ptrace", &pid],
        &["list", &format!("/proc/{pid}/fd")],
    ] {
        let mut another = who.command(child());
        let tried = another.arg("attempt").args(attempt).output().unwrap();
        let said = String::from_utf8_lossy(&tried.stdout).into_owned();
        assert!(
            said.starts_with("failed "),
            "{what} as {who:?}: {attempt:?}: {said}"
        );
    }
}

#[test]
fn neither_the_server_nor_its_guardian_can_be_read_by_others() {
    for who in users() {
        let mut client = stdio(who);
        client.run(Start::child("p", &["true"]));
        let pid = client.server_pid();
        assert_closed(who, "the server", pid);
        let guardians = children_named(pid, "exec-guardian");
        assert_eq!(guardians.len(), 1);
        assert_closed(who, "the guardian", guardians[0]);
    }
}

#[test]
fn however_it_is_reached() {
    for who in users() {
        let scratch = scratch();
        if who == Who::Another {
            std::os::unix::fs::chown(scratch.dir(), Some(ORDINARY), Some(ORDINARY)).unwrap();
        }
        let socket = format!("unix://{}", scratch.path("socket"));
        for listen in ["ws://127.0.0.1:0", &socket] {
            let server = Server::websocket_command(server(who, &["--listen", listen]));
            assert_closed(who, listen, server.pid());
        }
        let plane = Plane::start(Style::Plain);
        let mut offered = server(
            who,
            &[
                "--remote",
                &plane.base(),
                "--executor-id",
                "e",
                "--name",
                "n",
            ],
        );
        offered.env("NO_PROXY", "*").env("HOME", "/nonexistent");
        let offered = Server::offered(offered);
        let is_registered = || !plane.registrations().is_empty();
        assert!(
            plane.comes_true(PATIENCE, is_registered),
            "{}",
            offered.stderr()
        );
        assert_closed(who, "--remote", offered.pid());
    }
}

#[test]
fn a_client_s_token_cannot_be_read_either() {
    for who in users() {
        let served = Server::websocket_command(server(who, &["--listen", "ws://127.0.0.1:0"]));
        let url = format!("ws://{}", served.address());
        let sleep = [child(), "sleep".into()];
        let mut command = server(who, &["run", "-e", &url, "--"]);
        command.env("NO_PROXY", "*").args(&sleep);
        let runner = Server::offered(command);
        within(PATIENCE, "the command runs", || {
            !working_children(served.pid()).is_empty()
        });
        assert_closed(who, "run", runner.pid());
    }
}

#[test]
fn no_child_gets_the_server_s_own_secrets() {
    for who in users() {
        let mut client = stdio(who);
        let policy = json!({"inherit": "all", "ignoreDefaultExcludes": true, "exclude": [], "set": {}, "includeOnly": []});
        let all = client
            .run(Start::child("p", &["env"]).with("envPolicy", policy))
            .stdout;
        assert!(
            all.contains("PATH=") && all.contains("HTTPS_PROXY="),
            "{all}"
        );
        for (name, secret) in SECRETS.iter().take(3) {
            assert!(!all.contains(secret), "{name} in {all}");
        }
    }
}

#[test]
fn a_child_is_as_open_as_any_program() {
    for who in users() {
        let mut client = stdio(who);
        let own = client.run(Start::child(
            "p",
            &["attempt", "environ", "self", "--", "open-memory", "self"],
        ));
        assert_eq!(own.stdout, "did\ndid\n");
    }
}

#[test]
fn every_child_goes_before_the_server_when_memory_runs_out() {
    let score = |text: &str| text.trim().parse::<i32>().unwrap();
    for who in users() {
        let mut client = stdio(who);
        let path = format!("/proc/{}/oom_score_adj", client.server_pid());
        let own = || score(&fs::read_to_string(&path).unwrap());
        let before = own();
        let expected = (before + 800).min(1000);
        // Neither what it starts itself has less.
        let both = format!("{0} oom; {0} oom", child());
        let ids: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        for id in &ids {
            client.start(Start::shell(id, &both));
        }
        for id in &ids {
            let outcome = client.closed(id);
            let told: Vec<i32> = outcome
                .stdout
                .lines()
                .filter(|line| !line.is_empty())
                .map(score)
                .collect();
            assert_eq!(told, [expected, expected], "{who:?}: {outcome:?}");
        }
        assert_eq!(own(), before, "{who:?}");
    }
}
