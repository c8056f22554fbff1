//! A file system that does not answer.

use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::support::{
    Need, Scratch, Server, Start, exchange, scratch, thread_names, upgrade_head, within,
};

/// Mounts what never answers at the first argument, and becomes the program that follows. A child keeps the file system's end
/// open, and ends with that program.
const HANG: &str = r#"
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
fuse = os.open("/dev/fuse", os.O_RDWR)
options = b"fd=%d,rootmode=40000,user_id=0,group_id=0" % fuse
if libc.mount(b"hung", sys.argv[1].encode(), b"fuse", 0, options) != 0:
    raise OSError(ctypes.get_errno(), "mount")
if os.fork() == 0:
    libc.prctl(1, signal.SIGKILL)
    while True:
        signal.pause()
os.execv(sys.argv[2], sys.argv[2:])
"#;

/// A server that sees such a file system at the path.
fn server_with_hung(scratch: &Scratch, flags: &[&str]) -> (Server, String) {
    let hung = scratch.path("hung");
    std::fs::create_dir(&hung).unwrap();
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "python3", "-c", HANG]);
    command.arg(&hung).arg(Server::command().get_program());
    command.args(["--listen", "ws://127.0.0.1:0"]).args(flags);
    (Server::websocket_command(command), hung)
}

#[test]
fn another_thread_reads_on_behind_a_request_to_it() {
    needs!(Need::Root, Need::MountNamespaces, Need::Fuse);
    let scratch = scratch();
    let (server, hung) = server_with_hung(&scratch, &[]);
    let mut client = server.connect();
    for _ in 0..20 {
        client.ok("fs/getMetadata", json!({"path": scratch.dir()}));
    }
    let pid = server.pid();
    assert!(
        !thread_names(pid).contains("files"),
        "{:?}",
        thread_names(pid)
    );
    let never = client.ask("fs/getMetadata", json!({"path": format!("{hung}/x")}));
    // It waits behind that.
    let later = client.ask("fs/getMetadata", json!({"path": scratch.dir()}));
    for _ in 0..20 {
        client.still_serves();
    }
    let outcome = client.run(Start::child("p", &["echo", "x"]));
    assert_eq!(outcome.code, 0, "{outcome:?}");
    for id in [never, later] {
        assert!(!client.has_answer(id), "{id}");
    }
}

#[test]
fn clients_that_left_requests_on_it_keep_no_others_out() {
    needs!(Need::Root, Need::MountNamespaces, Need::Fuse);
    let scratch = scratch();
    let (server, hung) = server_with_hung(&scratch, &["--max-connections", "4"]);
    for _ in 0..4 {
        let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.ask("fs/getMetadata", json!({"path": format!("{hung}/x")}));
            client.still_serves();
        }
        let request = upgrade_head("/", Some("localhost"), "");
        let status = || exchange(&mut server.dial(), request.as_bytes()).status;
        assert_eq!(status(), 503);
        drop(clients);
        // Each request is waited for five seconds after its client is gone.
        within(Duration::from_secs(3), "four may come in", || {
            let sockets: Vec<_> = (0..4).map(|_| server.dial()).collect();
            let met = |mut socket| exchange(&mut socket, request.as_bytes()).status;
            sockets.into_iter().all(|socket| met(socket) == 101)
        });
    }
    let mut client = server.connect();
    let told = client.ok("fs/getMetadata", json!({"path": "/"}));
    assert_eq!(told["isDirectory"], true);
}
