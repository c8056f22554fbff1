//! The command line under test: environments of every kind, and a run of the program with a deadline.

use std::io::{Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use super::run::failed;
use super::{Client, Scratch, Server, Start, comes_true, scratch, within};

/// How long a run may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Environments of every kind that a machine without others can have: `local`, `ws` with a token, `unix` and `stdio`.
pub struct Environments {
    pub scratch: Scratch,
    pub ws: Server,
    _unix: Server,
    /// Where the servers are.
    pub there: String,
}

/// The kinds of environments that are on a server.
pub const REMOTE: [&str; 3] = ["ws", "unix", "stdio"];

/// All kinds.
pub const EVERY: [&str; 4] = ["local", "ws", "unix", "stdio"];

impl Environments {
    /// Starts the servers and writes the files; `local` is the default.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with flags for the websocket server.
    pub fn start_with(flags: &[&str]) -> Self {
        let scratch = scratch();
        let there = scratch.path("there");
        std::fs::create_dir(&there).unwrap();
        let token = scratch.path("token");
        std::fs::write(&token, "a-token-that-nobody-guesses").unwrap();

        let mut command = Server::command();
        command.current_dir(&there).args([
            "--listen",
            "ws://127.0.0.1:0",
            "--ws-auth",
            "capability-token",
            "--ws-token-file",
            &token,
        ]);
        command.args(flags);
        let ws = Server::websocket_command(command);
        let socket = scratch.path("socket");
        let mut command = Server::command();
        command
            .current_dir(&there)
            .args(["--listen", &format!("unix://{socket}")]);
        let unix = Server::websocket_command(command);

        let program = Server::command().get_program().to_str().unwrap().to_owned();
        let shared = format!(
            "[[environments]]\nid = \"ws\"\nurl = \"ws://{}\"\n\n\
             [[environments]]\nid = \"stdio\"\nprogram = \"{program}\"\nargs = [\"--listen\", \"stdio\"]\ncwd = \"{there}\"\n",
            ws.address(),
        );
        let own = format!(
            "[environments.ws]\nbearer_token_env = \"TEST_TOKEN\"\n\n\
             [environments.unix]\nurl = \"unix://{socket}\"\n",
        );
        let environments = Self {
            scratch,
            ws,
            _unix: unix,
            there,
        };
        environments.write("environments.toml", &shared);
        environments.write("exec-server.toml", &own);
        environments
    }

    /// Writes another `environments.toml`, which is then all that there is.
    pub fn configure(&self, text: &str) {
        self.write("environments.toml", text);
        self.write("exec-server.toml", "");
    }

    /// The same for `exec-server.toml`.
    pub fn configure_own(&self, text: &str) {
        self.write("environments.toml", "");
        self.write("exec-server.toml", text);
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.scratch.path(name), text).unwrap();
    }

    /// The program with these arguments, and nothing of our own configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command_line(&self.scratch.dir());
        command.args(arguments);
        command
    }

    /// What the program shows on a terminal of 24 lines and 80 columns, with these variables
    /// besides.
    pub fn on_a_terminal(&self, arguments: &[&str], variables: &[(&str, &str)]) -> String {
        let command = self.command(arguments);
        let mut argv = vec![command.get_program().to_str().unwrap()];
        argv.extend(arguments);
        let mut start = Start::command("p", &argv)
            .tty()
            .env("EXEC_SERVER_HOME", &self.scratch.dir())
            .env("TERM", "vt100");
        for (name, value) in variables {
            start = start.env(name, value);
        }
        Client::stdio().run(start).pty
    }

    /// Runs the program with nothing on its standard input.
    pub fn run(&self, arguments: &[&str]) -> Output {
        finish(self.command(arguments), b"")
    }

    /// Runs it, expects success and nothing on stderr, and gives its stdout.
    #[track_caller]
    pub fn stdout(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && stderr.is_empty(),
            "{arguments:?}: {}: {stderr}",
            output.status
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs it, expects this exit code, `words` on stderr and nothing on stdout, and gives its stderr.
    #[track_caller]
    pub fn fails(&self, arguments: &[&str], code: i32, words: &str) -> String {
        failed(self.run(arguments), arguments, code, words)
    }
}

/// The program with its environments in that directory.
pub fn command_line(home: &str) -> Command {
    let mut command = Server::command();
    command
        .env("EXEC_SERVER_HOME", home)
        .env("TEST_TOKEN", "a-token-that-nobody-guesses")
        .env_remove("CODEX_HOME")
        .env_remove("CODEX_EXEC_SERVER_URL")
        .env_remove("XDG_CONFIG_HOME");
    command
}

/// Runs a command to its end with this on its standard input; it is killed if it takes too long.
#[track_caller]
pub fn finish(mut command: Command, input: &[u8]) -> Output {
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let shown = format!("{command:?}");
    Running::new(child).finish(&shown, input)
}

/// A program that runs; killed when dropped.
pub struct Running(pub Child);

impl Running {
    pub fn new(child: Child) -> Self {
        Self(child)
    }

    /// Feeds it and waits for its end.
    #[track_caller]
    pub fn finish(mut self, shown: &str, input: &[u8]) -> Output {
        let mut stdin = self.0.stdin.take();
        let input = input.to_vec();
        // A program that reads no more is none of our business.
        let feeding = thread::spawn(move || {
            if let Some(stdin) = &mut stdin {
                let _ = stdin.write_all(&input);
            }
        });
        let (stdout, stderr) = (self.0.stdout.take(), self.0.stderr.take());
        let reading = [
            thread::spawn(move || all_of(stdout)),
            thread::spawn(move || all_of(stderr)),
        ];
        let is_over = comes_true(LIMIT, || {
            reading.iter().all(thread::JoinHandle::is_finished)
        });
        if !is_over {
            let _ = self.0.kill();
        }
        let [stdout, stderr] = reading.map(|reading| reading.join().unwrap());
        assert!(
            is_over,
            "{shown} did not end; stderr: {}",
            String::from_utf8_lossy(&stderr)
        );
        let status = self.ended(LIMIT);
        feeding.join().unwrap();
        Output {
            status,
            stdout,
            stderr,
        }
    }

    /// Waits for its end, with its streams untouched.
    #[track_caller]
    pub fn ended(&mut self, limit: Duration) -> std::process::ExitStatus {
        let mut status = None;
        within(limit, "the program ends", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn all_of(stream: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        let _ = stream.read_to_end(&mut bytes);
    }
    bytes
}
