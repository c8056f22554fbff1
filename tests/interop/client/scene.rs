//! A server of its own, our client of it, and a directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use exec_server::net::{Dial, Target};
use exec_server::rpc::client::{
    ClientOptions, Command, ExecServerClient, Process, ProcessEvent, StdioCommand, Stream,
    Transport as Way,
};

use crate::children::Guarded;
use crate::isolation::Place;
use crate::subject::{Generation, Transport, Whose, listening, server_command};
use support::{PATIENCE, Proxy};

/// What a scene is played with.
pub struct Scene {
    pub whose: Whose,
    pub generation: Generation,
    pub client: ExecServerClient,
    /// Between the client and a websocket.
    pub proxy: Option<Proxy>,
    /// Empty at first.
    pub directory: PathBuf,
    _server: Option<Guarded>,
}

/// Everything that a process has said.
#[derive(Debug, Default)]
pub struct Said {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// Events that are told to be lost.
    pub lost: u64,
    pub code: Option<i32>,
}

impl Scene {
    /// Starts the server and makes the client, which has not connected yet.
    pub fn set(
        place: &Place,
        program: &Path,
        whose: Whose,
        generation: Generation,
        transport: Transport,
    ) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = place.scratch.join(format!("client-{number}"));
        let home = place.scratch.join(format!("client-home-{number}"));
        for made in [&directory, &home] {
            fs::create_dir(made).expect("a fresh name");
        }
        let mut command = server_command(program, whose, transport, &home);
        let (server, proxy, way) = match transport {
            Transport::Websocket => {
                let (server, address) = listening(&mut command);
                let proxy = Proxy::before(address);
                let mut dial = Dial::new(Target::parse(&proxy.url()).expect("a URL"));
                dial.timeout = PATIENCE;
                (Some(server), Some(proxy), Way::WebSocket(dial))
            }
            Transport::Stdio => {
                let text = |text: &std::ffi::OsStr| text.to_str().expect("text").to_owned();
                let command = StdioCommand {
                    program: text(command.get_program()),
                    args: command.get_args().map(text).collect(),
                    env: command
                        .get_envs()
                        .filter_map(|(name, value)| Some((text(name), text(value?))))
                        .collect(),
                    cwd: None,
                };
                (None, None, Way::Command(command))
            }
        };
        let options = ClientOptions {
            initialize_timeout: PATIENCE,
            call_timeout: PATIENCE,
            ..ClientOptions::new(way)
        };
        Self {
            whose,
            generation,
            client: ExecServerClient::new(options),
            proxy,
            directory,
            _server: server,
        }
    }

    /// Whether the server is ours.
    pub fn is_ours(&self) -> bool {
        self.whose == Whose::Ours
    }

    /// Whether it is a server as 0.130 has it.
    pub fn is_old(&self) -> bool {
        !self.is_ours() && self.generation == Generation::V130
    }

    /// A name in the directory.
    pub fn path(&self, name: &str) -> String {
        let path = self.directory.join(name);
        path.into_os_string()
            .into_string()
            .expect("paths of a run are text")
    }

    /// A shell script that starts in the directory.
    pub fn shell(&self, script: &str) -> Command {
        Command {
            argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            cwd: self.directory.to_str().map(str::to_owned),
            env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
            ..Command::default()
        }
    }

    /// Starts it; it has to start.
    pub fn start(&self, command: &Command) -> Process {
        self.client.start(command).expect("it starts")
    }
}

/// Takes everything to the end.
pub fn finish(process: &Process) -> Said {
    let mut said = Said::default();
    loop {
        match process.next_event(PATIENCE) {
            Ok(Some(ProcessEvent::Output { stream, data })) => match stream {
                Stream::Stdout | Stream::Pty => said.stdout.extend(data),
                Stream::Stderr => said.stderr.extend(data),
            },
            Ok(Some(ProcessEvent::Gap { first, last })) => said.lost += last - first + 1,
            Ok(Some(ProcessEvent::Exited(exit))) => said.code = Some(exit.code),
            Ok(Some(ProcessEvent::Closed)) => return said,
            other => panic!("{other:?} after {said:?}"),
        }
    }
}

/// Takes output until it has this text.
pub fn await_text(process: &Process, text: &str) -> String {
    let mut seen = String::new();
    while !seen.contains(text) {
        match process.next_event(PATIENCE) {
            Ok(Some(ProcessEvent::Output { data, .. })) => {
                seen += &String::from_utf8_lossy(&data);
            }
            other => panic!("{other:?} after {seen:?}, and no {text:?}"),
        }
    }
    seen
}
