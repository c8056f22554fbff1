//! What a process inherits from the server: nothing.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::json;

use crate::support::{Client, Server, Start, child, encode};

/// A server that was itself started with ignored signals and a stray descriptor.
fn burdened_server() -> Client {
    let plain = Server::command();
    let mut command = Command::new("/bin/sh");
    command.args([
        "-c",
        "trap '' INT HUP PIPE USR1; exec 9</dev/null; exec \"$0\" --listen stdio",
    ]);
    command.arg(plain.get_program());
    Client::stdio_command(command)
}

fn fds(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.trim().split_once(' '))
        .map(|(fd, to)| (fd.into(), to.into()))
        .collect()
}

#[test]
fn a_process_has_three_descriptors_and_no_more() {
    let mut client = burdened_server();
    let pipes = client.run(Start::child("pipes", &["fds"]));
    let found = fds(&pipes.stdout);
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        ["0", "1", "2"],
        "{found:?}"
    );
    assert_eq!(found["0"], "/dev/null", "stdin is empty by default");
    assert!(
        found["1"].starts_with("pipe:")
            && found["2"].starts_with("pipe:")
            && found["1"] != found["2"],
        "{found:?}"
    );

    let terminal = client.run(Start::child("terminal", &["fds"]).tty());
    let found = fds(&terminal.pty);
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        ["0", "1", "2"],
        "{found:?}"
    );
    assert!(
        found
            .values()
            .all(|to| to.starts_with("/dev/pts/") && *to == found["0"]),
        "{found:?}"
    );

    client.start(Start::child("piped", &["fds"]).pipe_stdin());
    let found = fds(&client.closed("piped").stdout);
    assert_eq!(found.len(), 3);
    assert!(!found["0"].starts_with("/dev"), "{found:?}");
}

#[test]
fn a_process_has_no_signal_blocked_or_ignored() {
    let mut client = burdened_server();
    for tty in [false, true] {
        let outcome = client.run(Start::child(&tty.to_string(), &["status"]).with("tty", tty));
        let status = outcome.stdout + &outcome.pty;
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap()
                .trim()
                .to_string()
        };
        assert_eq!(field("SigBlk:"), "0000000000000000", "tty {tty}");
        // The child is a Rust program, whose start ignores SIGPIPE (bit 12) by itself.
        assert_eq!(field("SigIgn:"), "0000000000001000", "tty {tty}");
    }
    let outcome = client.run(Start::shell("sh", "while read name value; do case $name in SigIgn:) echo $value;; esac; done </proc/$$/status"));
    assert_eq!(outcome.stdout, "0000000000000000\n");
}

over_both! {
    fn a_process_leads_a_session_and_a_group_of_its_own(client) {
        for tty in [false, true] {
            let outcome = client.run(Start::child(&tty.to_string(), &["stat"]).with("tty", tty));
            let stat = outcome.stdout + &outcome.pty;
            let pid = stat.split(' ').next().unwrap();
            let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
            let (group, session, terminal) = (fields[2], fields[3], fields[4]);
            assert_eq!((group, session), (pid, pid), "tty {tty}");
            assert_eq!(terminal != "0", tty, "a controlling terminal only where one was asked for");
        }
    }

    fn a_process_is_scheduled_as_any_other(client) {
        let direct = Command::new(child()).arg("scheduling").output().unwrap();
        let usual = String::from_utf8(direct.stdout).unwrap();
        assert!(usual.starts_with('['), "{usual}");
        assert_eq!(client.run(Start::child("p", &["scheduling"])).stdout, usual);
        assert_eq!(client.run(Start::child("t", &["scheduling"]).tty()).pty.trim_end(), usual.trim_end());
        let run = client.ok("process/run", json!({"argv": [child(), "scheduling"]}));
        assert_eq!(run["stdout"]["dataBase64"], encode(usual.as_bytes()));
    }

    fn stdin_is_at_its_end_by_default(client) {
        assert_eq!(client.run(Start::child("p", &["drain"])).stdout, "0\n");
    }
}
