//! `exec-server health`: whether a server is ready, for probes of containers that have no other program.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use super::description::Candidates;
use super::grammar::{Grammar, Operands};
use super::output::Speaker;
use super::{Command, UsageError, Words, answered_within, with_flags};
use crate::net::Target;

/// The row in the table of commands.
pub(crate) static HEALTH: Command = Command {
    name: "health",
    summary: "Ask a server whether it is ready",
    perform: |args| with_flags(&GRAMMAR, args, |words: Words| ask(&words)),
    describe: || GRAMMAR.describe(),
};

static GRAMMAR: Grammar<Words> = Grammar {
    about: "Asks a server whether it is ready for clients, as a probe of a container does. It\n\
            needs no token.\n",
    usage: "exec-server health [URL]",
    flags: Words::FLAGS,
    candidates: Candidates::Words(&[DEFAULT, "unix://"]),
    operands: Operands::Anywhere(Words::push),
    notes: "URL is ws://, wss:// or unix:///PATH; ws://127.0.0.1:8765 unless given. It is asked\n\
            for /readyz, or for the path that is in it, such as /livez. With wss:// it is only\n\
            tried whether something listens. Exit code: 0 if it is ready, 1 if it is not or\n\
            does not answer within 3 s, 2 for a wrong command line.\n",
};

const SPEAKER: Speaker = Speaker("exec-server health");

/// The address of the documents and of the image.
const DEFAULT: &str = "ws://127.0.0.1:8765";

const LIMIT: Duration = Duration::from_secs(3);

/// What of an answer is looked at, in bytes.
const HEAD: usize = 512;

fn ask(words: &Words) -> Result<ExitCode, UsageError> {
    let words = words.texts();
    let url = match words[..] {
        [] => DEFAULT,
        [url] => url,
        _ => return Err(GRAMMAR.error("one URL at a time".to_owned())),
    };
    let target = Target::parse(url).map_err(|error| GRAMMAR.error(error.to_string()))?;
    let label = target.label();
    let answer = answered_within(LIMIT, move || state(&target)).unwrap_or_else(|| {
        let limit = LIMIT.as_secs();
        Err(io::Error::other(format!("no answer within {limit} s")))
    });
    Ok(SPEAKER.done(match answer {
        Ok(state) => Ok(format!("{label} {state}\n")),
        Err(error) => Err(format!("{label}: {error}")),
    }))
}

fn state(target: &Target) -> io::Result<&'static str> {
    match target {
        Target::Unix(path) => asked(UnixStream::connect(path)?, "localhost", "/"),
        Target::WebSocket(url) => {
            let host = url.host().trim_matches(['[', ']']);
            let mut last = io::ErrorKind::NotFound.into();
            for address in (host, url.port()).to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, LIMIT) {
                    Ok(_) if url.is_encrypted() => return Ok("listens"),
                    Ok(stream) => return asked(stream, &url.authority(), &url.request_target()),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

fn asked(mut stream: impl Read + Write, host: &str, path: &str) -> io::Result<&'static str> {
    let path = match path {
        "/" => "/readyz",
        path => path,
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    stream.take(HEAD as u64).read_to_end(&mut head)?;
    let line = String::from_utf8_lossy(&head);
    let line = line.lines().next().unwrap_or_default();
    match line.split(' ').nth(1) {
        Some("200") => Ok("is ready"),
        _ => Err(io::Error::other(format!("not ready: it answered {line:?}"))),
    }
}
