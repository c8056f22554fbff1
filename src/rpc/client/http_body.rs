//! The body of an HTTP answer, as it comes in notifications.

use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::ClientError;
use super::throttle::{EVENT_COST, ReadThrottle};
use crate::rpc::base64;
use crate::rpc::methods::http::BodyDeltaParams;
use crate::sys::sync::{Condvar, Mutex};

/// Where the pieces of one body go.
#[derive(Debug)]
pub(super) struct BodyRoute {
    throttle: Arc<ReadThrottle>,
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Debug, Default)]
struct State {
    last_seq: u64,
    pieces: VecDeque<Vec<u8>>,
    is_done: bool,
    failure: Option<String>,
}

impl BodyRoute {
    pub(super) fn new(throttle: Arc<ReadThrottle>) -> Self {
        Self {
            throttle,
            state: Mutex::default(),
            told: Condvar::new(),
        }
    }

    /// The error ends the connection.
    pub(super) fn accept(&self, delta: &BodyDeltaParams<'_>) -> Result<(), String> {
        let data = base64::decode(&delta.delta_base64)
            .map_err(|error| format!("the body of an HTTP answer is no base64: {error}"))?;
        let mut state = self.lock();
        if state.is_done || delta.seq <= state.last_seq {
            return Ok(());
        }
        if delta.seq != state.last_seq + 1 {
            state.failure = Some("a piece of the HTTP body is missing".to_owned());
        }
        state.last_seq = delta.seq;
        state.is_done = delta.done;
        if let Some(error) = &delta.error {
            state.failure.get_or_insert_with(|| error.clone());
        }
        if !data.is_empty() {
            self.throttle.add(data.len() + EVENT_COST);
            state.pieces.push_back(data);
        }
        self.told.notify_all();
        Ok(())
    }

    pub(super) fn fail(&self, why: &str) {
        self.lock().failure.get_or_insert_with(|| why.to_owned());
        self.told.notify_all();
    }

    /// The next piece; none at the end.
    pub(super) fn next(&self, timeout: Option<Duration>) -> Result<Option<Vec<u8>>, ClientError> {
        let _waiter = self.throttle.waiter();
        let waits = |state: &mut State| {
            state.pieces.is_empty() && !state.is_done && state.failure.is_none()
        };
        let mut state = match timeout {
            Some(limit) => {
                let waited = self.told.wait_timeout_while(self.lock(), limit, waits);
                waited.0
            }
            None => self.told.wait_while(self.lock(), waits),
        };
        if let Some(piece) = state.pieces.pop_front() {
            self.throttle.release(piece.len() + EVENT_COST);
            return Ok(Some(piece));
        }
        match &state.failure {
            Some(why) => Err(ClientError::Disconnected(why.clone())),
            None if state.is_done => Ok(None),
            None => Err(ClientError::TimedOut(
                "the body of the HTTP answer did not come in time".to_owned(),
            )),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Drop for BodyRoute {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        let cost = |piece: &Vec<u8>| piece.len() + EVENT_COST;
        self.throttle.release(state.pieces.iter().map(cost).sum());
    }
}
