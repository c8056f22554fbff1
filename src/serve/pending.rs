//! Connections that have not been let in yet. Anybody can open one, and needs no token to keep it open for a while; so
//! where there are too many connections, the oldest of these makes room for the next.

use std::collections::BTreeMap;
use std::net::Shutdown;
use std::sync::Arc;

use crate::net::Socket;
use crate::sys::sync::Mutex;

/// All of them, by their numbers: the lowest is the oldest.
#[derive(Default)]
pub(super) struct PendingConnections(Mutex<BTreeMap<u64, Arc<Socket>>>);

/// One of them, until it is let in, closed or dropped.
pub(super) struct Pending {
    all: Arc<PendingConnections>,
    number: u64,
}

impl PendingConnections {
    /// Adds a connection, which must be the newest.
    pub(super) fn add(self: &Arc<Self>, number: u64, socket: &Arc<Socket>) -> Pending {
        self.0.lock().insert(number, Arc::clone(socket));
        Pending {
            all: Arc::clone(self),
            number,
        }
    }

    /// Closes the oldest, which wakes its thread; false if there is none.
    pub(super) fn close_oldest(&self) -> bool {
        let oldest = self.0.lock().pop_first();
        let Some((_, socket)) = oldest else {
            return false;
        };
        socket.shut_down(Shutdown::Both);
        true
    }
}

impl Pending {
    /// From now on it is not closed for another. False if it has been.
    pub(super) fn keep(&self) -> bool {
        self.all.0.lock().remove(&self.number).is_some()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.keep();
    }
}
