//! Standard input, output and error on their way.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{EVERY, Environments, REMOTE, Running, child, finish, patterned};

#[test]
fn output_and_errors_come_apart() {
    let environments = Environments::start();
    for environment in EVERY {
        let script = "echo out; echo err >&2; echo out2";
        let output = environments.run(&["run", "-e", environment, "/bin/sh", "-c", script]);
        assert_eq!(output.stdout, b"out\nout2\n", "{environment}");
        assert_eq!(output.stderr, b"err\n", "{environment}");
    }
}

#[test]
fn input_arrives_with_its_end() {
    let environments = Environments::start();
    for environment in EVERY {
        let output = finish(
            environments.command(&["run", "-e", environment, "/bin/cat"]),
            b"a\0b\nc",
        );
        assert_eq!(output.stdout, b"a\0b\nc", "{environment}: {output:?}");
        assert_eq!(output.status.code(), Some(0), "{environment}");
    }
}

#[test]
fn no_input_is_an_empty_one() {
    let environments = Environments::start();
    for environment in EVERY {
        for flags in [&["-n"][..], &[]] {
            let arguments = [&["run", "-e", environment][..], flags, &["/bin/cat"]].concat();
            let mut command = environments.command(&arguments);
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let output = Running::new(command.spawn().unwrap()).finish("cat", b"");
            assert_eq!(output.status.code(), Some(0), "{environment}: {output:?}");
            assert_eq!(output.stdout, b"", "{environment}");
        }
    }
}

#[test]
fn input_is_left_alone_with_n() {
    let environments = Environments::start();
    let own = environments.command(&[]);
    let script = format!(
        "'{}' run -n -e unix /bin/cat; cat",
        own.get_program().display()
    );
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", &script])
        .env("EXEC_SERVER_HOME", environments.scratch.dir());
    assert_eq!(finish(shell, b"for the second").stdout, b"for the second");
}

#[test]
fn much_input_arrives_whole() {
    const SIZE: usize = 32 << 20;
    let environments = Environments::start();
    let input = patterned(SIZE);
    for environment in EVERY {
        let command = environments.command(&["run", "-e", environment, &child(), "drain"]);
        let output = finish(command, &input);
        assert_eq!(
            output.stdout,
            format!("{SIZE}\n").as_bytes(),
            "{environment}: {:?}",
            output.stderr
        );
    }
}

#[test]
fn much_output_arrives_whole() {
    const SIZE: usize = 64 << 20;
    let environments = Environments::start();
    for environment in EVERY {
        let size = SIZE.to_string();
        let output = environments.run(&["run", "-e", environment, &child(), "write", &size]);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{environment}: {:?}",
            output.stderr
        );
        assert_eq!(output.stdout.len(), SIZE, "{environment}");
        let expected = patterned(SIZE);
        assert!(
            output.stdout == expected,
            "{environment}: the bytes are others"
        );
    }
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_command() {
    let environments = Environments::start();
    for environment in EVERY {
        let mut command = environments.command(&[
            "run",
            "-e",
            environment,
            "/bin/sh",
            "-c",
            "while :; do echo y; done",
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut running = Running::new(command.spawn().unwrap());
        let mut stdout = running.0.stdout.take().unwrap();
        stdout.read_exact(&mut [0; 2]).unwrap();
        drop(stdout);
        let status = running.ended(Duration::from_secs(20));
        assert_eq!(status.code(), Some(128 + 13), "{environment}");
    }
}

#[test]
fn a_full_disk_is_our_failure() {
    let environments = Environments::start();
    let mut command = environments.command(&["run", "-e", "unix", "/bin/echo", "x"]);
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    command
        .stdin(Stdio::null())
        .stdout(full)
        .stderr(Stdio::piped());
    let output = Running::new(command.spawn().unwrap()).finish("echo", b"");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(255), "{stderr}");
    assert!(
        stderr.contains("cannot write to standard output: No space left"),
        "{stderr}"
    );
}

#[test]
fn output_comes_when_it_is_printed_and_not_when_a_line_ends() {
    let environments = Environments::start();
    for environment in REMOTE {
        let script = "printf ready; read line; printf \"$line\"";
        let mut command =
            environments.command(&["run", "-e", environment, "/bin/sh", "-c", script]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running::new(command.spawn().unwrap());
        let mut stdout = running.0.stdout.take().unwrap();
        let mut ready = [0; 5];
        stdout.read_exact(&mut ready).unwrap();
        assert_eq!(&ready, b"ready", "{environment}");
        std::io::Write::write_all(running.0.stdin.as_mut().unwrap(), b"go\n").unwrap();
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "go", "{environment}");
    }
}

#[test]
fn limits_are_passed_on() {
    let environments = Environments::start();
    for environment in EVERY {
        let limits = ["--rlimit", "nofile=64:128", "--rlimit", "fsize=1m"];
        let script = "ulimit -Sn; ulimit -Hn; ulimit -f";
        let command = ["/bin/sh", "-c", script];
        let arguments = [&["run", "-e", environment][..], &limits, &command].concat();
        // In blocks of 512 bytes.
        assert_eq!(
            environments.stdout(&arguments),
            "64\n128\n2048\n",
            "{environment}"
        );
        let refused = ["run", "-e", environment, "--rlimit", "locks=5", "/bin/true"];
        environments.fails(&refused, 125, "descendants");
    }
}
