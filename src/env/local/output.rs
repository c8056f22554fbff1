//! The retained output of one process: its newest chunks, up to a limit.

use std::borrow::Cow;
use std::collections::VecDeque;

/// What a chunk costs beside its bytes; keeps a flood of tiny chunks from
/// holding many times the limit in bookkeeping.
const CHUNK_COST: usize = size_of::<Entry>();

/// Which of a process's streams a chunk came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A terminal, where the two are one.
    Pty,
}

impl Stream {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Pty => "pty",
        }
    }
}

/// A piece of output.
#[derive(Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Its number among the process's events.
    pub seq: u64,
    /// Where it came from.
    pub stream: Stream,
    /// At least one byte.
    pub bytes: Cow<'a, [u8]>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    seq: u64,
    len: u32,
    stream: Stream,
}

/// The newest chunks of one process, oldest first.
#[derive(Debug, Default)]
pub struct Retained {
    entries: VecDeque<Entry>,
    bytes: VecDeque<u8>,
    evicted_through: u64,
}

impl Retained {
    /// Adds a chunk and drops the oldest ones until all cost at most `limit`
    /// bytes. What is above the number `sent` always stays.
    pub fn push(&mut self, seq: u64, stream: Stream, data: &[u8], limit: usize, sent: u64) {
        self.evict_to(limit.saturating_sub(data.len() + CHUNK_COST), sent);
        let len = self.bytes.len() + data.len();
        if len > self.bytes.capacity() {
            // Doubling beyond the limit would take twice the memory that is accounted for.
            let capacity = (self.bytes.capacity() * 2).min(limit).max(len);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.entries.push_back(Entry {
            seq,
            // A chunk is one read, far below 4 GiB.
            len: data.len() as u32,
            stream,
        });
        self.bytes.extend(data);
    }

    /// Drops the oldest chunks until at least `cost` is freed, but none above the number `sent`.
    pub fn evict(&mut self, cost: usize, sent: u64) {
        self.evict_to(self.cost().saturating_sub(cost), sent);
    }

    fn evict_to(&mut self, target: usize, sent: u64) {
        while self.cost() > target && self.entries.front().is_some_and(|it| it.seq <= sent) {
            self.evict_oldest();
        }
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        if let Some(last) = self.entries.back() {
            self.evicted_through = last.seq;
        }
        self.entries = VecDeque::new();
        self.bytes = VecDeque::new();
    }

    /// Gives back memory beyond what the chunks need.
    pub fn shrink(&mut self) {
        self.entries.shrink_to_fit();
        self.bytes.shrink_to_fit();
    }

    fn evict_oldest(&mut self) {
        if let Some(oldest) = self.entries.pop_front() {
            self.bytes.drain(..oldest.len as usize);
            self.evicted_through = oldest.seq;
        }
    }

    /// What the chunks cost, bookkeeping included.
    pub fn cost(&self) -> usize {
        self.bytes.len() + self.entries.len() * CHUNK_COST
    }

    /// The oldest number of which the output is still here: all below it that
    /// were output are gone.
    pub fn first_retained_seq(&self) -> u64 {
        self.evicted_through + 1
    }

    /// The chunks above `after`, in order.
    pub fn after(&self, after: u64) -> impl Iterator<Item = Chunk<'_>> {
        let skipped = self.entries.partition_point(|entry| entry.seq <= after);
        let mut start = if skipped == 0 {
            0
        } else if skipped * 2 > self.entries.len() {
            // Readers mostly follow the end, so count from there.
            let rest = self.entries.range(skipped..);
            self.bytes.len() - rest.map(|entry| entry.len as usize).sum::<usize>()
        } else {
            let before = self.entries.range(..skipped);
            before.map(|entry| entry.len as usize).sum()
        };
        self.entries.range(skipped..).map(move |entry| {
            let end = start + entry.len as usize;
            let bytes = self.slice(start, end);
            start = end;
            Chunk {
                seq: entry.seq,
                stream: entry.stream,
                bytes,
            }
        })
    }

    /// Whether there is a chunk above `after`.
    pub fn has_after(&self, after: u64) -> bool {
        self.entries.back().is_some_and(|entry| entry.seq > after)
    }

    /// A piece of the circular buffer, copied only where it wraps around.
    fn slice(&self, start: usize, end: usize) -> Cow<'_, [u8]> {
        let (front, back) = self.bytes.as_slices();
        if end <= front.len() {
            Cow::Borrowed(&front[start..end])
        } else if start >= front.len() {
            Cow::Borrowed(&back[start - front.len()..end - front.len()])
        } else {
            Cow::Owned([&front[start..], &back[..end - front.len()]].concat())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seqs(retained: &Retained, after: u64) -> Vec<u64> {
        retained.after(after).map(|chunk| chunk.seq).collect()
    }

    #[test]
    fn chunks_come_back_whole_and_in_order_across_the_wrap() {
        let mut retained = Retained::default();
        let chunk = |seq: u64| vec![seq as u8; 100 + seq as usize % 7];
        for seq in 1..=500 {
            retained.push(seq, Stream::Stdout, &chunk(seq), 3000, seq - 1);
            let kept = seqs(&retained, 0);
            assert_eq!(kept.last(), Some(&seq));
            assert_eq!(kept.first(), Some(&retained.first_retained_seq()));
            for found in retained.after(0) {
                assert_eq!(found.bytes, chunk(found.seq));
            }
            assert!(retained.cost() <= 3000);
        }
        assert_eq!(seqs(&retained, 498), [499, 500]);
        assert_eq!(seqs(&retained, 500), [0; 0]);
    }

    #[test]
    fn numbers_may_have_holes_where_other_events_were() {
        let mut retained = Retained::default();
        retained.push(1, Stream::Stdout, b"a", 1000, 0);
        retained.push(4, Stream::Stderr, b"b", 1000, 1);
        assert_eq!(seqs(&retained, 2), [4]);
        assert_eq!(retained.first_retained_seq(), 1);
        assert!(retained.has_after(3) && !retained.has_after(4));
    }

    #[test]
    fn what_is_not_sent_stays_whatever_the_limit() {
        let mut retained = Retained::default();
        retained.push(1, Stream::Pty, b"one", 0, 0);
        retained.push(2, Stream::Pty, b"two", 0, 0);
        retained.evict(usize::MAX, 0);
        assert_eq!(seqs(&retained, 0), [1, 2]);
        retained.evict(usize::MAX, 1);
        assert_eq!(seqs(&retained, 0), [2]);
        assert_eq!(retained.first_retained_seq(), 2);
        retained.clear();
        assert_eq!(retained.first_retained_seq(), 3);
        assert_eq!(retained.cost(), 0);
    }
}
