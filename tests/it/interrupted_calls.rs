//! A session whose server meets interrupted system calls and full streams all the time: it must go as without.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{ChildStdout, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustls::version::TLS13;
use serde_json::{Value, json};
use support::link::Link;

use crate::support::sandbox::{Launcher, Sandbox, Who};
use crate::support::{
    Certificate, Client, Event, Need, PATIENCE, Scratch, Server, Start, cpu_ticks, encode, params,
    patterned, scratch, settled, through, within,
};

/// Every call of the server for which the kernel can say EINTR. Not futex: who wakes others by it is never interrupted,
/// and strace cannot tell the two apart.
const INTERRUPTIBLE: &str = "read,write,?poll,?ppoll,recvfrom,recvmsg,sendto,sendmsg,accept4,connect,waitid,wait4,?open,\
                             openat,openat2,pread64,pwrite64,copy_file_range,fsync,ftruncate,getrandom,getdents64,\
                             clock_nanosleep";
/// Every call that says EAGAIN where a connection has no room, or where there is none.
const MAY_BE_FULL: &str = "sendto,sendmsg,accept4";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Transport {
    WebSocket,
    Tls,
    Unix,
    Stdio,
}

/// A server with a client of its own, and what strace notes of it.
struct Traced {
    client: Client,
    trace: String,
    /// Whether anything of the server is read.
    is_read: Arc<AtomicBool>,
    dir: Scratch,
}

impl Traced {
    /// Without faults where there are none to inject. strace lets the server be our child, and lets go of its children
    /// when they run another program.
    fn serve(transport: Transport, faults: Option<(&str, &str)>) -> Self {
        let dir = scratch();
        let trace = dir.path("trace");
        let certificate = (transport == Transport::Tls).then(|| Certificate::make(&dir, "own"));
        let listen = match transport {
            Transport::WebSocket => "ws://127.0.0.1:0".to_owned(),
            Transport::Tls => "wss://127.0.0.1:0".to_owned(),
            Transport::Unix => format!("unix://{}", dir.path("socket")),
            Transport::Stdio => "stdio".to_owned(),
        };
        let mut command = Server::command();
        command.args(["--listen", &listen]);
        command.args(certificate.iter().flat_map(|it| it.flags()));
        if let Some((calls, fault)) = faults {
            command = strace(&command, &trace, calls, fault);
        }
        let is_read = Arc::new(AtomicBool::new(true));
        let mut client = match transport {
            Transport::Stdio => {
                let (server, stdin, stdout) = Server::stdio_command(command);
                let (ours, theirs) = io::pipe().unwrap();
                pass(stdout, theirs, &is_read);
                let stdout = ChildStdout::from(OwnedFd::from(ours));
                let mut client = Client::new(Link::stdio(stdin, stdout));
                client.server = Some(server);
                client
            }
            _ => {
                let server = Server::websocket_command(command);
                let socket = match (transport, &certificate) {
                    (Transport::Unix, _) => UnixStream::connect(dir.path("socket")).unwrap(),
                    (_, Some(certificate)) => certificate.tunnel(server.address(), &TLS13).unwrap(),
                    _ => UnixStream::from(OwnedFd::from(server.dial())),
                };
                let (ours, theirs) = UnixStream::pair().unwrap();
                let copies = (socket.try_clone().unwrap(), theirs.try_clone().unwrap());
                pass(copies.1, copies.0, &Arc::new(AtomicBool::new(true)));
                pass(socket, theirs, &is_read);
                let mut client = Client::over(ours, "");
                client.server = Some(server);
                client
            }
        };
        client.patience = 3 * PATIENCE;
        client.initialize();
        Self {
            client,
            trace,
            is_read,
            dir,
        }
    }

    /// Lines of strace once the server has ended.
    fn end(self) -> Vec<String> {
        let Self {
            client, trace, dir, ..
        } = self;
        drop(client);
        let text = || std::fs::read_to_string(&trace).unwrap_or_default();
        within(PATIENCE, "strace has noted the end", || {
            text().contains("+++ killed by SIGKILL")
        });
        let lines = text().lines().map(str::to_owned).collect();
        drop(dir);
        lines
    }
}

fn strace(plain: &Command, trace: &str, calls: &str, fault: &str) -> Command {
    let (shown, injected) = (format!("trace={calls}"), format!("inject={calls}:{fault}"));
    let mut arguments = vec![
        "-D", "-f", "-b", "execve", "-s", "0", "-o", trace, "-e", &shown,
    ];
    if !fault.is_empty() {
        arguments.extend(["-e", &injected]);
    }
    arguments.push("--");
    through("strace", &arguments, plain)
}

/// Passes everything on while it may.
fn pass(
    mut from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
    may: &Arc<AtomicBool>,
) {
    let may = Arc::clone(may);
    thread::spawn(move || {
        let mut piece = [0; 4096];
        loop {
            while !may.load(Ordering::Acquire) {
                thread::park_timeout(Duration::from_millis(1));
            }
            let Ok(count @ 1..) = from.read(&mut piece) else {
                return;
            };
            if to.write_all(&piece[..count]).is_err() {
                return;
            }
        }
    });
}

/// A text that is the same in every run, and short.
fn digest(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{} bytes, {:x}", bytes.len(), hasher.finish())
}

/// Of a session.
type Part = fn(&mut Account<'_>);

/// What a session comes to: all answers, and how its processes end.
struct Account<'a> {
    client: &'a mut Client,
    dir: String,
    lines: Vec<String>,
}

impl Account<'_> {
    fn ask(&mut self, method: &str, params: Value) {
        let mut answer = match self.client.request(method, params) {
            Ok(answer) => answer,
            Err(error) => json!({"code": error.code, "message": error.message}),
        };
        if let Some(entries) = answer["entries"].as_array_mut() {
            entries.sort_by_key(Value::to_string);
        }
        let text = answer.to_string().replace(&self.dir, "DIR");
        let text = match text.len() {
            ..400 => text,
            _ => digest(text.as_bytes()),
        };
        self.lines.push(format!("{method}: {text}"));
    }

    fn run(&mut self, start: Start) {
        let id = start.id();
        self.client.start(start);
        self.note_end(&id);
    }

    fn note_end(&mut self, id: &str) {
        let end = self.client.closed(id);
        let kinds: Vec<_> = end
            .events
            .iter()
            .map(|event| matches!(event, Event::Output(..)))
            .collect();
        assert!(kinds.ends_with(&[false, false]), "{id}: {:?}", end.events);
        assert!(
            kinds[..kinds.len() - 2].iter().all(|is_output| *is_output),
            "{id}: {:?}",
            end.events
        );
        let output = [&end.stdout, &end.stderr, &end.pty].map(|text| digest(text.as_bytes()));
        self.lines
            .push(format!("{id}: {} {:?} {output:?}", end.code, end.signal));
    }

    fn files(&mut self) {
        let dir = self.dir.clone();
        let path = |name: &str| format!("{dir}/{name}");
        let data = encode(&patterned(3 << 20));
        self.ask(
            "fs/createDirectory",
            json!({"path": path("a/b"), "recursive": true}),
        );
        self.ask(
            "fs/writeFile",
            json!({"path": path("a/f"), "dataBase64": data}),
        );
        self.ask(
            "fs/writeFile",
            json!({"path": path("a/g"), "dataBase64": data, "atomic": true}),
        );
        self.ask("fs/readFile", json!({"path": path("a/f")}));
        let copy = |from, to, recursive| json!({"sourcePath": path(from), "destinationPath": path(to), "recursive": recursive});
        self.ask("fs/copy", copy("a/f", "a/h", false));
        self.ask("fs/copy", copy("a", "c", true));
        self.ask("fs/readFile", json!({"path": path("c/h")}));
        self.ask("fs/readDirectory", json!({"path": path("c")}));
        let options = json!({"maxDepth": 9, "maxDirectories": 99, "maxEntries": 999, "followDirectorySymlinks": false});
        self.ask("fs/walk", json!({"path": path("c"), "options": options}));
        self.ask("fs/watch", json!({"watchId": "w", "path": path("a")}));
        self.ask(
            "fs/writeFile",
            json!({"path": path("a/new"), "dataBase64": ""}),
        );
        let change = self.client.notice("fs/changed");
        self.lines.push(format!("{}", change["watchId"]));
        self.ask("fs/unwatch", json!({"watchId": "w"}));
        self.ask(
            "fs/remove",
            json!({"path": path("c"), "recursive": true, "force": false}),
        );
        self.ask("fs/readFile", json!({"path": path("c/h")}));
    }

    fn processes(&mut self) {
        self.run(Start::child("both", &["write", "300000", "both"]));
        self.run(Start::child("code", &["write", "70000", "exit", "3"]));
        self.run(Start::shell("signal", "echo out; kill -9 $$"));
        self.run(Start::shell("terminal", "stty size; echo typed").tty());
        self.ask("process/start", Start::command("none", &["/nonexistent"]).0);
        self.client
            .start(Start::child("cat", &["cat"]).pipe_stdin());
        let write = json!({"chunk": encode(&patterned(300_000)), "writeId": "1"});
        self.ask("process/write", params("cat", write.clone()));
        self.ask("process/write", params("cat", write));
        self.ask("process/closeStdin", params("cat", json!({})));
        self.note_end("cat");
        // What has left the group holds the streams until it is found.
        let daemon = "trap '' TERM; echo ready; (setsid sleep 300 &); sleep 300";
        self.client.start(Start::shell("daemon", daemon));
        self.client
            .output("daemon", "stdout", |text| text == "ready\n");
        self.ask("process/terminate", params("daemon", json!({})));
        self.note_end("daemon");
    }

    fn confined(&mut self) {
        let policy = Sandbox::workspace(&self.dir).json();
        let path = format!("{}/a/f", self.dir);
        self.ask("fs/readFile", json!({"path": path, "sandbox": policy}));
        self.ask(
            "fs/writeFile",
            json!({"path": path, "dataBase64": "aGVsbG8=", "sandbox": policy}),
        );
        self.ask(
            "fs/writeFile",
            json!({"path": "/etc/none", "dataBase64": "", "sandbox": policy}),
        );
        let script = format!("echo inside > {path}; cat {path}; exit 4");
        let start = Start::shell("inside", &script).with("sandbox", policy);
        let level = self.client.start(start)["sandboxLevel"]["launcher"].clone();
        self.lines.push(level.to_string());
        self.note_end("inside");
    }
}

fn account(traced: &mut Traced, parts: &[Part]) -> Vec<String> {
    std::fs::create_dir(traced.dir.path("w")).unwrap();
    let mut account = Account {
        client: &mut traced.client,
        dir: traced.dir.path("w"),
        lines: Vec::new(),
    };
    for part in parts {
        part(&mut account);
    }
    account.lines
}

/// How many calls strace has made fail; some, or the test shows nothing.
fn failed_on_purpose(lines: &[String]) -> usize {
    lines
        .iter()
        .filter(|line| line.ends_with("(INJECTED)"))
        .count()
}

fn interrupted(transport: Transport, parts: &[Part]) {
    needs!(Need::Strace);
    let plain = account(&mut Traced::serve(Transport::Stdio, None), parts);
    let fault = "error=EINTR:when=2+2";
    let mut traced = Traced::serve(transport, Some((INTERRUPTIBLE, fault)));
    let met = account(&mut traced, parts);
    assert_eq!(met, plain, "over {transport:?}");
    let count = failed_on_purpose(&traced.end());
    assert!(count > 300, "only {count} calls were interrupted");
}

const ALL: &[Part] = &[|it| it.files(), |it| it.processes()];

#[test]
fn interrupted_calls_change_nothing_over_a_websocket() {
    interrupted(Transport::WebSocket, ALL);
}

#[test]
fn interrupted_calls_change_nothing_over_tls() {
    interrupted(Transport::Tls, ALL);
}

#[test]
fn interrupted_calls_change_nothing_over_a_unix_socket() {
    interrupted(Transport::Unix, ALL);
}

#[test]
fn interrupted_calls_change_nothing_over_standard_input() {
    interrupted(Transport::Stdio, ALL);
}

#[test]
fn interrupted_calls_change_nothing_in_a_sandbox() {
    needs!(Need::Launcher(Launcher::Bundled, Who::Myself));
    interrupted(Transport::Stdio, &[|it| it.files(), |it| it.confined()]);
}

/// Output until the server can send no more, as nobody reads; then somebody does. On the way a socket says now and again
/// that it has no room when it has; not to the first two calls of a thread, by which it asks the kernel who its client is.
fn full(transport: Transport) {
    needs!(Need::Strace);
    const MUCH: usize = 16 << 20;
    let plain = account(&mut Traced::serve(Transport::Stdio, None), ALL);
    let faults = match transport {
        Transport::Stdio => ("write", ""),
        _ => (MAY_BE_FULL, "error=EAGAIN:when=3+3"),
    };
    let mut traced = Traced::serve(transport, Some(faults));
    // First, since the system gives more room to a connection that was busy.
    let pid = traced.client.server_pid();
    traced.is_read.store(false, Ordering::Release);
    let much = Start::child("much", &["write", &MUCH.to_string()]);
    let start = traced.client.ask("process/start", much.0);
    settled(|| cpu_ticks(pid));
    traced.is_read.store(true, Ordering::Release);
    traced.client.answer(start).unwrap();
    traced.client.closed("much");
    let output = traced.client.observed("much").bytes("stdout");
    assert!(output == patterned(MUCH), "{}", digest(output));
    assert_eq!(account(&mut traced, ALL), plain, "over {transport:?}");
    let lines = traced.end();
    if transport != Transport::Stdio {
        let count = failed_on_purpose(&lines);
        assert!(count > 10, "only {count} calls have failed");
    }
    if matches!(transport, Transport::WebSocket | Transport::Tls) {
        // How much a TCP connection takes that nobody reads is the system's choice, up to all of it.
        return;
    }
    let sends = lines
        .iter()
        .filter(|line| line.contains("send") || line.contains("write"));
    let full = sends.filter(|line| line.contains(" EAGAIN ") && !line.ends_with("(INJECTED)"));
    assert!(full.count() > 0, "it has always had room");
}

#[test]
fn a_full_stream_changes_nothing_over_a_websocket() {
    full(Transport::WebSocket);
}

#[test]
fn a_full_stream_changes_nothing_over_tls() {
    full(Transport::Tls);
}

#[test]
fn a_full_stream_changes_nothing_over_a_unix_socket() {
    full(Transport::Unix);
}

#[test]
fn a_full_stream_changes_nothing_over_standard_output() {
    full(Transport::Stdio);
}
