//! The command line: what is listened on, what is printed, and how a mistake is told.

use std::io::Write;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use crate::support::{Client, Need, PATIENCE, Server, Start, fails, run, signal, within};

#[test]
fn an_unknown_kind_of_address_is_named() {
    for url in [
        "http://127.0.0.1:0",
        "127.0.0.1:0",
        "wss://127.0.0.1:0",
        "STDIO",
        "stdio:",
        "WS://127.0.0.1:0",
        "",
        " ws://127.0.0.1:0",
        "ftp://",
    ] {
        fails(
            &["--listen", url],
            1,
            &format!(
                "Error: unsupported --listen URL `{url}`; expected `ws://IP:PORT` or `stdio`\n"
            ),
        );
    }
}

#[test]
fn every_kind_of_address_is_named_where_one_is_unknown() {
    for form in [
        "ws://IP:PORT",
        "ws://localhost:PORT",
        "wss://IP:PORT",
        "unix:///PATH",
        "stdio",
    ] {
        fails(&["--listen", "tcp://127.0.0.1:0"], 1, &format!("`{form}`"));
    }
}

#[test]
fn localhost_is_loopback_and_no_other_name_is_looked_up() {
    let mut command = Server::command();
    command.args(["--listen", "ws://localhost:0"]);
    let server = Server::websocket_command(command);
    assert!(
        server.stdout().starts_with("ws://127.0.0.1:"),
        "{}",
        server.stdout()
    );
    server.connect().still_serves();
    for host in ["localhost.", "ip6-localhost", "LOCALHOST", "x@localhost"] {
        let url = format!("ws://{host}:0");
        fails(
            &["--listen", &url],
            1,
            &format!("invalid websocket --listen URL `{url}`"),
        );
    }
}

#[test]
fn the_word_of_the_reference_may_stand_first() {
    let mut command = Server::command();
    command.args(["exec-server", "--listen", "stdio"]);
    Client::stdio_command(command).still_serves();
    let version = run(&["exec-server", "--version"]);
    assert_eq!(version.stdout, run(&["--version"]).stdout);
    assert_eq!(version.status.code(), Some(0));
    fails(
        &["exec-server", "exec-server"],
        2,
        "unexpected argument 'exec-server' found",
    );
    fails(
        &["exec-server", "runn", "x"],
        2,
        "a similar command exists: 'run'",
    );
}

#[test]
fn mistakes_that_the_reference_does_not_know_begin_in_small_letters() {
    let stderr = |arguments: &[&str]| String::from_utf8(run(arguments).stderr).unwrap();
    let unprotected = stderr(&["--listen", "ws://0.0.0.0:0"]);
    assert!(
        unprotected.starts_with("error: refusing to listen"),
        "{unprotected}"
    );
    let path = stderr(&["--listen", "unix:///no/such/directory/socket"]);
    assert!(
        path.starts_with("error: No such file or directory"),
        "{path}"
    );
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = stderr(&["--listen", &format!("ws://{}", taken.local_addr().unwrap())]);
    assert!(address.starts_with("Error: Address in use"), "{address}");
}

#[test]
fn a_bad_websocket_address_is_named() {
    for url in [
        "ws://",
        "ws://localhost",
        "ws://127.0.0.1",
        "ws://127.0.0.1:99999",
        "ws://127.0.0.1:0/",
        "ws://127.0.0.1:0/path",
        "ws://127.0.0.1:-1",
        "ws://::1:0",
    ] {
        fails(
            &["--listen", url],
            1,
            &format!("Error: invalid websocket --listen URL `{url}`; expected `ws://IP:PORT`\n"),
        );
    }
}

#[test]
fn a_mistaken_command_line_is_a_usage_error() {
    fails(&["--listen"], 2, "--listen");
    fails(&["--listen", "stdio", "--listen", "stdio"], 2, "--listen");
    fails(&["--no-such-flag"], 2, "--no-such-flag");
    fails(&["--listen", "stdio", "extra"], 2, "extra");
    fails(&["--max-connections", "many"], 2, "--max-connections");
    fails(&["--max-connections", "0"], 2, "--max-connections");
}

#[test]
fn a_taken_port_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", taken.local_addr().unwrap());
    fails(&["--listen", &url], 1, "in use");
}

#[test]
fn an_address_for_the_world_is_refused_without_authentication() {
    for url in ["ws://0.0.0.0:0", "ws://[::]:0"] {
        let output = run(&["--listen", url]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{url}");
        assert!(stderr.contains("127.0.0.1"), "the remedy is in: {stderr}");
        assert_eq!(output.stdout, b"");
    }
}

#[test]
fn the_first_line_is_the_address_and_nothing_follows() {
    let mut server = Server::websocket(&[]);
    let mut client = server.connect();
    assert_eq!(
        client.run(Start::child("p", &["echo", "hi"])).stdout,
        "hi\n"
    );
    drop(client);
    signal(server.pid(), "TERM");
    server.ended(PATIENCE);
    assert_eq!(server.stdout(), format!("ws://{}\n", server.address()));
    assert_ne!(server.address().port(), 0);
}

#[test]
fn the_default_is_a_free_port_of_loopback() {
    let server = Server::websocket_command(Server::command());
    assert!(server.address().ip().is_loopback());
    server.connect().still_serves();
}

#[test]
fn the_sixth_version_of_loopback_works_too() {
    needs!(Need::Ipv6);
    let mut command = Server::command();
    command.args(["--listen", "ws://[::1]:0"]);
    let server = Server::websocket_command(command);
    assert!(server.stdout().starts_with("ws://[::1]:"));
    server.connect().still_serves();
}

#[test]
fn both_names_of_stdio_work() {
    for name in ["stdio", "stdio://"] {
        let mut command = Server::command();
        command.args(["--listen", name]);
        Client::stdio_command(command).still_serves();
    }
}

#[test]
fn help_and_version_are_told_on_stdout() {
    let help = run(&["--help"]);
    assert!(help.status.success());
    let text = String::from_utf8(help.stdout).unwrap();
    for flag in [
        "--listen",
        "--session-retention",
        "--retained-output",
        "--retained-total",
        "--drain-window",
        "--allow-origin",
        "--max-connections",
        "--log-level",
    ] {
        assert!(text.contains(flag), "{flag} in:\n{text}");
    }
    let version = run(&["--version"]);
    assert!(version.status.success());
    assert!(
        String::from_utf8(version.stdout)
            .unwrap()
            .contains(env!("CARGO_PKG_VERSION"))
    );
    let verbose = run(&["--version", "--verbose"]);
    let text = String::from_utf8(verbose.stdout).unwrap().to_lowercase();
    for word in ["commit", "target", "bubblewrap"] {
        assert!(text.contains(word), "{word} in:\n{text}");
    }
}

#[test]
fn neither_arguments_nor_environment_nor_contents_are_logged() {
    let mut command = Server::command();
    command.args(["--listen", "stdio", "--log-level", "debug"]);
    let mut client = Client::stdio_command(command);
    let start = Start::child("p", &["echo", "canary-argument"]).env("CANARY", "canary-value");
    client.run(start);
    client.start(Start::child("q", &["cat"]).pipe_stdin());
    client.write("q", b"canary-content", "canary-write");
    client.output("q", "stdout", |text| text == "canary-content");
    client.send(r#"{"id":900,"method":"canary-method","params":"canary-params"}"#);
    client.answer(900).unwrap_err();
    let stderr = client.server.as_ref().unwrap().stderr();
    for secret in [
        "canary-argument",
        "canary-value",
        "canary-content",
        "canary-params",
        "Y2FuYXJ5",
    ] {
        assert!(!stderr.contains(secret), "{secret} in:\n{stderr}");
    }
}

#[test]
fn a_port_in_the_face_of_a_closed_stdout_is_no_reason_to_crash() {
    let mut child = Server::command()
        .args(["--listen", "stdio"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    let _ = stdin.write_all(b"{\"id\":1,\"method\":\"nope\"}\n{\"id\":2,\"method\":\"nope\"}\n");
    drop(stdin);
    let mut status = None;
    within(Duration::from_secs(20), "the server ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert!(
        status.unwrap().code().is_some(),
        "not by a signal: {status:?}"
    );
}

#[test]
fn a_hang_up_ends_no_server() {
    let server = Server::websocket(&[]);
    let mut client = server.connect();
    client.start(Start::child("p", &["cat"]).pipe_stdin());
    signal(server.pid(), "HUP");
    server.connect().still_serves();
    client.write("p", b"still here", "1");
    client.ok("process/closeStdin", serde_json::json!({"processId": "p"}));
    assert_eq!(client.closed("p").stdout, "still here");
}

#[test]
fn make_run_passes_nothing_of_make_s_on() {
    let mut make = std::process::Command::new("make");
    make.current_dir(env!("CARGO_MANIFEST_DIR"));
    make.args(["-s", "-o", "build", "run", "BIN=sh -c env", "LISTEN=x"]);
    let output = crate::support::finish(make, b"");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("PATH="), "{output:?}");
    for name in ["MAKE", "MFLAGS", "EXEC_SERVER_BIN", "BUBBLEWRAP", "LISTEN"] {
        assert!(
            !text.lines().any(|line| line.starts_with(name)),
            "{name} in {text}"
        );
    }
}
