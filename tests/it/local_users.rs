//! Which users of this machine may use a server that asks for no token.

use std::fs::{self, Permissions};
use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::os::unix::fs::{PermissionsExt, fchown};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::support::sandbox::{ORDINARY, Who};
use crate::support::{
    Certificate, Need, PATIENCE, Running, Scratch, Server, Start, child, exchange, finish, frame,
    has, scratch, signal, upgrade_head, within,
};

/// Every form of the loopback address that this machine has.
fn places() -> Vec<&'static str> {
    let mut places = vec!["127.0.0.1:0"];
    if has(Need::Ipv6) {
        places.extend(["[::1]:0", "[::ffff:127.0.0.1]:0"]);
    }
    places
}

/// Neither root nor the tests' ordinary user.
const THIRD: u32 = 54321;

/// Starts what serves at `place`.
fn at(place: &str, mut command: Command, flags: &[&str]) -> Server {
    command
        .args(["--listen", &format!("ws://{place}")])
        .args(flags);
    Server::websocket_command(command)
}

fn serve(flags: &[&str]) -> Server {
    at("127.0.0.1:0", Server::command(), flags)
}

/// A server through a program that takes something away from it.
fn through(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .arg(Server::command().get_program());
    command
}

/// A process of `user` that passes on what is said over a connection.
fn speaker(address: SocketAddr, user: u32) -> Command {
    let mut command = Command::new(child());
    command.args(["speak", &address.to_string()]);
    command.uid(user).gid(user).current_dir("/");
    command
}

/// Status and text that `user` gets for a request.
fn ask(address: SocketAddr, user: u32, request: &str) -> (u16, String) {
    let output = finish(speaker(address, user), request.as_bytes());
    let answer = String::from_utf8_lossy(&output.stdout);
    let (head, text) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.unwrap_or_default(), text.to_owned())
}

/// The same for a request to upgrade.
fn upgrade(address: SocketAddr, user: u32, extra: &str) -> (u16, String) {
    ask(address, user, &upgrade_head("/", Some("localhost"), extra))
}

#[track_caller]
fn is_refused(server: &Server, user: u32, why: &str) {
    let (status, text) = upgrade(server.address(), user, "");
    assert_eq!(status, 403, "{text}");
    assert!(text.contains(why) && text.ends_with('\n'), "{text}");
    for remedy in ["--ws-auth", "--allow-local-users"] {
        assert!(text.contains(remedy), "{text}");
    }
    let line = format!("cause=user status=403 why=\"{}\"", text.trim_end());
    within(PATIENCE, "it is logged", || server.stderr().contains(&line));
}

#[track_caller]
fn is_let_in(server: &Server, user: u32) {
    assert_eq!(upgrade(server.address(), user, "").0, 101);
}

/// What our own command line says to a real process of the ordinary user.
fn run_as_ordinary(url: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Who::Another.command(Server::command().get_program());
    command.envs(variables.iter().copied());
    command.args(["run", "-n", "-e", url, "--", &child(), "echo", "ran"]);
    finish(command, b"")
}

#[track_caller]
fn was_refused(output: &Output) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(255), "{output:?}");
    assert_eq!(output.stdout, b"");
    let why = format!("403 (user {ORDINARY} may not run commands as user 0");
    assert!(stderr.contains(&why), "{stderr}");
}

#[track_caller]
fn has_run(output: &Output) {
    assert_eq!(output.stdout, b"ran\n", "{output:?}");
}

#[test]
fn a_command_of_another_user_does_not_run() {
    needs!(Need::Root);
    let server = serve(&[]);
    let url = format!("ws://{}", server.address());
    was_refused(&run_as_ordinary(&url, &[]));
    let server = serve(&["--allow-local-users"]);
    let url = format!("ws://{}", server.address());
    has_run(&run_as_ordinary(&url, &[]));
}

#[test]
fn another_user_is_refused_at_every_loopback_address_and_the_own_is_not() {
    needs!(Need::Root);
    for place in places() {
        let server = at(place, Server::command(), &[]);
        let why = format!("user {ORDINARY} may not run commands as user 0, whom");
        is_refused(&server, ORDINARY, &why);
        is_let_in(&server, 0);
        server.connect().still_serves();
    }
}

#[test]
fn root_may_use_the_server_of_another_and_a_third_may_not() {
    needs!(Need::Root);
    let server = Who::Another.command(Server::command().get_program());
    let server = at("127.0.0.1:0", server, &[]);
    is_let_in(&server, 0);
    is_let_in(&server, ORDINARY);
    let why = format!("user {THIRD} may not run commands as user {ORDINARY}, whom");
    is_refused(&server, THIRD, &why);
}

#[test]
fn a_token_or_the_flag_lets_every_user_in() {
    needs!(Need::Root);
    let dir = scratch();
    fs::write(dir.path("token"), "word").unwrap();
    let flags = ["--ws-auth", "capability-token", "--ws-token-file"];
    let server = serve(&[&flags[..], &[&dir.path("token")]].concat());
    let token = "Authorization: Bearer word\r\n";
    assert_eq!(upgrade(server.address(), ORDINARY, token).0, 101);
    assert_eq!(upgrade(server.address(), ORDINARY, "").0, 401);
    assert_eq!(upgrade(server.address(), 0, "").0, 401);
    is_let_in(&serve(&["--allow-local-users"]), ORDINARY);
}

#[test]
fn health_and_mistakes_are_told_to_everybody() {
    needs!(Need::Root);
    let server = serve(&[]);
    for (request, status) in [
        ("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        ("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    ] {
        assert_eq!(ask(server.address(), ORDINARY, request).0, status);
    }
    assert_eq!(server.stderr(), "");
}

#[test]
fn metrics_are_told_to_no_other_user() {
    needs!(Need::Root);
    let server = serve(&["--metrics"]);
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(ask(server.address(), ORDINARY, request).0, 403);
    assert_eq!(ask(server.address(), 0, request).0, 200);
}

/// A websocket's messages that start a program, with the request before them.
fn whole_attack(marker: &str) -> Vec<u8> {
    let mut bytes = upgrade_head("/", Some("localhost"), "").into_bytes();
    let start = Start::child("p", &["make", marker]);
    for message in [
        json!({"id": 1, "method": "initialize", "params": {"clientName": "test"}}),
        json!({"method": "initialized", "params": {}}),
        json!({"id": 2, "method": "process/start", "params": start.0}),
    ] {
        bytes.extend(frame(1, true, message.to_string().as_bytes()));
    }
    bytes
}

/// Whether all threads of a process are stopped, which a signal only asks for.
fn is_stopped(pid: u32) -> bool {
    fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .all(|task| {
            let stat = fs::read_to_string(task.unwrap().path().join("stat"));
            stat.is_ok_and(|stat| stat.rsplit_once(')').unwrap().1.starts_with(" T"))
        })
}

#[test]
fn who_has_closed_the_connection_before_anybody_looks_is_not_taken_for_root() {
    needs!(Need::Root);
    let dir = scratch();
    for way in [&["deny", "clone3"], &["deny", "netlink"]] {
        let marker = dir.path("marker");
        let server = through(&[&[&*child()], &way[..]].concat());
        let server = at("127.0.0.1:0", server, &[]);
        // While it is stopped, the kernel takes the connection and all that comes through it.
        signal(server.pid(), "STOP");
        within(PATIENCE, "it is stopped", || is_stopped(server.pid()));
        let mut socket = server.dial();
        fchown(&socket, Some(ORDINARY), None).unwrap();
        socket.write_all(&whole_attack(&marker)).unwrap();
        drop(socket);
        signal(server.pid(), "CONT");
        within(PATIENCE, "it is refused", || {
            server
                .stderr()
                .contains("cause=user status=403 why=\"nobody has the other end")
        });
        assert!(!fs::exists(&marker).unwrap());
        // The same from a client that stays is obeyed, so there was something to refuse.
        let mut socket = server.dial();
        socket.write_all(&whole_attack(&marker)).unwrap();
        within(PATIENCE, "the client's program runs", || {
            fs::exists(&marker).unwrap()
        });
        fs::remove_file(&marker).unwrap();
    }
}

#[test]
fn without_netlink_the_table_of_connections_tells() {
    let child = child();
    for place in places() {
        let server = at(place, through(&[&child, "deny", "netlink"]), &[]);
        server.connect().still_serves();
        if has(Need::Root) {
            is_refused(&server, ORDINARY, &format!("user {ORDINARY} may not"));
        }
    }
}

/// A place without `/proc`, as in a bare chroot.
fn without_proc(program: &[&str]) -> Command {
    let hide = ["unshare", "--mount", "sh", "-c"];
    let script = ["mount -t tmpfs none /proc && exec \"$@\"", "sh"];
    through(&[&hide[..], &script, program].concat())
}

#[test]
fn where_nothing_tells_nobody_is_let_in_without_a_token_or_the_flag() {
    needs!(Need::Root);
    let child = child();
    let blind = || without_proc(&[&child, "deny", "netlink"]);
    let server = at("127.0.0.1:0", blind(), &[]);
    is_refused(
        &server,
        0,
        "the kernel does not tell here who has connected",
    );
    is_refused(&server, ORDINARY, "the kernel does not tell");
    let server = at("127.0.0.1:0", blind(), &["--allow-local-users"]);
    is_let_in(&server, 0);
    // Netlink alone is enough.
    let server = at("127.0.0.1:0", without_proc(&[]), &[]);
    is_let_in(&server, 0);
    is_refused(&server, ORDINARY, "may not run commands");
}

#[test]
fn a_user_without_a_number_in_the_server_s_namespace_is_a_stranger() {
    needs!(Need::Root);
    let enter = ["unshare", "--user", "--map-root-user"];
    let server = at("127.0.0.1:0", through(&enter), &[]);
    is_let_in(&server, 0);
    is_refused(&server, ORDINARY, "a user of another user namespace");
    // One who is shown as nobody is not the server's user, though that is shown so too.
    let enter = ["unshare", "--user"];
    let server = at("127.0.0.1:0", through(&enter), &[]);
    is_refused(&server, ORDINARY, "a user of another user namespace");
}

fn readable_by_all(dir: &Scratch) {
    fs::set_permissions(dir.dir(), Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_refusal_goes_through_tls() {
    needs!(Need::Root);
    let dir = scratch();
    readable_by_all(&dir);
    let own = Certificate::make(&dir, "own");
    let roots = [("SSL_CERT_FILE", &*own.certificate)];
    let server = serve(&own.flags());
    let url = format!("wss://{}", server.address());
    was_refused(&run_as_ordinary(&url, &roots));
    let server = serve(&[&own.flags()[..], &["--allow-local-users"]].concat());
    let url = format!("wss://{}", server.address());
    has_run(&run_as_ordinary(&url, &roots));
}

#[test]
fn a_unix_socket_that_was_opened_to_others_holds_the_same_rule() {
    needs!(Need::Root);
    let dir = scratch();
    readable_by_all(&dir);
    for (flags, may) in [(&[][..], false), (&["--allow-local-users"][..], true)] {
        let path = dir.path(&format!("socket-{may}"));
        let mut command = Server::command();
        command.args(["--listen", &format!("unix://{path}")]);
        command.args(flags);
        let server = Server::websocket_command(command);
        let url = format!("unix://{path}");
        let shut = run_as_ordinary(&url, &[]);
        assert_eq!(shut.status.code(), Some(255), "mode 0600: {shut:?}");
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        let output = run_as_ordinary(&url, &[]);
        if may {
            has_run(&output);
        } else {
            was_refused(&output);
            let line = format!("peer=unix cause=user status=403 why=\"user {ORDINARY} may not");
            within(PATIENCE, "it is logged", || server.stderr().contains(&line));
        }
    }
}

#[test]
fn others_cannot_keep_the_server_s_user_out() {
    needs!(Need::Root);
    let server = serve(&["--max-connections", "20"]);
    let idle = || {
        let mut command = speaker(server.address(), ORDINARY);
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        Running::new(command.spawn().unwrap())
    };
    let idle: Vec<_> = (0..60).map(|_| idle()).collect();
    // Sooner than the server gives up who sends nothing.
    within(Duration::from_secs(8), "there is room", || {
        upgrade(server.address(), 0, "").0 == 101
    });
    drop(idle);
}

#[test]
fn what_is_half_closed_is_still_its_user_s() {
    let server = serve(&[]);
    let mut socket = server.dial();
    let request = upgrade_head("/", Some("localhost"), "");
    socket.write_all(request.as_bytes()).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    assert_eq!(exchange(&mut socket, b"").status, 101);
}

#[test]
fn who_is_refused_again_and_again_fills_no_log() {
    needs!(Need::Root);
    let server = serve(&[]);
    for _ in 0..30 {
        assert_eq!(upgrade(server.address(), ORDINARY, "").0, 403);
    }
    signal(server.pid(), "TERM");
    within(PATIENCE, "it tells what it has not written", || {
        server
            .stderr()
            .contains("repeated of=connectionRefused times=10 seconds=10\n")
    });
    let lines = server.stderr().matches(" connectionRefused ").count();
    assert_eq!(lines, 20, "{}", server.stderr());
}
