//! The other ends of the floors: this program again, in processes of their own as servers are.

pub mod canned;
pub mod sized;
pub mod terminal;

use std::io;
use std::net::TcpStream;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::failure::{During, Failure};
use crate::guard::Guarded;
use crate::server::announced;

/// A running peer.
pub struct Peer {
    guarded: Guarded,
    address: String,
}

impl Peer {
    /// Answers every `request` bytes with `answer` bytes, over TCP.
    pub fn tcp(request: usize, answer: usize) -> Result<Self, Failure> {
        Self::listening(&["tcp", &request.to_string(), &answer.to_string()])
    }

    /// The same over a pair of pipes.
    pub fn pipe(
        request: usize,
        answer: usize,
    ) -> Result<(Guarded, ChildStdin, ChildStdout), Failure> {
        let mut command = own(&["pipe", &request.to_string(), &answer.to_string()])?;
        let mut guarded = Guarded::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let pipes = guarded.with(|child| child.stdin.take().zip(child.stdout.take()));
        let (stdin, stdout) = pipes.ok_or_else(no_pipes)?;
        Ok((guarded, stdin, stdout))
    }

    /// The least websocket server: one fixed answer to every message.
    pub fn canned_answers() -> Result<Self, Failure> {
        Self::listening(&["canned-answers"])
    }

    /// The least websocket server that sends this much output, then says `closed`.
    pub fn canned_output(bytes: u64) -> Result<Self, Failure> {
        Self::listening(&["canned-output", &bytes.to_string()])
    }

    fn listening(arguments: &[&str]) -> Result<Self, Failure> {
        let mut command = own(arguments)?;
        let mut guarded = Guarded::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let stdout = guarded
            .with(|child| child.stdout.take())
            .ok_or_else(no_pipes)?;
        let address = announced(stdout)?;
        Ok(Self { guarded, address })
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn pid(&self) -> u32 {
        self.guarded.pid()
    }

    /// A bare connection, without Nagle's delay.
    pub fn connect(&self) -> Result<TcpStream, Failure> {
        let stream = TcpStream::connect(&self.address).during("connecting to a peer")?;
        stream.set_nodelay(true).during("setting up the socket")?;
        Ok(stream)
    }
}

fn own(arguments: &[&str]) -> Result<Command, Failure> {
    let mut command = Command::new(std::env::current_exe().during("finding this program")?);
    command.arg("peer").args(arguments);
    Ok(command)
}

fn no_pipes() -> Failure {
    Failure::Unexpected("a peer has no pipes".to_owned())
}

/// Serves as a peer until the other end goes away; `false` if the arguments name none.
pub fn serve(arguments: &[String]) -> io::Result<bool> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse::<usize>().map_err(io::Error::other);
    match words[..] {
        ["tcp", request, answer] => sized::tcp(number(request)?, number(answer)?)?,
        ["pipe", request, answer] => {
            let (from, to) = (io::stdin().lock(), io::stdout().lock());
            sized::answer(from, to, number(request)?, number(answer)?)?;
        }
        ["terminal", cat, line, budget, slave] => {
            let budget = Duration::from_millis(number(budget)? as u64);
            terminal::measure(cat, line, budget, slave)?;
        }
        ["canned-answers"] => canned::answers()?,
        ["canned-output", bytes] => canned::output(number(bytes)? as u64)?,
        _ => return Ok(false),
    }
    Ok(true)
}
