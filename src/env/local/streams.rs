//! The streams of one process: its output, of which the newest chunks are retained up to a limit, and
//! its input, whose bytes wait until the process reads them.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;

use super::host::Host;
use super::process::WriteReply;
use crate::blocks;
use crate::rpc::methods::process::WriteStatus;
use crate::sys::socket::widen_pipe;

/// What a chunk costs beside its bytes; keeps a flood of tiny chunks from
/// holding many times the limit in bookkeeping.
const CHUNK_COST: usize = size_of::<Entry>();

/// Above this many waiting bytes the answer to a write waits too, which slows
/// down a client that counts its answers.
const ANSWER_LIMIT: usize = 256 * 1024;
/// Above this many waiting bytes a write is refused.
const QUEUE_LIMIT: usize = 16 * 1024 * 1024;
/// Writes whose answers wait at once.
const MAX_WAITING: usize = 4096;
/// Writes that wait are put together up to this size.
const PIECE: usize = 4 * 1024;
/// Room in the pipe of a program that gets that much: fewer changes between it and us.
const BULK_PIPE: i32 = 256 * 1024;
/// How many write ids are remembered, as in the reference.
const REMEMBERED_IDS: usize = 4096;
/// What a terminal takes for the end of input.
const END_OF_TRANSMISSION: u8 = 4;

/// Which of a process's streams a chunk came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
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

/// Why a write was not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum WriteError {
    /// Too much waits already.
    Full,
    /// The same id came with other bytes.
    IdReused,
}

/// Standard input of one process.
pub(crate) struct Stdin {
    target: Target,
    queue: VecDeque<Vec<u8>>,
    /// How much of the first piece is written already.
    written: usize,
    queued: usize,
    /// Whether the pipe was made larger.
    is_wide: bool,
    /// Whether to close once the queue is empty.
    ends: bool,
    /// Answers that wait, each for the queue to be that short.
    waiting: VecDeque<WriteReply>,
    ids: WriteIds,
    host: Arc<Host>,
}

/// Where input goes.
enum Target {
    /// There is none, or no more.
    Closed,
    /// The process is only starting.
    Expected,
    /// A pipe, which can be closed.
    Pipe(Arc<File>),
    /// A terminal, shared with who reads from it.
    Terminal(Arc<File>),
}

impl Stdin {
    /// Input that will be opened when the process has started, or none.
    pub(crate) fn new(host: Arc<Host>, is_expected: bool) -> Self {
        Self {
            target: if is_expected {
                Target::Expected
            } else {
                Target::Closed
            },
            queue: VecDeque::new(),
            written: 0,
            queued: 0,
            is_wide: false,
            ends: false,
            waiting: VecDeque::new(),
            ids: WriteIds::default(),
            host,
        }
    }

    /// The pipe is there: what has waited can go.
    pub(crate) fn open_pipe(&mut self, pipe: Arc<File>) {
        self.target = Target::Pipe(pipe);
        self.pump();
    }

    /// The terminal is there.
    pub(crate) fn open_terminal(&mut self, terminal: Arc<File>) {
        self.target = Target::Terminal(terminal);
        if std::mem::take(&mut self.ends) {
            self.queue_end_character();
        }
        self.pump();
    }

    /// Takes `data`; the answer may come later, when enough of it is read.
    pub(crate) fn write(&mut self, id: Option<&str>, data: Vec<u8>, reply: WriteReply) {
        if self.is_closed() || self.ends {
            return reply(Ok(WriteStatus::StdinClosed));
        }
        match self.ids.check(id, &data) {
            Seen::New => {}
            Seen::Same => return reply(Ok(WriteStatus::Accepted)),
            Seen::Other => return reply(Err(WriteError::IdReused)),
        }
        let is_full = self.queued > 0 && self.queued + data.len() > QUEUE_LIMIT;
        let is_full = is_full || self.waiting.len() >= MAX_WAITING;
        if is_full || !self.host.queue_stdin(data.len()) {
            return reply(Err(WriteError::Full));
        }
        self.ids.remember(id, &data);
        self.enqueue(data);
        self.pump();
        if self.is_closed() {
            reply(Ok(WriteStatus::StdinClosed));
        } else if self.queued > ANSWER_LIMIT {
            self.waiting.push_back(reply);
        } else {
            reply(Ok(WriteStatus::Accepted));
        }
    }

    /// No more input: closes the pipe once all is read; a terminal gets its end character.
    pub(crate) fn end(&mut self) -> WriteStatus {
        if self.is_closed() || self.ends {
            return WriteStatus::StdinClosed;
        }
        if matches!(self.target, Target::Terminal(_)) {
            self.queue_end_character();
        } else {
            self.ends = true;
        }
        self.pump();
        WriteStatus::Accepted
    }

    fn queue_end_character(&mut self) {
        self.host.add_to_stdin(1);
        self.enqueue(vec![END_OF_TRANSMISSION]);
    }

    /// Appends small pieces to each other: one byte a piece would cost seventy.
    fn enqueue(&mut self, data: Vec<u8>) {
        self.queued += data.len();
        match self.queue.back_mut() {
            Some(last) if last.len() + data.len() <= PIECE => last.extend_from_slice(&data),
            _ if data.is_empty() => {}
            _ => self.queue.push_back(data),
        }
    }

    /// Nobody will read any more.
    pub(crate) fn close(&mut self) {
        self.target = Target::Closed;
        self.queue = VecDeque::new();
        self.written = 0;
        self.host.unqueue_stdin(std::mem::take(&mut self.queued));
        for reply in self.waiting.drain(..) {
            reply(Ok(WriteStatus::StdinClosed));
        }
    }

    /// What to poll for room, when something waits.
    pub(crate) fn waits_on(&self) -> Option<Arc<File>> {
        match &self.target {
            Target::Pipe(file) | Target::Terminal(file) if !self.queue.is_empty() => {
                Some(Arc::clone(file))
            }
            _ => None,
        }
    }

    fn is_closed(&self) -> bool {
        matches!(self.target, Target::Closed)
    }

    /// Writes what the process takes without waiting.
    pub(crate) fn pump(&mut self) {
        while let Some(piece) = self.queue.front() {
            let target = match &self.target {
                Target::Pipe(file) | Target::Terminal(file) => file,
                Target::Closed | Target::Expected => return,
            };
            match (&**target).write(&piece[self.written..]) {
                Ok(count) => {
                    self.written += count;
                    self.queued -= count;
                    self.host.unqueue_stdin(count);
                    if self.written == piece.len() {
                        self.written = 0;
                        if let Some(written) = self.queue.pop_front() {
                            blocks::give_back(written);
                        }
                    }
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => {
                        if self.queued > BULK_PIPE as usize && !self.is_wide {
                            self.is_wide = true;
                            widen_pipe(target.as_fd(), BULK_PIPE);
                            continue;
                        }
                        break;
                    }
                    _ => return self.close(),
                },
            }
        }
        if self.queued <= ANSWER_LIMIT {
            for reply in self.waiting.drain(..) {
                reply(Ok(WriteStatus::Accepted));
            }
        }
        if self.queue.is_empty() && self.ends && !matches!(self.target, Target::Expected) {
            self.target = Target::Closed;
        }
    }
}

impl Drop for Stdin {
    fn drop(&mut self) {
        self.close();
    }
}

/// Whether a write came before.
enum Seen {
    New,
    Same,
    Other,
}

/// The ids of the last writes, with a fingerprint of what they wrote.
struct WriteIds {
    hasher: RandomState,
    /// Of the sums of a fingerprint.
    keys: [u64; SUMS],
    known: HashMap<u64, u64>,
    order: VecDeque<u64>,
}

/// Sums of a fingerprint.
const SUMS: usize = 4;

impl Default for WriteIds {
    fn default() -> Self {
        let hasher = RandomState::new();
        Self {
            keys: std::array::from_fn(|sum| hasher.hash_one(sum)),
            hasher,
            known: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl WriteIds {
    fn check(&self, id: Option<&str>, data: &[u8]) -> Seen {
        let Some(id) = id else { return Seen::New };
        match self.known.get(&self.hasher.hash_one(id)) {
            None => Seen::New,
            Some(known) if *known == self.fingerprint(data) => Seen::Same,
            Some(_) => Seen::Other,
        }
    }

    fn remember(&mut self, id: Option<&str>, data: &[u8]) {
        let Some(id) = id else { return };
        let id = self.hasher.hash_one(id);
        self.known.insert(id, self.fingerprint(data));
        self.order.push_back(id);
        if self.order.len() > REMEMBERED_IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// A number for `data` that other bytes have only by chance. The standard library's hash of a
    /// megabyte takes as long as all else that is done with it, so that gets 64 bytes a step here,
    /// in four sums that do not wait for each other, and hashes those and the rest.
    fn fingerprint(&self, data: &[u8]) -> u64 {
        let mut sums = self.keys;
        let (steps, rest) = data.as_chunks::<{ 16 * SUMS }>();
        for step in steps {
            let (words, _) = step.as_chunks::<8>();
            let (pairs, _) = words.as_chunks::<2>();
            for ((sum, key), [one, other]) in sums.iter_mut().zip(self.keys).zip(pairs) {
                let one = u128::from(*sum ^ u64::from_ne_bytes(*one));
                let other = u128::from(key ^ u64::from_ne_bytes(*other));
                let product = one * other;
                *sum = product as u64 ^ (product >> 64) as u64;
            }
        }
        self.hasher.hash_one((sums, rest, data.len()))
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

    #[test]
    fn a_fingerprint_is_of_these_bytes_alone() {
        let ids = WriteIds::default();
        let mut data: Vec<u8> = (0..300).map(|at| at as u8).collect();
        let known = ids.fingerprint(&data);
        assert_eq!(known, ids.fingerprint(&data.clone()));
        for at in 0..data.len() {
            assert_ne!(known, ids.fingerprint(&data[..at]), "the first {at}");
            for bit in 0..8 {
                data[at] ^= 1 << bit;
                assert_ne!(known, ids.fingerprint(&data), "bit {bit} of {at}");
                // Two bits that could cancel each other in a sum.
                data[(at + 64) % 300] ^= 1 << bit;
                assert_ne!(
                    known,
                    ids.fingerprint(&data),
                    "bit {bit} of {at} and of 64 on"
                );
                data[(at + 64) % 300] ^= 1 << bit;
                data[at] ^= 1 << bit;
            }
        }
        assert_ne!(known, WriteIds::default().fingerprint(&data));
        data.swap(3, 67);
        assert_ne!(known, ids.fingerprint(&data));
    }
}
