//! A connection's messages on their way to its dispatch, and how many requests may be at work at
//! once, where that is limited (`--concurrent-requests`).
//!
//! A request is at work until it is answered, however long that takes. What comes beyond the limit
//! waits in the order in which it came, and a thread of its own goes on with it, so that the
//! connection's reader never waits: what ends a process, or lets its output go on, is handled at
//! once.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dispatch::Dispatch;
use super::file_queue::Room;
use super::files::FileWork;
use super::reply::Responder;
use crate::memory::{self, Kind, Reserved};
use crate::rpc::error::{ErrorKind, RpcError};
use crate::rpc::message::{Message, RequestId};
use crate::rpc::methods::fs::WriteBlock;
use crate::rpc::methods::process::{Acknowledge, Signal, Terminate};
use crate::rpc::methods::session::{Info, Initialize, Status};
use crate::rpc::methods::{self, Method};
use crate::rpc::transport::{Outbound, Payload, PayloadError};
use crate::sys::sync::{Condvar, Mutex};
use crate::workers::Workers;

/// Requests that may wait.
const MAX_WAITING: usize = 16 * 1024;

/// What is handled at once, however many requests are at work.
const AT_ONCE: [&str; 6] = [
    Initialize::NAME,
    Info::NAME,
    Status::NAME,
    Signal::NAME,
    Terminate::NAME,
    Acknowledge::NAME,
];

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

    /// Takes one message; the payload that follows it, if one does.
    pub(crate) fn take(&self, message: &[u8]) -> Option<Payload> {
        let Some((limited, id, method)) = self.limited(message) else {
            return self.dispatch.lock().handle(message, None);
        };
        match limited.limit.admit() {
            Some(slot) => self.dispatch.lock().handle(message, Some(slot)),
            None => {
                let room = Reserved::of(Kind::Requests, message.len());
                match room.and_then(|room| Some((memory::copy(message)?, room))) {
                    Some((copy, room)) => {
                        let waiting = Waiting::Message(copy, room);
                        self.put_off(limited, (id, &method), waiting);
                    }
                    None => self.refuse((id, &method), limited.too_many()),
                }
                None
            }
        }
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
                drop(dispatch);
                let id = responder.owned_id();
                let request = (id.borrow(), WriteBlock::NAME);
                self.put_off(limited, request, Waiting::Write(responder, work, room));
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

    /// The limit that holds for this message, its id and its method.
    fn limited<'a>(&self, message: &'a [u8]) -> Option<(&Limited, RequestId<'a>, Cow<'a, str>)> {
        let limited = self.limit.as_ref()?;
        let message = Message::decode(str::from_utf8(message).ok()?).ok()?;
        let Message::Request { id, method, params } = message else {
            return None;
        };
        let is_at_once = AT_ONCE.contains(&&*method) || methods::all().all(|it| it.0 != method);
        // A request that raw bytes follow is at work once they are here.
        let has_payload = super::files::payload_len(&method, params).is_some();
        (!is_at_once && !has_payload).then_some((limited, id, method))
    }

    /// Lets a request wait for its turn.
    fn put_off(&self, limited: &Limited, (id, method): (RequestId<'_>, &str), request: Waiting) {
        let outcome = match limited.limit.hold(request) {
            Held::Waits => return,
            Held::NeedsThread => {
                let (dispatch, limit) = (Arc::clone(&self.dispatch), Arc::clone(&limited.limit));
                let outbound = Arc::clone(&limited.outbound);
                let run = move || {
                    limit.hand_on(|request, slot| {
                        dispatch.lock().go_on(request, slot);
                        outbound.flush();
                    });
                };
                limited.workers.run(Box::new(run)).map_err(|error| {
                    limited.limit.give_up();
                    format!("no thread for requests that wait: {error}; try again later")
                })
            }
            Held::Full => Err(limited.too_many()),
        };
        if let Err(message) = outcome {
            self.refuse((id, method), message);
        }
    }

    fn refuse(&self, (id, method): (RequestId<'_>, &str), message: String) {
        let error = RpcError::new(ErrorKind::Busy, message);
        self.dispatch.lock().fail(id, method, &error);
    }
}

/// A request that waits for its turn.
pub(crate) enum Waiting {
    /// As the client has sent it.
    Message(Vec<u8>, Reserved),
    /// An `fs/writeBlock` whose bytes are here.
    Write(Responder, FileWork, Room),
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

    /// The life of the thread: hands on what waits, in order, until nothing does.
    fn hand_on(self: &Arc<Self>, mut handle: impl FnMut(Waiting, Slot)) {
        loop {
            let mut state = self.state.lock();
            while !state.is_closed && !state.waiting.is_empty() && state.at_work >= self.most {
                state = self.changed.wait(state);
            }
            let next = match state.is_closed {
                true => None,
                false => state.waiting.pop_front(),
            };
            let Some(request) = next else {
                state.waiting.clear();
                state.is_running = false;
                self.changed.notify_all();
                return;
            };
            state.at_work += 1;
            state.handed_on += 1;
            self.changed.notify_all();
            drop(state);
            handle(request, Slot(Arc::clone(self)));
        }
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
        state.is_closed = true;
        self.changed.notify_all();
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
        Waiting::Message(text.into(), Reserved::none(Kind::Requests))
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
        let mut handed_on = Vec::new();
        limit.hand_on(|request, _slot| match request {
            Waiting::Message(text, _) => handed_on.push(String::from_utf8(text).unwrap()),
            Waiting::Write(..) => unreachable!(),
        });
        assert_eq!(handed_on, ["a", "b"]);
        assert!(limit.admit().is_some());
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
        limit.hand_on(|_, _| panic!("the client is gone"));
        assert!(!limit.state.lock().is_running);
    }
}
