//! Reads on for a thread that carries out a file request.
//!
//! To hand a small request to another thread takes longer than the request itself, so the thread that
//! has read it carries it out, and lends its connection meanwhile. What it has not taken back within a
//! millisecond or two goes on on another thread: no request waits behind a slow file system.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::connection::Connection;
use crate::sys::sync::{Condvar, Mutex};
use crate::workers::Workers;

/// Between looks at what is lent. What is there at the second goes on elsewhere.
const TICK: Duration = Duration::from_millis(1);
/// How long the thread that looks waits for something to be lent.
const LINGER: Duration = Duration::from_secs(3);

/// The connections that are lent.
#[derive(Clone)]
pub(crate) struct Handover {
    shared: Arc<Shared>,
    workers: Workers,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Told that something is lent.
    lent: Condvar,
}

#[derive(Default)]
struct State {
    lent: Vec<Lent>,
    /// How often something was lent.
    count: u64,
    ticks: u64,
    /// Whether the thread is there.
    is_running: bool,
    /// Whether it waits to be told.
    is_asleep: bool,
}

struct Lent {
    connection: Box<Connection>,
    number: u64,
    /// The tick after which it was lent.
    since: u64,
}

impl Handover {
    pub(crate) fn new() -> Self {
        Self {
            shared: Arc::default(),
            workers: Workers::named("handover"),
        }
    }

    /// Lends a connection; by this number it is taken back. The connection itself where there is no
    /// thread to look after it.
    pub(crate) fn lend(&self, connection: Box<Connection>) -> Result<u64, Box<Connection>> {
        let mut state = self.shared.state.lock();
        if !state.is_running {
            let shared = Arc::clone(&self.shared);
            if self.workers.run(Box::new(move || shared.look())).is_err() {
                return Err(connection);
            }
            state.is_running = true;
        }
        state.count += 1;
        let number = state.count;
        let since = state.ticks;
        state.lent.push(Lent {
            connection,
            number,
            since,
        });
        let is_asleep = std::mem::take(&mut state.is_asleep);
        drop(state);
        if is_asleep {
            self.shared.lent.notify_one();
        }
        Ok(number)
    }

    /// Takes a connection back, unless it goes on elsewhere.
    pub(crate) fn take_back(&self, number: u64) -> Option<Box<Connection>> {
        let mut state = self.shared.state.lock();
        let at = state.lent.iter().position(|it| it.number == number)?;
        Some(state.lent.swap_remove(at).connection)
    }
}

impl Shared {
    /// Looks every millisecond while anything is being lent.
    fn look(&self) {
        let mut seen = 0;
        loop {
            let mut state = self.state.lock();
            if state.lent.is_empty() && state.count == seen {
                state.is_asleep = true;
                let (waited, timeout) = self.lent.wait_timeout(state, LINGER);
                state = waited;
                state.is_asleep = false;
                if timeout.timed_out() && state.lent.is_empty() {
                    state.is_running = false;
                    return;
                }
            }
            seen = state.count;
            state.ticks += 1;
            let ticks = state.ticks;
            while let Some(at) = state.lent.iter().position(|it| it.since + 2 <= ticks) {
                let mut overdue = state.lent.swap_remove(at);
                drop(state);
                let started = Connection::run_on(overdue.connection);
                state = self.state.lock();
                if let Err(connection) = started {
                    // There is no thread now; perhaps at the next tick.
                    overdue.connection = connection;
                    state.lent.push(overdue);
                    break;
                }
            }
            drop(state);
            thread::sleep(TICK);
        }
    }
}
