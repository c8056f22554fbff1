//! Copies that cannot be.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::parts;
use crate::support::sandbox::ORDINARY;
use crate::support::{Environments, Need, REMOTE, Running, finish, patterned};

#[test]
fn a_source_that_is_not_there_is_told_and_others_are_copied() {
    let environments = Environments::start();
    let here = environments.scratch.path("here");
    fs::write(&here, "x").unwrap();
    for environment in REMOTE {
        let gone = format!("{environment}:gone");
        let arguments = ["cp", &gone, &here, &environments.there];
        environments.fails(&arguments, 1, "gone: No such file or directory");
        assert_eq!(
            fs::read(format!("{}/here", environments.there)).unwrap(),
            b"x"
        );
    }
}

#[test]
fn a_directory_that_is_not_there_is_told() {
    let environments = Environments::start();
    let here = environments.scratch.path("here");
    for size in [1, 3 << 20] {
        fs::write(&here, patterned(size)).unwrap();
        for environment in REMOTE {
            let to = format!("{environment}:no/such/name");
            environments.fails(&["cp", &here, &to], 1, "No such file or directory");
        }
    }
}

#[test]
fn a_full_device_is_told() {
    let environments = Environments::start();
    let there = format!("{}/large", environments.there);
    for size in [100, 3 << 20] {
        fs::write(&there, patterned(size)).unwrap();
        let words = "No space left on device";
        environments.fails(&["cp", "ws:large", "/dev/full"], 1, words);
    }
}

#[test]
fn a_pipe_takes_no_file_and_nobody_waits_for_its_reader() {
    let environments = Environments::start();
    let there = format!("{}/file", environments.there);
    let pipe = environments.scratch.path("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    for size in [0, 100, 3 << 20] {
        fs::write(&there, patterned(size)).unwrap();
        for to in [pipe.clone(), format!("unix:{pipe}")] {
            environments.fails(&["cp", "ws:file", &to], 1, "pipe: ");
        }
    }
}

#[test]
fn a_limit_on_file_sizes_leaves_nothing_behind() {
    let environments = Environments::start();
    let there = format!("{}/large", environments.there);
    fs::write(&there, patterned(8 << 20)).unwrap();
    let own = environments.command(&[]);
    let to = environments.scratch.path("to");
    fs::create_dir(&to).unwrap();
    let script = format!(
        "ulimit -f 4096; trap '' XFSZ; exec '{}' cp unix:large '{to}/file'",
        own.get_program().display()
    );
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", &script])
        .env("EXEC_SERVER_HOME", environments.scratch.dir());
    let output = finish(shell, b"");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("File too large"), "{stderr}");
    assert_eq!(fs::read_dir(&to).unwrap().count(), 0);
}

#[test]
fn an_environment_that_is_not_reached_gives_255() {
    let environments = Environments::start();
    environments.configure("[[environments]]\nid = \"gone\"\nurl = \"ws://127.0.0.1:9\"\n");
    let words = "exec-server cp: environment `gone`";
    let stderr = environments.fails(&["cp", "/proc/version", "gone:x"], 255, words);
    assert!(stderr.starts_with(words), "{stderr}");
    let words = "configured are: local, gone";
    environments.fails(&["cp", "/proc/version", "unknown:x"], 255, words);
}

#[test]
fn nobody_but_the_owner_reads_a_file_that_is_on_its_way() {
    let environments = Environments::start();
    let here = environments.scratch.path("here");
    fs::write(&here, patterned(200 << 20)).unwrap();
    super::set_mode(&here, 0o600);
    let mut command = environments.command(&["cp", &here, "ws:there"]);
    let mut running = crate::support::Running::new(command.spawn().unwrap());
    crate::support::within(std::time::Duration::from_secs(30), "a part grows", || {
        let part = parts(&environments.there).pop();
        let found =
            part.and_then(|part| fs::metadata(format!("{}/{part}", environments.there)).ok());
        found.is_some_and(|found| {
            let is_private =
                std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o077 == 0;
            assert!(is_private || found.len() == 0, "{found:?}");
            found.len() > 4 << 20
        })
    });
    assert!(running.ended(std::time::Duration::from_secs(60)).success());
}

#[test]
fn a_file_of_another_user_is_told() {
    needs!(Need::Root);
    let environments = Environments::start();
    let here = environments.scratch.path("secret");
    fs::write(&here, "x").unwrap();
    super::set_mode(&here, 0o600);
    super::set_mode(environments.scratch.dir(), 0o755);
    let mut command = environments.command(&["cp", &here, "/tmp/never"]);
    command.uid(ORDINARY).gid(ORDINARY);
    let output = finish(command, b"");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("Permission denied"), "{stderr}");
}

#[test]
fn a_server_that_does_not_answer_is_told_before_it_is_given_up() {
    let environments = Environments::start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", silent.local_addr().unwrap());
    let mut command = environments.command(&["cp", "-e", &url, ":/etc/hosts", "here"]);
    command.stderr(Stdio::piped());
    let mut running = Running::new(command.spawn().unwrap());
    let mut stderr = BufReader::new(running.0.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    let told =
        format!("exec-server cp: `{url}` has not answered yet; waiting for it, 20 s at most\n");
    assert_eq!(line, told);
    assert_eq!(running.0.try_wait().unwrap(), None);
}
