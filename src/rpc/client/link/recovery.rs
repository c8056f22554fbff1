//! The life of the client's thread: it reads a connection to its end, makes the next one of the same
//! session, and reads that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::opening::{COMMAND_LABEL, Opened};
use super::{BoxedReader, Link, Shared, State, terminate};
use crate::log;
use crate::rpc::client::ClientError;
use crate::rpc::client::connection::Connection;
use crate::rpc::client::handshake::HandshakeError;
use crate::rpc::client::options::Transport;
use crate::rpc::client::session::Session;
use crate::rpc::dial::{Dial, DialError};

/// Between attempts to recover, first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Why an attempt has failed.
enum AttemptError {
    Dial(DialError),
    Handshake(HandshakeError),
}

impl AttemptError {
    fn is_temporary(&self) -> bool {
        match self {
            Self::Dial(error) => error.is_temporary(),
            Self::Handshake(error) => error.is_temporary(),
        }
    }
}

impl std::fmt::Display for AttemptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dial(error) => error.fmt(f),
            Self::Handshake(error) => error.fmt(f),
        }
    }
}

impl Shared {
    /// The life of the client's thread: reads a connection to its end, and the next one.
    pub(super) fn serve(
        &self,
        mut reader: BoxedReader,
        mut connection: Arc<Connection>,
        session: &Arc<Session>,
    ) {
        loop {
            let why = connection.read(&mut *reader, session);
            match self.lost(&connection, session, why) {
                Some(next) => (connection, reader) = next,
                None => return,
            }
        }
    }

    /// A connection has ended. The next one of the same session, if that can be had.
    fn lost(
        &self,
        connection: &Arc<Connection>,
        session: &Arc<Session>,
        mut why: String,
    ) -> Option<(Arc<Connection>, BoxedReader)> {
        if let Some(command) = &connection.command {
            command.end();
            why = format!("{COMMAND_LABEL}: {why}; {}", command.last_words());
        }
        log::info!("lost the connection to an exec-server: {why}");
        let dial = match &self.options.transport {
            Transport::WebSocket(dial) => Some(dial),
            Transport::Command(_) => None,
        };
        {
            let mut state = self.lock();
            // Before the calls fail, so that who calls again waits for what comes of this.
            state.attempt += 1;
            state.link = match (dial, state.is_ended) {
                (Some(_), false) => Link::Recovering(why.clone()),
                _ => {
                    session.fail(&why);
                    Link::Failed(ClientError::Disconnected(why.clone()))
                }
            };
            self.changed.notify_all();
        }
        connection.close(&why);
        session.connection_lost(&why);
        let recovered = match dial {
            Some(dial) => self.recover(dial, session),
            None => Err(String::new()),
        };
        match recovered {
            Ok(Some((connection, reader))) => {
                for route in session.routes() {
                    if let Some(after) = route.to_resume() {
                        connection.read_again(&route, after);
                    }
                }
                let mut state = self.lock();
                for id in session.abandoned() {
                    connection.ignore(session, &id);
                }
                for id in std::mem::take(&mut state.stray) {
                    terminate(&connection, &id);
                }
                if state.is_ended {
                    // Nobody reads what a goodbye would bring.
                    connection.close("the client has been closed");
                    return None;
                }
                state.link = Link::Connected(Arc::clone(&connection));
                self.changed.notify_all();
                Some((connection, reader))
            }
            Ok(None) => {
                session.fail("the client has been closed");
                None
            }
            Err(failure) => {
                if !failure.is_empty() {
                    why = format!("{why}; failed to resume exec-server session: {failure}");
                }
                // With the lock in hand: who learns of it and tries again gets a fresh attempt.
                let mut state = self.lock();
                session.fail(&why);
                state.stray.clear();
                if !state.is_ended {
                    state.link = Link::Failed(ClientError::Disconnected(why));
                }
                self.changed.notify_all();
                None
            }
        }
    }

    /// Tries until the window is over. None when the client is closed meanwhile.
    fn recover(
        &self,
        dial: &Dial,
        session: &Session,
    ) -> Result<Option<(Arc<Connection>, BoxedReader)>, String> {
        let window = self.options.recovery_window;
        let deadline = Instant::now() + window;
        let mut pause = RETRY.0;
        loop {
            if self.lock().is_ended {
                return Ok(None);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("recovery timed out after {window:?}"));
            }
            match self.try_to_resume(dial, session, left) {
                Ok(opened) => {
                    let throttle = Arc::clone(&session.throttle);
                    return Ok(Some(self.establish(opened, throttle)));
                }
                Err(error) if !error.is_temporary() => return Err(error.to_string()),
                Err(error) => log::debug!("cannot resume yet: {error}"),
            }
            let ends = |state: &mut State| !state.is_ended;
            let left = deadline.saturating_duration_since(Instant::now());
            drop(
                self.changed
                    .wait_timeout_while(self.lock(), pause.min(left), ends),
            );
            pause = (pause * 3 / 2).min(RETRY.1);
        }
    }

    fn try_to_resume(
        &self,
        dial: &Dial,
        session: &Session,
        left: Duration,
    ) -> Result<Opened, AttemptError> {
        let dial = Dial {
            timeout: dial.timeout.min(left),
            ..dial.clone()
        };
        let mut opened = self.dial(&dial).map_err(AttemptError::Dial)?;
        let limit = self.options.initialize_timeout.min(left);
        self.handshake(&mut opened, Some(&session.id), limit, &mut Vec::new())
            .map_err(AttemptError::Handshake)?;
        Ok(opened)
    }
}
