//! Reading retained output: what is asked for, and what is told.

use std::time::{Duration, Instant};

use super::control::Control;
use super::events::ProcessExit;
use super::output::Chunk;
use crate::sandbox::denial::Denial;

/// Answers a read, now or when there is news; `None` when the process did not
/// start after all. Called under the process's lock.
pub type ReadReply = Box<dyn FnOnce(Option<&ReadView<'_>>) + Send>;

/// What a read asks for.
#[derive(Clone, Copy, Debug)]
pub struct ReadQuery {
    /// Only chunks above this number.
    pub after: u64,
    /// Stop before this many bytes are exceeded, but give at least one chunk.
    pub max_bytes: Option<u64>,
    /// How long to wait for news.
    pub wait: Duration,
}

/// A read that waits for news.
pub(super) struct Waiting {
    pub(super) query: ReadQuery,
    /// `None` when it lies beyond what the clock can count.
    pub(super) deadline: Option<Instant>,
    pub(super) reply: ReadReply,
}

/// A process's state for the answer to a read, borrowed under its lock.
pub struct ReadView<'a> {
    pub(super) control: &'a Control,
    pub(super) query: ReadQuery,
}

impl ReadView<'_> {
    /// The chunks asked for.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk<'_>> {
        let mut taken = 0_u64;
        let limit = self.query.max_bytes.unwrap_or(u64::MAX);
        let mut is_first = true;
        self.control
            .output
            .after(self.query.after)
            .take_while(move |chunk| {
                taken += chunk.bytes.len() as u64;
                std::mem::take(&mut is_first) || taken <= limit
            })
    }

    /// Whether no output is kept beyond what is given.
    pub(super) fn reaches_end(&self) -> bool {
        let last = self.chunks().last();
        let given = last.map_or(self.query.after, |last| last.seq);
        self.query.max_bytes.is_none() || !self.control.output.has_after(given)
    }

    /// The number to continue from: that of the next event, or with
    /// `max_bytes` that after the last chunk given.
    pub fn next_seq(&self) -> u64 {
        let last = self.chunks().last();
        match (self.query.max_bytes, last) {
            (Some(_), Some(last)) => last.seq + 1,
            _ => self.control.next_seq,
        }
    }

    /// Output below this number is gone.
    pub fn first_retained_seq(&self) -> u64 {
        self.control.output.first_retained_seq()
    }

    /// How it ended.
    pub fn exit(&self) -> Option<ProcessExit> {
        self.control.exited.map(|(_, exit)| exit)
    }

    /// Why it is taken to have failed for its sandbox.
    pub fn denial(&self) -> Option<&Denial> {
        self.control.denial.as_ref()
    }

    /// Whether all its output is in.
    pub fn is_closed(&self) -> bool {
        self.control.closed.is_some()
    }
}
