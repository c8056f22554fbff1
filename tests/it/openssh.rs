//! The command line over OpenSSH.

use std::fs;
use std::process::Command;

use crate::support::sshd::Sshd;
use crate::support::{Environments, Need, Server, child, finish, has, patterned, upgrade_head};

const UPGRADED: &str = "HTTP/1.1 101 Switching Protocols";

/// An environment `box`, which is ssh to a real sshd of this test; none where there is no OpenSSH.
fn over_ssh() -> Option<(Environments, Sshd)> {
    if !has(Need::Sshd) {
        return None;
    }
    let environments = Environments::start();
    let directory = environments.scratch.path("sshd");
    fs::create_dir(&directory).unwrap();
    let sshd = Sshd::start(directory.as_ref()).unwrap();
    let own = environments.command(&[]);
    let mut args = sshd.options();
    args.extend([
        "127.0.0.1".to_owned(),
        format!(
            "cd '{}' && exec '{}' --listen stdio",
            environments.there,
            own.get_program().display()
        ),
    ]);
    environments.configure(&format!(
        "default = \"box\"\n[[environments]]\nid = \"box\"\nprogram = \"ssh\"\nargs = {args:?}\n"
    ));
    Some((environments, sshd))
}

#[test]
fn a_command_over_ssh_has_its_streams_and_its_exit_code() {
    let Some((environments, _sshd)) = over_ssh() else {
        return;
    };
    let command = environments.command(&["run", "/bin/sh", "-c", "cat; echo err >&2; exit 6"]);
    let output = finish(command, b"in\0put");
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    assert_eq!(
        (&output.stdout[..], &output.stderr[..]),
        (&b"in\0put"[..], &b"err\n"[..])
    );
}

#[test]
fn a_check_over_ssh_tells_the_sandbox() {
    let Some((environments, _sshd)) = over_ssh() else {
        return;
    };
    let found = environments.stdout(&["env", "check", "--json", "box"]);
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found[0]["sandbox"]["seccomp"], true, "{found}");
}

#[test]
fn many_bytes_come_through_ssh_as_they_are() {
    const SIZE: usize = 16 << 20;
    let Some((environments, _sshd)) = over_ssh() else {
        return;
    };
    let output = environments.run(&["run", &child(), "write", &SIZE.to_string()]);
    let expected = patterned(SIZE);
    assert!(
        output.stdout == expected,
        "{} bytes; {:?}",
        output.stdout.len(),
        output.stderr
    );
}

#[test]
fn files_go_over_ssh_in_both_directions() {
    let Some((environments, _sshd)) = over_ssh() else {
        return;
    };
    let bytes = patterned(5 << 20);
    let here = environments.scratch.path("here");
    fs::write(&here, &bytes).unwrap();
    environments.stdout(&["cp", &here, "box:there"]);
    assert!(fs::read(format!("{}/there", environments.there)).unwrap() == bytes);
    let back = environments.scratch.path("back");
    environments.stdout(&["cp", "box:there", &back]);
    assert!(fs::read(&back).unwrap() == bytes);
}

#[test]
fn an_ssh_that_is_refused_is_told_in_its_own_words() {
    let Some((environments, sshd)) = over_ssh() else {
        return;
    };
    drop(sshd);
    environments.fails(&["run", "/bin/echo", "ran"], 255, "Connection refused");
}

/// The first line of what a server on loopback says to who has logged in as `user`.
fn forwarded(sshd: &Sshd, server: &Server, user: Option<&str>) -> String {
    let mut command = Command::new("ssh");
    command.args(sshd.options());
    command.args(user.map(|user| format!("-l{user}")));
    command.args(["-W", &server.address().to_string(), "127.0.0.1"]);
    let request = upgrade_head("/", Some("localhost"), "");
    let output = finish(command, request.as_bytes());
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn who_comes_through_a_forwarded_port_is_the_user_who_has_logged_in() {
    let Some((_environments, sshd)) = over_ssh() else {
        return;
    };
    let server = Server::websocket(&[]);
    assert_eq!(forwarded(&sshd, &server, None), UPGRADED);
}

#[test]
fn who_has_logged_in_as_another_does_not_come_through_a_forwarded_port() {
    // Only root can let others log in.
    needs!(Need::Root);
    let Some((_environments, sshd)) = over_ssh() else {
        return;
    };
    let server = Server::websocket(&[]);
    // An account that every machine has, and that may have no shell.
    let refused = "HTTP/1.1 403 Forbidden";
    assert_eq!(forwarded(&sshd, &server, Some("daemon")), refused);
    let server = Server::websocket(&["--allow-local-users"]);
    assert_eq!(forwarded(&sshd, &server, Some("daemon")), UPGRADED);
}
