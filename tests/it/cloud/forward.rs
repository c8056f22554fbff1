//! `forward`: a server that listens elsewhere behind the rendezvous.

use std::net::TcpListener;
use std::process::Command;

use serde_json::json;

use super::bare::{Bare, initialize, start};
use super::{await_executors, client, command_with};
use crate::support::plane::{Plane, Style};
use crate::support::{
    Client, PATIENCE, Server, Start, finish, peak_resident, resident, scratch, settled, within,
};

/// Registers an environment whose clients are connected to a server.
fn forward(plane: &Plane, server: &str) -> Command {
    let mut command = command_with(&["forward"]);
    command
        .env("CODEX_API_KEY", "key-secret")
        .args(["--remote", &plane.base(), "--environment-id", "env-1"])
        .args(["--connect", server]);
    command
}

fn url(server: &Server) -> String {
    format!("ws://{}", server.address())
}

/// The process that has started one of a client's.
fn parent(client: &mut Client, id: &str) -> String {
    client.run(Start::shell(id, "echo $PPID")).stdout
}

#[test]
fn clients_of_the_rendezvous_work_on_the_server_that_it_leads_to() {
    let server = Server::websocket(&[]);
    let plane = Plane::start(Style::Relay);
    let _forward = Server::offered(forward(&plane, &url(&server)));
    let mut direct = server.connect();
    let wanted = parent(&mut direct, "p");
    let mut clients = [client(&plane), client(&plane)];
    for client in &mut clients {
        assert_eq!(parent(client, "p"), wanted);
        let dir = scratch();
        let file = json!({"path": dir.path("f"), "dataBase64": "eA=="});
        client.ok("fs/writeFile", file);
        assert_eq!(std::fs::read(dir.path("f")).unwrap(), b"x");
        client.run(Start::child("big", &["write", "3000000"]));
        assert_eq!(client.observed("big").bytes("stdout").len(), 3_000_000);
    }
    assert_ne!(clients[0].session, clients[1].session);
    assert_eq!(plane.executors(), 1);
}

#[test]
fn the_server_is_shown_its_own_token_and_nobody_else_is() {
    let dir = scratch();
    std::fs::write(dir.path("token"), "server-secret").unwrap();
    let token = dir.path("token");
    let server = Server::websocket(&["--ws-auth", "capability-token", "--ws-token-file", &token]);
    let plane = Plane::start(Style::Relay);
    let mut command = forward(&plane, &url(&server));
    command.env("EXEC_SERVER_TOKEN", "server-secret");
    let forward = Server::offered(command);
    let mut client = client(&plane);
    client.run(Start::shell("p", "true"));
    for asked in plane.asked() {
        let headers = format!("{:?}", asked.headers);
        assert!(!headers.contains("server-secret"), "{headers}");
    }
    assert!(!forward.stderr().contains("server-secret"));
}

#[test]
fn a_token_that_would_be_sent_in_clear_text_registers_nothing() {
    let plane = Plane::start(Style::Relay);
    for (server, token, words) in [
        ("ws://192.0.2.1:1", "server-secret", "in clear text"),
        (
            "ws://127.0.0.1:1",
            " ",
            "EXEC_SERVER_TOKEN is set, and empty",
        ),
    ] {
        let mut command = forward(&plane, server);
        command.env("EXEC_SERVER_TOKEN", token);
        let output = finish(command, b"");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(words), "{stderr}");
        assert!(!stderr.contains("server-secret"), "{stderr}");
    }
    assert_eq!(plane.asked().len(), 0);
}

#[test]
fn a_server_that_cannot_be_reached_ends_the_stream_with_the_reason() {
    // Nobody listens there any more.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut bare = Bare::of(|plane| forward(plane, &format!("ws://{address}")));
    for stream in ["a", "b"] {
        bare.message(stream, 0, &initialize(1));
        let reason = bare.reset(stream);
        let wanted = format!("cannot connect to ws://{address}/: ");
        assert!(reason.starts_with(&wanted), "{reason}");
        assert!(reason.contains("refused"), "{reason}");
    }
    let server = Server::websocket(&[
        "--ws-auth",
        "capability-token",
        "--ws-token-sha256",
        &"0".repeat(64),
    ]);
    let mut bare = Bare::of(|plane| forward(plane, &url(&server)));
    bare.message("a", 0, &initialize(1));
    let reason = bare.reset("a");
    assert!(reason.contains("401"), "{reason}");
}

#[test]
fn a_server_that_ends_ends_the_streams_and_a_client_that_leaves_its_connection() {
    let mut server = Server::websocket(&["--session-retention", "0.1"]);
    let mut bare = Bare::of(|plane| forward(plane, &url(&server)));
    bare.begin("a");
    bare.message("a", 2, &start(2, "exec sleep 1000"));
    assert_eq!(bare.answer("a")["id"], 2);
    let sleeping = || crate::support::children_named(server.pid(), "sleep").len();
    assert_eq!(sleeping(), 1);
    bare.say(
        "a",
        0,
        &crate::support::plane::frames::Says::Reset("done".into()),
    );
    within(PATIENCE, "the session and its process end", || {
        sleeping() == 0
    });
    bare.begin("b");
    server.kill();
    let reason = bare.reset("b");
    assert!(reason.starts_with("the server has hung up"), "{reason}");
}

#[test]
fn a_lost_rendezvous_is_taken_up_again_and_the_session_lives_on_the_server() {
    let server = Server::websocket(&[]);
    let plane = Plane::start(Style::Relay);
    let _forward = Server::offered(forward(&plane, &url(&server)));
    let mut before = client(&plane);
    before.start(Start::child("p", &["cat"]).pipe_stdin());
    let session = before.session.clone();
    plane.cut();
    await_executors(&plane, 1);
    let mut after = Client::dial(plane.address());
    within(PATIENCE, "the session can be resumed", || {
        after.try_resume(&session).is_ok()
    });
    after.skip_to("p", 0);
    assert_eq!(after.write("p", b"x\n", "1"), "accepted");
    assert_eq!(
        after.output("p", "stdout", |text| text.contains('x')),
        "x\n"
    );
}

#[test]
fn what_a_client_does_not_take_waits_on_the_server() {
    let server = Server::websocket(&[]);
    let mut bare = Bare::of(|plane| forward(plane, &url(&server)));
    bare.begin("a");
    let before = resident(bare.server.pid());
    bare.message("a", 2, &start(2, "exec cat /dev/zero"));
    while bare.answer("a")["method"] != "process/output" {}
    bare.stop_listening();
    settled(|| peak_resident(bare.server.pid()));
    let grown = peak_resident(bare.server.pid()) - before;
    assert!(grown < 32 << 10, "{grown} KiB");
}

#[test]
fn what_it_needs_and_what_it_does_not_take_is_told() {
    let plane = Plane::start(Style::Relay);
    let full = [
        "--remote",
        &plane.base(),
        "--environment-id",
        "e",
        "--connect",
        "ws://127.0.0.1:9",
    ];
    for (words, told) in [
        (&full[2..], "'forward' needs '--remote <URL>'"),
        (
            &[&full[..2], &full[4..]].concat()[..],
            "'forward' needs '--environment-id <ID>'",
        ),
        (&full[..4], "'forward' needs '--connect <URL>'"),
        (
            &[&full[..5], &["http://x"]].concat(),
            "invalid value 'http://x' for '--connect <URL>'",
        ),
        (
            &[&full[..], &["--remote-transport", "direct"]].concat(),
            "'forward' goes with '--remote-transport relay'",
        ),
        (
            &[&full[..], &["--listen", "stdio"]].concat(),
            "unexpected argument '--listen' found",
        ),
        (
            &[&full[..], &["--aws-sigv4"]].concat(),
            "'--aws-sigv4' is not supported",
        ),
    ] {
        let mut command = command_with(&["exec-server", "forward"]);
        command.args(words);
        let output = finish(command, b"");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(told), "{stderr}");
    }
}
