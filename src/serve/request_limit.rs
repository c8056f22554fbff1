//! A connection's messages on their way to its dispatch, and how many requests may be at work at
//! once, where that is limited (`--concurrent-requests`).
//!
//! A request is at work until it is answered, however long that takes. What comes beyond the limit
//! waits in the order in which it came, and a thread of its own goes on with it, so that the
//! connection's reader never waits: what ends a process, or lets its output go on, is handled at
//! once. What ends a process whose start waits takes that from what waits; what else is about
//! such a process waits behind its start.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dispatch::{Dispatch, Next, decode};
use super::file_queue::Room;
use super::files::FileWork;
use super::reply::Responder;
use crate::env::local::refusal::signal_named;
use crate::memory::{self, Kind, Reserved};
use crate::rpc::bounded::{self, MAX_OBJECT};
use crate::rpc::error::{ErrorKind, RpcError};
use crate::rpc::message::{Message, RequestId, decode_params};
use crate::rpc::methods::fs::WriteBlock;
use crate::rpc::methods::process::{
    Acknowledge, AcknowledgeParams, Run, RunParams, Signal, SignalParams, Start, StartParams,
    Terminate, TerminateParams,
};
use crate::rpc::methods::session::{Info, Initialize, Status};
use crate::rpc::methods::{self, Method};
use crate::rpc::transport::{Outbound, PayloadError};
use crate::sys::signal;
use crate::sys::sync::{Condvar, Mutex};
use crate::workers::Workers;

/// Requests that may wait.
const MAX_WAITING: usize = 16 * 1024;

/// What is handled at once, however many requests are at work, and is about no process.
const AT_ONCE: [&str; 3] = [Initialize::NAME, Info::NAME, Status::NAME];

/// The way of messages to a dispatch.
pub(crate) struct Requests {
    dispatch: Arc<Mutex<Dispatch>>,
    limit: Option<Limited>,
}

struct Limited {
    limit: Arc<RequestLimit>,
    outbound: Arc<Outbound>,
    workers: Workers,
}

impl Limited {
    fn too_many(&self) -> String {
        format!(
            "{} requests are at work, as many as --concurrent-requests lets, and too many wait; \
             try again later",
            self.limit.most
        )
    }
}

impl Requests {
    /// Lets `most` requests be at work at once, or any number.
    pub(crate) fn new(
        dispatch: Dispatch,
        most: Option<usize>,
        outbound: &Arc<Outbound>,
        workers: &Workers,
    ) -> Self {
        let limited = |most| Limited {
            limit: RequestLimit::new(most),
            outbound: Arc::clone(outbound),
            workers: workers.clone(),
        };
        Self {
            dispatch: Arc::new(Mutex::new(dispatch)),
            limit: most.map(limited),
        }
    }

    /// Does something with the dispatch.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Dispatch) -> T) -> T {
        work(&mut self.dispatch.lock())
    }

    /// Whether `initialize` has succeeded.
    pub(crate) fn is_initialized(&self) -> bool {
        self.dispatch.lock().is_initialized()
    }

    /// Takes one message from the thread that reads; what is left to that thread. It carries out no
    /// request but the last that is here. Inlined, its locals would be on the stack of a thread that waits.
    #[inline(never)]
    pub(crate) fn take(&self, message: &[u8], is_last: bool) -> Next {
        let decoded = decode(message);
        // Held to the end: no waiting request begins meanwhile.
        let mut dispatch = self.dispatch.lock();
        let (Some(limited), Ok(Message::Request { id, method, params })) = (&self.limit, &decoded)
        else {
            return dispatch.handle(decoded, None, is_last);
        };
        let slot = match Turn::of(method, *params) {
            Turn::AtOnce => None,
            Turn::Ends(process_id) => {
                let given_up = limited.limit.give_up_start(&process_id);
                given_up
                    .iter()
                    .for_each(|request| dispatch.give_up(request));
                if !given_up.is_empty() && !dispatch.has_process(&process_id) {
                    dispatch.answer_end(*id, method);
                    return Next::default();
                }
                None
            }
            Turn::BehindStart(process_id) if !limited.limit.has_start(&process_id) => None,
            Turn::BehindStart(_) => {
                let request = Waiting::message(message, None);
                self.put_off(&dispatch, limited, (*id, method), request);
                return Next::default();
            }
            Turn::Counts => match limited.limit.admit() {
                Some(slot) => Some(slot),
                None => {
                    let room = bounded::room(*params).ok();
                    let request =
                        room.and_then(|_| Waiting::message(message, started_by(method, *params)));
                    self.put_off(&dispatch, limited, (*id, method), request);
                    return Next::default();
                }
            },
        };
        dispatch.handle(decoded, slot, is_last)
    }

    /// Takes the payload of the last message.
    pub(crate) fn take_payload(&self, payload: Result<Vec<u8>, PayloadError>) {
        let mut dispatch = self.dispatch.lock();
        let Some((responder, work, room)) = dispatch.complete(payload) else {
            return;
        };
        let Some(limited) = &self.limit else {
            return dispatch.queue(responder, work, room);
        };
        match limited.limit.admit() {
            Some(slot) => {
                responder.occupy(slot);
                dispatch.queue(responder, work, room);
            }
            None => {
                let id = responder.owned_id();
                let request = (id.borrow(), WriteBlock::NAME);
                let waiting = Waiting::Write(responder, work, room);
                self.put_off(&dispatch, limited, request, Some(waiting));
            }
        }
    }

    /// The connection is over. What waits is done only for a client that may still read the
    /// answers, as long as one comes within `patience`.
    pub(crate) fn end(&self, patience: Option<Duration>) {
        if let Some(limited) = &self.limit {
            limited.limit.end(patience);
        }
        self.dispatch.lock().end();
    }

    /// Lets a request wait for its turn.
    fn put_off(
        &self,
        dispatch: &Dispatch,
        limited: &Limited,
        (id, method): (RequestId<'_>, &str),
        request: Option<Waiting>,
    ) {
        // None where there is no memory for it.
        let held = request.map_or(Held::Full, |request| limited.limit.hold(request));
        let outcome = match held {
            Held::Waits => return,
            Held::NeedsThread => {
                let (dispatch, limit) = (Arc::clone(&self.dispatch), Arc::clone(&limited.limit));
                let outbound = Arc::clone(&limited.outbound);
                let run = move || {
                    while limit.await_turn() {
                        let mut dispatch = dispatch.lock();
                        if dispatch.has_lost_session() {
                            limit.close();
                        } else if let Some((request, slot)) = limit.next() {
                            dispatch.go_on(request, slot);
                            drop(dispatch);
                            outbound.flush();
                        }
                    }
                };
                limited.workers.run(Box::new(run)).map_err(|error| {
                    limited.limit.give_up();
                    format!("no thread for requests that wait: {error}; try again later")
                })
            }
            Held::Full => Err(limited.too_many()),
        };
        if let Err(message) = outcome {
            let error = RpcError::new(ErrorKind::Busy, message);
            dispatch.fail(id, method, &error);
        }
    }
}

/// When a request is handled.
enum Turn<'a> {
    /// However many are at work.
    AtOnce,
    /// The same; it ends the process of this name, also one whose start waits.
    Ends(Cow<'a, str>),
    /// The same, unless the start of this process waits.
    BehindStart(Cow<'a, str>),
    /// When fewer are at work than may be.
    Counts,
}

impl<'a> Turn<'a> {
    fn of(method: &str, params: Option<&'a str>) -> Self {
        let is_long = params.is_some_and(|params| params.len() > MAX_OBJECT);
        match method {
            // No process has so long a name.
            Terminate::NAME | Signal::NAME | Acknowledge::NAME if is_long => Self::AtOnce,
            Terminate::NAME => match decode_params::<TerminateParams<'_>>(params) {
                Ok(terminate) => Self::Ends(terminate.process_id),
                Err(_) => Self::AtOnce,
            },
            Signal::NAME => match decode_params::<SignalParams<'_>>(params) {
                Ok(SignalParams { process_id, signal }) => match signal_named(&signal) {
                    Ok(signal::Signal::KILL | signal::Signal::TERMINATE) => Self::Ends(process_id),
                    Ok(_) => Self::BehindStart(process_id),
                    Err(_) => Self::AtOnce,
                },
                Err(_) => Self::AtOnce,
            },
            Acknowledge::NAME => match decode_params::<AcknowledgeParams<'_>>(params) {
                Ok(acknowledge) => Self::BehindStart(acknowledge.process_id),
                Err(_) => Self::AtOnce,
            },
            _ if AT_ONCE.contains(&method) || methods::all().all(|it| it.0 != method) => {
                Self::AtOnce
            }
            // A request that raw bytes follow is at work once they are here.
            _ if super::files::payload_len(method, params).is_some() => Self::AtOnce,
            _ => Self::Counts,
        }
    }
}

/// The name of the process that a request starts, if it does.
fn started_by(method: &str, params: Option<&str>) -> Option<String> {
    let process_id = match method {
        Start::NAME => Some(decode_params::<StartParams<'_>>(params).ok()?.process_id),
        Run::NAME => decode_params::<RunParams<'_>>(params).ok()?.process_id,
        _ => None,
    };
    process_id.map(Cow::into_owned)
}

/// A request that waits for its turn.
pub(crate) enum Waiting {
    /// As the client has sent it.
    Message {
        text: Vec<u8>,
        /// The name of the process that it starts.
        starts: Option<String>,
        _room: Reserved,
    },
    /// An `fs/writeBlock` whose bytes are here.
    Write(Responder, FileWork, Room),
}

impl Waiting {
    /// None where there is no memory for it.
    fn message(text: &[u8], starts: Option<String>) -> Option<Self> {
        let len = text.len() + starts.as_ref().map_or(0, String::len);
        Some(Self::Message {
            _room: Reserved::of(Kind::Requests, len)?,
            text: memory::copy(text)?,
            starts,
        })
    }

    /// Whether it starts the process of this name.
    fn starts(&self, process_id: &str) -> bool {
        matches!(self, Self::Message { starts: Some(it), .. } if it == process_id)
    }
}

/// How many requests of a connection are at work, and those that wait.
struct RequestLimit {
    most: usize,
    state: Mutex<State>,
    /// Told of an answer, of the end, and when a request has been handed on.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    at_work: usize,
    waiting: VecDeque<Waiting>,
    /// Whether the thread is there.
    is_running: bool,
    /// Nothing more is handed on.
    is_closed: bool,
    handed_on: u64,
}

/// What becomes of a request that has to wait.
#[derive(Debug, PartialEq, Eq)]
enum Held {
    Waits,
    /// It waits, and there is no thread yet.
    NeedsThread,
    /// Too many wait already.
    Full,
}

impl RequestLimit {
    fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Lets a request begin, unless others are before it.
    fn admit(self: &Arc<Self>) -> Option<Slot> {
        let mut state = self.state.lock();
        if state.is_running || state.at_work >= self.most {
            return None;
        }
        state.at_work += 1;
        Some(Slot(Arc::clone(self)))
    }

    fn hold(&self, request: Waiting) -> Held {
        let mut state = self.state.lock();
        if state.waiting.len() >= MAX_WAITING {
            return Held::Full;
        }
        state.waiting.push_back(request);
        if std::mem::replace(&mut state.is_running, true) {
            Held::Waits
        } else {
            Held::NeedsThread
        }
    }

    /// There is no thread for what waits.
    fn give_up(&self) {
        let mut state = self.state.lock();
        state.waiting.clear();
        state.is_running = false;
    }

    /// Whether the start of this process waits.
    fn has_start(&self, process_id: &str) -> bool {
        let state = self.state.lock();
        state.waiting.iter().any(|it| it.starts(process_id))
    }

    /// Takes out what waits to start this process.
    fn give_up_start(&self, process_id: &str) -> VecDeque<Waiting> {
        let mut state = self.state.lock();
        let waiting = std::mem::take(&mut state.waiting).into_iter();
        let (given_up, left) = waiting.partition(|request| request.starts(process_id));
        state.waiting = left;
        // The thread may have no reason to wait any more.
        self.changed.notify_all();
        given_up
    }

    /// Waits until one of what waits may begin. False, and the end of the thread, when nothing waits.
    fn await_turn(&self) -> bool {
        let mut state = self.state.lock();
        while !state.is_closed && !state.waiting.is_empty() && state.at_work >= self.most {
            state = self.changed.wait(state);
        }
        if state.is_closed || state.waiting.is_empty() {
            state.waiting.clear();
            state.is_running = false;
            self.changed.notify_all();
        }
        state.is_running
    }

    /// The one that begins, if one still waits.
    fn next(self: &Arc<Self>) -> Option<(Waiting, Slot)> {
        let mut state = self.state.lock();
        if state.is_closed {
            return None;
        }
        let request = state.waiting.pop_front()?;
        state.at_work += 1;
        state.handed_on += 1;
        self.changed.notify_all();
        Some((request, Slot(Arc::clone(self))))
    }

    /// Nothing more begins.
    fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Ends the thread: at once, or when nothing waits or nothing went on for `patience`.
    fn end(&self, patience: Option<Duration>) {
        let mut state = self.state.lock();
        let patience = patience.unwrap_or_default();
        let mut progress = (state.handed_on, Instant::now());
        while state.is_running && progress.1.elapsed() < patience {
            let left = patience.saturating_sub(progress.1.elapsed());
            state = self.changed.wait_timeout(state, left).0;
            if state.handed_on != progress.0 {
                progress = (state.handed_on, Instant::now());
            }
        }
        drop(state);
        self.close();
    }
}

/// A request at work, until it is dropped.
pub(crate) struct Slot(Arc<RequestLimit>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.state.lock().at_work -= 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Waiting {
        starting(text, None)
    }

    fn starting(text: &str, starts: Option<&str>) -> Waiting {
        Waiting::Message {
            text: text.into(),
            starts: starts.map(str::to_owned),
            _room: Reserved::none(Kind::Requests),
        }
    }

    /// What is handed on, each answered at once.
    fn handed_on(limit: &Arc<RequestLimit>) -> Vec<String> {
        let mut handed_on = Vec::new();
        while limit.await_turn() {
            if let Some((Waiting::Message { text, .. }, _slot)) = limit.next() {
                handed_on.push(String::from_utf8(text).unwrap());
            }
        }
        handed_on
    }

    #[test]
    fn no_more_begin_than_may_and_an_answer_makes_room() {
        let limit = RequestLimit::new(2);
        let (one, two) = (limit.admit(), limit.admit());
        assert!(one.is_some() && two.is_some() && limit.admit().is_none());
        drop(one);
        assert!(limit.admit().is_some());
    }

    #[test]
    fn nothing_overtakes_what_waits() {
        let limit = RequestLimit::new(1);
        let slot = limit.admit();
        assert_eq!(limit.hold(message("a")), Held::NeedsThread);
        assert_eq!(limit.hold(message("b")), Held::Waits);
        drop(slot);
        assert!(limit.admit().is_none(), "others are before it");
        assert_eq!(handed_on(&limit), ["a", "b"]);
        assert!(limit.admit().is_some());
    }

    #[test]
    fn the_starts_of_one_process_are_given_up_and_nothing_else() {
        let limit = RequestLimit::new(1);
        for (text, starts) in [("a", "p"), ("b", "q"), ("c", "p")] {
            limit.hold(starting(text, Some(starts)));
        }
        assert!(limit.has_start("p") && !limit.has_start("r"));
        assert_eq!(limit.give_up_start("p").len(), 2);
        assert!(limit.give_up_start("p").is_empty() && !limit.has_start("p"));
        assert_eq!(handed_on(&limit), ["b"]);
    }

    #[test]
    fn what_waits_is_bounded_by_number() {
        let limit = RequestLimit::new(1);
        for _ in 0..MAX_WAITING {
            assert_ne!(limit.hold(message("")), Held::Full);
        }
        assert_eq!(limit.hold(message("")), Held::Full);
    }

    #[test]
    fn at_the_end_nothing_is_handed_on() {
        let limit = RequestLimit::new(1);
        limit.hold(message("a"));
        limit.end(None);
        assert!(limit.next().is_none());
        assert!(handed_on(&limit).is_empty());
        assert!(!limit.state.lock().is_running);
    }
}
