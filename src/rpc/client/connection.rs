//! One connection: calls that wait for answers, and the reading of what comes.

mod reading;

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

pub(super) use self::reading::shown;
use super::ClientError;
use super::command::CommandProcess;
use super::route::Route;
use super::send_permit::SendPermits;
use super::session::Session;
use super::throttle::{Held, ReadThrottle};
use crate::oneshot::{self, Sender};
use crate::rpc::encode;
use crate::rpc::transport::{Goodbye, Outbound};
use crate::sys::sync::{Condvar, Mutex};

/// An extension: nothing that was not acknowledged so is dropped.
const ACKNOWLEDGE: &str = "process/acknowledge";

/// A connection after its handshake.
pub(super) struct Connection {
    outbound: Arc<Outbound>,
    calls: Mutex<Calls>,
    send_permits: SendPermits,
    /// Signalled when the flag is set.
    ended: Condvar,
    throttle: Arc<ReadThrottle>,
    /// The process behind it, if it is that of a command.
    pub(super) command: Option<Arc<CommandProcess>>,
    ping_interval: Duration,
}

/// The flag and the calls share a lock: a call is either drained, or never registered.
struct Calls {
    next_id: i64,
    waiting: HashMap<i64, Waiting>,
    closed: Option<String>,
}

/// Who wants an answer.
enum Waiting {
    /// A thread that sleeps.
    Caller(Sender<Result<Answer, ClientError>>),
    /// The same, for an answer that bytes may follow. It stays when the thread has lost patience:
    /// the bytes still come.
    Block(Sender<Result<Block, ClientError>>),
    /// A process whose events are read again.
    Replay(Arc<Route>),
    /// Nobody: that it was sent is enough.
    Nobody,
}

/// The result of a call, as JSON. To be read at once: while a long one is held, the connection may
/// stand still.
#[derive(Debug)]
pub(super) struct Answer {
    json: Box<str>,
    _held: Option<Held>,
}

impl Deref for Answer {
    type Target = str;

    fn deref(&self) -> &str {
        &self.json
    }
}

/// An answer and the bytes behind it.
pub(super) struct Block {
    pub(super) json: Box<str>,
    pub(super) bytes: Vec<u8>,
}

/// Why a call has no result.
pub(super) enum CallError {
    /// It was never sent, since the connection was lost already.
    NotSent(String),
    /// It was, or may have been.
    Failed(ClientError),
}

impl Connection {
    /// A connection on which ids below `next_id` are used up.
    pub(super) fn new(
        outbound: Arc<Outbound>,
        throttle: Arc<ReadThrottle>,
        command: Option<Arc<CommandProcess>>,
        ping_interval: Duration,
        next_id: i64,
    ) -> Self {
        Self {
            outbound,
            calls: Mutex::new(Calls {
                next_id,
                waiting: HashMap::new(),
                closed: None,
            }),
            send_permits: SendPermits::default(),
            ended: Condvar::new(),
            throttle,
            command,
            ping_interval,
        }
    }

    /// Asks, and waits for the answer until `limit` has passed; without one, until the connection
    /// ends, which a dead peer's does by itself.
    pub(super) fn call(
        &self,
        method: &str,
        params: impl FnOnce(&mut Vec<u8>),
        limit: Option<Duration>,
    ) -> Result<Answer, CallError> {
        self.call_with_payload(method, params, &[], limit)
    }

    /// The same with raw bytes behind the call, if there are any.
    pub(super) fn call_with_payload(
        &self,
        method: &str,
        params: impl FnOnce(&mut Vec<u8>),
        payload: &[u8],
        limit: Option<Duration>,
    ) -> Result<Answer, CallError> {
        let (sender, receiver) = oneshot::channel();
        // Before the call, so that the reader goes on whatever is queued.
        let _waiter = self.throttle.waiter();
        let id = self
            .send(method, params, payload, Waiting::Caller(sender))
            .map_err(CallError::NotSent)?;
        receiver
            .wait(limit)
            .unwrap_or_else(|_| {
                self.lock().waiting.remove(&id);
                Err(no_answer(method, limit.unwrap_or_default()))
            })
            .map_err(CallError::Failed)
    }

    /// Asks for an answer that raw bytes may follow.
    pub(super) fn call_for_block(
        &self,
        method: &str,
        params: impl FnOnce(&mut Vec<u8>),
        limit: Duration,
    ) -> Result<Block, CallError> {
        let (sender, receiver) = oneshot::channel();
        let _waiter = self.throttle.waiter();
        self.send(method, params, &[], Waiting::Block(sender))
            .map_err(CallError::NotSent)?;
        receiver
            .wait(Some(limit))
            .unwrap_or_else(|_| Err(no_answer(method, limit)))
            .map_err(CallError::Failed)
    }

    /// Asks what nobody waits for. Whether it could be sent.
    pub(super) fn post(&self, method: &str, params: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.send(method, params, &[], Waiting::Nobody).is_ok()
    }

    /// Lets a process run on whose events nobody wants: all that will come is acknowledged.
    pub(super) fn ignore(&self, session: &Session, id: &str) {
        if session.facts.has(ACKNOWLEDGE) {
            let params = serde_json::json!({ "processId": id, "seq": i64::MAX });
            self.post(ACKNOWLEDGE, |out| encode::json(out, &params));
        }
    }

    /// Asks for the events of a process behind `after`; the reader merges the answer.
    pub(super) fn read_again(&self, route: &Arc<Route>, after: u64) {
        let params = serde_json::json!({
            "processId": route.id, "afterSeq": after, "maxBytes": null, "waitMs": 0,
        });
        let waiting = Waiting::Replay(Arc::clone(route));
        // If it cannot be sent, the connection is lost, and the next one asks.
        let _ = self.send(
            "process/read",
            |out| encode::json(out, &params),
            &[],
            waiting,
        );
    }

    fn send(
        &self,
        method: &str,
        params: impl FnOnce(&mut Vec<u8>),
        payload: &[u8],
        waiting: Waiting,
    ) -> Result<i64, String> {
        let id = {
            let mut calls = self.lock();
            if let Some(why) = &calls.closed {
                return Err(why.clone());
            }
            let id = calls.next_id;
            calls.next_id += 1;
            calls.waiting.insert(id, waiting);
            id
        };
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"{\"id\":");
            encode::number(out, id);
            out.extend_from_slice(b",\"method\":");
            encode::json(out, method);
            out.extend_from_slice(b",\"params\":");
            params(out);
            out.push(b'}');
        };
        if payload.is_empty() {
            self.outbound.add(write);
            self.outbound.flush();
        } else {
            let send_permit = self.send_permits.take(self.ping_interval);
            self.outbound.add_with_payload(write, payload);
            match send_permit {
                Some(_) => drop(self.outbound.send_waiting(self.ping_interval)),
                None => self.outbound.flush(),
            }
        }
        Ok(id)
    }

    /// Sets the flag and fails all calls that wait.
    pub(super) fn close(&self, why: &str) {
        let waiting = {
            let mut calls = self.lock();
            calls.closed.get_or_insert_with(|| why.to_owned());
            self.ended.notify_all();
            std::mem::take(&mut calls.waiting)
        };
        for waiting in waiting.into_values() {
            let lost = ClientError::Disconnected(why.to_owned());
            // A caller that has lost patience is not there any more.
            match waiting {
                Waiting::Caller(sender) => sender.send(Err(lost)),
                Waiting::Block(sender) => sender.send(Err(lost)),
                Waiting::Replay(_) | Waiting::Nobody => {}
            }
        }
        self.outbound.kill();
    }

    /// Says goodbye, and waits for at most `limit` until the server has hung up: what was sent
    /// might be lost if we did so first.
    pub(super) fn hang_up(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        self.outbound.say_goodbye(Goodbye::Normal);
        if self.outbound.drain(deadline) {
            self.outbound.stop_sending();
            let left = deadline.saturating_duration_since(Instant::now());
            let waits = |calls: &mut Calls| calls.closed.is_none();
            drop(self.ended.wait_timeout_while(self.lock(), left, waits));
        }
        self.outbound.kill();
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock()
    }
}

fn no_answer(method: &str, limit: Duration) -> ClientError {
    ClientError::TimedOut(format!(
        "exec-server did not answer {method} within {limit:?}"
    ))
}
