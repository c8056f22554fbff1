//! How the end of a command becomes ours.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::support::{EVERY, Environments, child};

#[test]
fn the_exit_code_of_the_command_is_ours() {
    let environments = Environments::start();
    for environment in EVERY {
        for code in ["0", "1", "3", "255"] {
            let output =
                environments.run(&["run", "-e", environment, "--", &child(), "exit", code]);
            assert_eq!(
                output.status.code(),
                code.parse().ok(),
                "{environment}: {output:?}"
            );
            assert_eq!(
                (output.stdout, output.stderr),
                (vec![], vec![]),
                "{environment}"
            );
        }
    }
}

#[test]
fn a_signal_becomes_128_and_its_number_without_a_word() {
    let environments = Environments::start();
    for environment in EVERY {
        for (signal, code) in [("TERM", 143), ("KILL", 137), ("INT", 130)] {
            let script = format!("kill -{signal} $$");
            let output = environments.run(&["run", "-e", environment, "/bin/sh", "-c", &script]);
            assert_eq!(
                output.status.code(),
                Some(code),
                "{environment}: {output:?}"
            );
            assert_eq!(output.stderr, b"", "{environment}");
        }
    }
}

#[test]
fn verbose_tells_where_and_how_it_ended() {
    let environments = Environments::start();
    let output = environments.run(&["run", "-v", "-e", "unix", "/bin/sh", "-c", "kill -9 $$"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("exec-server run: in `unix`, server 0."),
        "{stderr}"
    );
    assert!(
        stderr.ends_with("exec-server run: ended by signal KILL\n"),
        "{stderr}"
    );
}

#[test]
fn a_command_whose_time_is_up_gives_124() {
    let environments = Environments::start();
    for environment in EVERY {
        let begun = Instant::now();
        let arguments = [
            "run",
            "-e",
            environment,
            "--timeout",
            "200ms",
            &child(),
            "sleep",
        ];
        let output = environments.run(&arguments);
        assert_eq!(output.status.code(), Some(124), "{environment}: {output:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{environment}");
    }
}

#[test]
fn a_command_that_ends_in_time_keeps_its_code() {
    let environments = Environments::start();
    let output = environments.run(&[
        "run",
        "-e",
        "unix",
        "--timeout",
        "1h",
        &child(),
        "exit",
        "7",
    ]);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
}

#[test]
fn a_command_that_is_not_there_gives_127_and_says_so() {
    let environments = Environments::start();
    for environment in EVERY {
        let arguments = ["run", "-e", environment, "/no/such/program"];
        let stderr = environments.fails(&arguments, 127, "No such file or directory");
        assert!(
            stderr.starts_with("exec-server run: "),
            "{environment}: {stderr}"
        );
        let arguments = ["run", "-e", environment, "no-such-program"];
        environments.fails(&arguments, 127, "no-such-program");
    }
}

#[test]
fn a_command_that_cannot_be_run_gives_126() {
    let environments = Environments::start();
    let script = environments.scratch.path("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    for environment in EVERY {
        for program in ["/etc/passwd", "/etc", &script] {
            environments.fails(&["run", "-e", environment, program], 126, program);
        }
    }
}

#[test]
fn what_the_server_refuses_gives_125() {
    let environments = Environments::start();
    for environment in EVERY {
        let arguments = ["run", "-e", environment, "-C", "/no/such/dir", "/bin/true"];
        environments.fails(&arguments, 125, "/no/such/dir");
    }
}

#[test]
fn nothing_of_ours_is_left_when_it_has_ended() {
    let environments = Environments::start();
    let output = environments.run(&["run", "-e", "stdio", "/bin/sh", "-c", "echo $PPID"]);
    let server: u32 = String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    crate::support::within(Duration::from_secs(10), "the stdio server ends", || {
        !crate::support::alive(server)
    });
}
