//! Stdio commands: their life, their words, and what they must not have.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use exec_server::rpc::client::{ConnectionState, ExecServerClient, StdioCommand, Transport};

use super::{SOON, command, command_options, finish, first_line, over_command, server_program};
use crate::support::{PATIENCE, alive, child, example, scratch, signal, within};

/// A shell script that ends in the server.
fn script(before: &str) -> String {
    format!("{before}\nexec {} --listen stdio", server_program())
}

/// The number in a file, once it is there.
fn pid_in(path: &str) -> u32 {
    let mut pid = None;
    within(PATIENCE, "the pid is written", || {
        pid = fs::read_to_string(path)
            .ok()
            .and_then(|it| it.trim().parse().ok());
        pid.is_some()
    });
    pid.unwrap()
}

#[test]
fn a_wrapper_shell_dies_with_its_background_child() {
    let dir = scratch();
    let file = dir.path("pid");
    let text = format!(
        "{} sleep & echo $! > {file}\n{} --listen stdio; wait",
        child(),
        server_program()
    );
    let client = over_command("sh", &["-c", &text]);
    let process = client.start(&command(&["pid-then-sleep"])).unwrap();
    let remote: u32 = first_line(&process).parse().unwrap();
    let background = pid_in(&file);
    assert!(alive(background) && alive(remote));
    drop((process, client));
    // Dropping waits for the command; what it ran goes with it.
    assert!(!alive(background));
    within(PATIENCE, "the remote process ends", || !alive(remote));
}

#[test]
fn a_server_that_ignores_term_is_killed_after_2_s() {
    let dir = scratch();
    let file = dir.path("pid");
    let text = format!(
        "trap '' TERM; echo $$ > {file}; {} --listen stdio; while :; do sleep 0.1; done",
        server_program()
    );
    let client = over_command("sh", &["-c", &text]);
    client.metadata("/", true).unwrap();
    let pid = pid_in(&file);
    let begun = Instant::now();
    drop(client);
    let took = begun.elapsed();
    assert!(!alive(pid));
    assert!(took >= Duration::from_secs(2) && took < SOON, "{took:?}");
}

#[test]
fn a_killed_client_leaves_no_server_behind() {
    let mut client = Command::new(example("client"))
        .args([&server_program(), "--listen", "stdio", "--", &child()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(client.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    let remote: u32 = line.trim().parse().unwrap_or_else(|_| panic!("{line:?}"));
    let stat = fs::read_to_string(format!("/proc/{remote}/stat")).unwrap();
    let server: u32 = stat.split(' ').nth(3).unwrap().parse().unwrap();
    assert!(alive(server) && server != client.id());
    signal(client.id(), "KILL");
    client.wait().unwrap();
    within(PATIENCE, "server and process end", || {
        !alive(server) && !alive(remote)
    });
}

#[test]
fn junk_before_the_greeting_is_passed_over() {
    let text = script("echo Welcome to Linux; echo; echo '{ not json'; echo 42");
    let client = over_command("sh", &["-c", &text]);
    let process = client.start(&command(&["echo", "hi"])).unwrap();
    assert_eq!(finish(&process), (b"hi\n".to_vec(), 0));
}

#[test]
fn a_command_that_fails_is_shown_with_all_it_said() {
    let text = "echo Welcome; echo 'ssh: no route to host' >&2; exit 255";
    let client = over_command("sh", &["-c", text, "my-secret-argument"]);
    let error = client.facts().unwrap_err().to_string();
    for part in [
        "exec-server stdio command",
        "exited with code 255",
        "\n  ssh: no route to host",
        "\n  Welcome",
        "exec-server --listen stdio",
    ] {
        assert!(error.contains(part), "{part:?} is not in {error}");
    }
    assert!(!error.contains("secret"), "{error}");
    let none = over_command("no-such-program-here", &[]);
    let error = none.facts().unwrap_err().to_string();
    assert!(error.contains("No such file or directory"), "{error}");
    assert!(error.contains("is it installed here"), "{error}");
}

#[test]
fn too_much_junk_ends_it() {
    let client = over_command("sh", &["-c", "while echo junk; do :; done"]);
    let error = client.facts().unwrap_err().to_string();
    assert!(error.contains("more than 64 lines"), "{error}");
}

#[test]
fn a_command_that_never_answers_is_ended() {
    let dir = scratch();
    let file = dir.path("pid");
    let text = format!("echo $$ > {file}; exec {} sleep", child());
    let mut options = command_options("sh", &["-c", &text]);
    options.initialize_timeout = Duration::from_millis(300);
    let client = ExecServerClient::new(options);
    let error = client.facts().unwrap_err().to_string();
    assert!(error.contains("timed out waiting"), "{error}");
    assert!(error.contains("killed by SIGTERM"), "{error}");
    assert!(!alive(pid_in(&file)));
}

#[test]
fn a_line_that_is_no_message_ends_the_connection_and_the_next_use_starts_afresh() {
    let dir = scratch();
    let file = dir.path("noise");
    // What comes on standard output besides the server's words, when the file appears.
    let text = format!(
        "(while ! [ -e {file} ]; do sleep 0.05; done; rm {file}; echo 'rc: oops') &\n{}",
        script("")
    );
    let client = over_command("sh", &["-c", &text]);
    let process = client.start(&command(&["sleep"])).unwrap();
    fs::write(&file, "").unwrap();
    let error = process.next_event(PATIENCE).unwrap_err().to_string();
    assert!(error.contains("`rc: oops`"), "{error}");
    assert!(matches!(client.state(), ConnectionState::Failed(_)));
    client.metadata("/", true).unwrap();
}

#[test]
fn secrets_of_ours_are_not_inherited_and_the_directory_is_the_one_given() {
    let dir = scratch();
    let mut client = Command::new(example("client"));
    client
        .args(["sh", "-c", "env; pwd -P; exit 3"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("OPENAI_API_KEY", "hidden-1")
        .env("EXEC_SERVER_TOKEN", "hidden-2")
        .env("MY_BEARER_TOKEN", "hidden-3")
        .env("HARMLESS", "shown")
        .current_dir(dir.dir());
    let output = client.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.contains("HARMLESS=shown") && told.contains(&dir.dir()),
        "{told}"
    );
    assert!(!told.contains("hidden"), "{told}");
    let mut options = command_options("sh", &["-c", "pwd -P; echo $ADDED; exit 3"]);
    options.transport = Transport::Command(StdioCommand {
        program: "sh".to_owned(),
        args: vec!["-c".to_owned(), "pwd -P; echo $ADDED; exit 3".to_owned()],
        env: [("ADDED".to_owned(), "given".to_owned())].into(),
        cwd: Some(dir.dir().into()),
    });
    let error = ExecServerClient::new(options)
        .facts()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&dir.dir()) && error.contains("given"),
        "{error}"
    );
}

#[test]
fn a_trickle_of_blanks_does_not_put_the_deadline_off() {
    let mut options = command_options("sh", &["-c", "while echo; do sleep 0.02; done"]);
    options.initialize_timeout = Duration::from_millis(300);
    let begun = Instant::now();
    let error = ExecServerClient::new(options).facts().unwrap_err();
    assert!(error.to_string().contains("timed out"), "{error}");
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}
