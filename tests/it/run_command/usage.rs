//! Command lines that make no sense, and environments that are not there.

use crate::support::{Environments, child, fails, run};

#[test]
fn a_wrong_command_line_gives_2() {
    for (arguments, text) in [
        (
            &["run"][..],
            "no command was given; a login shell needs a terminal",
        ),
        (&["run", "-e", "dev"], "a login shell needs a terminal"),
        (
            &["run", "--tmeout", "1", "x"],
            "a similar argument exists: '--timeout'",
        ),
        (
            &["run", "--timeout", "soon", "x"],
            "invalid value 'soon' for '--timeout <T>'",
        ),
        (&["run", "--env", "=x", "x"], "expected NAME or NAME=VALUE"),
        (
            &["run", "--rlimit", "nofile", "x"],
            "expected NAME=N or NAME=SOFT:HARD",
        ),
        (
            &["run", "--rlimit", "nofile=many", "x"],
            "invalid value 'nofile=many'",
        ),
        (
            &["run", "--memory", "much", "x"],
            "invalid value 'much' for '--memory <SIZE>'",
        ),
        (
            &["run", "--pids", "0", "x"],
            "invalid value '0' for '--pids <N>'",
        ),
        (
            &["run", "--cpu", "0", "x"],
            "expected a number of processors from 0.01 to 10000, such as 0.5",
        ),
        (
            &["run", "-i", "-n", "x"],
            "'--input' cannot be used with '--no-input'",
        ),
        (&["runn", "x"], "a similar command exists: 'run'"),
        (&["help", "rum"], "a similar command exists: 'run'"),
        (
            &["ls", "-la"],
            "to run it in an environment: 'exec-server run ls'",
        ),
        (
            &["--config", "f", "ps"],
            "to run it in an environment: 'exec-server run ps'",
        ),
        (
            &["shell"],
            "for a shell in an environment: 'exec-server run -t bash'",
        ),
        (
            &["version"],
            "the version is told by 'exec-server --version'",
        ),
        (
            &["help", "ls"],
            "to run it in an environment: 'exec-server run ls'",
        ),
        (&["cp", "x"], "a source and a destination are needed"),
        (&["env", "chek"], "a similar word exists: 'check'"),
    ] {
        fails(arguments, 2, text);
    }
}

#[test]
fn help_explains_every_command() {
    for arguments in [
        &["help", "run"][..],
        &["run", "--help"],
        &["run", "-e", "x", "-h"],
    ] {
        let output = run(arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && text.contains("exec-server run [OPTIONS]"),
            "{text}"
        );
    }
    let text = String::from_utf8(run(&["help"]).stdout).unwrap();
    for command in ["run", "cp", "env", "help"] {
        assert!(text.contains(&format!("\n  {command} ")), "{text}");
    }
}

#[test]
fn what_stands_behind_the_command_is_its_own() {
    let environments = Environments::start();
    let child = child();
    for dashes in [&[][..], &["--"]] {
        let arguments = [
            &["run"][..],
            dashes,
            &[child.as_str(), "echo", "-e", "--", "--help"],
        ]
        .concat();
        assert_eq!(environments.stdout(&arguments), "-e -- --help\n");
    }
}

#[test]
fn an_unknown_environment_is_told_with_those_that_there_are() {
    let environments = Environments::start();
    let output = environments.run(&["run", "-e", "unx", "/bin/true"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(255));
    assert_eq!(
        stderr,
        "exec-server run: environment `unx` is not configured; did you mean `unix`?\n  \
         configured are: local, ws, stdio, unix\n"
    );
}

#[test]
fn one_word_that_is_a_command_line_is_explained() {
    let environments = Environments::start();
    for (arguments, advice) in [
        (&["ls -la"][..], "sh -c 'ls -la'"),
        (&["-e", "ws", "ls -la"], "sh -c 'ls -la'"),
        (&["/bin/echo it's"], r"sh -c '/bin/echo it'\''s'"),
    ] {
        let arguments = [&["run"][..], arguments].concat();
        let stderr = environments.fails(&arguments, 127, &format!("\n  {advice}\n"));
        assert!(stderr.contains("cannot "), "{stderr}");
    }
    // What is there is run, whatever its name.
    let program = environments.scratch.path("two words");
    std::fs::copy("/bin/true", &program).unwrap();
    let output = environments.run(&["run", &program]);
    assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]));
    let stderr = environments.fails(&["run", "no-such-program", "a b"], 127, "no-such-program");
    assert!(!stderr.contains("sh -c"), "{stderr}");
}

#[test]
fn an_environment_in_the_place_of_the_command_is_explained() {
    let environments = Environments::start();
    for (arguments, advice) in [
        (&["unix", "uname"][..], "\n  -e unix --\n"),
        (&["local", "uname", "-a"], "\n  -e local --\n"),
        (&["ws"], "\n  -e ws --\n"),
    ] {
        environments.fails(&[&["run"][..], arguments].concat(), 127, advice);
    }
    let chosen = environments.fails(&["run", "-e", "ws", "unix", "uname"], 127, "program unix");
    assert!(!chosen.contains("-e unix"), "{chosen}");
}

#[test]
fn a_long_path_does_not_hide_what_is_missing() {
    let environments = Environments::start();
    let path = "/a-directory-that-is-not-there:".repeat(100);
    let variable = format!("PATH={path}");
    let stderr = environments.fails(&["run", "--env", &variable, "nothing"], 127, "nothing");
    let start = "exec-server run: cannot find the program nothing: No such file or directory \
                 (os error 2); the process's PATH is /a-directory";
    assert!(stderr.starts_with(start), "{stderr}");
    assert!(stderr.len() < 300 && stderr.ends_with("...\n"), "{stderr}");
}

#[test]
fn without_a_default_one_has_to_be_named() {
    let environments = Environments::start();
    environments.configure("default = \"none\"\n");
    let words = "no environment is the default";
    environments.fails(&["run", "/bin/true"], 255, words);
    assert_eq!(
        environments
            .run(&["run", "-e", "local", "/bin/true"])
            .status
            .code(),
        Some(0)
    );
}

#[test]
fn a_wrong_file_is_an_error_and_nothing_runs_here() {
    let environments = Environments::start();
    environments.configure("default = 3\n");
    environments.fails(&["run", "/bin/echo", "ran"], 255, "environments.toml");
}

#[test]
fn another_file_can_be_named_before_and_behind_the_command() {
    let environments = Environments::start();
    let other = environments.scratch.path("other.toml");
    std::fs::write(&other, "include_local = false\n").unwrap();
    for arguments in [
        ["--config", &other, "run", "/bin/true"],
        ["run", "--config", &other, "/bin/true"],
    ] {
        let output = environments.run(&arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("no environment is configured"), "{stderr}");
    }
}

#[test]
fn the_output_of_a_command_can_be_the_file() {
    let environments = Environments::start();
    let program = environments.command(&[]).get_program().to_owned();
    let script = "echo include_local = false | \"$0\" --config /dev/stdin run /bin/true";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script]).arg(program);
    let stderr = crate::support::finish(command, b"").stderr;
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(stderr.contains("no environment is configured"), "{stderr}");
}

#[test]
fn a_url_needs_no_file() {
    let environments = Environments::start();
    let url = format!("ws://{}", environments.ws.address());
    let mut command = environments.command(&["run", "-e", &url, "/bin/echo", "there"]);
    command.env("EXEC_SERVER_TOKEN", "a-token-that-nobody-guesses");
    let output = crate::support::finish(command, b"");
    assert_eq!(output.stdout, b"there\n", "{output:?}");

    let refused = environments.run(&["run", "-e", &url, "/bin/echo", "there"]);
    assert_eq!((refused.status.code(), refused.stdout), (Some(255), vec![]));
}
