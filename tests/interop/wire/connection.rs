//! One connection of a case: what is sent, and all that arrives.

use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::children::Guarded;
use support::link::{Incoming, Link};
use support::upgrade;

/// A client that keeps what it hears and holds it against nothing.
pub struct Connection {
    link: Link,
    /// Every message so far.
    pub heard: Vec<Value>,
    /// Whether the server has hung up, or fallen silent.
    pub closed: bool,
    /// The server, if it lives for this connection only.
    _server: Option<Guarded>,
}

impl Connection {
    /// Connects to a websocket.
    pub fn websocket(address: SocketAddr) -> Self {
        let socket =
            TcpStream::connect(address).unwrap_or_else(|error| panic!("connecting: {error}"));
        let _ = socket.set_nodelay(true);
        let (socket, early) = upgrade(socket, "");
        Self::new(Link::websocket(socket, early), None)
    }

    /// Starts a server that speaks on its pipes.
    pub fn stdio(mut command: Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let server = Guarded::spawn(&mut command);
        let pipes = server.with(|child| (child.stdin.take(), child.stdout.take()));
        let (Some(stdin), Some(stdout)) = pipes else {
            unreachable!("both are piped");
        };
        Self::new(Link::stdio(stdin, stdout), Some(server))
    }

    fn new(link: Link, server: Option<Guarded>) -> Self {
        Self {
            link,
            heard: Vec::new(),
            closed: false,
            _server: server,
        }
    }

    /// Sends one message.
    pub fn send(&mut self, message: &str) {
        self.link.send(message.as_bytes());
    }

    /// Hears until `enough`, the end of the connection, or `limit`.
    pub fn hear(&mut self, limit: Duration, enough: impl Fn(&[Value]) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        while !enough(&self.heard) {
            if self.closed {
                return false;
            }
            match self
                .link
                .incoming
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(Incoming::Message(bytes)) => {
                    let text = String::from_utf8_lossy(&bytes);
                    self.heard.push(
                        serde_json::from_slice(&bytes)
                            .unwrap_or_else(|_| json!({"not JSON": text})),
                    );
                }
                Ok(Incoming::Pong(_)) => {}
                Ok(Incoming::Close(_)) | Err(RecvTimeoutError::Disconnected) => self.closed = true,
                Ok(Incoming::Violation(what)) => panic!("the server broke the transport: {what}"),
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
        true
    }
}
