//! What starts a server and asks how it is: a service manager, by the variables of systemd, and `health`; and
//! `install-to`, for images. The unit files of deploy/ are those that systemd reads.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::sandbox::{Launcher, ORDINARY, Who};
use crate::support::{
    Need, Running, Scratch, Server, Start, Web, child, finish, names, run, scratch, signal,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Asks for health; exit code and what was said.
fn health(url: &str) -> (Option<i32>, String) {
    let output = run(&["health", url]);
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    (output.status.code(), said)
}

#[test]
fn a_server_that_is_ready_is_healthy_on_each_kind_of_listener() {
    let server = Server::websocket(&[]);
    let url = format!("ws://{}", server.address());
    assert_eq!(health(&url), (Some(0), format!("{url}/ is ready\n")));
    assert_eq!(health(&format!("{url}/livez")).0, Some(0));
    let scratch = scratch();
    let url = format!("unix://{}", scratch.path("socket"));
    let mut command = Server::command();
    command.args(["--listen", &url]);
    let _unix = Server::websocket_command(command);
    assert_eq!(health(&url), (Some(0), format!("{url} is ready\n")));
}

#[test]
fn nobody_a_wrong_answer_and_none_at_all_are_not_healthy() {
    let scratch = scratch();
    let (code, said) = health(&format!("unix://{}", scratch.path("missing")));
    assert_eq!(code, Some(1), "{said}");
    let web = Web::serve(|_, wire| wire.reply("503 Service Unavailable", b""));
    let (code, said) = health(&web.url("").replace("http:", "ws:"));
    assert!(code == Some(1) && said.contains("503"), "{said}");
    let web = Web::serve(|_, wire| wire.await_end());
    let begun = Instant::now();
    let (code, said) = health(&web.url("").replace("http:", "ws:"));
    assert!(code == Some(1) && said.contains("within 3 s"), "{said}");
    assert!(begun.elapsed() < PATIENCE);
    let output = run(&["health", "nonsense"]);
    assert_eq!(output.status.code(), Some(2));
}

fn install_to(directory: &str) -> Output {
    run(&["install-to", directory])
}

#[test]
fn the_program_copies_itself_and_takes_the_place_of_an_older_one_by_a_rename() {
    let scratch = scratch();
    let directory = scratch.path("new/directory");
    assert!(install_to(&directory).status.success());
    let path = format!("{directory}/exec-server");
    let program = Server::command().get_program().to_owned();
    assert!(fs::read(&path).unwrap() == fs::read(program).unwrap());
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o755
    );
    fs::write(&path, "old").unwrap();
    let old = fs::File::open(&path).unwrap();
    let output = install_to(&directory);
    assert_eq!(output.stdout, format!("{path}\n").as_bytes());
    assert_eq!(std::io::read_to_string(old).unwrap(), "old");
    assert_eq!(names(&directory), ["exec-server"]);
}

#[test]
fn a_place_that_cannot_be_written_is_told_and_left_as_it_was() {
    let scratch = scratch();
    let directory = scratch.path("directory");
    fs::create_dir_all(format!("{directory}/exec-server/full")).unwrap();
    let output = install_to(&directory);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot install into"), "{said}");
    assert_eq!(names(&directory), ["exec-server"]);
    assert_eq!(run(&["install-to"]).status.code(), Some(2));
}

/// A socket that hears what a service says to its manager.
struct Manager {
    socket: UnixDatagram,
    _scratch: Scratch,
    name: String,
}

impl Manager {
    fn at_a_path() -> Self {
        let scratch = scratch();
        let name = scratch.path("notify");
        Self::new(UnixDatagram::bind(&name).unwrap(), scratch, name)
    }

    fn abstract_one() -> Self {
        let scratch = scratch();
        let name = scratch.path("notify");
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        Self::new(socket, scratch, format!("@{name}"))
    }

    fn new(socket: UnixDatagram, scratch: Scratch, name: String) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            _scratch: scratch,
            name,
        }
    }

    fn hears(&self) -> String {
        let mut buffer = [0; 4096];
        let count = self.socket.recv(&mut buffer).expect("nothing was told");
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }
}

#[test]
fn the_manager_hears_when_a_server_is_ready_and_when_it_ends() {
    for manager in [Manager::at_a_path(), Manager::abstract_one()] {
        let mut command = Server::command();
        command
            .args(["--listen", "ws://127.0.0.1:0"])
            .env("NOTIFY_SOCKET", &manager.name);
        let mut server = Server::websocket_command(command);
        assert_eq!(manager.hears(), "READY=1");
        let mut client = server.connect();
        let seen = client.run(Start::child("p", &["env"]));
        assert!(!seen.stdout.contains("NOTIFY_SOCKET"), "{}", seen.stdout);
        signal(server.pid(), "TERM");
        assert_eq!(manager.hears(), "STOPPING=1");
        assert!(server.ended(PATIENCE).success());
    }
}

#[test]
fn a_watchdog_hears_of_a_server_twice_in_its_time_and_another_processs_is_none_of_its() {
    let manager = Manager::at_a_path();
    let start = |pid: Option<&str>| {
        let mut command = Server::command();
        command
            .args(["--listen", "ws://127.0.0.1:0"])
            .env("NOTIFY_SOCKET", &manager.name)
            .env("WATCHDOG_USEC", "400000");
        if let Some(pid) = pid {
            command.env("WATCHDOG_PID", pid);
        }
        Server::websocket_command(command)
    };
    let mut server = start(None);
    assert_eq!(manager.hears(), "READY=1");
    let begun = Instant::now();
    for _ in 0..5 {
        assert_eq!(manager.hears(), "WATCHDOG=1");
    }
    assert!(begun.elapsed() >= Duration::from_millis(800));
    server.kill();
    let mut server = start(Some("1"));
    while manager.hears() != "READY=1" {}
    signal(server.pid(), "TERM");
    assert_eq!(manager.hears(), "STOPPING=1");
    assert!(server.ended(PATIENCE).success());
}

/// `systemd-socket-activate` with a socket at `address`, and a server behind it that does not run before a client comes.
struct Activated {
    running: Option<Running>,
    lines: Vec<String>,
}

impl Activated {
    fn start(address: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new("systemd-socket-activate");
        command
            .args(["-l", address])
            .arg("-E")
            .arg(format!(
                "PATH={}",
                std::env::var("PATH").unwrap_or_default()
            ))
            .arg(Server::command().get_program())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child: Child = command.spawn().unwrap();
        // It says where it listens before anybody comes.
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self {
            running: Some(Running::new(child)),
            lines: vec![line],
        }
    }
}

fn ran(url: &str, words: &[&str]) -> String {
    let output = run(&[&["run", "-e", url], words].concat());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

#[test]
fn a_socket_that_systemd_hands_over_takes_the_place_of_listen() {
    needs!(Need::Program("systemd-socket-activate"));
    let scratch = scratch();
    let path = scratch.path("socket");
    let port = free_port();
    for (address, url) in [
        (
            format!("127.0.0.1:{port}"),
            format!("ws://127.0.0.1:{port}"),
        ),
        (path.clone(), format!("unix://{path}")),
    ] {
        // It could not listen there itself.
        let mut server = Activated::start(&address, &["--listen", "ws://127.0.0.1:1"]);
        assert!(
            server.lines[0].contains("Listening on"),
            "{:?}",
            server.lines
        );
        let seen = ran(&url, &[&child(), "env"]);
        for name in ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] {
            assert!(!seen.contains(name), "{seen}");
        }
        let open = ran(&url, &["sh", "-c", "ls -l /proc/self/fd"]);
        assert!(!open.contains("socket:"), "{open}");
        server.running.take();
        // The socket is its manager's, who removes it.
        assert_eq!(Path::new(&path).exists(), address == path);
    }
}

#[test]
fn sockets_for_another_process_and_what_is_no_listening_socket_are_not_served() {
    let start = |variables: &[(&str, &str)]| {
        let mut command = Server::command();
        command
            .args(["--listen", "ws://127.0.0.1:0"])
            .envs(variables.iter().copied());
        command
    };
    // Its number is not known before; a shell becomes the server, so its number is the server's.
    let refused = |count: &str| {
        let program = Server::command().get_program().to_owned();
        let mut sh = Command::new("sh");
        sh.args([
            "-c",
            "LISTEN_PID=$$ LISTEN_FDS=$0 exec \"$1\" 3</dev/null",
            count,
        ])
        .arg(program);
        let output = finish(sh, b"");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        said
    };
    let said = refused("1");
    assert!(said.contains("what clients cannot connect to"), "{said}");
    let said = refused("2");
    assert!(said.contains("2 sockets, and one can be served"), "{said}");
    let server = Server::websocket_command(start(&[("LISTEN_PID", "1"), ("LISTEN_FDS", "1")]));
    let mut client = server.connect();
    let seen = client.run(Start::child("p", &["env"])).stdout;
    assert!(!seen.contains("LISTEN_"), "{seen}");
}

#[test]
fn systemd_reads_the_units_without_a_complaint() {
    needs!(Need::Program("systemd-analyze"));
    let scratch = scratch();
    let program = Server::command().get_program().to_owned();
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd");
    for (directory, user) in [(units.clone(), false), (units.join("user"), true)] {
        let place = scratch.path(if user { "user" } else { "system" });
        fs::create_dir(&place).unwrap();
        let mut verify = Command::new("systemd-analyze");
        verify.args(user.then_some("--user")).arg("verify");
        for name in ["exec-server.service", "exec-server.socket"] {
            let text = fs::read_to_string(directory.join(name)).unwrap();
            // The program need not be installed where the test runs.
            let text = text
                .replace("/usr/local/bin/exec-server", program.to_str().unwrap())
                .replace("%h/.local/bin/exec-server", program.to_str().unwrap());
            fs::write(format!("{place}/{name}"), text).unwrap();
            verify.arg(format!("{place}/{name}"));
        }
        verify.env("XDG_RUNTIME_DIR", scratch.dir());
        let output = finish(verify, b"");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{user}: {said}");
    }
}

#[test]
fn a_sandbox_works_with_what_the_unit_takes_away() {
    needs!(
        Need::Root,
        Need::Program("setpriv"),
        Need::Launcher(Launcher::Bundled, Who::Another)
    );
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd/exec-server.service");
    let unit = fs::read_to_string(unit).unwrap();
    assert!(unit.contains("\nNoNewPrivileges=yes\nCapabilityBoundingSet=\n"));
    let user = ORDINARY.to_string();
    let mut confined = Command::new("setpriv");
    confined
        .args(["--reuid", &user, "--regid", &user, "--clear-groups"])
        .args(["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"])
        .arg(Server::command().get_program())
        .args([
            "run",
            "-v",
            "--sandbox",
            "read-only",
            "-C",
            "/",
            &child(),
            "env",
        ])
        .env("HOME", "/nonexistent")
        .process_group(0);
    let output = finish(confined, b"");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("confined by") && !said.contains("landlock"),
        "{said}"
    );
}
