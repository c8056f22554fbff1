//! The way into a process: bytes that wait until it reads them.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;

use super::host::Host;
use super::process::WriteReply;
use crate::rpc::methods::process::WriteStatus;
use crate::sys::socket::widen_pipe;

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

/// Why a write was not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum WriteError {
    /// Too much waits already.
    Full,
    /// The same id came with other bytes.
    IdReused,
}

/// Standard input of one process.
pub(super) struct Stdin {
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

impl Stdin {
    /// Input that will be opened when the process has started, or none.
    pub(super) fn new(host: Arc<Host>, is_expected: bool) -> Self {
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
    pub(super) fn open_pipe(&mut self, pipe: Arc<File>) {
        self.target = Target::Pipe(pipe);
        self.pump();
    }

    /// The terminal is there.
    pub(super) fn open_terminal(&mut self, terminal: Arc<File>) {
        self.target = Target::Terminal(terminal);
        if std::mem::take(&mut self.ends) {
            self.queue_end_character();
        }
        self.pump();
    }

    /// Takes `data`; the answer may come later, when enough of it is read.
    pub(super) fn write(&mut self, id: Option<&str>, data: Vec<u8>, reply: WriteReply) {
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
    pub(super) fn end(&mut self) -> WriteStatus {
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
    pub(super) fn close(&mut self) {
        self.target = Target::Closed;
        self.queue = VecDeque::new();
        self.written = 0;
        self.host.unqueue_stdin(std::mem::take(&mut self.queued));
        for reply in self.waiting.drain(..) {
            reply(Ok(WriteStatus::StdinClosed));
        }
    }

    /// What to poll for room, when something waits.
    pub(super) fn waits_on(&self) -> Option<Arc<File>> {
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
    pub(super) fn pump(&mut self) {
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
                        self.queue.pop_front();
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
#[derive(Default)]
struct WriteIds {
    hasher: RandomState,
    known: HashMap<u64, u64>,
    order: VecDeque<u64>,
}

impl WriteIds {
    fn check(&self, id: Option<&str>, data: &[u8]) -> Seen {
        let Some(id) = id else { return Seen::New };
        match self.known.get(&self.hasher.hash_one(id)) {
            None => Seen::New,
            Some(known) if *known == self.hasher.hash_one(data) => Seen::Same,
            Some(_) => Seen::Other,
        }
    }

    fn remember(&mut self, id: Option<&str>, data: &[u8]) {
        let Some(id) = id else { return };
        let id = self.hasher.hash_one(id);
        self.known.insert(id, self.hasher.hash_one(data));
        self.order.push_back(id);
        if self.order.len() > REMEMBERED_IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}
