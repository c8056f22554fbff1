//! Where a command runs, and with which variables.

use crate::support::{EVERY, Environments, REMOTE};

#[test]
fn here_it_starts_where_we_are_and_there_where_the_server_is() {
    let environments = Environments::start();
    let here = environments.scratch.dir();
    for (environment, expected) in [
        ("local", &here),
        ("ws", &environments.there),
        ("unix", &environments.there),
        ("stdio", &environments.there),
    ] {
        let mut command = environments.command(&["run", "-e", environment, "/bin/pwd"]);
        command.current_dir(&here);
        let output = crate::support::finish(command, b"");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            format!("{expected}\n"),
            "{environment}: {output:?}"
        );
    }
}

#[test]
fn a_directory_can_be_given() {
    let environments = Environments::start();
    let sub = format!("{}/sub", environments.there);
    std::fs::create_dir(&sub).unwrap();
    for environment in EVERY {
        let given = environments.stdout(&["run", "-e", environment, "-C", &sub, "/bin/pwd"]);
        assert_eq!(given, format!("{sub}\n"), "{environment}");
    }
    for environment in REMOTE {
        let given = environments.stdout(&["run", "-e", environment, "-C", "./sub", "/bin/pwd"]);
        assert_eq!(given, format!("{sub}\n"), "{environment}");
    }
}

#[test]
fn variables_are_those_there_with_ours_added_by_name() {
    let environments = Environments::start();
    for environment in EVERY {
        let script = "echo $A-$B-$NOT_PASSED-${HOME:+home}";
        let arguments = [
            "run",
            "-e",
            environment,
            "--env",
            "A=1=2",
            "--env=B",
            "--env",
            "GONE",
            "/bin/sh",
            "-c",
            script,
        ];
        let mut command = environments.command(&arguments);
        command.env("B", "ours").env("NOT_PASSED", "not passed");
        let output = crate::support::finish(command, b"");
        let expected = match environment {
            "local" => "1=2-ours-not passed-home\n",
            // It is our child, and has what we have.
            "stdio" => "1=2-ours-not passed-home\n",
            _ => "1=2-ours--home\n",
        };
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            expected,
            "{environment}"
        );
    }
}

#[test]
fn the_token_stays_with_us() {
    let environments = Environments::start();
    let text = environments.stdout(&["run", "-e", "ws", "/usr/bin/env"]);
    assert!(!text.contains("nobody-guesses"), "{text}");
}
