//! The client, through the crate's own interface, against the built server and scripted ones.

mod calls;
mod confined;
mod order;
mod recovery;
pub mod scripted;
mod stdio;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use exec_server::net::{Dial, Target};
use exec_server::rpc::client::{
    ClientOptions, Command, ExecServerClient, Process, ProcessEvent, StdioCommand, Stream,
    Transport,
};

use crate::support::{PATIENCE, Server, child, patterned};

/// A client of a URL.
fn client(url: &str) -> ExecServerClient {
    ExecServerClient::new(options(url))
}

/// A client of a server that listens on TCP.
fn client_of(server: &Server) -> ExecServerClient {
    client(&format!("ws://{}", server.address()))
}

fn options(url: &str) -> ClientOptions {
    let mut dial = Dial::new(Target::parse(url).unwrap());
    dial.timeout = PATIENCE;
    ClientOptions {
        initialize_timeout: PATIENCE,
        ..ClientOptions::new(Transport::WebSocket(dial))
    }
}

/// A client of a command.
fn over_command(program: &str, args: &[&str]) -> ExecServerClient {
    ExecServerClient::new(command_options(program, args))
}

fn command_options(program: &str, args: &[&str]) -> ClientOptions {
    ClientOptions {
        initialize_timeout: PATIENCE,
        ..ClientOptions::new(Transport::Command(StdioCommand {
            program: program.to_owned(),
            args: args.iter().map(ToString::to_string).collect(),
            ..StdioCommand::default()
        }))
    }
}

/// The path of the server under test.
fn server_program() -> String {
    let program = Server::command().get_program().to_owned();
    program.into_string().unwrap()
}

/// The child program with these arguments, with a pipe as its input.
fn command(args: &[&str]) -> Command {
    Command {
        argv: std::iter::once(child())
            .chain(args.iter().map(ToString::to_string))
            .collect(),
        cwd: Some("/".to_owned()),
        pipe_stdin: true,
        ..Command::default()
    }
}

/// Sends bytes piece by piece through a process that returns them; `after` each piece something may happen.
fn echoes(
    client: &ExecServerClient,
    size: usize,
    piece: usize,
    mut after: impl FnMut() + Send + 'static,
) {
    let sent = patterned(size);
    let process = Arc::new(client.start(&command(&["cat"])).unwrap());
    let writer = {
        let (process, sent) = (Arc::clone(&process), sent.clone());
        thread::spawn(move || {
            for piece in sent.chunks(piece) {
                process.write(piece).unwrap();
                after();
            }
            process.close_stdin().unwrap();
        })
    };
    let (received, code) = finish(&process);
    writer.join().unwrap();
    assert!(received == sent, "{} bytes came back", received.len());
    assert_eq!(code, 0);
}

/// All output of one stream until the end, and the exit code.
fn finish(process: &Process) -> (Vec<u8>, i32) {
    let mut data = Vec::new();
    let mut code = None;
    loop {
        match next(process) {
            ProcessEvent::Output {
                stream: Stream::Stdout,
                data: more,
            } => data.extend(more),
            ProcessEvent::Exited(exit) => code = Some(exit.code),
            ProcessEvent::Closed => return (data, code.expect("closed before the exit")),
            other => panic!("{other:?}"),
        }
    }
}

/// The next event.
fn next(process: &Process) -> ProcessEvent {
    match process.next_event(PATIENCE) {
        Ok(Some(event)) => event,
        other => panic!("no event: {other:?}"),
    }
}

/// The first line of output, without its end.
fn first_line(process: &Process) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        match next(process) {
            ProcessEvent::Output { data, .. } => line.extend(data),
            other => panic!("{other:?}"),
        }
    }
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

const SOON: Duration = Duration::from_secs(5);
