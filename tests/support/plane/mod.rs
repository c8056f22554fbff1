//! A control plane: registrations over HTTP, and a rendezvous where executors and clients meet.
//!
//! It does what a script tells it, however wrong, and notes what it was asked. Executors connect
//! to `/rendezvous`, clients to `/`; a client gets the executor that is there, or waits for one.
//! At a relay, each client becomes a stream of frames ([`frames`]).

mod changes;
pub mod frames;
mod rendezvous;
pub mod tls;
pub mod wire;

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use changes::Changes;
use rendezvous::Rendezvous;
pub use wire::Asked;
use wire::{accept_websocket, read_head};

/// What a rendezvous does with an executor that connects.
#[derive(Clone, Debug, PartialEq)]
pub enum Seat {
    /// Serves it.
    Serve,
    /// Refuses the upgrade with this status.
    Refuse(u16),
    /// Upgrades and hangs up.
    Close,
    /// Upgrades, and then neither reads nor says anything.
    Stall,
    /// Upgrades, says that it sends nothing more, and reads on.
    HalfClose,
    /// Takes the connection and never answers the upgrade.
    Hang,
}

/// What is answered to a request.
#[derive(Debug)]
pub enum Answer {
    /// What the request asks for.
    Good,
    /// The good answer with these members replaced; null takes one away.
    With(Value),
    /// A status with headers (each with its line end) and a body.
    Status(u16, String, String),
    /// Nothing, while the connection stays open.
    Hang,
    /// The connection is closed.
    Drop,
    /// Another answer, when it is told to.
    Held(Receiver<()>, Box<Answer>),
}

impl Answer {
    /// A status without headers.
    pub fn status(status: u16, body: &str) -> Self {
        Self::Status(status, String::new(), body.to_owned())
    }
}

/// How the plane's clients and executors talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A connection of the executor is one client's.
    Plain,
    /// It is shared, in relay frames.
    Relay,
}

/// A running control plane.
#[derive(Clone)]
pub struct Plane(Arc<Shared>);

struct Shared {
    address: SocketAddr,
    /// Where executors are sent, as `ws://127.0.0.1:1`.
    rendezvous_base: Mutex<String>,
    log: Mutex<Vec<Asked>>,
    answers: Mutex<VecDeque<Answer>>,
    refreshes: Mutex<VecDeque<Answer>>,
    seats: Mutex<VecDeque<Seat>>,
    rendezvous: Rendezvous,
    changes: Arc<Changes>,
}

impl Plane {
    /// Listens on a free port of the loopback address.
    pub fn start(style: Style) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let changes = Arc::<Changes>::default();
        let plane = Self(Arc::new(Shared {
            address,
            rendezvous_base: Mutex::new(format!("ws://{address}")),
            log: Mutex::default(),
            answers: Mutex::default(),
            refreshes: Mutex::default(),
            seats: Mutex::default(),
            rendezvous: Rendezvous::new(style, Arc::clone(&changes)),
            changes,
        }));
        let accepting = plane.clone();
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let plane = accepting.clone();
                thread::spawn(move || plane.serve(socket));
            }
        });
        plane
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// The base of its HTTP endpoints.
    pub fn base(&self) -> String {
        format!("http://{}", self.0.address)
    }

    /// Sends executors elsewhere, such as through TLS.
    pub fn send_executors_to(&self, base: &str) {
        *self.0.rendezvous_base.lock().unwrap() = base.to_owned();
    }

    /// The next registrations get these answers, and the others good ones.
    pub fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.0.answers.lock().unwrap().extend(answers);
    }

    /// The next registration gets this answer when something is sent.
    pub fn hold_next(&self, answer: Answer) -> Sender<()> {
        let (release, released) = channel();
        self.answer([Answer::Held(released, Box::new(answer))]);
        release
    }

    /// The same for refreshes of tokens.
    pub fn answer_refresh(&self, answers: impl IntoIterator<Item = Answer>) {
        self.0.refreshes.lock().unwrap().extend(answers);
    }

    /// What becomes of the next executors that connect; of others nothing bad.
    pub fn seat(&self, seats: impl IntoIterator<Item = Seat>) {
        self.0.seats.lock().unwrap().extend(seats);
    }

    /// Everything that was asked so far, upgrades of executors included.
    pub fn asked(&self) -> Vec<Asked> {
        self.0.log.lock().unwrap().clone()
    }

    /// The registrations among it.
    pub fn registrations(&self) -> Vec<Asked> {
        let mut asked = self.asked();
        asked.retain(|asked| asked.method == "POST" && asked.path != "/oauth/token");
        asked
    }

    /// The refreshes among it.
    pub fn refreshes(&self) -> Vec<Asked> {
        let mut asked = self.asked();
        asked.retain(|asked| asked.path == "/oauth/token");
        asked
    }

    /// The executors' upgrades among it.
    pub fn upgrades(&self) -> Vec<Asked> {
        let mut asked = self.asked();
        asked.retain(|asked| asked.path.starts_with("/rendezvous"));
        asked
    }

    /// Executors that are connected.
    pub fn executors(&self) -> usize {
        self.0.rendezvous.executors()
    }

    /// Waits until `condition` holds of what is asked and connected here; whether it does within `limit`.
    pub fn comes_true(&self, limit: Duration, condition: impl FnMut() -> bool) -> bool {
        self.0.changes.until(limit, condition)
    }

    /// Cuts the connections of all executors.
    pub fn cut(&self) {
        self.0.rendezvous.cut();
    }

    fn serve(&self, mut socket: TcpStream) {
        let _ = socket.set_nodelay(true);
        let Some(asked) = read_head(&mut socket) else {
            return;
        };
        let is_client = asked.path == "/";
        if !is_client {
            self.0.log.lock().unwrap().push(asked.clone());
            self.0.changes.tell();
        }
        if asked.method == "POST" {
            self.answer_post(&mut socket, &asked);
        } else if is_client {
            if accept_websocket(&mut socket, &asked) {
                self.0.rendezvous.serve_client(socket);
            }
        } else {
            self.serve_executor(socket, &asked);
        }
    }

    fn serve_executor(&self, mut socket: TcpStream, asked: &Asked) {
        let seat = self.0.seats.lock().unwrap().pop_front();
        match seat.unwrap_or(Seat::Serve) {
            Seat::Refuse(status) => reply(&mut socket, status, "", ""),
            Seat::Hang => wait_for_end(socket),
            seat => {
                if !accept_websocket(&mut socket, asked) {
                    return;
                }
                match seat {
                    Seat::Serve => self.0.rendezvous.serve_executor(socket),
                    Seat::Stall => self.0.rendezvous.keep(socket),
                    Seat::HalfClose => {
                        let _ = socket.shutdown(std::net::Shutdown::Write);
                        wait_for_end(socket);
                    }
                    _ => {}
                }
            }
        }
    }

    fn answer_post(&self, socket: &mut TcpStream, asked: &Asked) {
        let is_refresh = asked.path == "/oauth/token";
        let script = if is_refresh {
            &self.0.refreshes
        } else {
            &self.0.answers
        };
        let answer = script.lock().unwrap().pop_front();
        let mut answer = answer.unwrap_or(Answer::Good);
        while let Answer::Held(released, held) = answer {
            // A test that is over holds nothing back.
            let _ = released.recv();
            answer = *held;
        }
        match answer {
            Answer::Held(..) => unreachable!("it was let go above"),
            Answer::Good => reply(socket, 200, "", &self.good(asked).to_string()),
            Answer::With(members) => {
                let mut body = self.good(asked);
                for (name, value) in members.as_object().expect("members") {
                    if value.is_null() {
                        body.as_object_mut().expect("members").remove(name);
                    } else {
                        body[name] = value.clone();
                    }
                }
                reply(socket, 200, "", &body.to_string());
            }
            Answer::Status(status, headers, body) => reply(socket, status, &headers, &body),
            Answer::Hang => wait_for_end(socket.try_clone().expect("a second handle")),
            Answer::Drop => {}
        }
    }

    /// What a control plane in good health would say.
    fn good(&self, asked: &Asked) -> Value {
        let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        let base = self.0.rendezvous_base.lock().unwrap().clone();
        let url = format!("{base}/rendezvous?role=executor&sig=very-secret");
        let parts: Vec<&str> = asked.path.split('/').collect();
        match parts[1..] {
            ["oauth", "token"] => {
                let spent = body["refresh_token"].as_str().unwrap_or_default();
                json!({
                    "access_token": format!("access-for-{spent}"),
                    "refresh_token": format!("{spent}+"),
                })
            }
            ["api", "cloud", "executor"] => json!({
                "id": "exec_1",
                "environment_id": body["environment_id"].as_str().unwrap_or("env_auto"),
                "url": url,
            }),
            ["cloud", "executor", id, "register"] => json!({
                "id": "exec_1",
                "executor_id": id,
                "url": url,
            }),
            ["cloud", "environment", id, "register"] => json!({
                "environment_id": id,
                "url": url,
            }),
            ["cloud", "environment", id, "direct", "register"] => json!({
                "environment_id": id,
                "registration_id": "reg_1",
                "url": url,
                "transport": "direct_jsonrpc_v1",
            }),
            _ => json!({"error": {"message": "no such endpoint"}}),
        }
    }
}

/// Sends an answer and closes.
fn reply(socket: &mut TcpStream, status: u16, headers: &str, body: &str) {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Reason\r\ncontent-type: application/json\r\nconnection: close\r\n\
         {headers}content-length: {length}\r\n\r\n{body}"
    );
    // A peer that has hung up does not matter.
    let _ = socket.write_all(head.as_bytes());
}

fn wait_for_end(mut socket: TcpStream) {
    while let Ok(1..) = socket.read(&mut [0; 1024]) {}
}

/// Between two requests, in the order in which they came.
pub fn gap(earlier: &Asked, later: &Asked) -> Duration {
    let between = |a: Instant, b: Instant| b.saturating_duration_since(a);
    between(earlier.at, later.at)
}
