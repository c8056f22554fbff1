//! One connection: calls that wait for answers, and the reading of what comes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::command::CommandProcess;
use super::events::{EventQueue, GAP_PATIENCE};
use super::files::MAX_BLOCK;
use super::liveness::{Liveness, Sign};
use super::session::Session;
use super::throttle::{Held, ReadThrottle};
use super::{ClientError, ClientOptions, RejectionData};
use crate::blocks;
use crate::oneshot::{self, Sender};
use crate::rpc::encode;
use crate::rpc::methods::fs::{RawBlockReply, ReadBlock};
use crate::rpc::methods::process::{Acknowledge, AcknowledgeParams, Read, ReadParams};
use crate::rpc::methods::session::Status;
use crate::rpc::methods::{Method, NoParams};
use crate::rpc::transport::{Framing, Goodbye, Outbound, Payload, Reader, Received};
use crate::sys::sync::{Condvar, Mutex};

/// What writes the JSON of a call's parameters.
pub(crate) type Params<'a> = &'a dyn Fn(&mut Vec<u8>);

/// A connection after its handshake.
pub(crate) struct Connection {
    outbound: Arc<Outbound>,
    calls: Mutex<Calls>,
    send_permits: SendPermits,
    /// Signalled when the flag is set.
    ended: Condvar,
    throttle: Arc<ReadThrottle>,
    /// The process behind it, if it is that of a command.
    pub(crate) command: Option<Arc<CommandProcess>>,
    ping_interval: Duration,
    /// From when on a server that says nothing is lost, and its connection was good.
    recovery_window: Duration,
    /// For how many milliseconds the server has not answered.
    silent: AtomicU64,
    /// Why the last connection was lost, where several were lost soon and this one may be, too.
    doubt: Mutex<Option<String>>,
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
    Replay(Arc<EventQueue>),
    /// Nobody: that it was sent is enough.
    Nobody,
}

/// The result of a call, as JSON. To be read at once: while a long one is held, the connection may
/// stand still.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) json: Box<str>,
    _held: Option<Held>,
}

impl Answer {
    /// The reply of the method `M`.
    pub(crate) fn reply<M: Method>(&self) -> Result<M::Reply<'_>, ClientError> {
        decode_result(M::NAME, &self.json)
    }
}

/// An answer and the bytes behind it.
pub(crate) struct Block {
    pub(crate) json: Box<str>,
    pub(crate) bytes: Vec<u8>,
}

/// Why a call has no result.
pub(crate) enum CallError {
    /// It was never sent, since the connection was lost already.
    NotSent(String),
    /// It was, or may have been.
    Failed(ClientError),
}

impl Connection {
    /// A connection on which ids below `next_id` are used up.
    pub(crate) fn new(
        outbound: Arc<Outbound>,
        throttle: Arc<ReadThrottle>,
        command: Option<Arc<CommandProcess>>,
        options: &ClientOptions,
        next_id: i64,
        doubt: Option<String>,
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
            ping_interval: options.ping_interval,
            recovery_window: options.recovery_window,
            silent: AtomicU64::new(0),
            doubt: Mutex::new(doubt),
        }
    }

    /// For how long nothing has come from the server, if it is time to tell, and for how long it may
    /// be silent.
    pub(crate) fn silence(&self) -> Option<(Duration, Duration)> {
        let millis = self.silent.load(Ordering::Relaxed);
        (millis > 0).then(|| {
            (
                Duration::from_millis(millis),
                self.liveness(Instant::now()).limit(),
            )
        })
    }

    /// What is to be found out about the server from now on.
    fn liveness(&self, now: Instant) -> Liveness {
        // Where there is no other connection to be had, this one gets the time for one.
        let more = match self.outbound.framing() {
            Framing::WebSocket(_) => Duration::ZERO,
            Framing::Lines => self.recovery_window,
        };
        Liveness::new(self.ping_interval, more, now)
    }

    /// Why the last connection was lost, until this one has lasted.
    pub(crate) fn doubt(&self) -> Option<String> {
        self.doubt.lock().clone()
    }

    /// Asks, and waits for the answer until `limit` has passed; without one, until the connection
    /// ends, which a dead peer's does by itself.
    pub(crate) fn call(
        &self,
        method: &str,
        params: Params<'_>,
        limit: Option<Duration>,
    ) -> Result<Answer, CallError> {
        self.call_with_payload(method, params, &[], limit)
    }

    /// The same with raw bytes behind the call, if there are any.
    pub(crate) fn call_with_payload(
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
                self.calls.lock().waiting.remove(&id);
                Err(no_answer(method, limit.unwrap_or_default()))
            })
            .map_err(CallError::Failed)
    }

    /// Asks for an answer that raw bytes may follow.
    pub(crate) fn call_for_block(
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
    pub(crate) fn post<M: Method>(&self, params: &M::Params<'_>) -> bool {
        let params = |out: &mut Vec<u8>| encode::json(out, params);
        self.send(M::NAME, &params, &[], Waiting::Nobody).is_ok()
    }

    /// Lets a process run on whose events nobody wants: all that will come is acknowledged.
    pub(crate) fn ignore(&self, session: &Session, id: &str) {
        self.acknowledge(session, id, i64::MAX as u64);
    }

    /// Tells the server that the events of a process up to `seq` are here, where it wants to know:
    /// until then it keeps them.
    pub(crate) fn acknowledge(&self, session: &Session, id: &str, seq: u64) {
        if session.facts.has(Acknowledge::NAME) {
            let process_id = id.into();
            self.post::<Acknowledge>(&AcknowledgeParams { process_id, seq });
        }
    }

    /// Asks for the events of a process behind `after`; the reader merges the answer.
    pub(crate) fn read_again(&self, events: &Arc<EventQueue>, after: u64) {
        let params = ReadParams {
            process_id: (&*events.id).into(),
            after_seq: Some(after),
            wait_ms: Some(0),
            ..ReadParams::default()
        };
        let params = |out: &mut Vec<u8>| encode::json(out, &params);
        let waiting = Waiting::Replay(Arc::clone(events));
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
            let mut calls = self.calls.lock();
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
    pub(crate) fn close(&self, why: &str) {
        let waiting = {
            let mut calls = self.calls.lock();
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
    pub(crate) fn hang_up(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        self.outbound.say_goodbye(Goodbye::Normal);
        if self.outbound.drain(deadline) {
            self.outbound.stop_sending();
            let left = deadline.saturating_duration_since(Instant::now());
            let waits = |calls: &mut Calls| calls.closed.is_none();
            drop(
                self.ended
                    .wait_timeout_while(self.calls.lock(), left, waits),
            );
        }
        self.outbound.kill();
    }
}

fn no_answer(method: &str, limit: Duration) -> ClientError {
    ClientError::TimedOut(format!(
        "exec-server did not answer {method} within {limit:?}"
    ))
}

/// A connection that has lasted so long, and on which something came then, is a good one.
const LASTING: Duration = Duration::from_secs(1);
/// How much of a line that is no message is shown.
const MAX_SHOWN: usize = 200;

/// A block whose bytes are still to come.
struct Announced {
    id: i64,
    len: usize,
    json: Box<str>,
    sender: Sender<Result<Block, ClientError>>,
}

/// The end of a connection.
pub(crate) struct Ended {
    pub(crate) why: String,
    /// Whether it has lasted, or has brought anything new.
    pub(crate) was_good: bool,
}

impl Connection {
    /// Reads to the end, in the order in which things come, and tells why it has ended.
    pub(crate) fn read(&self, reader: &mut dyn Reader, session: &Session) -> Ended {
        let begun = Instant::now();
        let is_websocket = self.outbound.framing() != Framing::Lines;
        // One to this program itself needs no signs of life.
        let is_asked = is_websocket || self.command.is_some();
        let mut liveness = self.liveness(begun);
        // Where it was last looked for events that stay away.
        let mut checked = begun;
        let mut has_gaps = false;
        let mut complaint = None;
        let mut announced: Option<Announced> = None;
        let mut is_useful = false;
        let mut has_lasted = false;
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
            let mut patience = match is_asked {
                true => liveness.patience(),
                false => self.ping_interval,
            };
            if has_gaps {
                patience = patience.min(GAP_PATIENCE);
            }
            match reader.receive(patience) {
                Received::Message => match self.take(reader.message(), session) {
                    Ok(Taken::Nothing) => {}
                    Ok(Taken::News { has_gap }) => {
                        is_useful = true;
                        has_gaps |= has_gap;
                    }
                    Ok(Taken::OutOfOrder) => has_gaps = true,
                    Ok(Taken::Complaint(why)) => complaint = Some(why),
                    Ok(Taken::Block(block)) => {
                        reader.expect(Payload::Take(block.len));
                        announced = Some(block);
                    }
                    Err(why) => {
                        has_lasted = false;
                        break why;
                    }
                },
                Received::Payload(Ok(bytes)) => {
                    is_useful = true;
                    if let Some(Announced { json, sender, .. }) = announced.take() {
                        sender.send(Ok(Block { json, bytes }));
                    }
                }
                Received::Payload(Err(error)) => {
                    break format!("the server announced bytes that did not come: {error:?}");
                }
                Received::Refused(refusal, _) => {
                    break format!("a message of the server is not taken: {refusal:?}");
                }
                Received::Idle => {
                    self.outbound.shrink();
                    blocks::shrink();
                }
                Received::Closed(why) => break why,
            }
            let now = Instant::now();
            if has_gaps && now.saturating_duration_since(checked) >= GAP_PATIENCE {
                checked = now;
                has_gaps = self.fill_gaps(session, now);
            }
            if !has_lasted && reader.last_heard().saturating_duration_since(begun) >= LASTING {
                has_lasted = true;
                *self.doubt.lock() = None;
            }
            if !is_asked {
                continue;
            }
            let taken = || self.outbound.total_taken();
            let sign = liveness.look(now, reader.last_heard(), taken);
            let silent = match sign {
                Sign::Silent(time) => u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
                _ => 0,
            };
            self.silent.store(silent, Ordering::Relaxed);
            match sign {
                Sign::Fine | Sign::Silent(_) => {}
                Sign::Ask => {
                    if is_websocket {
                        self.outbound.ping();
                    } else {
                        // Even a server that does not know it answers, with an error.
                        self.post::<Status>(&NoParams {});
                    }
                    liveness.asked(self.outbound.total_added(), taken());
                }
                Sign::Lost if self.may_be_at_work(session) => {}
                Sign::Lost => break format!("no sign of life for {:?}", liveness.limit()),
            }
        };
        self.silent.store(0, Ordering::Relaxed);
        if let Some(Announced { id, sender, .. }) = announced {
            // Its bytes never come: it fails with the others.
            self.calls.lock().waiting.insert(id, Waiting::Block(sender));
        }
        Ended {
            why: match complaint {
                Some(complaint) => format!("{complaint} ({why})"),
                None => why,
            },
            was_good: is_useful || has_lasted || begun.elapsed() >= self.recovery_window,
        }
    }

    /// Whether the silence may come from a call: behind a command, the reference carries out one
    /// after the other, and answers nothing meanwhile. Each has a time limit of its own.
    fn may_be_at_work(&self, session: &Session) -> bool {
        let is_waited_for =
            |waiting: &Waiting| matches!(waiting, Waiting::Caller(_) | Waiting::Block(_));
        self.outbound.framing() == Framing::Lines
            && session.facts.environment.extensions.is_empty()
            && self.calls.lock().waiting.values().any(is_waited_for)
    }

    fn take(&self, message: &[u8], session: &Session) -> Result<Taken, String> {
        let incoming = Incoming::decode(message).map_err(|error| {
            let shown = shown(message);
            format!("the server sent what is no message: `{shown}` ({error})")
        })?;
        match incoming {
            Incoming::Answer { id, outcome } => {
                let waiting = self.calls.lock().waiting.remove(&id);
                match waiting {
                    Some(Waiting::Caller(sender)) => {
                        let is_useful = outcome.is_ok();
                        sender.send(outcome.map(|json| Answer {
                            json: json.into(),
                            _held: self.throttle.hold(json.len()),
                        }));
                        if is_useful {
                            return Ok(Taken::News { has_gap: false });
                        }
                    }
                    Some(Waiting::Block(sender)) => return take_block(id, outcome, sender),
                    Some(Waiting::Replay(events)) => {
                        let is_new = replay(&events, outcome)?;
                        // What was told on the last connection may be lost, and the program wait.
                        self.acknowledge_events(session, &events, true);
                        if is_new {
                            return Ok(Taken::News { has_gap: false });
                        }
                    }
                    Some(Waiting::Nobody) | None => {}
                }
                Ok(Taken::Nothing)
            }
            Incoming::Notice { method, params } => {
                let Some((events, is_new)) = session.take(&method, params)? else {
                    return Ok(Taken::Nothing);
                };
                self.acknowledge_events(session, &events, false);
                let has_gap = events.has_gap();
                Ok(match is_new {
                    true => Taken::News { has_gap },
                    false if has_gap => Taken::OutOfOrder,
                    false => Taken::Nothing,
                })
            }
            Incoming::Complaint(why) => Ok(Taken::Complaint(why)),
            Incoming::Other => Ok(Taken::Nothing),
        }
    }

    fn acknowledge_events(&self, session: &Session, events: &EventQueue, is_urgent: bool) {
        if let Some(seq) = events.to_acknowledge(is_urgent) {
            self.acknowledge(session, &events.id, seq);
        }
    }

    /// Asks for events that have stayed away. Whether some still do.
    fn fill_gaps(&self, session: &Session, now: Instant) -> bool {
        let queues = session.event_queues();
        for events in &queues {
            if let Some(after) = events.to_fill(now) {
                self.read_again(events, after);
            }
        }
        queues.iter().any(|events| events.has_gap())
    }
}

/// What came of a message.
enum Taken {
    Nothing,
    /// An answer that somebody has waited for, or the next event of a process.
    News {
        has_gap: bool,
    },
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
        decode_result(ReadBlock::NAME, &json).map_err(|error| error.to_string())?;
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

/// Whether it has brought anything new.
fn replay(events: &EventQueue, outcome: Result<&str, ClientError>) -> Result<bool, String> {
    match outcome {
        Ok(json) => {
            let reply = decode_result(Read::NAME, json);
            events.merge(reply.map_err(|error| error.to_string())?)
        }
        Err(error) => {
            events.fail(&format!("failed to recover process {}: {error}", events.id));
            Ok(false)
        }
    }
}

/// The beginning of what is no message, on one line and without what would disturb a terminal.
pub(crate) fn shown(message: &[u8]) -> String {
    let part = &message[..message.len().min(MAX_SHOWN)];
    let text = String::from_utf8_lossy(part);
    let mut text: String = text.trim().chars().filter(|c| !c.is_control()).collect();
    if message.len() > MAX_SHOWN {
        text.push('…');
    }
    text
}

/// A message of a server.
#[derive(Debug)]
pub(crate) enum Incoming<'a> {
    /// The answer to a call: the result's JSON, or the server's error.
    Answer {
        id: i64,
        outcome: Result<&'a str, ClientError>,
    },
    /// A notification with its parameters' JSON.
    Notice {
        method: Cow<'a, str>,
        params: &'a str,
    },
    /// An error that belongs to no call, such as that another has taken the session.
    Complaint(String),
    /// What a client has no use for.
    Other,
}

impl<'a> Incoming<'a> {
    /// Decodes one message. The error says what is wrong with it.
    pub(crate) fn decode(message: &'a [u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(message).map_err(|error| error.to_string())?;
        if !text.trim_ascii_start().starts_with('{') {
            return Err("it is no JSON object".to_owned());
        }
        let envelope: Envelope<'a> =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        if let Some(method) = envelope.method {
            // The reference's servers ask nothing of a client, so a request is like any stranger's.
            return Ok(match envelope.id {
                None => Self::Notice {
                    method,
                    params: envelope.params.map_or("null", RawValue::get),
                },
                Some(_) => Self::Other,
            });
        }
        let id: Option<i64> = envelope.id.and_then(|id| id.get().parse().ok());
        let outcome = match envelope.error {
            Some(ErrorBody { message, .. }) if id.is_none_or(|id| id < 0) => {
                return Ok(Self::Complaint(message));
            }
            Some(error) => Err(ClientError::Rejected {
                code: error.code,
                message: error.message,
                data: error.data.map(RejectionData::read).unwrap_or_default(),
            }),
            None => Ok(envelope.result.map_or("null", RawValue::get)),
        };
        Ok(id.map_or(Self::Other, |id| Self::Answer { id, outcome }))
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<ErrorBody<'a>>,
}

#[derive(Deserialize)]
struct ErrorBody<'a> {
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// Decodes a result.
pub(crate) fn decode_result<'a, T: Deserialize<'a>>(
    method: &str,
    json: &'a str,
) -> Result<T, ClientError> {
    serde_json::from_str(json).map_err(|error| {
        ClientError::Protocol(format!("the answer to {method} makes no sense: {error}"))
    })
}

/// Raw bytes are sent by one thread after the other: so there is one buffer of them at a time, and
/// who adds them sends them.
#[derive(Debug, Default)]
struct SendPermits {
    is_taken: Mutex<bool>,
    free: Condvar,
}

/// Whose turn it is, until it is dropped.
struct SendPermit<'a>(&'a SendPermits);

impl SendPermits {
    /// Waits for a turn; none when there was none within `limit`.
    fn take(&self, limit: Duration) -> Option<SendPermit<'_>> {
        let waited = self
            .free
            .wait_timeout_while(self.is_taken.lock(), limit, |is_taken| *is_taken);
        let (mut is_taken, _) = waited;
        (!std::mem::replace(&mut *is_taken, true)).then(|| SendPermit(self))
    }
}

impl Drop for SendPermit<'_> {
    fn drop(&mut self) {
        *self.0.is_taken.lock() = false;
        self.0.free.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_notices_and_complaints_are_told_apart() {
        let answer = Incoming::decode(br#"{"id":7,"result":null}"#).unwrap();
        assert!(matches!(
            answer,
            Incoming::Answer {
                id: 7,
                outcome: Ok("null")
            }
        ));
        let error =
            Incoming::decode(br#"{"error":{"code":-32004,"message":"no"},"id":8}"#).unwrap();
        let Incoming::Answer {
            id: 8,
            outcome: Err(error),
        } = error
        else {
            panic!("{error:?}")
        };
        assert_eq!(
            error.to_string(),
            "exec-server rejected request (-32004): no"
        );
        let complaint =
            Incoming::decode(br#"{"error":{"code":1,"message":"taken"},"id":-1}"#).unwrap();
        assert!(matches!(complaint, Incoming::Complaint(text) if text == "taken"));
        let notice = Incoming::decode(br#"{"method":"m","params":{"a":1}}"#).unwrap();
        assert!(matches!(
            notice,
            Incoming::Notice {
                params: r#"{"a":1}"#,
                ..
            }
        ));
        for other in [r#"{"id":"x","result":1}"#, r#"{"id":1,"method":"ask"}"#] {
            assert!(matches!(
                Incoming::decode(other.as_bytes()),
                Ok(Incoming::Other)
            ));
        }
        for bad in [
            &b"Welcome"[..],
            b"42",
            b"{",
            b"\xff{}",
            b"{\"id\":1,\"id\":2}",
        ] {
            assert!(Incoming::decode(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn there_is_one_at_a_time() {
        let send_permits = SendPermits::default();
        let first = send_permits.take(Duration::ZERO);
        assert!(first.is_some());
        assert!(send_permits.take(Duration::from_millis(1)).is_none());
        drop(first);
        let second = send_permits.take(Duration::ZERO);
        assert!(second.is_some() && send_permits.take(Duration::ZERO).is_none());
    }
}
