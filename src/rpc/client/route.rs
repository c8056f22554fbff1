//! Where a process's events go: in order into a queue, until its owner takes them.

use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use super::ClientError;
use super::sequence::{Sequence, Snapshot};
use super::throttle::{EVENT_COST, ReadThrottle};
use super::types::{Exit, ProcessEvent};
use crate::rpc::base64;
use crate::rpc::methods::process::{OutputParams, ReadReply};
use crate::sys::sync::{Condvar, Mutex};

/// For how long a missing event may still be on its way before the server is asked for it.
pub(super) const GAP_PATIENCE: Duration = Duration::from_secs(1);
/// Output that is acknowledged together; the server's window is 4 MiB.
const ACKNOWLEDGED_TOGETHER: usize = 256 * 1024;

/// The events of one process.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) id: String,
    throttle: Arc<ReadThrottle>,
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Debug, Default)]
struct State {
    sequence: Sequence,
    queue: VecDeque<ProcessEvent>,
    /// What the throttle counts for us.
    charged: usize,
    exit: Option<Exit>,
    failure: Option<String>,
    /// Bytes that have come in order since the server was told.
    unacknowledged: usize,
    /// Since when an event is missing.
    gap_since: Option<Instant>,
    /// Whether the server has been asked for it.
    has_asked: bool,
}

impl Route {
    pub(super) fn new(id: String, throttle: Arc<ReadThrottle>) -> Self {
        Self {
            id,
            throttle,
            state: Mutex::default(),
            told: Condvar::new(),
        }
    }

    /// Takes an event in. The error ends the connection.
    pub(super) fn accept(&self, seq: u64, event: ProcessEvent) -> Result<(), String> {
        let mut state = self.lock();
        let cost = cost(&event);
        if state.sequence.accept(seq, event) {
            state.charged += cost;
            self.throttle.add(cost);
            self.publish(&mut state);
        }
        if state.sequence.is_hopeless() {
            return Err(format!(
                "event {} of process {} never comes, and too many have come behind it",
                state.sequence.published() + 1,
                self.id
            ));
        }
        Ok(())
    }

    /// Takes in the answer to a `process/read` behind the last event handed out.
    pub(super) fn merge(&self, reply: ReadReply<'_>) -> Result<(), String> {
        if let Some(why) = reply.failure {
            self.fail(&why);
            return Ok(());
        }
        let mut chunks = Vec::with_capacity(reply.chunks.len());
        for chunk in &reply.chunks {
            chunks.push((chunk.seq, output(chunk)?));
        }
        let snapshot = Snapshot {
            chunks,
            next_seq: reply.next_seq,
            exit: reply.exited.then(|| reply.exit.into()),
            is_closed: reply.closed,
            first_retained: reply.first_retained_seq,
        };
        let mut state = self.lock();
        let before = state.charged;
        let added: usize = snapshot.chunks.iter().map(|chunk| cost(&chunk.1)).sum();
        state.sequence.merge(snapshot);
        // Some of it may have been known. The account is set right when the queue has been emptied.
        state.charged = before + added;
        self.throttle.add(added);
        state.has_asked = false;
        self.publish(&mut state);
        Ok(())
    }

    /// The number up to which all has come, when it is time to tell the server, or `is_urgent`.
    pub(super) fn to_acknowledge(&self, is_urgent: bool) -> Option<u64> {
        let mut state = self.lock();
        let is_closed = state.sequence.is_closed();
        let is_time = if is_closed {
            state.unacknowledged > 0
        } else {
            is_urgent || state.unacknowledged >= ACKNOWLEDGED_TOGETHER
        };
        if !is_time {
            return None;
        }
        state.unacknowledged = 0;
        Some(state.sequence.published())
    }

    /// Nothing more will come, and that is not the process's end.
    pub(super) fn fail(&self, why: &str) {
        let mut state = self.lock();
        if !state.sequence.is_closed() {
            state.failure.get_or_insert_with(|| why.to_owned());
        }
        self.told.notify_all();
    }

    /// A new connection: whatever was asked on the old one is not answered any more. The number
    /// to read on behind, unless all is here.
    pub(super) fn to_resume(&self) -> Option<u64> {
        let mut state = self.lock();
        state.has_asked = true;
        let is_over = state.sequence.is_closed() || state.failure.is_some();
        (!is_over).then(|| state.sequence.published())
    }

    /// The number to read on behind, if an event has been missing for long and nobody has asked.
    pub(super) fn to_fill(&self, now: Instant) -> Option<u64> {
        let mut state = self.lock();
        let since = state.gap_since?;
        if state.has_asked || now.saturating_duration_since(since) < GAP_PATIENCE {
            return None;
        }
        state.has_asked = true;
        Some(state.sequence.published())
    }

    /// Whether an event is missing.
    pub(super) fn has_gap(&self) -> bool {
        self.lock().gap_since.is_some()
    }

    /// Whether the last event has come, taken or not.
    pub(super) fn is_over(&self) -> bool {
        let state = self.lock();
        state.sequence.is_closed() || state.failure.is_some()
    }

    /// The next event; none if nothing happens within `timeout`, or after the last.
    pub(super) fn next(&self, timeout: Duration) -> Result<Option<ProcessEvent>, ClientError> {
        let mut state = self.lock();
        if state.queue.is_empty() && !timeout.is_zero() {
            drop(state);
            // Before the wait, so that the reader cannot be waiting for us.
            let _waiter = self.throttle.waiter();
            state = self.wait(self.lock(), timeout, |state| state.queue.is_empty());
        }
        if let Some(event) = state.queue.pop_front() {
            let freed = if state.queue.is_empty() && !state.sequence.has_gap() {
                std::mem::take(&mut state.charged)
            } else {
                let freed = cost(&event).min(state.charged);
                state.charged -= freed;
                freed
            };
            self.throttle.release(freed);
            return Ok(Some(event));
        }
        match &state.failure {
            Some(why) => Err(ClientError::Disconnected(why.clone())),
            None => Ok(None),
        }
    }

    /// Waits for the exit without taking any event; none if it does not come within `timeout`.
    pub(super) fn exit(&self, timeout: Duration) -> Result<Option<Exit>, ClientError> {
        let _waiter = self.throttle.waiter();
        let state = self.wait(self.lock(), timeout, |state| state.exit.is_none());
        match (&state.exit, &state.failure) {
            (Some(exit), _) => Ok(Some(exit.clone())),
            (None, Some(why)) => Err(ClientError::Disconnected(why.clone())),
            (None, None) => Ok(None),
        }
    }

    /// Waits while `is_idle`, and there is something left to come.
    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        timeout: Duration,
        is_idle: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        let waits = |state: &mut State| {
            is_idle(state) && state.failure.is_none() && !state.sequence.is_closed()
        };
        let waited = self.told.wait_timeout_while(state, timeout, waits);
        waited.0
    }

    fn publish(&self, state: &mut State) {
        while let Some(event) = state.sequence.next() {
            if let ProcessEvent::Exited(exit) = &event {
                state.exit = Some(exit.clone());
            }
            state.unacknowledged += cost(&event);
            state.queue.push_back(event);
            state.gap_since = None;
        }
        if !state.sequence.has_gap() {
            state.gap_since = None;
        } else if state.gap_since.is_none() {
            state.gap_since = Some(Instant::now());
        }
        self.told.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        self.throttle.release(state.charged);
    }
}

/// A chunk as an event. The error ends the connection.
pub(super) fn output(chunk: &OutputParams<'_>) -> Result<ProcessEvent, String> {
    let data = base64::decode(&chunk.chunk)
        .map_err(|error| format!("output of a process is no base64: {error}"))?;
    Ok(ProcessEvent::Output {
        stream: chunk.stream.into(),
        data,
    })
}

fn cost(event: &ProcessEvent) -> usize {
    match event {
        ProcessEvent::Output { data, .. } => EVENT_COST + data.len(),
        _ => EVENT_COST,
    }
}
