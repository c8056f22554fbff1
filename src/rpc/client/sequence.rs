//! The order of one process's events: from numbers in any order to events in theirs.

use std::collections::BTreeMap;

use super::types::{Exit, ProcessEvent};

/// Events that may be ahead of a missing one. The reference sends some out of order, but few.
const MAX_AHEAD: usize = 65_536;

/// Sorts events by number: later ones wait, what is known already is dropped, and nothing comes
/// behind the last.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    published: u64,
    ahead: BTreeMap<u64, ProcessEvent>,
    has_exited: bool,
    is_closed: bool,
}

/// What `process/read` has told.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) chunks: Vec<(u64, ProcessEvent)>,
    /// The number of the next event that is to come.
    pub(super) next_seq: u64,
    /// The process has ended so.
    pub(super) exit: Option<Exit>,
    /// Its last event has the number before `next_seq`.
    pub(super) is_closed: bool,
    /// What is older is not kept, where the server tells.
    pub(super) first_retained: Option<u64>,
}

impl Sequence {
    /// The number of the last event that was handed out.
    pub(super) fn published(&self) -> u64 {
        self.published
    }

    /// Whether the last of all events has been handed out.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Whether events wait for one that is missing.
    pub(super) fn has_gap(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Whether more wait than any server means to send so.
    pub(super) fn is_hopeless(&self) -> bool {
        self.ahead.len() > MAX_AHEAD
    }

    /// Takes an event in. False if it is known already, or behind the end.
    pub(super) fn accept(&mut self, seq: u64, event: ProcessEvent) -> bool {
        if self.is_closed || seq <= self.published || self.ahead.contains_key(&seq) {
            return false;
        }
        self.ahead.insert(seq, event);
        true
    }

    /// The next event in order, once it is here.
    pub(super) fn next(&mut self) -> Option<ProcessEvent> {
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
    pub(super) fn merge(&mut self, snapshot: Snapshot) {
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
    use super::super::types::Stream;
    use super::*;

    fn output(text: &str) -> ProcessEvent {
        ProcessEvent::Output {
            stream: Stream::Stdout,
            data: text.into(),
        }
    }

    fn exit() -> Exit {
        Exit {
            code: 3,
            signal: None,
            timed_out: false,
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
