//! Connections that are lost while a command runs.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Environments, Proxy, Running, child, patterned, signal, within};

/// Environments with `cut`, which is the websocket behind a proxy.
fn behind_a_proxy(flags: &[&str]) -> (Environments, Proxy) {
    let environments = Environments::start_with(flags);
    let proxy = Proxy::before(environments.ws.address());
    environments.configure_own(&format!(
        "[environments.cut]\nurl = \"ws://{}\"\nbearer_token_env = \"TEST_TOKEN\"\n",
        proxy.address()
    ));
    (environments, proxy)
}

/// `run` of a command behind the proxy.
fn start(environments: &Environments, words: &[&str], stdin: Stdio) -> Running {
    let mut command = environments.command(&[&["run", "-e", "cut"], words].concat());
    command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Running::new(command.spawn().unwrap())
}

/// `run` of a command that writes so much, of which the server keeps so much.
fn writes(size: usize, retained: &str) -> (Environments, Proxy, Running) {
    let (environments, proxy) = behind_a_proxy(&["--retained-output", retained]);
    let words = [&child(), "write", &size.to_string()];
    let running = start(&environments, &words, Stdio::null());
    (environments, proxy, running)
}

/// Takes so many bytes of its output.
fn hears(running: &mut Running, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    let stdout = running.0.stdout.as_mut().unwrap();
    stdout.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn output_is_exact_when_the_connection_is_cut_in_the_middle() {
    const SIZE: usize = 64 << 20;
    // What was on its way in the kernel's buffers when the cut came has to be there again.
    let (_environments, proxy, mut running) = writes(SIZE, "64m");
    let mut stdout = running.0.stdout.take().unwrap();
    let mut output = vec![0; SIZE / 2];
    stdout.read_exact(&mut output).unwrap();
    for _ in 0..3 {
        proxy.cut();
        let mut more = vec![0; SIZE / 16];
        stdout.read_exact(&mut more).unwrap();
        output.extend(more);
    }
    stdout.read_to_end(&mut output).unwrap();
    assert_eq!(running.ended(Duration::from_secs(20)).code(), Some(0));
    let expected = patterned(SIZE);
    assert!(output == expected, "the bytes are others: {}", output.len());
    assert!(proxy.connections() >= 2);
}

#[test]
fn output_that_is_lost_for_good_is_told_and_no_success() {
    const SIZE: usize = 64 << 20;
    let (_environments, proxy, mut running) = writes(SIZE, "64k");
    let first = 1 << 20;
    hears(&mut running, first);
    proxy.cut();
    let output = running.finish("run", b"");
    let stderr = String::from_utf8(output.stderr).unwrap();
    if output.stdout.len() + first < SIZE {
        assert_eq!(output.status.code(), Some(255), "{stderr}");
        assert!(stderr.contains("pieces of output were lost"), "{stderr}");
    } else {
        assert_eq!(output.status.code(), Some(0), "{stderr}");
    }
}

#[test]
fn the_exit_code_comes_through_when_the_connection_was_away_at_the_end() {
    let (environments, proxy) = behind_a_proxy(&[]);
    let cue = environments.scratch.path("cue");
    let script =
        format!("echo ready; while [ ! -e '{cue}' ]; do sleep 0.02; done; echo done; exit 9");
    let mut running = start(&environments, &["/bin/sh", "-c", &script], Stdio::null());
    let mut stdout = running.0.stdout.take().unwrap();
    let mut ready = [0; 6];
    stdout.read_exact(&mut ready).unwrap();
    proxy.refuse();
    std::fs::write(&cue, "").unwrap();
    proxy.accept();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "done\n");
    assert_eq!(running.ended(Duration::from_secs(20)).code(), Some(9));
}

#[test]
fn input_goes_on_after_a_cut() {
    let (environments, proxy) = behind_a_proxy(&[]);
    let mut running = start(&environments, &["/bin/cat"], Stdio::piped());
    let mut stdin = running.0.stdin.take().unwrap();
    let mut stdout = running.0.stdout.take().unwrap();
    let mut echoed = [0; 3];
    stdin.write_all(b"one").unwrap();
    stdout.read_exact(&mut echoed).unwrap();
    let before = proxy.connections();
    proxy.cut();
    within(Duration::from_secs(20), "it is connected again", || {
        proxy.connections() > before
    });
    stdin.write_all(b"two").unwrap();
    stdout.read_exact(&mut echoed).unwrap();
    assert_eq!(&echoed, b"two");
    drop(stdin);
    assert_eq!(running.ended(Duration::from_secs(20)).code(), Some(0));
}

/// The next line on its standard error, which is no terminal, and must not take long.
fn complains(stderr: &mut impl BufRead) -> String {
    let begun = Instant::now();
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    // 3 s, and as much again for a machine that is busy; attempts end after 10 s and 45 s.
    assert!(begun.elapsed() < Duration::from_secs(6), "{line}");
    line
}

#[test]
fn an_outage_and_its_end_are_told_where_no_terminal_is() {
    let (environments, proxy) = behind_a_proxy(&[]);
    let mut running = start(&environments, &["/bin/cat"], Stdio::piped());
    let mut stdin = running.0.stdin.take().unwrap();
    stdin.write_all(b"one").unwrap();
    hears(&mut running, 3);
    let mut stderr = BufReader::new(running.0.stderr.take().unwrap());
    proxy.refuse();
    let reason = complains(&mut stderr);
    assert!(reason.starts_with("exec-server run: "), "{reason}");
    assert_eq!(
        complains(&mut stderr),
        "  trying to take it up again, for 45 s at most\n"
    );
    proxy.accept();
    let mut rest = String::new();
    drop(stdin);
    stderr.read_to_string(&mut rest).unwrap();
    assert_eq!(
        running.ended(Duration::from_secs(20)).code(),
        Some(0),
        "{rest}"
    );
    assert!(
        rest.is_empty() || rest == "exec-server run: connected again\n",
        "{rest}"
    );
}

#[test]
fn a_server_that_does_not_answer_is_told_before_it_is_given_up() {
    let environments = Environments::start();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", silent.local_addr().unwrap());
    let mut command = environments.command(&["run", "-n", "-e", &url, "/bin/true"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running::new(command.spawn().unwrap());
    let mut stderr = BufReader::new(running.0.stderr.take().unwrap());
    assert_eq!(
        complains(&mut stderr),
        format!("exec-server run: `{url}` has not answered yet; waiting for it, 20 s at most\n")
    );
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("timed out"), "{rest}");
    assert_eq!(running.ended(Duration::from_secs(20)).code(), Some(255));
}

#[test]
fn a_server_that_stops_answering_in_the_middle_is_told_and_so_is_its_return() {
    let environments = Environments::start();
    let server = environments.ws.pid();
    let mut command = environments.command(&["run", "-e", "ws", "/bin/cat"]);
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running::new(command.spawn().unwrap());
    let mut stdin = running.0.stdin.take().unwrap();
    stdin.write_all(b"one").unwrap();
    hears(&mut running, 3);
    let mut stderr = BufReader::new(running.0.stderr.take().unwrap());
    signal(server, "STOP");
    let begun = Instant::now();
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    let told_after = begun.elapsed();
    signal(server, "CONT");
    let words = "exec-server run: `ws` has not answered for ";
    assert!(line.starts_with(words), "{line}");
    assert!(line.ends_with(" s; waiting until it is 15 s\n"), "{line}");
    // 3 s, and as much again for a machine that is busy.
    assert!(told_after < Duration::from_secs(6), "{told_after:?}");
    line.clear();
    stderr.read_line(&mut line).unwrap();
    assert_eq!(line, "exec-server run: `ws` answers again\n");
    drop(stdin);
    assert_eq!(running.ended(Duration::from_secs(20)).code(), Some(0));
}

#[test]
fn a_server_that_is_gone_for_good_gives_255() {
    let (mut environments, _proxy) = behind_a_proxy(&[]);
    let mut running = start(
        &environments,
        &["/bin/sh", "-c", "echo ready; sleep 1000"],
        Stdio::null(),
    );
    hears(&mut running, "ready\n".len());
    environments.ws.kill();
    let begun = Instant::now();
    let status = running.ended(Duration::from_secs(70));
    let mut stderr = String::new();
    running
        .0
        .stderr
        .as_mut()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!(status.code(), Some(255), "{stderr}");
    assert!(stderr.contains("exec-server run: "), "{stderr}");
    assert!(begun.elapsed() < Duration::from_secs(60), "{stderr}");
}

#[test]
fn a_stdio_server_that_dies_gives_255_at_once() {
    let environments = Environments::start();
    let begun = Instant::now();
    let output = environments.run(&[
        "run",
        "-e",
        "stdio",
        "/bin/sh",
        "-c",
        "kill -9 $PPID; sleep 1000",
    ]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(255), "{stderr}");
    assert!(stderr.starts_with("exec-server run: "), "{stderr}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_server_that_is_not_there_gives_255_and_nothing_runs_here() {
    let environments = Environments::start();
    environments.configure(
        "default = \"gone\"\n[[environments]]\nid = \"gone\"\nurl = \"ws://127.0.0.1:9\"\n",
    );
    let words = "exec-server run: environment `gone`";
    let stderr = environments.fails(&["run", "/bin/echo", "ran"], 255, words);
    assert!(stderr.starts_with(words), "{stderr}");
}

#[test]
fn what_a_broken_server_says_cannot_steer_the_terminal() {
    let environments = Environments::start();
    environments.configure(
        "default = \"bad\"\n[[environments]]\nid = \"bad\"\nprogram = \"/bin/sh\"\n\
         args = [\"-c\", \"printf '\\\\033[2J\\\\007 evil' >&2; exit 3\"]\n",
    );
    let stderr = environments.fails(&["run", "/bin/true"], 255, "evil");
    assert!(
        !stderr.contains('\x1b') && !stderr.contains('\x07'),
        "{stderr:?}"
    );
}
