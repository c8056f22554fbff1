//! The command line over OpenSSH.

use std::fs;

use crate::support::{Environments, child, finish, patterned};

#[path = "../openssh/server.rs"]
mod server;

use server::Sshd;

/// An environment `box`, which is ssh to a real sshd of this test; none with a word why.
fn over_ssh() -> Option<(Environments, Sshd)> {
    let environments = Environments::start();
    let directory = environments.scratch.path("sshd");
    fs::create_dir(&directory).unwrap();
    let sshd = match Sshd::start(directory.as_ref()) {
        Ok(sshd) => sshd,
        Err(why) => {
            println!("skipped: {why}");
            return None;
        }
    };
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
