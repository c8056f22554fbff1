//! Where executors and clients meet.

use std::collections::HashMap;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Style;
use super::changes::Changes;
use super::frames::{Says, decode, encode};
use super::wire::{BINARY, CLOSE, PING, PONG, TEXT, WireFrame, message, read_frame, write_frame};

/// How long a client waits for an executor.
const PATIENCE: Duration = Duration::from_secs(20);

/// The meeting place.
pub(super) struct Rendezvous {
    style: Style,
    state: Mutex<State>,
    changes: Arc<Changes>,
}

#[derive(Default)]
struct State {
    executors: Vec<Arc<Executor>>,
    /// Sockets of executors that are only kept open.
    kept: Vec<TcpStream>,
    clients: u64,
}

struct Executor {
    socket: Mutex<TcpStream>,
    /// By stream at a relay; else there is one, without a name.
    clients: Mutex<HashMap<String, Client>>,
    /// Whether it takes no more clients; changed with `clients` locked.
    is_gone: AtomicBool,
}

struct Client {
    socket: TcpStream,
    /// The next number of a frame to the executor.
    next_seq: u32,
}

impl Executor {
    fn send(&self, frame: &WireFrame) -> bool {
        write_frame(&mut *self.socket.lock().unwrap(), frame).is_ok()
    }

    fn hang_up(&self) {
        let _ = self.socket.lock().unwrap().shutdown(Shutdown::Both);
    }
}

impl Rendezvous {
    pub(super) fn new(style: Style, changes: Arc<Changes>) -> Self {
        Self {
            style,
            state: Mutex::default(),
            changes,
        }
    }

    pub(super) fn executors(&self) -> usize {
        self.state.lock().unwrap().executors.len()
    }

    pub(super) fn cut(&self) {
        // Out of the list at once, so that the next client waits for one that comes back.
        for executor in self.state.lock().unwrap().executors.drain(..) {
            executor.hang_up();
        }
        self.changes.tell();
    }

    /// Keeps a socket open that nobody reads.
    pub(super) fn keep(&self, socket: TcpStream) {
        self.state.lock().unwrap().kept.push(socket);
    }

    /// Serves an executor until it is gone; its clients go with it.
    pub(super) fn serve_executor(&self, socket: TcpStream) {
        let mut incoming = socket.try_clone().expect("a second handle");
        let executor = Arc::new(Executor {
            socket: Mutex::new(socket),
            clients: Mutex::default(),
            is_gone: AtomicBool::new(false),
        });
        let seated = Arc::clone(&executor);
        self.state.lock().unwrap().executors.push(seated);
        self.changes.tell();
        while let Ok(frame) = read_frame(&mut incoming) {
            match frame.opcode {
                PING => {
                    executor.send(&message(PONG, frame.payload));
                }
                PONG => {}
                CLOSE => {
                    self.pass_goodbye(&executor, &frame);
                    break;
                }
                _ => self.forward(&executor, frame),
            }
        }
        self.unseat(&executor);
        let clients = executor.clients.lock().unwrap();
        executor.is_gone.store(true, Ordering::Relaxed);
        for client in clients.values() {
            let _ = client.socket.shutdown(Shutdown::Both);
        }
    }

    /// Gives it no more clients.
    fn unseat(&self, executor: &Arc<Executor>) {
        let mut state = self.state.lock().unwrap();
        state
            .executors
            .retain(|other| !Arc::ptr_eq(other, executor));
        drop(state);
        self.changes.tell();
        executor.hang_up();
    }

    /// At a relay each client has been told by itself.
    fn pass_goodbye(&self, executor: &Executor, frame: &WireFrame) {
        if self.style == Style::Plain {
            for client in executor.clients.lock().unwrap().values_mut() {
                // A client that is gone needs no goodbye.
                let _ = write_frame(&mut client.socket, frame);
            }
        }
    }

    /// From an executor to its client, or to the one that the frame is for.
    fn forward(&self, executor: &Executor, mut frame: WireFrame) {
        let mut clients = executor.clients.lock().unwrap();
        let name = if self.style == Style::Relay {
            assert!(frame.is_final, "the tests' messages are short");
            let (stream, _, says) = decode(&frame.payload);
            match says {
                Says::Data(_, 0, 1, payload) => frame = message(TEXT, payload),
                Says::Reset(_) => frame = message(CLOSE, vec![3, 232]),
                other => panic!("to a peer that acknowledges nothing: {other:?}"),
            }
            stream
        } else {
            String::new()
        };
        if let Some(client) = clients.get_mut(&name) {
            // A client that is gone will be noticed by its own thread.
            let _ = write_frame(&mut client.socket, &frame);
        }
    }

    /// Finds an executor for a client, and waits for one; none if that takes too long.
    fn seat_client(&self, socket: &TcpStream) -> Option<(Arc<Executor>, String)> {
        while self.changes.until(PATIENCE, || self.executors() > 0) {
            let mut state = self.state.lock().unwrap();
            let Some(executor) = state.executors.last().map(Arc::clone) else {
                continue;
            };
            state.clients += 1;
            let name = match self.style {
                Style::Plain => String::new(),
                Style::Relay => format!("stream-{}", state.clients),
            };
            let mut clients = executor.clients.lock().unwrap();
            if executor.is_gone.load(Ordering::Relaxed) {
                drop(clients);
                state.executors.pop();
                drop(state);
                self.changes.tell();
                continue;
            }
            let client = Client {
                socket: socket.try_clone().expect("a second handle"),
                next_seq: 0,
            };
            clients.insert(name.clone(), client);
            drop(clients);
            return Some((executor, name));
        }
        None
    }

    /// Serves a client with the executor that is there; waits for one.
    pub(super) fn serve_client(&self, mut socket: TcpStream) {
        let Some((executor, name)) = self.seat_client(&socket) else {
            return;
        };
        if self.style == Style::Relay {
            executor.send(&message(BINARY, encode(&name, 0, &Says::Resume(0))));
        }
        let mut text = Vec::new();
        while let Ok(frame) = read_frame(&mut socket) {
            match (frame.opcode, self.style) {
                (CLOSE, _) => break,
                (PING, _) => {
                    let mut clients = executor.clients.lock().unwrap();
                    if let Some(client) = clients.get_mut(&name) {
                        let _ = write_frame(&mut client.socket, &message(PONG, frame.payload));
                    }
                }
                (PONG, _) => {}
                (_, Style::Plain) => {
                    executor.send(&frame);
                }
                (_, Style::Relay) => {
                    text.extend(frame.payload);
                    if frame.is_final {
                        self.pass(&executor, &name, std::mem::take(&mut text));
                    }
                }
            }
        }
        let gone = executor.clients.lock().unwrap().remove(&name);
        if let Some(mut client) = gone {
            let _ = client.socket.flush();
            let _ = client.socket.shutdown(Shutdown::Both);
        }
        match self.style {
            // A connection is for one client.
            Style::Plain => self.unseat(&executor),
            Style::Relay => {
                let reset = Says::Reset("the client has gone".into());
                executor.send(&message(BINARY, encode(&name, 0, &reset)));
            }
        }
    }

    fn pass(&self, executor: &Executor, name: &str, text: Vec<u8>) {
        let seq = {
            let mut clients = executor.clients.lock().unwrap();
            let Some(client) = clients.get_mut(name) else {
                return;
            };
            client.next_seq += 1;
            client.next_seq - 1
        };
        let data = Says::Data(seq, 0, 1, text);
        executor.send(&message(BINARY, encode(name, 0, &data)));
    }
}
