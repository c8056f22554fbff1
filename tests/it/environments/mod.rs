//! The library's environments: the same behaviours, wherever the work is done.

mod files;
mod http;
mod local;
mod processes;
mod remote;

use std::time::{Duration, Instant};

use exec_server::env::config::{Definition, Origin, Transport};
use exec_server::env::{Command, Environment, Exit, ProcessEvent, Stream};
use exec_server::rpc::client::Process;
use exec_server::serve::local_environment;

use crate::support::{PATIENCE, Server, child};

/// An environment, and what must live as long as it is used.
pub struct Place {
    pub environment: Environment,
    _server: Option<Server>,
}

impl Place {
    fn local() -> Self {
        let environment = local_environment();
        Self {
            environment,
            _server: None,
        }
    }

    fn websocket() -> Self {
        let server = Server::websocket(&[]);
        Self {
            environment: remote(websocket(&server)),
            _server: Some(server),
        }
    }

    fn stdio() -> Self {
        Self {
            environment: remote(stdio(&["--listen", "stdio"])),
            _server: None,
        }
    }
}

fn websocket(server: &Server) -> Transport {
    Transport::from_url(&format!("ws://{}", server.address()), None)
}

/// The server itself as the command of an environment.
fn stdio(args: &[&str]) -> Transport {
    let program = Server::command().get_program().to_owned();
    Transport::Program {
        program: program.into_string().unwrap(),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        env: Default::default(),
        cwd: None,
    }
}

/// The environment `dev` behind a transport.
fn remote(transport: Transport) -> Environment {
    Environment::new(Definition {
        id: "dev".into(),
        transport,
        connect_timeout: PATIENCE,
        initialize_timeout: PATIENCE,
        origin: Origin::Variable("TEST"),
    })
}

/// Makes a test of one body for each kind of environment.
macro_rules! over_all {
    ($($(#[$meta:meta])* fn $name:ident($environment:ident) $body:block)*) => {$(
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn behaviour($environment: &exec_server::env::Environment) $body

            #[test]
            fn here() {
                behaviour(&$crate::environments::Place::local().environment);
            }

            #[test]
            fn over_websocket() {
                behaviour(&$crate::environments::Place::websocket().environment);
            }

            #[test]
            fn over_stdio() {
                behaviour(&$crate::environments::Place::stdio().environment);
            }
        }
    )*};
}
use over_all;

/// The child program with these arguments, in a directory that everyone has.
fn command(arguments: &[&str]) -> Command {
    let mut argv = vec![child()];
    argv.extend(arguments.iter().map(|&argument| argument.to_owned()));
    Command {
        argv,
        cwd: Some("/tmp".into()),
        ..Command::default()
    }
}

/// All that came of a process.
#[derive(Debug, Default)]
struct Seen {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    terminal: Vec<u8>,
    exit: Option<Exit>,
}

impl Seen {
    fn exit(&self) -> &Exit {
        self.exit.as_ref().expect("an exit")
    }
}

/// Takes everything that a process does, to its end.
fn watch(process: &Process) -> Seen {
    let mut seen = Seen::default();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(left > Duration::ZERO, "no end in time: {seen:?}");
        match process.next_event(left).unwrap() {
            None => {}
            Some(ProcessEvent::Output { stream, data }) => match stream {
                Stream::Stdout => seen.stdout.extend(data),
                Stream::Stderr => seen.stderr.extend(data),
                Stream::Pty => seen.terminal.extend(data),
            },
            Some(ProcessEvent::Exited(exit)) => {
                assert_eq!(seen.exit, None, "a second exit");
                seen.exit = Some(exit);
            }
            Some(ProcessEvent::Gap { first, last }) => panic!("{first} to {last} are lost"),
            Some(ProcessEvent::Closed) => return seen,
        }
    }
}

/// Runs a command to its end.
fn run(environment: &Environment, command: &Command) -> Seen {
    watch(&environment.start(command).unwrap())
}

/// Waits until a process has printed this on its standard output or terminal.
fn await_output(process: &Process, wanted: &str) -> String {
    let mut text = String::new();
    let deadline = Instant::now() + PATIENCE;
    while !text.contains(wanted) {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(left > Duration::ZERO, "no {wanted:?} in time, but {text:?}");
        match process.next_event(left).unwrap() {
            Some(ProcessEvent::Output { data, .. }) => text += &String::from_utf8_lossy(&data),
            None => {}
            Some(other) => panic!("{other:?} before {wanted:?}, after {text:?}"),
        }
    }
    text
}
