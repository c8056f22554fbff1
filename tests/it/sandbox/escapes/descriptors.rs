//! What a program inside holds from the start: three descriptors, and its own environment.

use std::process::Command;

use crate::support::sandbox::{Launcher, Sandbox, Stage, Who};

fn numbers(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.trim().split(' ').next())
        .collect()
}

/// Starts the server with descriptors of its own that it was not told of.
fn burdened(plain: Command) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "exec 8</etc/passwd 9</dev/null; exec \"$0\" \"$@\""]);
    shell.arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

fn nothing_leaks(launcher: Launcher, who: Who) {
    let Some(mut stage) = Stage::set_through(launcher, who, burdened) else {
        return;
    };
    for policy in [
        Sandbox::read_only(),
        stage.policy(),
        Sandbox::read_only().online(),
    ] {
        for shape in ["pipes", "stdin", "terminal"] {
            let start = stage.child(&["fds"]).with("sandbox", policy.json());
            let start = match shape {
                "stdin" => start.pipe_stdin(),
                "terminal" => start.tty(),
                _ => start,
            };
            let outcome = stage.client.run(start);
            let found = outcome.stdout.clone() + &outcome.pty;
            assert_eq!(
                numbers(&found),
                ["0", "1", "2"],
                "{launcher} as {who:?}, {shape}: {outcome:?}"
            );
        }
    }
}

#[test]
fn three_descriptors_are_open_inside_with_the_system_bwrap() {
    nothing_leaks(Launcher::System, Who::Myself);
    nothing_leaks(Launcher::System, Who::Another);
}

#[test]
fn three_descriptors_are_open_inside_with_the_bundled_bwrap() {
    nothing_leaks(Launcher::Bundled, Who::Myself);
    nothing_leaks(Launcher::Bundled, Who::Another);
}

#[test]
fn three_descriptors_are_open_inside_with_landlock() {
    nothing_leaks(Launcher::Landlock, Who::Myself);
    nothing_leaks(Launcher::Landlock, Who::Another);
}

on_every_launcher! {
    fn the_environment_is_the_one_that_was_asked_for(stage) {
        let start = stage.child(&["env"]).env("ONE", "1").with("sandbox", Sandbox::read_only().json());
        let outcome = stage.client.run(start);
        // bwrap says where it changed to.
        let found: Vec<&str> = outcome.stdout.lines().filter(|line| !line.starts_with("PWD=")).collect();
        assert_eq!(found, ["ONE=1"], "{outcome:?}");
    }
}
