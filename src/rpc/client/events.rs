//! The events of one process: from numbers in any order to events in theirs, queued until its owner
//! takes them.
//!
//! A server numbers the events of a process, but may send them out of order, lose output that it does
//! not keep, and say a thing again on the next connection. [`Sequence`] sorts them; an event that is
//! missing for [`GAP_PATIENCE`] is asked for by `process/read`, and what the answer does not have is
//! lost for good, which the owner is told as [`ProcessEvent::Gap`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use super::ClientError;
use super::process::{Exit, ProcessEvent};
use super::throttle::{EVENT_COST, ReadThrottle};
use crate::rpc::base64;
use crate::rpc::methods::process::{OutputParams, ReadReply};
use crate::sys::sync::{Condvar, Mutex};

/// For how long a missing event may still be on its way before the server is asked for it.
pub(crate) const GAP_PATIENCE: Duration = Duration::from_secs(1);
/// Output that is acknowledged together; the server's window is 4 MiB.
const ACKNOWLEDGED_TOGETHER: usize = 256 * 1024;

/// The events of one process.
#[derive(Debug)]
pub(crate) struct EventQueue {
    pub(crate) id: String,
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

impl EventQueue {
    pub(crate) fn new(id: String, throttle: Arc<ReadThrottle>) -> Self {
        Self {
            id,
            throttle,
            state: Mutex::default(),
            told: Condvar::new(),
        }
    }

    /// Takes an event in; whether one could be handed out for it. The error ends the connection.
    pub(crate) fn accept(&self, seq: u64, event: ProcessEvent) -> Result<bool, String> {
        let mut state = self.state.lock();
        let before = state.sequence.published();
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
        Ok(state.sequence.published() > before)
    }

    /// Takes in the answer to a `process/read` behind the last event handed out; whether it has
    /// brought another.
    pub(crate) fn merge(&self, reply: ReadReply<'_>) -> Result<bool, String> {
        if let Some(why) = reply.failure {
            self.fail(&why);
            return Ok(false);
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
        let mut state = self.state.lock();
        let known = state.sequence.published();
        let before = state.charged;
        let added: usize = snapshot.chunks.iter().map(|chunk| cost(&chunk.1)).sum();
        state.sequence.merge(snapshot);
        // Some of it may have been known. The account is set right when the queue has been emptied.
        state.charged = before + added;
        self.throttle.add(added);
        state.has_asked = false;
        self.publish(&mut state);
        Ok(state.sequence.published() > known)
    }

    /// The number up to which all has come, when it is time to tell the server, or `is_urgent`.
    pub(crate) fn to_acknowledge(&self, is_urgent: bool) -> Option<u64> {
        let mut state = self.state.lock();
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
    pub(crate) fn fail(&self, why: &str) {
        let mut state = self.state.lock();
        if !state.sequence.is_closed() {
            state.failure.get_or_insert_with(|| why.to_owned());
        }
        self.told.notify_all();
    }

    /// A new connection: whatever was asked on the old one is not answered any more. The number
    /// to read on behind, unless all is here.
    pub(crate) fn to_resume(&self) -> Option<u64> {
        let mut state = self.state.lock();
        state.has_asked = true;
        let is_over = state.sequence.is_closed() || state.failure.is_some();
        (!is_over).then(|| state.sequence.published())
    }

    /// The number to read on behind, if an event has been missing for long and nobody has asked.
    pub(crate) fn to_fill(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock();
        let since = state.gap_since?;
        if state.has_asked || now.saturating_duration_since(since) < GAP_PATIENCE {
            return None;
        }
        state.has_asked = true;
        Some(state.sequence.published())
    }

    /// Whether an event is missing.
    pub(crate) fn has_gap(&self) -> bool {
        self.state.lock().gap_since.is_some()
    }

    /// Whether the last event has come, taken or not.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.state.lock();
        state.sequence.is_closed() || state.failure.is_some()
    }

    /// The next event; none if nothing happens within `timeout`, or after the last.
    pub(crate) fn next(&self, timeout: Duration) -> Result<Option<ProcessEvent>, ClientError> {
        let mut state = self.state.lock();
        if state.queue.is_empty() && !timeout.is_zero() {
            drop(state);
            // Before the wait, so that the reader cannot be waiting for us.
            let _waiter = self.throttle.waiter();
            state = self.wait(self.state.lock(), timeout, |state| state.queue.is_empty());
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
    pub(crate) fn exit(&self, timeout: Duration) -> Result<Option<Exit>, ClientError> {
        let _waiter = self.throttle.waiter();
        let state = self.wait(self.state.lock(), timeout, |state| state.exit.is_none());
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
}

impl Drop for EventQueue {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        self.throttle.release(state.charged);
    }
}

/// A chunk as an event. The error ends the connection.
pub(crate) fn output(chunk: &OutputParams<'_>) -> Result<ProcessEvent, String> {
    let data = base64::decode(&chunk.chunk)
        .map_err(|error| format!("output of a process is no base64: {error}"))?;
    Ok(ProcessEvent::Output {
        stream: chunk.stream,
        data,
    })
}

fn cost(event: &ProcessEvent) -> usize {
    match event {
        ProcessEvent::Output { data, .. } => EVENT_COST + data.len(),
        _ => EVENT_COST,
    }
}

/// Events that may be ahead of a missing one. The reference sends some out of order, but few.
const MAX_AHEAD: usize = 65_536;

/// Sorts events by number: later ones wait, what is known already is dropped, and nothing comes
/// behind the last.
#[derive(Debug, Default)]
struct Sequence {
    published: u64,
    ahead: BTreeMap<u64, ProcessEvent>,
    has_exited: bool,
    is_closed: bool,
}

/// What `process/read` has told.
#[derive(Debug)]
struct Snapshot {
    chunks: Vec<(u64, ProcessEvent)>,
    /// The number of the next event that is to come.
    next_seq: u64,
    /// The process has ended so.
    exit: Option<Exit>,
    /// Its last event has the number before `next_seq`.
    is_closed: bool,
    /// What is older is not kept, where the server tells.
    first_retained: Option<u64>,
}

impl Sequence {
    /// The number of the last event that was handed out.
    fn published(&self) -> u64 {
        self.published
    }

    /// Whether the last of all events has been handed out.
    fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Whether events wait for one that is missing.
    fn has_gap(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Whether more wait than any server means to send so.
    fn is_hopeless(&self) -> bool {
        self.ahead.len() > MAX_AHEAD
    }

    /// Takes an event in. False if it is known already, or behind the end.
    fn accept(&mut self, seq: u64, event: ProcessEvent) -> bool {
        if self.is_closed || seq <= self.published || self.ahead.contains_key(&seq) {
            return false;
        }
        self.ahead.insert(seq, event);
        true
    }

    /// The next event in order, once it is here.
    fn next(&mut self) -> Option<ProcessEvent> {
        // A server may name any number, also the last there is.
        let next = self.published.checked_add(1)?;
        let event = self.ahead.remove(&next)?;
        self.published = next;
        match &event {
            ProcessEvent::Gap { last, .. } => self.published = *last,
            ProcessEvent::Exited(_) => self.has_exited = true,
            ProcessEvent::Closed => {
                self.is_closed = true;
                self.ahead.clear();
            }
            ProcessEvent::Output { .. } => {}
        }
        Some(event)
    }

    /// Takes in what the server has kept, and settles what has become of all other events up to
    /// there: one may be the exit, which is told without its number; the rest is lost.
    fn merge(&mut self, snapshot: Snapshot) {
        let target = snapshot.next_seq.saturating_sub(1);
        for (seq, event) in snapshot.chunks {
            self.accept(seq, event);
        }
        if snapshot.is_closed {
            self.accept(target, ProcessEvent::Closed);
        }
        let mut missing = self.missing(target);
        let knows_exit = self.has_exited
            || self
                .ahead
                .values()
                .any(|event| matches!(event, ProcessEvent::Exited(_)));
        if let Some(exit) = snapshot.exit.filter(|_| !knows_exit)
            && let Some(seq) = exit_number(&missing, snapshot.first_retained)
        {
            self.accept(seq, ProcessEvent::Exited(exit));
            missing = self.missing(target);
        }
        for (first, last) in missing {
            self.accept(first, ProcessEvent::Gap { first, last });
        }
    }

    /// The ranges without an event, from the next one to `target`.
    fn missing(&self, target: u64) -> Vec<(u64, u64)> {
        if self.is_closed {
            return Vec::new();
        }
        let mut ranges = Vec::new();
        let mut next = self.published.saturating_add(1);
        for (seq, event) in self.ahead.range(..=target) {
            if *seq > next {
                ranges.push((next, seq - 1));
            }
            next = match event {
                ProcessEvent::Gap { last, .. } => last.saturating_add(1),
                _ => seq.saturating_add(1),
            };
        }
        if next <= target {
            ranges.push((next, target));
        }
        ranges
    }
}

/// Which of the missing numbers is the exit's: the last one, since output is lost from its
/// beginning; never one below what is kept if there are others.
fn exit_number(missing: &[(u64, u64)], first_retained: Option<u64>) -> Option<u64> {
    let last = missing.last()?.1;
    let kept = missing.iter().rev().find_map(|(first, last)| {
        let first = first_retained.map_or(*first, |kept| kept.max(*first));
        (first <= *last).then_some(*last)
    });
    Some(kept.unwrap_or(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::methods::process::StreamName;

    fn output(text: &str) -> ProcessEvent {
        ProcessEvent::Output {
            stream: StreamName::Stdout,
            data: text.into(),
        }
    }

    fn exit() -> Exit {
        Exit {
            code: 3,
            signal: None,
            timed_out: false,
            oom_killed: false,
            sandbox_denied: false,
            denial: None,
        }
    }

    fn all(sequence: &mut Sequence) -> Vec<ProcessEvent> {
        std::iter::from_fn(|| sequence.next()).collect()
    }

    fn snapshot(chunks: &[(u64, &str)], next_seq: u64) -> Snapshot {
        let chunk = |(seq, text): &(u64, &str)| (*seq, output(text));
        Snapshot {
            chunks: chunks.iter().map(chunk).collect(),
            next_seq,
            exit: None,
            is_closed: false,
            first_retained: None,
        }
    }

    #[test]
    fn events_come_in_the_order_of_their_numbers_and_once() {
        let mut sequence = Sequence::default();
        assert!(sequence.accept(4, ProcessEvent::Closed));
        assert!(sequence.accept(2, output("two")));
        assert_eq!(all(&mut sequence), []);
        assert!(sequence.has_gap());
        assert!(sequence.accept(1, output("one")));
        assert!(!sequence.accept(1, output("again")));
        assert_eq!(all(&mut sequence), [output("one"), output("two")]);
        assert!(!sequence.accept(2, output("late")));
        assert!(sequence.accept(3, ProcessEvent::Exited(exit())));
        let last = [ProcessEvent::Exited(exit()), ProcessEvent::Closed];
        assert_eq!(all(&mut sequence), last);
        assert!(sequence.is_closed() && !sequence.has_gap());
        assert!(!sequence.accept(5, output("after")));
    }

    #[test]
    fn what_was_kept_fills_the_gap_and_tells_the_exit() {
        let mut sequence = Sequence::default();
        sequence.accept(1, output("a"));
        sequence.accept(3, output("c"));
        assert_eq!(all(&mut sequence), [output("a")]);
        sequence.merge(Snapshot {
            exit: Some(exit()),
            is_closed: true,
            ..snapshot(&[(2, "b"), (3, "c")], 6)
        });
        let events = all(&mut sequence);
        let exited = ProcessEvent::Exited(exit());
        assert_eq!(
            events,
            [output("b"), output("c"), exited, ProcessEvent::Closed]
        );
    }

    #[test]
    fn an_exit_that_is_known_is_not_told_again() {
        let mut sequence = Sequence::default();
        sequence.accept(1, ProcessEvent::Exited(exit()));
        all(&mut sequence);
        sequence.merge(Snapshot {
            exit: Some(exit()),
            ..snapshot(&[(2, "descendant")], 3)
        });
        assert_eq!(all(&mut sequence), [output("descendant")]);
    }

    #[test]
    fn an_exit_between_pieces_of_output_finds_its_place() {
        let mut sequence = Sequence::default();
        sequence.merge(Snapshot {
            exit: Some(exit()),
            ..snapshot(&[(1, "a"), (3, "late")], 4)
        });
        let exited = ProcessEvent::Exited(exit());
        assert_eq!(all(&mut sequence), [output("a"), exited, output("late")]);
    }

    #[test]
    fn what_is_lost_is_an_explicit_gap() {
        let mut sequence = Sequence::default();
        sequence.accept(1, output("a"));
        all(&mut sequence);
        sequence.merge(Snapshot {
            exit: Some(exit()),
            is_closed: true,
            first_retained: Some(8),
            ..snapshot(&[(8, "h"), (9, "i")], 12)
        });
        let events = all(&mut sequence);
        let gap = ProcessEvent::Gap { first: 2, last: 7 };
        let exited = ProcessEvent::Exited(exit());
        let closed = ProcessEvent::Closed;
        assert_eq!(events, [gap, output("h"), output("i"), exited, closed]);
    }

    #[test]
    fn an_exit_that_was_lost_with_output_is_still_told() {
        let mut sequence = Sequence::default();
        sequence.merge(Snapshot {
            exit: Some(exit()),
            is_closed: true,
            first_retained: Some(5),
            ..snapshot(&[(5, "e")], 7)
        });
        let events = all(&mut sequence);
        let gap = |first, last| ProcessEvent::Gap { first, last };
        let exited = ProcessEvent::Exited(exit());
        assert_eq!(
            events,
            [gap(1, 3), exited, output("e"), ProcessEvent::Closed]
        );
    }

    #[test]
    fn numbers_at_the_end_of_all_numbers_are_survived() {
        let mut sequence = Sequence::default();
        sequence.accept(u64::MAX, output("z"));
        sequence.merge(snapshot(&[(u64::MAX, "z")], u64::MAX));
        let gap = ProcessEvent::Gap {
            first: 1,
            last: u64::MAX - 1,
        };
        assert_eq!(all(&mut sequence), [gap, output("z")]);
        assert!(!sequence.accept(u64::MAX, output("again")));
        sequence.merge(snapshot(&[(1, "a")], u64::MAX));
        assert_eq!(all(&mut sequence), []);
    }

    #[test]
    fn a_server_that_knows_nothing_new_changes_nothing() {
        let mut sequence = Sequence::default();
        sequence.accept(1, output("a"));
        all(&mut sequence);
        sequence.merge(snapshot(&[], 2));
        sequence.merge(snapshot(&[], 0));
        assert_eq!((all(&mut sequence).len(), sequence.published()), (0, 1));
    }
}
