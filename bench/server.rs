//! A server under measurement: started fresh for each step, gone at the end of it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use crate::failure::{During, Failure};
use crate::guard::Guarded;
use crate::link::Link;
use crate::subject::{Subject, Transport};

/// A running server.
pub struct Server {
    guarded: Guarded,
    /// `HOST:PORT`; only a websocket server has one.
    address: Option<String>,
}

impl Server {
    /// Starts a server, with flags of this project's, and gives the first connection to it.
    pub fn start(
        subject: Subject,
        binary: &Path,
        transport: Transport,
        flags: &[&str],
    ) -> Result<(Self, Link), Failure> {
        let mut command = subject.command(binary, transport);
        command
            .args(flags)
            .stdout(Stdio::piped())
            .stdin(match transport {
                Transport::Websocket => Stdio::null(),
                Transport::Stdio => Stdio::piped(),
            });
        let mut guarded = Guarded::spawn(&mut command)?;
        let (stdin, stdout) = guarded.with(|child| (child.stdin.take(), child.stdout.take()));
        let missing = || Failure::Unexpected("the server has no pipes".to_owned());
        let stdout = stdout.ok_or_else(missing)?;
        if transport == Transport::Stdio {
            let link = Link::pipes(stdin.ok_or_else(missing)?, stdout);
            let address = None;
            return Ok((Self { guarded, address }, link));
        }
        let address = announced(stdout)?;
        let link = Link::websocket(&address)?;
        let address = Some(address);
        Ok((Self { guarded, address }, link))
    }

    /// `HOST:PORT` of a websocket server.
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    pub fn pid(&self) -> u32 {
        self.guarded.pid()
    }

    /// One more connection to a websocket server.
    pub fn connect(&self) -> Result<Link, Failure> {
        match &self.address {
            Some(address) => Link::websocket(address),
            None => Err(Failure::Unexpected(
                "a stdio server has one connection".to_owned(),
            )),
        }
    }
}

/// The address in the line that a listener prints first.
pub fn announced(stdout: impl std::io::Read) -> Result<String, Failure> {
    let mut line = String::new();
    BufReader::new(stdout)
        .read_line(&mut line)
        .during("waiting for the listener's address")?;
    let line = line.trim();
    match line.strip_prefix("ws://") {
        Some(address) => Ok(address.trim_end_matches('/').to_owned()),
        None => Err(Failure::Unexpected(format!(
            "the listener announced {line:?} instead of its address"
        ))),
    }
}
