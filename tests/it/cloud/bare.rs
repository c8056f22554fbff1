//! A rendezvous of a relay that a test speaks for, frame by frame.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::{Value, json};

use super::environment;
use crate::support::plane::frames::{Says, decode, encode};
use crate::support::plane::{Plane, Style, wire};
use crate::support::{PATIENCE, Server};

/// A rendezvous that a test speaks for.
pub(super) struct Bare {
    pub(super) socket: TcpStream,
    pub(super) frames: Receiver<(String, u32, Says)>,
    pub(super) server: Server,
    is_deaf: Arc<AtomicBool>,
    listener: TcpListener,
    /// Kept, so that a later registration is answered.
    _plane: Plane,
}

fn frames_of(mut socket: TcpStream, is_deaf: Arc<AtomicBool>) -> Receiver<(String, u32, Says)> {
    let (arrived, frames) = channel();
    thread::spawn(move || {
        let mut assembled = Vec::new();
        while !is_deaf.load(Ordering::Relaxed)
            && let Ok(frame) = wire::read_frame(&mut socket)
        {
            match frame.opcode {
                wire::BINARY | 0 => {
                    assembled.extend(frame.payload);
                    if frame.is_final
                        && arrived
                            .send(decode(&std::mem::take(&mut assembled)))
                            .is_err()
                    {
                        return;
                    }
                }
                wire::TEXT => panic!("a text frame on a relay"),
                _ => {}
            }
        }
    });
    frames
}

fn rendezvous(listener: &TcpListener) -> TcpStream {
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_nodelay(true).unwrap();
    let asked = wire::read_head(&mut socket).unwrap();
    assert!(wire::accept_websocket(&mut socket, &asked));
    socket
}

impl Bare {
    pub(super) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more arguments for the server.
    pub(super) fn start_with(arguments: &[&str]) -> Self {
        Self::of(|plane| {
            let mut command = environment(plane, "relay");
            command.args(arguments);
            command
        })
    }

    /// The same with a command for the plane that it registers with.
    pub(super) fn of(command: impl FnOnce(&Plane) -> Command) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let plane = Plane::start(Style::Relay);
        plane.send_executors_to(&format!("ws://{address}"));
        let server = Server::offered(command(&plane));
        let socket = rendezvous(&listener);
        let is_deaf = Arc::new(AtomicBool::new(false));
        Self {
            frames: frames_of(socket.try_clone().unwrap(), Arc::clone(&is_deaf)),
            socket,
            server,
            is_deaf,
            listener,
            _plane: plane,
        }
    }

    /// Takes nothing any more, after at most a frame.
    pub(super) fn stop_listening(&self) {
        self.is_deaf.store(true, Ordering::Relaxed);
    }

    /// Takes everything again, some time after [`Bare::stop_listening`].
    pub(super) fn listen_again(&mut self) {
        self.is_deaf = Arc::default();
        let socket = self.socket.try_clone().unwrap();
        self.frames = frames_of(socket, Arc::clone(&self.is_deaf));
    }

    /// Whether the server has come to the rendezvous again.
    pub(super) fn is_called_again(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        self.listener.accept().is_ok()
    }

    pub(super) fn say(&mut self, stream: &str, ack: u32, says: &Says) {
        self.raw(encode(stream, ack, says));
    }

    pub(super) fn raw(&mut self, bytes: Vec<u8>) {
        wire::write_frame(&mut self.socket, &wire::message(wire::BINARY, bytes)).unwrap();
    }

    /// A client that has introduced itself with frames 0 and 1.
    pub(super) fn begin(&mut self, stream: &str) {
        self.message(stream, 0, &initialize(1));
        self.answer(stream);
        self.message(stream, 1, &json!({"method": "initialized", "params": {}}));
    }

    pub(super) fn message(&mut self, stream: &str, seq: u32, message: &Value) {
        let payload = message.to_string().into_bytes();
        self.say(stream, 0, &Says::Data(seq, 0, 1, payload));
    }

    pub(super) fn next(&self) -> (String, u32, Says) {
        self.frames.recv_timeout(PATIENCE).expect("a frame")
    }

    /// The next message of a stream, which is one frame. What comes of other streams is passed over.
    pub(super) fn answer(&self, stream: &str) -> Value {
        loop {
            let (from, _, says) = self.next();
            match says {
                Says::Data(_, 0, 1, payload) if from == stream => {
                    return serde_json::from_slice(&payload).unwrap();
                }
                Says::Data(..) if from != stream => {}
                other => panic!("{from}: {other:?}"),
            }
        }
    }

    pub(super) fn reset(&self, stream: &str) -> String {
        loop {
            match self.next() {
                (from, _, Says::Reset(reason)) if from == stream => return reason,
                _ => {}
            }
        }
    }
}

pub(super) fn initialize(id: u32) -> Value {
    json!({"id": id, "method": "initialize", "params": {"clientName": "t"}})
}

/// The start of a shell that runs `script`.
pub(super) fn start(id: u32, script: &str) -> Value {
    let params = json!({
        "processId": "p", "argv": ["/bin/sh", "-c", script], "cwd": "/",
        "env": {"PATH": "/bin:/usr/bin"}, "tty": false, "pipeStdin": false, "arg0": null,
    });
    json!({"id": id, "method": "process/start", "params": params})
}
