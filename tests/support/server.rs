//! The server under test.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::{Client, PATIENCE, through_child, within};

/// A running server; killed when dropped, and its stderr shown if the test fails.
pub struct Server {
    process: Child,
    stderr: Arc<Mutex<Vec<u8>>>,
    stdout: Arc<Mutex<Vec<u8>>>,
    address: Option<SocketAddr>,
}

impl Server {
    /// The program under test, not yet started: the built one, or `EXEC_SERVER_BIN`.
    pub fn command() -> Command {
        let built = super::program::built("exec-server").into();
        let mut command = Command::new(std::env::var_os("EXEC_SERVER_BIN").unwrap_or(built));
        command
            .env_remove("EXEC_SERVER_LOG")
            .env_remove("EXEC_SERVER_TOKEN");
        command
    }

    /// The same without the system calls that `words` name, as in containers and on old kernels.
    pub fn command_denied(words: &str) -> Command {
        through_child(&["deny", words], &Self::command())
    }

    /// Starts on a free port of the loopback address.
    pub fn websocket(flags: &[&str]) -> Self {
        let mut command = Self::command();
        command.args(["--listen", "ws://127.0.0.1:0"]).args(flags);
        Self::websocket_command(command)
    }

    /// Starts a command that serves websockets, and learns the address from its first line.
    pub fn websocket_command(mut command: Command) -> Self {
        let mut server = Self::spawn(command.stdin(Stdio::null()));
        let mut stdout = BufReader::new(server.process.stdout.take().unwrap());
        let kept = Arc::clone(&server.stdout);
        let (first, line) = channel();
        thread::spawn(move || {
            let mut text = String::new();
            let _ = stdout.read_line(&mut text);
            kept.lock().unwrap().extend(text.as_bytes());
            let _ = first.send(text);
            drain(stdout, &kept);
        });
        let line = line
            .recv_timeout(PATIENCE)
            .expect("no first line on stdout");
        let url = line
            .strip_suffix('\n')
            .unwrap_or_else(|| panic!("first line {line:?}"));
        let (scheme, address) = url
            .split_once("://")
            .unwrap_or_else(|| panic!("first line {line:?}"));
        if scheme != "unix" {
            assert!(matches!(scheme, "ws" | "wss"), "first line {line:?}");
            server.address = Some(address.parse().unwrap());
        }
        server
    }

    /// Starts on stdin and stdout.
    pub fn stdio(flags: &[&str]) -> (Self, ChildStdin, ChildStdout) {
        let mut command = Self::command();
        command.args(["--listen", "stdio"]).args(flags);
        Self::stdio_command(command)
    }

    /// Starts a command that serves on stdin and stdout.
    pub fn stdio_command(mut command: Command) -> (Self, ChildStdin, ChildStdout) {
        let mut server = Self::spawn(command.stdin(Stdio::piped()));
        let stdin = server.process.stdin.take().unwrap();
        let stdout = server.process.stdout.take().unwrap();
        (server, stdin, stdout)
    }

    /// Starts a command that listens nowhere; its stdin is empty.
    pub fn offered(mut command: Command) -> Self {
        Self::spawn(command.stdin(Stdio::null()))
    }

    /// The same with a stdin that stays open as long as its other end.
    pub fn offered_with_stdin(mut command: Command) -> (Self, ChildStdin) {
        let mut server = Self::spawn(command.stdin(Stdio::piped()));
        let stdin = server.process.stdin.take().unwrap();
        (server, stdin)
    }

    fn spawn(command: &mut Command) -> Self {
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
        let stderr = Arc::default();
        let (pipe, kept) = (process.stderr.take().unwrap(), Arc::clone(&stderr));
        thread::spawn(move || drain(pipe, &kept));
        Self {
            process,
            stderr,
            stdout: Arc::default(),
            address: None,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("a websocket server")
    }

    /// A plain connection to it.
    pub fn dial(&self) -> TcpStream {
        TcpStream::connect(self.address()).unwrap()
    }

    /// A websocket on which nothing has been said yet.
    pub fn connect_silent(&self) -> Client {
        Client::dial(self.address())
    }

    /// A websocket with a new session.
    pub fn connect(&self) -> Client {
        let mut client = self.connect_silent();
        client.initialize();
        client
    }

    /// The process id of the server.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Everything it wrote to stderr so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().unwrap()).into_owned()
    }

    /// Everything a websocket server wrote to stdout so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout.lock().unwrap()).into_owned()
    }

    /// Ends it at once, with no chance to clean up.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Waits for it to end by itself.
    pub fn ended(&mut self, limit: Duration) -> ExitStatus {
        let mut status = None;
        within(limit, "the server ends", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!(
                "--- stderr of the server ---\n{}--- end of stderr ---",
                self.stderr()
            );
        }
    }
}

fn drain(mut from: impl Read, into: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        into.lock().unwrap().extend(&buffer[..count]);
    }
}
