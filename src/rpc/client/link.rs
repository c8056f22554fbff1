//! From no connection to one, and from a lost one to the next.
//!
//! ```text
//!            first use           lost (websocket)
//!   Idle ──► Connecting ──► Connected ──► Recovering ──► Connected
//!                 │             │ lost (command)  │ 45 s, or refused
//!                 ▼             ▼                 ▼
//!               Failed ◄────────┴─────────────────┘
//!                 └──► Connecting, on next use: a new session
//! ```
//!
//! Who needs a connection that is not there makes it on its own thread; all others wait for the
//! same attempt and share its outcome. The thread that reads a connection is the one that
//! recovers it, and then reads the next.

mod opening;
mod recovery;

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::connection::{Answer, CallError, Connection};
use super::options::ClientOptions;
use super::route::Route;
use super::session::Session;
use super::{ClientError, ConnectionState};
use crate::rpc::encode;
use crate::rpc::transport::Reader;
use crate::sys::sync::{Condvar, Mutex};

/// For the last bytes to a server that we leave.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What all handles of a client share.
pub(super) struct Shared {
    pub(super) options: ClientOptions,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    link: Link,
    session: Option<Arc<Session>>,
    /// Counts attempts, so that who has waited for one knows its outcome from an older one.
    attempt: u64,
    /// Processes that may have been started by calls that were lost.
    stray: Vec<String>,
    is_ended: bool,
}

enum Link {
    Idle,
    Connecting,
    Connected(Arc<Connection>),
    Recovering(String),
    Failed(ClientError),
}

type BoxedReader = Box<dyn Reader + Send>;

impl Shared {
    pub(super) fn new(options: ClientOptions) -> Self {
        Self {
            options,
            state: Mutex::new(State {
                link: Link::Idle,
                session: None,
                attempt: 0,
                stray: Vec::new(),
                is_ended: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// A session with a connection; made or waited for, if need be.
    pub(super) fn ready(self: &Arc<Self>) -> Result<(Arc<Session>, Arc<Connection>), ClientError> {
        let mut state = self.lock();
        let mut awaited = None;
        loop {
            if state.is_ended {
                let why = "the client has been closed".to_owned();
                return Err(ClientError::Disconnected(why));
            }
            match (&state.link, &state.session) {
                (Link::Connected(connection), Some(session)) => {
                    return Ok((Arc::clone(session), Arc::clone(connection)));
                }
                (Link::Connecting | Link::Recovering(_), _) => {
                    awaited = Some(state.attempt);
                    // Whoever makes the attempt has limits on all of its steps.
                    state = self.changed.wait(state);
                }
                (Link::Failed(error), _) if awaited == Some(state.attempt) => {
                    return Err(error.clone());
                }
                _ => {
                    state.attempt += 1;
                    state.link = Link::Connecting;
                    drop(state);
                    let connected = self.connect();
                    state = self.lock();
                    self.changed.notify_all();
                    match connected {
                        Ok((session, connection)) => {
                            state.session = Some(Arc::clone(&session));
                            state.link = Link::Connected(Arc::clone(&connection));
                            return Ok((session, connection));
                        }
                        Err(error) => {
                            state.link = Link::Failed(error.clone());
                            return Err(error);
                        }
                    }
                }
            }
        }
    }

    /// The same for what belongs to a session: an error if another one has taken its place.
    pub(super) fn ready_in(
        self: &Arc<Self>,
        wanted: &Arc<Session>,
    ) -> Result<Arc<Connection>, ClientError> {
        if let Some(why) = wanted.failure() {
            return Err(ClientError::Disconnected(why));
        }
        let (session, connection) = self.ready()?;
        if Arc::ptr_eq(&session, wanted) {
            return Ok(connection);
        }
        let why = wanted.failure().unwrap_or_default();
        Err(ClientError::Disconnected(why))
    }

    /// One call in a session. With `repeats`, one that was lost with its connection is made again
    /// on the next: only for what makes no difference when it is done twice.
    pub(super) fn call_in(
        self: &Arc<Self>,
        session: &Arc<Session>,
        method: &str,
        params: impl Fn(&mut Vec<u8>),
        limit: Option<Duration>,
        repeats: bool,
    ) -> Result<Answer, ClientError> {
        loop {
            let connection = self.ready_in(session)?;
            match connection.call(method, &params, limit) {
                Ok(json) => return Ok(json),
                Err(CallError::NotSent(_)) => {}
                Err(CallError::Failed(ClientError::Disconnected(_))) if repeats => {}
                Err(CallError::Failed(error)) => return Err(error),
            }
        }
    }

    /// One call on whatever connection there is.
    pub(super) fn call(
        self: &Arc<Self>,
        method: &str,
        params: impl Fn(&mut Vec<u8>),
        limit: Option<Duration>,
    ) -> Result<Answer, ClientError> {
        loop {
            let (_, connection) = self.ready()?;
            match connection.call(method, &params, limit) {
                Ok(json) => return Ok(json),
                Err(CallError::NotSent(_)) => {}
                Err(CallError::Failed(error)) => return Err(error),
            }
        }
    }

    /// A call that starts a process was lost: should it run, it is ended on the next connection.
    pub(super) fn note_stray(&self, session: &Session, id: &str) {
        let mut state = self.lock();
        let is_same = state.session.as_ref().is_some_and(|it| it.id == session.id);
        if !is_same {
            return;
        }
        match &state.link {
            Link::Connected(connection) => terminate(connection, id),
            _ => state.stray.push(id.to_owned()),
        }
    }

    /// The handle of a process is gone.
    pub(super) fn abandon(&self, session: &Session, route: &Route) {
        if !session.abandon(route) {
            return;
        }
        let state = self.lock();
        let is_same = state.session.as_ref().is_some_and(|it| it.id == session.id);
        if let (true, Link::Connected(connection)) = (is_same, &state.link) {
            connection.ignore(session, &route.id);
        }
    }

    /// What is going on.
    pub(super) fn describe(&self) -> ConnectionState {
        match &self.lock().link {
            Link::Idle => ConnectionState::Idle,
            Link::Connecting => ConnectionState::Connecting,
            Link::Connected(_) => ConnectionState::Connected,
            Link::Recovering(why) => ConnectionState::Recovering(why.clone()),
            Link::Failed(error) => ConnectionState::Failed(error.to_string()),
        }
    }

    /// Ends everything: running processes are killed, the connection is closed, a command is ended
    /// and waited for.
    pub(super) fn shut_down(&self) {
        let (link, session) = {
            let mut state = self.lock();
            state.is_ended = true;
            self.changed.notify_all();
            (
                std::mem::replace(&mut state.link, Link::Idle),
                state.session.take(),
            )
        };
        if let Some(session) = &session {
            session.throttle.end();
        }
        let Link::Connected(connection) = link else {
            return;
        };
        match &connection.command {
            Some(command) => command.end(),
            None => {
                // The server would keep them for a while, for a client that comes back.
                for id in session.iter().flat_map(|session| session.running()) {
                    terminate(&connection, &id);
                }
                connection.hang_up(LAST_WORDS);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

fn terminate(connection: &Connection, id: &str) {
    let params = serde_json::json!({ "processId": id });
    // Where it cannot be sent, the session is at its end.
    connection.post("process/terminate", |out| encode::json(out, &params));
}
