//! One transport seen from the client: bytes go out through a thread, messages come in through another.
//!
//! Two threads make every wait bounded on pipes too, which know no timeout. The way in holds two messages only, so a
//! test that does not receive is a client that does not read, and the server feels it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{ChildStdin, ChildStdout};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use super::websocket;

/// What arrived.
#[derive(Debug)]
pub enum Incoming {
    /// A whole message: a line without its end, or a websocket message put together again.
    Message(Vec<u8>),
    /// The answer to our ping.
    Pong(Vec<u8>),
    /// The server's close frame with its code.
    Close(u16),
    /// The server broke the rules of the transport.
    Violation(String),
}

/// How messages are cut on this transport.
#[derive(Clone, Copy, PartialEq)]
pub enum Framing {
    Line,
    Frame,
}

/// The client's end of a connection; dropping it hangs up without a word, as the real client does.
pub struct Link {
    /// How messages are cut.
    pub framing: Framing,
    out: Option<Sender<Vec<u8>>>,
    /// Ends (disconnected) when the server hangs up.
    pub incoming: Receiver<Incoming>,
    /// Whether the server's pings are answered, as a good client does.
    pub answers_pings: Arc<AtomicBool>,
    socket: Option<TcpStream>,
}

impl Link {
    /// Takes over the pipes of a server on stdio.
    pub fn stdio(stdin: ChildStdin, stdout: ChildStdout) -> Self {
        let (out, outgoing) = channel();
        let (arrived, incoming) = sync_channel(1);
        thread::spawn(move || write_all(stdin, outgoing));
        thread::spawn(move || read_lines(stdout, arrived));
        Self {
            framing: Framing::Line,
            out: Some(out),
            incoming,
            answers_pings: Arc::default(),
            socket: None,
        }
    }

    /// Takes over a socket whose upgrade is done; `early` is what came right behind the answer to it.
    pub fn websocket(socket: TcpStream, early: Vec<u8>) -> Self {
        let (out, outgoing) = channel();
        let (arrived, incoming) = sync_channel(1);
        let writer = socket.try_clone().unwrap();
        let reader = socket.try_clone().unwrap();
        let answers_pings = Arc::new(AtomicBool::new(true));
        let pong = websocket::Pong {
            out: out.clone(),
            is_wanted: Arc::clone(&answers_pings),
        };
        thread::spawn(move || write_all(writer, outgoing));
        thread::spawn(move || {
            let stream = BufReader::with_capacity(256 << 10, early_then(early, reader));
            websocket::read_messages(stream, &arrived, &pong);
        });
        Self {
            framing: Framing::Frame,
            out: Some(out),
            incoming,
            answers_pings,
            socket: Some(socket),
        }
    }

    /// Sends bytes as they are.
    pub fn send_raw(&self, bytes: Vec<u8>) {
        // A server that has hung up is seen by whoever waits for its answer.
        if let Some(out) = &self.out {
            let _ = out.send(bytes);
        }
    }

    /// Sends one message.
    pub fn send(&self, payload: &[u8]) {
        self.send_raw(match self.framing {
            Framing::Line => [payload, b"\n"].concat(),
            Framing::Frame => websocket::frame(websocket::TEXT, true, payload),
        });
    }

    /// Ends our direction of a stdio connection once everything sent is through.
    pub fn end_of_input(&mut self) {
        self.out = None;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(socket) = &self.socket {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

fn early_then(early: Vec<u8>, rest: TcpStream) -> impl Read {
    std::io::Cursor::new(early).chain(rest)
}

fn write_all(mut to: impl Write, outgoing: Receiver<Vec<u8>>) {
    for bytes in outgoing {
        if to.write_all(&bytes).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}

fn read_lines(from: ChildStdout, arrived: SyncSender<Incoming>) {
    let mut from = BufReader::with_capacity(256 << 10, from);
    loop {
        let mut line = Vec::new();
        match from.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let message = match line.pop() {
            Some(b'\n') => Incoming::Message(line),
            _ => Incoming::Violation("the last line on stdout has no end".into()),
        };
        if arrived.send(message).is_err() {
            return;
        }
    }
}
