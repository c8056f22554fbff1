//! One connection: calls that wait for answers, and the reading of what comes.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use super::ClientError;
use super::command::CommandProcess;
use super::open_file::MAX_BLOCK;
use super::route::{GAP_PATIENCE, Route};
use super::send_permit::SendPermits;
use super::session::Session;
use super::throttle::{Held, ReadThrottle};
use super::wire::{self, Incoming};
use crate::oneshot::{self, Sender};
use crate::rpc::encode;
use crate::rpc::methods::Method;
use crate::rpc::methods::fs::{RawBlockReply, ReadBlock};
use crate::rpc::methods::process::{Acknowledge, AcknowledgeParams, Read, ReadParams};
use crate::rpc::transport::{Framing, Goodbye, Outbound, Payload, Reader, Received, shrink_blocks};
use crate::sys::sync::{Condvar, Mutex};

/// What writes the JSON of a call's parameters.
pub(super) type Params<'a> = &'a dyn Fn(&mut Vec<u8>);

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
    pub(super) json: Box<str>,
    _held: Option<Held>,
}

impl Answer {
    /// The reply of the method `M`.
    pub(super) fn reply<M: Method>(&self) -> Result<M::Reply<'_>, ClientError> {
        wire::result(M::NAME, &self.json)
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
        params: Params<'_>,
        limit: Option<Duration>,
    ) -> Result<Answer, CallError> {
        self.call_with_payload(method, params, &[], limit)
    }

    /// The same with raw bytes behind the call, if there are any.
    pub(super) fn call_with_payload(
        &self,
        method: &str,
        params: Params<'_>,
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
        params: Params<'_>,
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
    pub(super) fn post<M: Method>(&self, params: &M::Params<'_>) -> bool {
        let params = |out: &mut Vec<u8>| encode::json(out, params);
        self.send(M::NAME, &params, &[], Waiting::Nobody).is_ok()
    }

    /// Lets a process run on whose events nobody wants: all that will come is acknowledged.
    pub(super) fn ignore(&self, session: &Session, id: &str) {
        self.acknowledge(session, id, i64::MAX as u64);
    }

    /// Tells the server that the events of a process up to `seq` are here, where it wants to know:
    /// until then it keeps them.
    pub(super) fn acknowledge(&self, session: &Session, id: &str, seq: u64) {
        if session.facts.has(Acknowledge::NAME) {
            let process_id = id.into();
            self.post::<Acknowledge>(&AcknowledgeParams { process_id, seq });
        }
    }

    /// Asks for the events of a process behind `after`; the reader merges the answer.
    pub(super) fn read_again(&self, route: &Arc<Route>, after: u64) {
        let params = ReadParams {
            process_id: (&*route.id).into(),
            after_seq: Some(after),
            wait_ms: Some(0),
            ..ReadParams::default()
        };
        let params = |out: &mut Vec<u8>| encode::json(out, &params);
        let waiting = Waiting::Replay(Arc::clone(route));
        // If it cannot be sent, the connection is lost, and the next one asks.
        let _ = self.send(Read::NAME, &params, &[], waiting);
    }

    fn send(
        &self,
        method: &str,
        params: Params<'_>,
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
        let write = |out: &mut Vec<u8>| encode::request(out, id, method, params);
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

/// A server from which nothing came for so many pings is gone.
const LOST_PINGS: u32 = 3;
/// How much of a line that is no message is shown.
const MAX_SHOWN: usize = 200;

/// A block whose bytes are still to come.
struct Announced {
    id: i64,
    len: usize,
    json: Box<str>,
    sender: Sender<Result<Block, ClientError>>,
}

impl Connection {
    /// Reads to the end, in the order in which things come, and tells why it has ended.
    pub(super) fn read(&self, reader: &mut dyn Reader, session: &Session) -> String {
        let is_websocket = self.outbound.framing() != Framing::Lines;
        let silence = self.ping_interval.saturating_mul(LOST_PINGS);
        let mut pinged = Instant::now();
        // Where it was last looked for events that stay away.
        let mut checked = pinged;
        let mut has_gaps = false;
        let mut complaint = None;
        let mut announced: Option<Announced> = None;
        let why = loop {
            if !self.throttle.wait(Duration::ZERO) {
                // What a long message needed is not needed meanwhile.
                reader.shrink();
            }
            if !self.throttle.wait(self.ping_interval) {
                // The server must not take a slow consumer for a dead one.
                self.outbound.ping();
                continue;
            }
            let patience = if has_gaps {
                GAP_PATIENCE
            } else {
                self.ping_interval
            };
            match reader.receive(patience) {
                Received::Message => match self.take(reader.message(), session) {
                    Ok(Taken::Nothing) => {}
                    Ok(Taken::OutOfOrder) => has_gaps = true,
                    Ok(Taken::Complaint(why)) => complaint = Some(why),
                    Ok(Taken::Block(block)) => {
                        reader.expect(Payload::Take(block.len));
                        announced = Some(block);
                    }
                    Err(why) => break why,
                },
                Received::Payload(Ok(bytes)) => {
                    if let Some(Announced { json, sender, .. }) = announced.take() {
                        sender.send(Ok(Block { json, bytes }));
                    }
                }
                Received::Payload(Err(error)) => {
                    break format!("the server announced bytes that did not come: {error:?}");
                }
                Received::Refused(refusal) => {
                    break format!("a message of the server is not taken: {refusal:?}");
                }
                Received::Idle => {
                    self.outbound.shrink();
                    shrink_blocks();
                }
                Received::Closed(why) => break why,
            }
            let now = Instant::now();
            if has_gaps && now.saturating_duration_since(checked) >= GAP_PATIENCE {
                checked = now;
                has_gaps = self.fill_gaps(session, now);
            }
            if !is_websocket {
                continue;
            }
            if now.saturating_duration_since(reader.last_heard()) >= silence {
                break format!("no sign of life for {silence:?}");
            }
            if now.saturating_duration_since(pinged) >= self.ping_interval {
                pinged = now;
                self.outbound.ping();
            }
        };
        if let Some(Announced { id, sender, .. }) = announced {
            // Its bytes never come: it fails with the others.
            self.lock().waiting.insert(id, Waiting::Block(sender));
        }
        match complaint {
            Some(complaint) => format!("{complaint} ({why})"),
            None => why,
        }
    }

    fn take(&self, message: &[u8], session: &Session) -> Result<Taken, String> {
        let incoming = wire::decode(message).map_err(|error| {
            let shown = shown(message);
            format!("the server sent what is no message: `{shown}` ({error})")
        })?;
        match incoming {
            Incoming::Answer { id, outcome } => {
                let waiting = self.lock().waiting.remove(&id);
                match waiting {
                    Some(Waiting::Caller(sender)) => {
                        sender.send(outcome.map(|json| Answer {
                            json: json.into(),
                            _held: self.throttle.hold(json.len()),
                        }));
                    }
                    Some(Waiting::Block(sender)) => return take_block(id, outcome, sender),
                    Some(Waiting::Replay(route)) => {
                        replay(&route, outcome)?;
                        // What was told on the last connection may be lost, and the program wait.
                        self.acknowledge_route(session, &route, true);
                    }
                    Some(Waiting::Nobody) | None => {}
                }
                Ok(Taken::Nothing)
            }
            Incoming::Notice { method, params } => {
                let route = session.take(&method, params)?;
                if let Some(route) = &route {
                    self.acknowledge_route(session, route, false);
                }
                Ok(match route {
                    Some(route) if route.has_gap() => Taken::OutOfOrder,
                    _ => Taken::Nothing,
                })
            }
            Incoming::Complaint(why) => Ok(Taken::Complaint(why)),
            Incoming::Other => Ok(Taken::Nothing),
        }
    }

    fn acknowledge_route(&self, session: &Session, route: &Route, is_urgent: bool) {
        if let Some(seq) = route.to_acknowledge(is_urgent) {
            self.acknowledge(session, &route.id, seq);
        }
    }

    /// Asks for events that have stayed away. Whether some still do.
    fn fill_gaps(&self, session: &Session, now: Instant) -> bool {
        let routes = session.routes();
        for route in &routes {
            if let Some(after) = route.to_fill(now) {
                self.read_again(route, after);
            }
        }
        routes.iter().any(|route| route.has_gap())
    }
}

/// What came of a message.
enum Taken {
    Nothing,
    OutOfOrder,
    Complaint(String),
    Block(Announced),
}

/// An answer that says how many bytes follow it, if it is no error.
fn take_block(
    id: i64,
    outcome: Result<&str, ClientError>,
    sender: Sender<Result<Block, ClientError>>,
) -> Result<Taken, String> {
    let json: Box<str> = match outcome {
        Ok(json) => json.into(),
        Err(error) => {
            sender.send(Err(error));
            return Ok(Taken::Nothing);
        }
    };
    let announced: RawBlockReply =
        wire::result(ReadBlock::NAME, &json).map_err(|error| error.to_string())?;
    match announced.raw_bytes {
        0 => {
            let bytes = Vec::new();
            sender.send(Ok(Block { json, bytes }));
            Ok(Taken::Nothing)
        }
        len if len <= MAX_BLOCK => Ok(Taken::Block(Announced {
            id,
            len,
            json,
            sender,
        })),
        len => Err(format!("the server announced a block of {len} bytes")),
    }
}

fn replay(route: &Route, outcome: Result<&str, ClientError>) -> Result<(), String> {
    match outcome {
        Ok(json) => {
            let reply = wire::result(Read::NAME, json);
            route.merge(reply.map_err(|error| error.to_string())?)
        }
        Err(error) => {
            route.fail(&format!("failed to recover process {}: {error}", route.id));
            Ok(())
        }
    }
}

/// The beginning of what is no message, on one line and without what would disturb a terminal.
pub(super) fn shown(message: &[u8]) -> String {
    let part = &message[..message.len().min(MAX_SHOWN)];
    let text = String::from_utf8_lossy(part);
    let mut text: String = text.trim().chars().filter(|c| !c.is_control()).collect();
    if message.len() > MAX_SHOWN {
        text.push('…');
    }
    text
}
