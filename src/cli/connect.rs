//! `exec-server connect`: standard input and output become a connection to the server of an
//! environment, for a client that speaks the protocol and leaves to us how the server is reached.
//!
//! A command that leads to a server takes our place. For a websocket two threads pass messages on,
//! and look into none but for the raw bytes that it announces: the main thread what the server
//! says, `stdin` what the client does. Neither keeps more than one message.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::description::Candidates;
use super::environments;
use super::grammar::{Category, Flag, Grammar, Operands, Value, path};
use super::output::Speaker;
use super::{Command, with_flags};
use crate::net::{Dial, StreamSource};
use crate::rpc::client::{StdioCommand, Transport};
use crate::rpc::transport::{
    Framing, Goodbye, LineReader, Outbound, Payload, Reader, Received, Role, WebSocketReader,
};

/// The row in the table of commands.
pub(crate) static CONNECT: Command = Command {
    name: "connect",
    summary: "Be a client's connection to an environment, on standard input and output",
    perform: |args| with_flags(&GRAMMAR, args, |flags| Ok(connect(&flags))),
    describe: || GRAMMAR.describe(),
};

static GRAMMAR: Grammar<ConnectFlags> = Grammar {
    about: "Connects to the server of an environment, and passes messages on between it and\n\
            standard input and output: a client that can start a program reaches every\n\
            environment, with its token and certificate, without reading a file of them.\n",
    usage: "exec-server connect [--config PATH] [ENV]",
    flags: &[
        Flag::value(
            Category::Where,
            "config",
            "Read this file of environments, or those of this directory",
            Value::optional("PATH", |flags: &mut ConnectFlags, text| {
                flags.config = Some(path(text)?);
                Ok(())
            }),
        ),
        Flag::help(),
    ],
    candidates: Candidates::Environments,
    operands: Operands::Anywhere(|flags, word| {
        let word = word.to_string_lossy().into_owned();
        match flags.environment.replace(word) {
            Some(_) => Err("one environment at a time".to_owned()),
            None => Ok(()),
        }
    }),
    notes: "ENV is a name in environments.toml, or a URL; the default environment unless given.\n\
            One message is one line, as with --listen stdio. A session on a websocket outlives\n\
            this program: who starts it again can take it up. Exit code: that of a command that\n\
            leads to the server; else 0 at the end of standard input, 2 for a wrong command\n\
            line, 255 if the server was not reached or was lost.\n",
};

/// The flags of `connect`, as given or by default.
#[derive(Debug, Default)]
struct ConnectFlags {
    config: Option<PathBuf>,
    environment: Option<String>,
}

const SPEAKER: Speaker = Speaker("exec-server connect");

/// The server was not reached, or was lost.
const FAILED: u8 = 255;
/// How long the server may take nothing of what is sent to it.
const PATIENCE: Duration = Duration::from_secs(90);
/// For the last bytes, at the end of standard input.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Between two looks of a thread at what it waits for; nothing depends on it.
const LONG: Duration = Duration::from_secs(3600);
/// More raw bytes than any server takes behind one message.
const MOST_RAW: usize = 64 * 1024 * 1024;

fn connect(flags: &ConnectFlags) -> ExitCode {
    let why = match transport(flags) {
        Ok(Transport::WebSocket(dial)) => pass_on(&dial),
        Ok(Transport::Command(command)) => {
            format!("cannot run {}: {}", command.program, command.replace_us())
        }
        // Only an environment in this program has one.
        Ok(Transport::Socket(_)) => "this machine is reached by --listen stdio".to_owned(),
        Err(why) => why,
    };
    SPEAKER.say(why);
    ExitCode::from(FAILED)
}

fn transport(flags: &ConnectFlags) -> Result<Transport, String> {
    let name = flags.environment.as_deref();
    let environment = environments::select(flags.config.as_deref(), name, None)
        .map_err(|error| error.to_string())?;
    if environment.is_remote() {
        return environment.transport().map_err(|error| error.to_string());
    }
    let program = std::env::current_exe().map_err(|error| format!("our own program: {error}"))?;
    Ok(Transport::Command(StdioCommand {
        program: program.to_string_lossy().into_owned(),
        args: ["--listen", "stdio"].map(str::to_owned).into(),
        ..StdioCommand::default()
    }))
}

/// Passes messages on until either side ends; why the server's has.
fn pass_on(dial: &Dial) -> String {
    let dialled = match dial.run() {
        Ok(dialled) => dialled,
        Err(error) => return error.to_string(),
    };
    let server = Arc::new(Outbound::new(
        dialled.sink,
        Framing::WebSocket(Role::Client),
    ));
    let mut reader = WebSocketReader::new(dialled.source, dialled.buffer, Arc::clone(&server));
    let from_client = thread::Builder::new().name("stdin".into()).spawn(move || {
        let code = match send(&server) {
            Ok(()) => 0,
            Err(why) => {
                SPEAKER.say(why);
                i32::from(FAILED)
            }
        };
        server.say_goodbye(Goodbye::Normal);
        server.drain(Instant::now() + LAST_WORDS);
        process::exit(code);
    });
    if let Err(error) = from_client {
        return format!("cannot start a thread: {error}");
    }
    let mut stdout = io::stdout().lock();
    loop {
        match reader.receive(LONG) {
            Received::Message => {
                let end: &[u8] = if reader.is_text() { b"\n" } else { b"" };
                let written = stdout
                    .write_all(reader.message())
                    .and_then(|()| stdout.write_all(end))
                    .and_then(|()| stdout.flush());
                if let Err(error) = written {
                    return format!("cannot write to standard output: {error}");
                }
                reader.shrink();
            }
            Received::Idle => {}
            Received::Closed(why) => return format!("the connection was lost: {why}"),
            Received::Refused(..) | Received::Payload(_) => {
                return "the server has sent more than there is memory for".to_owned();
            }
        }
    }
}

/// Sends what comes from standard input until it ends. The error is for a person.
fn send(server: &Arc<Outbound>) -> Result<(), String> {
    let opened =
        |stream: io::Result<OwnedFd>| stream.map_err(|error| format!("standard input: {error}"));
    let stdin = opened(io::stdin().as_fd().try_clone_to_owned())?;
    let stdout = opened(io::stdout().as_fd().try_clone_to_owned())?;
    let mut lines = LineReader::new(StreamSource::new(stdin, stdout), Arc::clone(server));
    let too_large = || Err("a message is larger than a server takes".to_owned());
    let mut announcing = None;
    loop {
        match lines.receive(LONG) {
            Received::Message => match raw_bytes(lines.message()) {
                0 => server.add(|out| out.extend_from_slice(lines.message())),
                len if len > MOST_RAW => return too_large(),
                len => {
                    announcing = Some(lines.message().to_vec());
                    lines.expect(Payload::Take(len));
                }
            },
            Received::Payload(Ok(bytes)) => {
                let message = announcing.take().unwrap_or_default();
                server.add_with_payload(|out| out.extend_from_slice(&message), &bytes);
            }
            Received::Idle => {}
            Received::Closed(_) => return Ok(()),
            Received::Refused(..) | Received::Payload(Err(_)) => return too_large(),
        }
        lines.shrink();
        if !server.wait_for_room(PATIENCE) {
            return Err("the server takes nothing any more".to_owned());
        }
    }
}

/// How many raw bytes follow a message of the client's, which only `fs/writeBlock` announces.
fn raw_bytes(message: &[u8]) -> usize {
    if memchr::memmem::find(message, b"\"rawBytes\"").is_none() {
        return 0;
    }
    let value: serde_json::Value = serde_json::from_slice(message).unwrap_or_default();
    let announced = value["params"]["rawBytes"].as_u64();
    announced.map_or(0, |len| usize::try_from(len).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_bytes_are_those_that_the_parameters_announce() {
        let block = r#"{"id":1,"method":"fs/writeBlock","params":{"handleId":"h","offset":0,"rawBytes":7}}"#;
        assert_eq!(raw_bytes(block.as_bytes()), 7);
        for other in [
            r#"{"id":1,"method":"fs/readFile","params":{"path":"/\"rawBytes\""}}"#,
            r#"{"id":1,"rawBytes":7,"params":{}}"#,
            r#"{"rawBytes":"#,
            "{}",
        ] {
            assert_eq!(raw_bytes(other.as_bytes()), 0, "{other}");
        }
    }
}
