//! The HTTP requests that are under way: of all connections, which have a limit together, and of
//! each, which ends them when it ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};

use crate::net::http::{Cancel, Network};
use crate::rpc::error::{ErrorKind, RpcError};
use crate::sys::sync::Mutex;

/// Requests at once, over all connections.
const MAX_RUNNING: usize = 64;

/// What all connections share.
pub(super) struct HttpService {
    pub(super) network: Network,
    running: AtomicUsize,
}

impl HttpService {
    pub(super) fn new(allow_link_local: bool) -> Arc<Self> {
        Arc::new(Self {
            network: Network::new(allow_link_local),
            running: AtomicUsize::new(0),
        })
    }

    pub(super) fn slot(self: &Arc<Self>) -> Result<Slot, RpcError> {
        let slot = Slot(Arc::clone(self));
        if self.running.fetch_add(1, Ordering::Relaxed) < MAX_RUNNING {
            return Ok(slot);
        }
        let message = format!("{MAX_RUNNING} HTTP requests are under way; try again later");
        Err(RpcError::new(ErrorKind::Busy, message))
    }
}

/// One request in the count.
pub(super) struct Slot(pub(super) Arc<HttpService>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The requests of one connection that are under way.
#[derive(Default)]
pub(super) struct HttpRequests(Mutex<Active>);

#[derive(Default)]
struct Active {
    is_over: bool,
    next: u64,
    running: HashMap<u64, Running>,
}

#[derive(Default)]
struct Running {
    /// The id of a streamed one, which no other may have.
    stream: Option<String>,
    cancel: Option<Cancel>,
}

impl HttpRequests {
    pub(super) fn enter(self: &Arc<Self>, stream: Option<&str>) -> Result<Entry, RpcError> {
        let mut active = self.lock();
        let mut ids = active.running.values().map(|other| &other.stream);
        if let Some(id) = stream
            && ids.any(|other| other.as_deref() == Some(id))
        {
            let message = format!("http/request streamResponse requestId `{id}` is already active");
            return Err(RpcError::invalid_params(message));
        }
        let number = active.next;
        active.next += 1;
        let running = Running {
            stream: stream.map(str::to_owned),
            cancel: None,
        };
        active.running.insert(number, running);
        Ok(Entry {
            requests: Arc::clone(self),
            number,
        })
    }

    /// The connection is over.
    pub(super) fn cancel_all(&self) {
        let mut active = self.lock();
        active.is_over = true;
        let running = std::mem::take(&mut active.running);
        drop(active);
        for cancel in running.into_values().filter_map(|running| running.cancel) {
            cancel.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Active> {
        self.0.lock()
    }
}

/// A request's place among those of its connection.
pub(super) struct Entry {
    requests: Arc<HttpRequests>,
    number: u64,
}

impl Entry {
    /// Says how to cancel the request. False when it is cancelled already.
    pub(super) fn arm(&self, cancel: Cancel) -> bool {
        let mut active = self.requests.lock();
        if let Some(running) = active.running.get_mut(&self.number) {
            running.cancel = Some(cancel);
        }
        !active.is_over
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.requests.lock().running.remove(&self.number);
    }
}
