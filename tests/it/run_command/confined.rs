//! `run --sandbox`: what it lets a command do.

use std::fs;
use std::process::Output;

use crate::support::{EVERY, Environments, child, fails, scratch};

/// Runs a script in `directory` of an environment, with these flags, and gives what came of it.
fn script(
    environments: &Environments,
    environment: &str,
    flags: &[&str],
    directory: &str,
    script: &str,
) -> Output {
    let words = ["run", "-e", environment];
    let command = ["-C", directory, "/bin/sh", "-c", script];
    environments.run(&[&words, flags, &command].concat())
}

#[test]
fn read_only_lets_it_read_and_not_write() {
    let environments = Environments::start();
    for environment in EVERY {
        let place = scratch();
        fs::write(place.path("there"), "to be read").unwrap();
        let output = script(
            &environments,
            environment,
            &["-v", "--sandbox", "read-only"],
            &place.dir(),
            "cat there; echo x >made",
        );
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.stdout, b"to be read", "{environment}: {stderr}");
        assert!(!output.status.success(), "{environment}: {stderr}");
        assert!(!fs::exists(place.path("made")).unwrap(), "{environment}");
        assert!(stderr.contains("confined by "), "{environment}: {stderr}");
    }
}

#[test]
fn workspace_write_lets_it_write_in_its_directory() {
    let environments = Environments::start();
    for environment in EVERY {
        let place = scratch();
        let outside = format!(
            "/var/tmp/exec-server-outside-{}-{environment}",
            std::process::id()
        );
        let words = format!("echo x >made && ! echo x >{outside} && ! mkdir .git/x");
        let output = script(
            &environments,
            environment,
            &["-v", "--sandbox", "workspace-write"],
            &place.dir(),
            &words,
        );
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{environment}: {stderr}");
        assert_eq!(
            fs::read_to_string(place.path("made")).unwrap(),
            "x\n",
            "{environment}"
        );
        assert!(!fs::exists(&outside).unwrap(), "{environment}");
    }
}

#[test]
fn off_confines_nothing() {
    let environments = Environments::start();
    for environment in ["local", "ws"] {
        let place = scratch();
        let output = script(
            &environments,
            environment,
            &["-v", "--sandbox", "off"],
            &place.dir(),
            "echo x >made",
        );
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{environment}: {stderr}");
        assert!(fs::exists(place.path("made")).unwrap(), "{environment}");
        assert!(!stderr.contains("confined by"), "{environment}: {stderr}");
    }
}

#[test]
fn another_word_is_a_usage_error() {
    fails(
        &["run", "--sandbox", "strict", "true"],
        2,
        "expected read-only, workspace-write or off",
    );
}

#[test]
fn what_is_named_may_be_written_too() {
    let environments = Environments::start();
    for environment in EVERY {
        let (place, other, third) = (scratch(), scratch(), scratch());
        let words = format!(
            "echo x >{}/made && ! echo x >{}/made && ! echo x >here",
            other.dir(),
            third.dir()
        );
        let flags = ["--sandbox", "read-only", "--write", &other.dir()];
        let output = script(&environments, environment, &flags, &place.dir(), &words);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{environment}: {stderr}");
        assert!(fs::exists(other.path("made")).unwrap(), "{environment}");
    }
}

#[test]
fn what_is_named_and_missing_is_told() {
    let environments = Environments::start();
    for environment in EVERY {
        let place = scratch();
        for missing in ["/nonexistent/x", "~root"] {
            let flags = ["--sandbox", "workspace-write", "--write", missing];
            let output = script(&environments, environment, &flags, &place.dir(), "true");
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{environment}: {stderr}");
            let told = stderr.contains("there is no such file or directory");
            assert!(told && stderr.contains(missing), "{environment}: {stderr}");
        }
        let there = ["--sandbox", "workspace-write", "--write", &place.dir()];
        let output = script(&environments, environment, &there, &place.dir(), "true");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("no such file"), "{environment}: {stderr}");
    }
}

#[test]
fn the_variables_of_the_environment_are_there_as_without_a_sandbox() {
    let environments = Environments::start();
    for environment in EVERY {
        let place = scratch();
        let variables = |flags: &[&str]| {
            let output = script(
                &environments,
                environment,
                flags,
                &place.dir(),
                "env | sort",
            );
            let text = String::from_utf8(output.stdout).unwrap();
            let lines = text.lines().filter(|line| !line.starts_with("PWD="));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let free = variables(&[]);
        assert!(!free.is_empty(), "{environment}");
        assert_eq!(
            variables(&["--sandbox", "read-only"]),
            free,
            "{environment}"
        );
    }
}

#[test]
fn a_network_is_there_only_if_it_is_asked_for() {
    let environments = Environments::start();
    for environment in EVERY {
        let listens = |more: &[&str]| {
            let words = ["run", "-e", environment, "--sandbox", "read-only"];
            let attempt = [&child(), "attempt", "listen", "127.0.0.1:0"];
            let output = environments.run(&[&words, more, &attempt].concat());
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let without = listens(&[]);
        assert!(!without.starts_with("did"), "{environment}: {without}");
        let with = listens(&["--network"]);
        assert!(with.starts_with("did"), "{environment}: {with}");
    }
}

#[test]
fn the_whole_machine_is_no_workspace() {
    let environments = Environments::start();
    for environment in EVERY {
        for words in [
            &["--sandbox", "workspace-write", "-C", "/"][..],
            &["--sandbox", "workspace-write", "-C", "/tmp/.."],
            &["--sandbox", "read-only", "--write", "/"],
        ] {
            let run = [&["run", "-e", environment], words, &["true"]].concat();
            environments.fails(&run, 125, "confines no files");
        }
    }
}

#[test]
fn what_widens_a_sandbox_needs_one() {
    for words in [
        &["--write", "/srv"][..],
        &["--network"],
        &["--accept-weaker", "metadata"],
    ] {
        let run = [&["run"], words, &["true"]].concat();
        fails(&run, 2, "needs '--sandbox read-only'");
    }
    let run = [
        "run",
        "--sandbox",
        "read-only",
        "--accept-weaker",
        "files",
        "true",
    ];
    fails(&run, 2, "expected metadata");
}

#[test]
fn what_was_denied_is_told_in_one_line_with_the_flag_that_permits_it() {
    let environments = Environments::start();
    for environment in EVERY {
        let place = scratch();
        let directory = place.dir();
        fs::create_dir(place.path(".git")).unwrap();
        for (sandbox, words, path, flag) in [
            ("read-only", "echo x >made", "made", directory.clone()),
            (
                "workspace-write",
                "echo x >.git/x",
                ".git/x",
                place.path(".git"),
            ),
        ] {
            let run = |flags: &[&str]| script(&environments, environment, flags, &directory, words);
            let output = run(&["--sandbox", sandbox]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success(), "{environment}: {said}");
            let lines: Vec<&str> = said
                .lines()
                .filter(|line| line.starts_with("exec-server run: "))
                .collect();
            let [line] = lines[..] else {
                panic!("{environment} {sandbox}: {said}");
            };
            let denied = format!("denied by the sandbox: {} (EROFS)", place.path(path));
            assert!(line.contains(&denied), "{environment}: {line}");
            let permitted = format!("--write {flag} would permit it");
            assert!(line.contains(&permitted), "{environment}: {line}");
            // And so it does.
            let again = run(&["--sandbox", sandbox, "--write", &flag]);
            let said = String::from_utf8_lossy(&again.stderr);
            assert!(again.status.success(), "{environment} {sandbox}: {said}");
            assert_eq!(said, "", "{environment} {sandbox}");
        }
    }
}

#[test]
fn a_failure_that_has_nothing_to_do_with_the_sandbox_is_left_alone() {
    let environments = Environments::start();
    for environment in EVERY {
        let flags = ["--sandbox", "read-only"];
        let output = script(&environments, environment, &flags, "/", "exit 3");
        assert_eq!(output.status.code(), Some(3), "{environment}");
        assert_eq!(output.stderr, b"", "{environment}");
    }
}
