//! A bad network: a proxy on loopback that cuts, stalls and half-closes what goes through it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::dice::Dice;

/// A proxy on a loopback port. Its threads end with the connections, the last with the program.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    state: Mutex<State>,
}

struct State {
    dice: Dice,
    connections: usize,
    /// What was done to whom, for the failure of a round.
    done: Vec<String>,
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Both directions end, in the middle of whatever was under way.
    Cut,
    /// Nothing passes for a while.
    Stall(Duration),
    /// Nothing passes for a while, and then both directions end.
    StallAndCut(Duration),
    /// The client hears that nothing more comes, and can still speak.
    EndToClient,
    /// The server hears that nothing more comes, and can still speak.
    EndToServer,
}

/// What happens next, and after how many bytes in both directions together.
struct Plan {
    passed: u64,
    at: u64,
    fault: Fault,
}

/// What becomes of a direction.
enum Then {
    Goes,
    Ends,
    Cut,
}

/// A connection that goes through.
struct Wire {
    number: usize,
    client: TcpStream,
    server: TcpStream,
    plan: Mutex<Plan>,
    shared: Arc<Shared>,
}

impl Proxy {
    /// In front of this server.
    pub fn before(server: SocketAddr, dice: Dice) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Mutex::new(State {
            dice,
            connections: 0,
            done: Vec::new(),
        });
        let shared = Arc::new(Shared { server, state });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                accepting.pass(client);
            }
        });
        Self { address, shared }
    }

    /// Where a client connects.
    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// What it has done.
    pub fn done(&self) -> Vec<String> {
        self.shared.lock().done.clone()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(self: &Arc<Self>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(self.server) else {
            return;
        };
        let mut state = self.lock();
        let number = state.connections;
        state.connections += 1;
        let wire = Arc::new(Wire {
            number,
            client,
            server,
            plan: Mutex::new(Plan::first(&mut state.dice, number)),
            shared: Arc::clone(self),
        });
        for is_to_server in [true, false] {
            let wire = Arc::clone(&wire);
            thread::spawn(move || wire.pump(is_to_server));
        }
    }
}

impl Plan {
    /// Nothing is recovered before there is a session, so the first connection gets some way. Those
    /// that take its place may end in the middle of their handshake.
    fn first(dice: &mut Dice, number: usize) -> Self {
        let at = match number {
            0 => dice.magnitude(18..26),
            _ if dice.one_in(6) => dice.within(0..2048),
            _ => dice.magnitude(16..27),
        };
        let fault = Fault::any(dice);
        Self {
            passed: 0,
            at,
            fault,
        }
    }
}

impl Fault {
    fn any(dice: &mut Dice) -> Self {
        match dice.within(0..8) {
            0..3 => Self::Cut,
            3 | 4 => Self::Stall(dice.millis(50..2500)),
            5 => Self::StallAndCut(dice.millis(50..1500)),
            6 => Self::EndToClient,
            _ => Self::EndToServer,
        }
    }
}

impl Wire {
    fn pump(&self, is_to_server: bool) {
        let (mut from, mut to) = match is_to_server {
            true => (&self.client, &self.server),
            false => (&self.server, &self.client),
        };
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let (count, then) = self.suffer(count, is_to_server);
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
            match then {
                Then::Goes => {}
                Then::Ends => return,
                Then::Cut => break,
            }
        }
        self.cut();
    }

    /// Lets happen what is due: how much of what came is passed on, and what becomes of the rest.
    fn suffer(&self, count: usize, is_to_server: bool) -> (usize, Then) {
        // The other direction waits for this lock, so that a stall is one of both.
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        plan.passed += count as u64;
        if plan.passed < plan.at {
            return (count, Then::Goes);
        }
        let fault = plan.fault;
        let (next, part) = {
            let mut state = self.shared.lock();
            let note = format!("connection {} at {}: {fault:?}", self.number, plan.passed);
            state.done.push(note);
            let next = (state.dice.magnitude(16..27), Fault::any(&mut state.dice));
            (next, state.dice.within(0..count as u64 + 1) as usize)
        };
        // What ends is over; only a stall is followed by something.
        plan.at = u64::MAX;
        match fault {
            // The time itself is the fault.
            Fault::Stall(time) => {
                thread::sleep(time);
                (plan.at, plan.fault) = (plan.passed + next.0, next.1);
                (count, Then::Goes)
            }
            Fault::StallAndCut(time) => {
                thread::sleep(time);
                (part, Then::Cut)
            }
            Fault::Cut => (part, Then::Cut),
            Fault::EndToClient => {
                let _ = self.client.shutdown(Shutdown::Write);
                match is_to_server {
                    true => (count, Then::Goes),
                    false => (0, Then::Ends),
                }
            }
            Fault::EndToServer => {
                let _ = self.server.shutdown(Shutdown::Write);
                match is_to_server {
                    true => (0, Then::Ends),
                    false => (count, Then::Goes),
                }
            }
        }
    }

    fn cut(&self) {
        for socket in [&self.client, &self.server] {
            // It may be gone already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}
