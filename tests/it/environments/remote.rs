//! What only an environment elsewhere shows: it can be away.

use std::net::TcpListener;
use std::sync::Arc;

use exec_server::env::config::{Token, Transport};
use exec_server::env::{Links, OpenFor};

use super::{command, remote, run, stdio, websocket};
use crate::support::{Server, scratch};

/// An address at which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn an_environment_that_is_down_is_an_error_and_nothing_runs_here() {
    let dir = scratch();
    let address = nobody();
    let url = format!("ws://user:secret@{address}/?secret");
    let environment = remote(Transport::from_url(&url, None));
    let mut touch = command(&[]);
    touch.argv = vec![
        "/bin/sh".into(),
        "-c".into(),
        format!("echo x > {}", dir.path("f")),
    ];
    for _ in 0..2 {
        let error = environment
            .start(&touch)
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("environment `dev`: "), "{error}");
        assert!(
            error.contains(&address) && !error.contains("secret"),
            "{error}"
        );
    }
    let files = environment.client().unwrap();
    let error = environment
        .named(files.write_file(&dir.path("g"), b"", false, Links::Follow))
        .unwrap_err();
    assert!(
        error.to_string().starts_with("environment `dev`: "),
        "{error}"
    );
    assert!(environment.facts().is_err());
    assert_eq!(std::fs::read_dir(dir.dir()).unwrap().count(), 0);
}

#[test]
fn an_environment_that_was_down_is_used_when_it_is_there() {
    let dir = scratch();
    let path = dir.path("socket");
    let url = format!("unix://{path}");
    let environment = remote(Transport::from_url(&url, None));
    assert!(environment.facts().is_err());
    let mut server = Server::command();
    server.args(["--listen", &url]);
    let _server = Server::websocket_command(server);
    assert_eq!(run(&environment, &command(&["exit", "3"])).exit().code, 3);
}

#[test]
fn a_command_that_cannot_be_run_is_an_error_each_time() {
    let environment = remote(Transport::Program {
        program: "/no/such/program".into(),
        args: vec!["secret".into()],
        env: Default::default(),
        cwd: None,
    });
    for _ in 0..2 {
        let error = environment.facts().unwrap_err().to_string();
        assert!(error.starts_with("environment `dev`: "), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn first_callers_share_one_connection() {
    let environment = Arc::new(remote(stdio(&["--listen", "stdio"])));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let environment = Arc::clone(&environment);
            std::thread::spawn(move || {
                let mut parent = command(&[]);
                parent.argv = vec!["/bin/sh".into(), "-c".into(), "echo $PPID".into()];
                run(&environment, &parent).stdout
            })
        })
        .collect();
    let servers: Vec<_> = callers.into_iter().map(|it| it.join().unwrap()).collect();
    assert!(servers.iter().all(|pid| *pid == servers[0]), "{servers:?}");
}

#[test]
fn a_token_comes_from_the_variable_that_is_named() {
    let server = Server::websocket(&[]);
    let Transport::WebSocket { url, .. } = websocket(&server) else {
        unreachable!("it is a websocket");
    };
    let variable = Token::Variable("EXEC_SERVER_TEST_NO_SUCH_TOKEN".into());
    let environment = remote(Transport::from_url(&url, Some(variable)));
    let error = environment.facts().unwrap_err().to_string();
    assert!(
        error.contains("EXEC_SERVER_TEST_NO_SUCH_TOKEN, which is not set"),
        "{error}"
    );
}

#[test]
fn a_token_goes_to_no_other_machine_in_clear_text() {
    let token = Some(Token::Text("s3cret".into()));
    let environment = remote(Transport::from_url("ws://192.0.2.1:9", token));
    let error = environment.facts().unwrap_err().to_string();
    let words = "exec-server WebSocket headers require wss:// or a loopback destination";
    assert!(
        error.contains(words) && error.contains("--tls-cert"),
        "{error}"
    );
    assert!(!error.contains("s3cret"), "{error}");
}

#[test]
fn a_file_of_a_lost_connection_says_so() {
    let dir = scratch();
    let mut server = Server::websocket(&[]);
    let environment = remote(websocket(&server));
    let file = environment
        .client()
        .unwrap()
        .open(&dir.path("f"), OpenFor::Replacing, Links::Follow)
        .unwrap();
    file.write_block(0, b"x").unwrap();
    server.kill();
    let error = environment.named(file.write_block(1, b"y")).unwrap_err();
    assert!(
        error.to_string().starts_with("environment `dev`: "),
        "{error}"
    );
}
