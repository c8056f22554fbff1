//! The listener on a Unix socket.

use std::fs;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};

use crate::support::{
    Client, PATIENCE, Server, Start, exchange, fails, scratch, signal, upgrade_head,
};

fn serve(path: &str, flags: &[&str]) -> Server {
    let mut command = Server::command();
    command
        .args(["--listen", &format!("unix://{path}")])
        .args(flags);
    Server::websocket_command(command)
}

fn connect(path: &str) -> Client {
    let mut client = Client::over(UnixStream::connect(path).unwrap(), "");
    client.initialize();
    client
}

fn status(path: &str, request: &str) -> u16 {
    let socket = OwnedFd::from(UnixStream::connect(path).unwrap());
    exchange(&mut TcpStream::from(socket), request.as_bytes()).status
}

#[test]
fn it_serves_and_leaves_no_file() {
    let dir = scratch();
    let path = dir.path("socket");
    let mut server = serve(&path, &[]);
    assert_eq!(server.stdout(), format!("unix://{path}\n"));
    let metadata = fs::symlink_metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.mode() & 0o777, 0o600);
    let mut client = connect(&path);
    assert_eq!(
        client.run(Start::child("p", &["echo", "hi"])).stdout,
        "hi\n"
    );
    connect(&path).still_serves();
    client.send("{");
    let (_, answer) = client.any_answer();
    let text = answer.unwrap_err().message;
    assert!(
        text.contains("websocket JSON-RPC message from exec-server websocket unix"),
        "{text}"
    );
    signal(server.pid(), "TERM");
    server.ended(PATIENCE);
    assert!(!fs::exists(&path).unwrap());
}

#[test]
fn bulk_goes_through() {
    let dir = scratch();
    let path = dir.path("socket");
    let server = serve(&path, &[]);
    let mut client = connect(&path);
    client.server = Some(server);
    crate::bulk::input_comes_back_as_output_byte_for_byte::behaviour(&mut client);
}

#[test]
fn pages_are_refused_and_any_one_host_will_do() {
    let dir = scratch();
    let path = dir.path("socket");
    let _server = serve(&path, &[]);
    for (host, extra, expected) in [
        (Some("localhost"), "", 101),
        (Some("any.example"), "", 101),
        (Some(""), "", 101),
        (None, "", 400),
        (Some("localhost"), "Host: x\r\n", 400),
        (Some("localhost"), "Origin: null\r\n", 403),
    ] {
        let request = upgrade_head("/", host, extra);
        assert_eq!(status(&path, &request), expected, "{host:?} {extra:?}");
    }
    let ready = "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(status(&path, ready), 200);
}

#[test]
fn a_token_may_be_asked_for() {
    let dir = scratch();
    let path = dir.path("socket");
    fs::write(dir.path("token"), "word").unwrap();
    let file = dir.path("token");
    let _server = serve(
        &path,
        &["--ws-auth", "capability-token", "--ws-token-file", &file],
    );
    let request = |extra: &str| upgrade_head("/", Some("x"), extra);
    assert_eq!(status(&path, &request("")), 401);
    let token = "Authorization: Bearer word\r\n";
    assert_eq!(status(&path, &request(token)), 101);
}

#[test]
fn what_a_killed_server_left_is_replaced_and_nothing_else_is() {
    let dir = scratch();
    let path = dir.path("socket");
    let mut killed = serve(&path, &[]);
    killed.kill();
    assert!(fs::exists(&path).unwrap());
    let _second = serve(&path, &[]);
    let url = format!("unix://{path}");
    fails(&["--listen", &url], 1, "another server listens there");
    connect(&path).still_serves();

    let plain = dir.path("plain");
    fs::write(&plain, "precious").unwrap();
    fails(&["--listen", &format!("unix://{plain}")], 1, "no socket");
    assert_eq!(fs::read(&plain).unwrap(), b"precious");

    let full = dir.path("full");
    let _other = UnixListener::bind(&full).unwrap();
    fails(
        &["--listen", &format!("unix://{full}")],
        1,
        "another server",
    );
}

#[test]
fn a_path_that_cannot_be_listened_on_is_named() {
    let dir = scratch();
    let missing = dir.path("no/such/socket");
    fails(&["--listen", &format!("unix://{missing}")], 1, &missing);
    let long = dir.path(&"x".repeat(120));
    fails(&["--listen", &format!("unix://{long}")], 1, "107 bytes");
    for url in ["unix://", "unix://relative", "unix:///tmp/"] {
        fails(
            &["--listen", url],
            1,
            &format!("unsupported --listen URL `{url}`; expected `ws://IP:PORT` or `stdio`"),
        );
    }
    let own = crate::support::Certificate::make(&dir, "own");
    let url = format!("unix://{}", dir.path("socket"));
    fails(
        &[&["--listen", &url], &own.flags()[..]].concat(),
        1,
        "--tls-cert",
    );
}
