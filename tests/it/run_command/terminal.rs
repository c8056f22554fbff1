//! `-t`: a terminal there, ours in raw mode. Ours is one that a server of this project gives to the program.

use serde_json::json;

use crate::support::{Client, EVERY, Environments, Start, params, signal};

/// Says what is typed, once.
const CAT: &str = "/bin/sh -c 'stty -echo; echo ready; cat'";

/// `run -t` with these words, in a shell whose terminal is the test's; the shell shows the terminal's mode at the end.
fn typed(environments: &Environments, environment: &str, words: &str) -> Start {
    let own = environments.command(&[]);
    let script = format!(
        "before=$(stty -g); '{}' run -t -e {environment} {words}; echo code $?; \
         test \"$before\" = \"$(stty -g)\" && echo restored",
        own.get_program().display(),
    );
    Start::shell("p", &script)
        .tty()
        .env("EXEC_SERVER_HOME", &environments.scratch.dir())
        .env("TEST_TOKEN", "a-token-that-nobody-guesses")
        .env("TERM", "vt100")
        .env("HOME", &environments.scratch.dir())
        .with("size", json!({"rows": 33, "cols": 101}))
}

/// Starts it, and waits until the command says that it is ready.
fn ready(environments: &Environments, environment: &str, words: &str) -> Client {
    let mut client = Client::stdio();
    client.start(typed(environments, environment, words));
    client.output("p", "pty", |text| text.ends_with("ready\r\n"));
    client
}

#[test]
fn the_command_has_a_terminal_of_our_size_and_kind() {
    let environments = Environments::start();
    for environment in EVERY {
        let mut client = Client::stdio();
        let words =
            "/bin/sh -c 'stty size; echo $TERM; test -t 0 && test -t 1 && test -t 2 && echo all'";
        let outcome = client.run(typed(&environments, environment, words));
        let expected = "33 101\r\nvt100\r\nall\r\ncode 0\r\nrestored\r\n";
        assert_eq!(outcome.pty, expected, "{environment}");
    }
}

#[test]
fn keys_reach_the_command_and_not_us() {
    let environments = Environments::start();
    for environment in EVERY {
        let mut client = ready(
            &environments,
            environment,
            "/bin/sh -c 'trap \"echo got; exit 5\" INT; echo ready; while :; do sleep 0.05; done'",
        );
        client.write("p", b"\x03", "1");
        let outcome = client.closed("p");
        assert!(
            outcome.pty.ends_with("got\r\ncode 5\r\nrestored\r\n"),
            "{environment}: {}",
            outcome.pty
        );
    }
}

#[test]
fn a_new_size_goes_along() {
    let environments = Environments::start();
    for environment in EVERY {
        let mut client = ready(
            &environments,
            environment,
            "/bin/sh -c 'trap \"stty size; exit\" WINCH; echo ready; while :; do sleep 0.05; done'",
        );
        client.ok(
            "process/resize",
            params("p", json!({"rows": 40, "cols": 90})),
        );
        let outcome = client.closed("p");
        assert!(
            outcome.pty.contains("40 90\r\ncode 0\r\nrestored\r\n"),
            "{environment}: {}",
            outcome.pty
        );
    }
}

#[test]
fn the_end_of_input_is_passed_on() {
    let environments = Environments::start();
    let mut client = ready(&environments, "unix", CAT);
    client.write("p", b"line\r\x04", "1");
    let outcome = client.closed("p");
    assert_eq!(outcome.pty, "ready\r\nline\r\ncode 0\r\nrestored\r\n");
}

#[test]
fn a_tilde_and_a_dot_leave() {
    let environments = Environments::start();
    let mut client = ready(&environments, "unix", CAT);
    client.write("p", b"~.", "1");
    let outcome = client.closed("p");
    assert!(
        outcome.pty.contains("exec-server run: left"),
        "{}",
        outcome.pty
    );
    assert!(
        outcome.pty.ends_with("code 255\r\nrestored\r\n"),
        "{}",
        outcome.pty
    );
}

#[test]
fn the_terminal_is_as_it_was_after_a_signal() {
    let environments = Environments::start();
    for name in ["TERM", "INT", "HUP", "QUIT"] {
        let mut client = ready(
            &environments,
            "unix",
            "/bin/sh -c 'echo $PPID ready; exec sleep 1000'",
        );
        let run = crate::support::children_named(shell(&mut client), "exec-server")[0];
        signal(run, name);
        let outcome = client.closed("p");
        assert!(
            outcome.pty.ends_with("restored\r\n"),
            "{name}: {}",
            outcome.pty
        );
    }
}

/// The process id of the shell that runs the command line.
fn shell(client: &mut Client) -> u32 {
    let server = client.server_pid();
    let shells = crate::support::children_named(server, "sh");
    assert_eq!(shells.len(), 1, "{shells:?}");
    shells[0]
}

#[test]
fn without_a_terminal_of_our_own_the_command_still_has_one() {
    let environments = Environments::start();
    for environment in EVERY {
        let output = environments.run(&[
            "run",
            "-t",
            "-e",
            environment,
            "/bin/sh",
            "-c",
            "stty size; test -t 1 && echo yes",
        ]);
        assert_eq!(
            output.stdout, b"24 80\r\nyes\r\n",
            "{environment}: {:?}",
            output.stderr
        );
        assert_eq!(output.status.code(), Some(0), "{environment}");
    }
}

#[test]
fn the_language_goes_along_with_a_terminal_only() {
    let environments = Environments::start();
    let script = "/bin/sh -c 'echo $LANG,$LC_TIME.'";
    for environment in EVERY {
        let start = |words: &str| {
            typed(&environments, environment, words)
                .env("LANG", "de_AT.UTF-8")
                .env("LC_TIME", "C")
        };
        let outcome = Client::stdio().run(start(script));
        assert!(
            outcome.pty.starts_with("de_AT.UTF-8,C.\r\n"),
            "{environment}: {}",
            outcome.pty
        );
        let explicit = format!("--env LANG=C --env LC_TIME=de_AT {script}");
        let outcome = Client::stdio().run(start(&explicit));
        assert!(
            outcome.pty.starts_with("C,de_AT.\r\n"),
            "{environment}: {}",
            outcome.pty
        );
    }
    let mut command = environments.command(&["run", "-e", "ws", "/bin/sh", "-c", "echo $LC_TIME"]);
    command.env("LC_TIME", "de_AT");
    let output = crate::support::finish(command, b"");
    assert_eq!(output.stdout, b"\n", "{output:?}");
}

#[test]
fn without_a_command_it_is_a_login_shell() {
    let environments = Environments::start();
    for (environment, flags) in [
        ("local", ""),
        ("ws", ""),
        ("unix", "--sandbox read-only"),
        ("stdio", ""),
    ] {
        let mut client = Client::stdio();
        let own = environments.command(&[]);
        let script = format!(
            "'{}' run -e {environment} {flags}; echo code $?",
            own.get_program().display()
        );
        client.start(
            Start::shell("p", &script)
                .tty()
                .env("EXEC_SERVER_HOME", &environments.scratch.dir())
                .env("TEST_TOKEN", "a-token-that-nobody-guesses")
                .env("TERM", "dumb")
                .env("HOME", &environments.scratch.dir()),
        );
        let is_prompt = |text: &str| text.ends_with("$ ") || text.ends_with("# ");
        client.output("p", "pty", is_prompt);
        client.write("p", b"echo \"name $0\" $((3 * 4)); exit 7\r", "1");
        let outcome = client.closed("p");
        // What is typed is echoed, perhaps twice; its result is not among that.
        let is_login = |line: &str| line.starts_with("name -") && line.ends_with("sh 12");
        assert!(
            outcome.pty.split("\r\n").any(is_login),
            "{environment}: {}",
            outcome.pty
        );
        assert!(
            outcome.pty.ends_with("code 7\r\n"),
            "{environment}: {}",
            outcome.pty
        );
    }
}
