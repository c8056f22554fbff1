//! The sending half of a connection, shared by all threads that have something to say.
//!
//! The buffer holds whole messages in the order in which they were added, so
//! frames are never torn and an answer that was added before an event stays
//! before it. Sending never waits: what the stream does not take stays, and
//! one thread at a time has the duty to flush it. That is the process thread
//! whose output met the full stream (it polls for room along with its
//! pipes), or else a thread started for it.
//!
//! A [`LongMessage`] is written piece by piece. Nothing may come between its
//! pieces but control frames, so what is added meanwhile waits behind it.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use super::frame::{self, Goodbye, Masks, Role};
use super::payload::PayloadBuffer;
use crate::memory::{self, Kind, Reserved, UNCOUNTED};
use crate::net::Sink;
use crate::sys::poll::{self, PollFd, WRITABLE, Waker};
use crate::sys::socket::unacknowledged_bytes;
use crate::sys::sync::{Condvar, Mutex};
use crate::workers::start_thread;

/// Above this many unsent bytes, process output waits in its pipe.
const OUTPUT_LIMIT: usize = 256 * 1024;
/// Above this many unsent bytes, no further request is read: the client
/// must first take the answers it has. Above what output alone can reach, so
/// that a flood of output never keeps a `terminate` from being read.
const ANSWER_LIMIT: usize = 4 * 1024 * 1024;
/// The same two where memory is scarce. The output of one read comes on top of the first.
const SCARCE_OUTPUT: usize = UNCOUNTED;
const SCARCE_ANSWERS: usize = 512 * 1024;
/// And where there is no room for answers at all.
const SPENT_OUTPUT: usize = 16 * 1024;
const SPENT_ANSWERS: usize = 128 * 1024;
/// What a busy one's may: the largest block of a file with its announcement, and a little output.
const BUSY_KEEP: usize = frame::MAX_PAYLOAD + OUTPUT_LIMIT;
/// A flushing thread's stack.
const STACK_BYTES: usize = 64 * 1024;
/// How long a flushing thread sleeps at most between looks at a dead connection.
const FLUSH_TICK: Duration = Duration::from_secs(1);

/// How messages are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One line each.
    Lines,
    /// Websocket text messages, as this end of a websocket writes and reads them.
    WebSocket(Role),
}

/// What became of a message that may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// In the buffer; [`Outbound::flush_offered`] sends it.
    Taken,
    /// Too much is unsent; the waker will be set when there is room.
    Full,
    /// The connection is dead.
    Dead,
}

/// What is left after a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Nothing; the duty is over.
    Done,
    /// Something.
    Pending,
}

/// The sending half of a connection.
#[derive(Debug)]
pub struct Outbound {
    sink: Sink,
    framing: Framing,
    state: Mutex<State>,
    /// Told when the unsent bytes fall below a limit, and on death.
    room: Condvar,
    /// How often the reading half has heard something.
    heard: AtomicU64,
}

impl Outbound {
    /// Sends to `sink`.
    pub fn new(sink: Sink, framing: Framing) -> Self {
        let masks = match framing {
            Framing::WebSocket(role) => Masks::new(role),
            Framing::Lines => Masks::default(),
        };
        Self {
            sink,
            framing,
            state: Mutex::new(State::new(masks)),
            room: Condvar::new(),
            heard: AtomicU64::new(0),
        }
    }

    /// Adds a message without sending it yet: the reader's way, which handles
    /// all requests that have arrived before it sends the answers at once.
    pub fn add(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.lock();
        if !state.is_dead {
            self.append(&mut state, write);
        }
    }

    /// Whether there is memory for a message of so many bytes, to be added next.
    #[must_use]
    pub fn make_room(&self, bytes: usize) -> bool {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.compact();
        state.end().0.try_reserve(bytes).is_ok()
    }

    /// Adds a binary message, on a websocket.
    pub fn add_binary(&self, message: &[u8]) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if !state.is_dead {
            state.compact();
            let (out, masks) = state.end();
            frame::binary(out, masks, message);
        }
    }

    /// As [`Outbound::add`], with a payload of at least one byte right behind the message.
    pub fn add_with_payload(&self, write: impl FnOnce(&mut Vec<u8>), payload: &[u8]) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.is_dead {
            return;
        }
        self.append(state, write);
        let (out, masks) = state.end();
        match self.framing {
            Framing::WebSocket(_) => frame::binary(out, masks, payload),
            Framing::Lines => out.extend_from_slice(payload),
        }
    }

    /// The same without copying the payload where nothing is unsent: the buffer is then exchanged.
    /// False, and nothing is added, where there is no memory for a copy.
    #[must_use]
    pub fn add_with_buffer(
        &self,
        write: impl FnOnce(&mut Vec<u8>),
        payload: &mut PayloadBuffer,
    ) -> bool {
        let is_client = matches!(self.framing, Framing::WebSocket(Role::Client));
        if is_client || payload.bytes().len() > frame::MAX_PAYLOAD {
            self.add_with_payload(write, payload.bytes());
            return true;
        }
        let mut head = Vec::with_capacity(PayloadBuffer::ROOM);
        match self.framing {
            Framing::WebSocket(role) => {
                frame::text(&mut head, &mut Masks::new(role), write);
                frame::binary_header(&mut head, payload.bytes().len());
            }
            Framing::Lines => {
                write(&mut head);
                head.push(b'\n');
            }
        }
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.is_dead {
            return true;
        }
        if state.unsent() == 0
            && !state.has_long
            && let Some(start) = payload.exchange(&head, &mut state.buffer)
        {
            state.sent = start;
            return true;
        }
        state.compact();
        let (out, _) = state.end();
        if out.try_reserve(head.len() + payload.bytes().len()).is_err() {
            return false;
        }
        out.extend_from_slice(&head);
        out.extend_from_slice(payload.bytes());
        true
    }

    /// Adds a message and sends what the stream takes.
    pub fn send(self: &Arc<Self>, write: impl FnOnce(&mut Vec<u8>)) {
        self.add(write);
        self.flush();
    }

    /// Sends what the stream takes; somebody will see to the rest.
    pub fn flush(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if self.push(&mut state) == Flush::Done || state.has_flusher {
            return;
        }
        state.has_flusher = true;
        drop(state);
        let outbound = Arc::clone(self);
        let flush = move || outbound.flush_until_done();
        if start_thread("flush", STACK_BYTES, flush).is_err() {
            // Without a thread nobody would ever send the rest.
            self.kill();
        }
    }

    /// Adds a message that can wait, unless too much is unsent.
    pub fn offer(&self, waker: &Waker, write: impl FnOnce(&mut Vec<u8>)) -> Offer {
        let mut state = self.state.lock();
        if state.is_dead {
            return Offer::Dead;
        }
        if state.ahead_of_output() > output_limit() {
            state.remember(waker);
            return Offer::Full;
        }
        self.append(&mut state, write);
        Offer::Taken
    }

    /// Whether an answer that has waited may be added now: not while the reader would wait for
    /// room either. If not, the waker will be set when there is room.
    pub fn has_room(&self, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        let has_room = state.is_dead || state.unsent() <= answer_limit();
        if !has_room {
            state.remember(waker);
        }
        has_room
    }

    /// Sends what the stream takes of what was offered. True lays the duty on
    /// the caller to poll [`Outbound::fd`] for room and call
    /// [`Outbound::flush_duty`] until it is done.
    pub fn flush_offered(&self) -> bool {
        let mut state = self.state.lock();
        if self.push(&mut state) == Flush::Done || state.has_flusher {
            return false;
        }
        state.has_flusher = true;
        true
    }

    /// As [`Outbound::flush_offered`], for a thread that may wait: where that
    /// would lay the duty on it, it sends until everything is gone.
    pub fn flush_waiting(&self) {
        if self.flush_offered() {
            self.flush_until_done();
        }
    }

    /// For who has the duty to flush: sends what the stream takes now.
    pub fn flush_duty(&self) -> Flush {
        let mut state = self.state.lock();
        let flush = self.push(&mut state);
        if flush == Flush::Done {
            state.has_flusher = false;
        }
        flush
    }

    /// Hands the duty to flush to a thread, for a process thread that ends.
    pub fn give_up_duty(self: &Arc<Self>) {
        self.state.lock().has_flusher = false;
        self.flush();
    }

    /// How messages are told apart.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether nothing can be sent any more.
    pub fn is_dead(&self) -> bool {
        self.state.lock().is_dead
    }

    /// The reading half has heard something from the peer.
    pub(crate) fn note_heard(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// A number that grows whenever the peer does something: sends anything,
    /// or takes bytes after it had long taken none.
    pub fn signs_of_life(&self) -> u64 {
        let drained = self.state.lock().drained;
        drained + self.heard.load(Ordering::Relaxed)
    }

    /// What to poll for room.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.sink.fd()
    }

    /// Bytes that the stream has taken so far.
    pub fn total_sent(&self) -> u64 {
        self.state.lock().total_sent
    }

    /// Bytes that the other side's system has taken so far, as far as ours can tell.
    pub fn total_taken(&self) -> u64 {
        let sent = self.total_sent();
        sent.saturating_sub(unacknowledged_bytes(self.fd()) as u64)
    }

    /// Bytes that were to be sent so far.
    pub fn total_added(&self) -> u64 {
        let state = self.state.lock();
        state.total_sent + state.unsent() as u64
    }

    /// Bytes that are not sent yet.
    pub fn unsent(&self) -> usize {
        self.state.lock().unsent()
    }

    /// Gives back memory that an idle connection does not need.
    pub fn shrink(&self) {
        let mut state = self.state.lock();
        if state.buffer.is_empty() {
            state.buffer = Vec::new();
        }
        state.count();
    }

    /// Tells the peer that nothing more will come, so that it can hang up.
    pub fn stop_sending(&self) {
        self.sink.stop_sending();
    }

    /// Ends the connection for both halves; a reader that sleeps wakes up.
    pub fn kill(&self) {
        let mut state = self.state.lock();
        self.die(&mut state);
    }

    fn append(&self, state: &mut State, write: impl FnOnce(&mut Vec<u8>)) {
        state.compact();
        let (out, masks) = state.end();
        match self.framing {
            Framing::WebSocket(_) => frame::text(out, masks, write),
            Framing::Lines => {
                write(out);
                out.push(b'\n');
            }
        }
        state.count();
    }

    fn push(&self, state: &mut State) -> Flush {
        loop {
            while state.pending() > 0 {
                match self.sink.write_now(&state.buffer[state.sent..]) {
                    Ok(0) => self.die(state),
                    Ok(count) => {
                        state.sent += count;
                        state.total_sent += count as u64;
                        if std::mem::take(&mut state.was_full) {
                            state.drained += 1;
                        }
                    }
                    Err(error) => match error.kind() {
                        io::ErrorKind::Interrupted => {}
                        io::ErrorKind::WouldBlock => {
                            state.was_full = true;
                            state.settle_pong();
                            self.announce_room(state);
                            return Flush::Pending;
                        }
                        _ => self.die(state),
                    },
                }
            }
            if !state.settle_pong() {
                break;
            }
        }
        state.sent = 0;
        let keep = if memory::is_scarce() || Kind::Answers.is_spent() {
            UNCOUNTED
        } else {
            BUSY_KEEP
        };
        if state.buffer.capacity() > keep && !state.has_long {
            state.buffer = Vec::new();
        } else {
            state.buffer.clear();
        }
        self.announce_room(state);
        Flush::Done
    }

    fn announce_room(&self, state: &mut State) {
        state.count();
        if state.ahead_of_output() <= output_limit() / 2 {
            for waker in state.wakers.drain(..) {
                waker.set();
            }
        }
        if state.waiting > 0 && state.unsent() <= answer_limit() {
            self.room.notify_all();
        }
    }

    fn die(&self, state: &mut State) {
        state.is_dead = true;
        state.sent = 0;
        state.buffer = Vec::new();
        state.behind = Vec::new();
        state.owed_pong = None;
        self.announce_room(state);
        self.sink.hang_up();
    }

    fn flush_until_done(&self) {
        loop {
            let mut fds = [PollFd::new(self.fd(), WRITABLE)];
            let polled = poll::wait(&mut fds, Some(FLUSH_TICK));
            if polled.is_err() {
                self.kill();
            }
            if self.flush_duty() == Flush::Done {
                return;
            }
        }
    }
}

/// What is yet to be sent, and how that goes.
#[derive(Debug, Default)]
struct State {
    buffer: Vec<u8>,
    /// How much of the buffer is sent already.
    sent: usize,
    /// Whether a long message is on its way.
    has_long: bool,
    /// Whole messages that wait for its end.
    behind: Vec<u8>,
    /// Whether somebody has the duty to flush.
    has_flusher: bool,
    is_dead: bool,
    /// Bytes that the stream has taken so far.
    total_sent: u64,
    /// Whether the stream was full at the last attempt.
    was_full: bool,
    /// How often a full stream had room again.
    drained: u64,
    wakers: Vec<Waker>,
    /// Threads that wait for room: waking nobody costs a system call too.
    waiting: usize,
    /// What the last ping said that is not answered yet, because too much is unsent.
    owed_pong: Option<Vec<u8>>,
    /// For the frames that are added.
    masks: Masks,
    /// The memory of both buffers.
    counted: Counted,
}

/// The part of the server's memory that unsent bytes have. They must be kept: where there is too
/// little, nothing more is read instead.
#[derive(Debug)]
struct Counted(Reserved);

impl Default for Counted {
    fn default() -> Self {
        Self(Reserved::none(Kind::Answers))
    }
}

fn output_limit() -> usize {
    if Kind::Answers.is_spent() {
        SPENT_OUTPUT
    } else if memory::is_scarce() {
        SCARCE_OUTPUT
    } else {
        OUTPUT_LIMIT
    }
}

fn answer_limit() -> usize {
    if Kind::Answers.is_spent() {
        SPENT_ANSWERS
    } else if memory::is_scarce() {
        SCARCE_ANSWERS
    } else {
        ANSWER_LIMIT
    }
}

impl State {
    fn new(masks: Masks) -> Self {
        Self {
            masks,
            ..Self::default()
        }
    }

    /// Counts what the buffers have by now.
    fn count(&mut self) {
        let held = self.buffer.capacity() + self.behind.capacity();
        let its = held.saturating_sub(UNCOUNTED);
        if its != self.counted.0.bytes() {
            self.counted.0.count(its);
        }
    }

    /// Keeps a waker, once, for when there is room.
    fn remember(&mut self, waker: &Waker) {
        if !self.wakers.contains(waker) {
            self.wakers.push(waker.clone());
        }
    }

    fn unsent(&self) -> usize {
        self.pending() + self.behind.len()
    }

    /// What could be sent now.
    fn pending(&self) -> usize {
        self.buffer.len() - self.sent
    }

    /// What the limit on output counts: not the pieces of a long message, which has its own.
    fn ahead_of_output(&self) -> usize {
        if self.has_long {
            self.behind.len()
        } else {
            self.pending()
        }
    }

    /// Where the next whole message goes, and what masks it.
    fn end(&mut self) -> (&mut Vec<u8>, &mut Masks) {
        let out = if self.has_long {
            &mut self.behind
        } else {
            &mut self.buffer
        };
        (out, &mut self.masks)
    }

    /// Adds the pong that is owed, unless the peer takes too little; whether it did.
    fn settle_pong(&mut self) -> bool {
        if self.pending() > OUTPUT_LIMIT {
            return false;
        }
        let Some(payload) = self.owed_pong.take() else {
            return false;
        };
        self.compact();
        frame::pong(&mut self.buffer, &mut self.masks, &payload);
        true
    }

    /// Makes room in the buffer where that costs little.
    fn compact(&mut self) {
        if self.sent >= self.buffer.len() / 2 && self.sent > 0 {
            let sent = std::mem::take(&mut self.sent);
            self.buffer.drain(..sent);
        }
    }
}

/// Whether the client takes anything.
struct Progress {
    total_sent: u64,
    since: Instant,
}

impl Progress {
    fn new(state: &State) -> Self {
        Self {
            total_sent: state.total_sent,
            since: Instant::now(),
        }
    }

    /// Whether it has taken nothing for as long as `patience`.
    fn is_over(&mut self, state: &State, patience: Duration) -> bool {
        if state.total_sent != self.total_sent {
            *self = Self::new(state);
        }
        self.since.elapsed() >= patience
    }
}

impl Outbound {
    /// Waits until the client has taken enough of its answers. False, and the
    /// end of the connection, when it takes nothing for as long as `patience`.
    pub fn wait_for_room(self: &Arc<Self>, patience: Duration) -> bool {
        self.wait_until_below(answer_limit(), patience)
    }

    /// The same for who answers much and leaves room for others: waits until at most `limit`
    /// bytes are unsent.
    pub fn wait_until_below(self: &Arc<Self>, limit: usize, patience: Duration) -> bool {
        let mut state = self.state.lock();
        if state.unsent() > limit {
            // What was only added has nobody yet who sends it.
            drop(state);
            self.flush();
            state = self.state.lock();
        }
        let mut progress = Progress::new(&state);
        while state.unsent() > limit && !state.is_dead {
            state = self.wait(state, FLUSH_TICK);
            if progress.is_over(&state, patience) {
                self.die(&mut state);
                return false;
            }
        }
        true
    }

    /// For who has much to send and may wait: sends until all is gone that is unsent now, so that
    /// the buffer is free for what comes next, and no thread has to be started for the rest. False
    /// when the connection is dead, or its peer has taken nothing for as long as `patience`.
    pub fn send_waiting(self: &Arc<Self>, patience: Duration) -> bool {
        let mut state = self.state.lock();
        let mark = state.total_sent + state.unsent() as u64;
        let mut progress = Progress::new(&state);
        let mut has_duty = false;
        loop {
            self.push(&mut state);
            let is_over = state.total_sent >= mark || state.is_dead;
            if is_over || progress.is_over(&state, patience) {
                break;
            }
            has_duty |= !std::mem::replace(&mut state.has_flusher, true);
            // What is behind a long message comes when that is finished.
            if !has_duty || state.pending() == 0 {
                state = self.wait(state, FLUSH_TICK);
                continue;
            }
            drop(state);
            // Should it fail, the stream is broken, and the next push finds that out.
            let _ = poll::wait(&mut [PollFd::new(self.fd(), WRITABLE)], Some(FLUSH_TICK));
            state = self.state.lock();
        }
        let is_sent = state.total_sent >= mark;
        drop(state);
        if has_duty {
            self.give_up_duty();
        }
        is_sent
    }

    /// Sends what is left until `deadline`; whether all of it went.
    pub fn drain(self: &Arc<Self>, deadline: Instant) -> bool {
        self.flush();
        let mut state = self.state.lock();
        while (state.unsent() > 0 || state.has_long) && !state.is_dead {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.wait(state, left);
        }
        !state.is_dead
    }

    fn wait<'a>(&self, mut state: MutexGuard<'a, State>, limit: Duration) -> MutexGuard<'a, State> {
        state.waiting += 1;
        let (mut state, _) = self.room.wait_timeout(state, limit);
        state.waiting -= 1;
        state
    }
}

impl Outbound {
    /// Asks the peer for a sign of life. Nothing on a transport that has no such thing.
    pub fn ping(self: &Arc<Self>) {
        self.control(|state| frame::ping(&mut state.buffer, &mut state.masks));
    }

    /// Answers a ping, as soon as the peer takes what is sent: it may ask as often as it likes,
    /// and the answers must not pile up. Where several wait, the last one answers for all, as
    /// RFC 6455, 5.5.3 allows.
    pub fn pong(self: &Arc<Self>, payload: &[u8]) {
        self.control(|state| {
            state.owed_pong = Some(payload.to_vec());
            state.settle_pong();
        });
    }

    /// Says goodbye, where the transport has a word for it.
    pub fn say_goodbye(self: &Arc<Self>, why: Goodbye) {
        self.control(|state| frame::close(&mut state.buffer, &mut state.masks, why));
    }

    fn control(self: &Arc<Self>, add: impl FnOnce(&mut State)) {
        if self.framing == Framing::Lines {
            return;
        }
        let mut state = self.state.lock();
        if !state.is_dead {
            state.compact();
            add(&mut state);
        }
        drop(state);
        self.flush();
    }
}

/// With so many bytes unsent the next piece is added, so that the client has something to read
/// while it is made.
const ENOUGH: usize = 256 * 1024;
/// The same where there is no room for answers.
const SPENT_ENOUGH: usize = 16 * 1024;

/// A message that is being written piece by piece. Dropped before it is finished it can never be
/// made whole, and ends the connection.
#[derive(Debug)]
pub struct LongMessage {
    outbound: Arc<Outbound>,
    patience: Duration,
    is_first: bool,
    is_finished: bool,
    /// Whether the duty to flush is ours.
    has_duty: bool,
}

impl Outbound {
    /// Begins a long message, once no other is on its way. A client that takes nothing of it for
    /// as long as `patience` loses the connection. None when the connection is dead.
    pub fn begin_long(self: &Arc<Self>, patience: Duration) -> Option<LongMessage> {
        let mut state = self.state.lock();
        while state.has_long && !state.is_dead {
            state = self.wait(state, FLUSH_TICK);
        }
        if state.is_dead {
            return None;
        }
        state.has_long = true;
        let has_duty = !std::mem::replace(&mut state.has_flusher, true);
        Some(LongMessage {
            outbound: Arc::clone(self),
            patience,
            is_first: true,
            is_finished: false,
            has_duty,
        })
    }
}

impl LongMessage {
    /// The most bytes of a piece.
    pub const MAX_PIECE: usize = frame::MAX_PAYLOAD;

    /// Adds the next piece, of at most [`LongMessage::MAX_PIECE`] bytes, when there is room.
    /// False when the connection is dead.
    pub fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.wait_for_room() && self.append(false, write)
    }

    /// Adds the last piece. What has waited behind the message follows.
    pub fn finish(mut self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.is_finished = self.append(true, write);
        self.is_finished
    }

    fn append(&mut self, is_last: bool, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut guard = self.outbound.state.lock();
        let state = &mut *guard;
        if state.is_dead {
            return false;
        }
        state.compact();
        match self.outbound.framing {
            Framing::WebSocket(_) => {
                let (buffer, masks) = (&mut state.buffer, &mut state.masks);
                frame::piece(buffer, masks, self.is_first, is_last, write);
            }
            Framing::Lines => {
                write(&mut state.buffer);
                if is_last {
                    state.buffer.push(b'\n');
                }
            }
        }
        self.is_first = false;
        self.outbound.push(state);
        !state.is_dead
    }

    fn wait_for_room(&self) -> bool {
        let outbound = &*self.outbound;
        let mut progress = Progress::new(&outbound.state.lock());
        loop {
            let mut state = outbound.state.lock();
            let enough = match Kind::Answers.is_spent() {
                true => SPENT_ENOUGH,
                false => ENOUGH,
            };
            if outbound.push(&mut state) == Flush::Done || state.pending() <= enough {
                return !state.is_dead;
            }
            if progress.is_over(&state, self.patience) {
                outbound.die(&mut state);
                return false;
            }
            drop(state);
            // Should it fail, the stream is broken, and the next push finds that out.
            let _ = poll::wait(
                &mut [PollFd::new(outbound.fd(), WRITABLE)],
                Some(FLUSH_TICK),
            );
        }
    }
}

impl Drop for LongMessage {
    fn drop(&mut self) {
        let mut state = self.outbound.state.lock();
        if !self.is_finished {
            self.outbound.die(&mut state);
        }
        state.has_long = false;
        let behind = std::mem::take(&mut state.behind);
        state.buffer.extend_from_slice(&behind);
        if self.has_duty {
            state.has_flusher = false;
        }
        // Another long message may wait for its turn.
        self.outbound.room.notify_all();
        drop(state);
        self.outbound.flush();
    }
}

#[cfg(test)]
mod tests {
    mod room {
        use super::super::*;
        use super::long::pair;
        use std::io::Read;
        use std::thread;

        /// More than a socket takes at once.
        const MUCH: usize = 64 * 1024 * 1024;

        #[test]
        fn who_sends_waiting_leaves_nothing_unsent_and_starts_no_thread() {
            let (outbound, mut client) = pair();
            let reader = thread::spawn(move || {
                let mut text = Vec::new();
                client.read_to_end(&mut text).unwrap();
                text.len()
            });
            outbound.add(|out| out.resize(out.len() + MUCH, b'x'));
            assert!(outbound.send_waiting(Duration::from_secs(20)));
            assert_eq!(outbound.unsent(), 0);
            assert!(!outbound.state.lock().has_flusher);
            outbound.stop_sending();
            assert_eq!(reader.join().unwrap(), MUCH + 1);
        }

        #[test]
        fn a_peer_that_takes_nothing_is_not_waited_for_and_keeps_the_connection() {
            let (outbound, mut client) = pair();
            outbound.add(|out| out.resize(out.len() + MUCH, b'x'));
            assert!(!outbound.send_waiting(Duration::from_millis(100)));
            assert!(!outbound.is_dead());
            // The rest is somebody else's now.
            let mut text = vec![0; MUCH + 1];
            client.read_exact(&mut text).unwrap();
            assert!(!outbound.is_dead());
        }
    }

    mod control {
        use std::fs::File;
        use std::io::{self, Cursor, PipeReader, Read};
        use std::os::fd::{AsFd, OwnedFd};
        use std::thread::{self, JoinHandle};
        use std::time::{Duration, Instant};

        use tungstenite::protocol::frame::FrameHeader;
        use tungstenite::protocol::frame::coding::{Control, OpCode};

        use super::super::*;
        use crate::net::Sink;
        use crate::rpc::transport::Role;
        use crate::rpc::transport::outbound::OUTPUT_LIMIT;
        use crate::sys::socket::set_nonblocking;

        const PATIENCE: Duration = Duration::from_secs(20);

        /// Frames into a pipe: unlike a socket's, its room does not grow.
        fn pair() -> (Arc<Outbound>, PipeReader) {
            let (client, served) = io::pipe().unwrap();
            set_nonblocking(served.as_fd()).unwrap();
            let sink = Sink::Stream(File::from(OwnedFd::from(served)));
            let framing = Framing::WebSocket(Role::Server);
            (Arc::new(Outbound::new(sink, framing)), client)
        }

        /// Leaves so much unsent that no pong may be added.
        fn fill(outbound: &Arc<Outbound>) {
            while outbound.unsent() <= 2 * OUTPUT_LIMIT {
                outbound.send(|out| out.resize(out.len() + 64 * 1024, b'x'));
            }
        }

        fn read_all(mut client: PipeReader) -> JoinHandle<Vec<u8>> {
            thread::spawn(move || {
                let mut bytes = Vec::new();
                client.read_to_end(&mut bytes).unwrap();
                bytes
            })
        }

        /// The payload of each pong in all that is sent, and how many bytes come behind it.
        fn pongs(outbound: Arc<Outbound>, reader: JoinHandle<Vec<u8>>) -> Vec<(Vec<u8>, usize)> {
            assert!(outbound.drain(Instant::now() + PATIENCE));
            // The thread that flushed lets go of it a moment later.
            drop(outbound);
            let bytes = reader.join().unwrap();
            let mut pongs = Vec::new();
            let mut cursor = Cursor::new(&bytes[..]);
            while let Some((header, len)) = FrameHeader::parse(&mut cursor).unwrap() {
                let start = cursor.position() as usize;
                let end = start + len as usize;
                if header.opcode == OpCode::Control(Control::Pong) {
                    pongs.push((bytes[start..end].to_vec(), bytes.len() - end));
                }
                cursor.set_position(end as u64);
            }
            assert_eq!(cursor.position(), bytes.len() as u64, "a frame is torn");
            pongs
        }

        #[test]
        fn a_ping_that_meets_a_full_stream_is_answered_when_there_is_room() {
            let (outbound, client) = pair();
            fill(&outbound);
            outbound.pong(b"here?");
            let pongs = pongs(outbound, read_all(client));
            assert_eq!(pongs.len(), 1, "{pongs:?}");
            assert_eq!(pongs[0].0, b"here?");
        }

        #[test]
        fn of_many_pings_the_last_is_answered_and_nothing_piles_up() {
            let (outbound, client) = pair();
            fill(&outbound);
            let before = outbound.unsent();
            for number in 0..10_000_u32 {
                outbound.pong(&number.to_be_bytes());
            }
            assert!(outbound.unsent() <= before);
            let pongs = pongs(outbound, read_all(client));
            assert_eq!(pongs.len(), 1, "{pongs:?}");
            assert_eq!(pongs[0].0, 9_999_u32.to_be_bytes());
        }

        #[test]
        fn a_pong_does_not_wait_for_the_end_of_a_long_message() {
            const PIECES: usize = 64;
            const PIECE: usize = 1024 * 1024;
            let (outbound, client) = pair();
            let mut long = outbound.begin_long(PATIENCE).unwrap();
            // What waits behind the message does not hold the pong up, and what is before it does.
            outbound.add(|out| out.resize(out.len() + 2 * OUTPUT_LIMIT, b'b'));
            let piece = |out: &mut Vec<u8>| out.resize(out.len() + PIECE, b'x');
            while outbound.state.lock().pending() <= OUTPUT_LIMIT {
                assert!(long.add(piece));
            }
            outbound.pong(b"between");
            let reader = read_all(client);
            for _ in 0..PIECES {
                assert!(long.add(piece));
            }
            assert!(long.finish(|_| ()));
            let pongs = pongs(outbound, reader);
            assert_eq!(pongs.len(), 1);
            let (payload, behind) = &pongs[0];
            assert_eq!(payload, b"between");
            assert!(*behind > PIECES * PIECE, "{behind} bytes behind it");
        }
    }

    mod long {
        use super::super::*;
        use crate::net::Sink;
        use crate::net::Socket;
        use crate::rpc::transport::Offer;
        use std::io::Read;
        use std::net::{TcpListener, TcpStream};
        use std::thread;

        const PATIENCE: Duration = Duration::from_secs(20);
        const PIECE: usize = 64 * 1024;
        const PIECES: usize = 256;

        /// An outbound of lines, and what its client reads from.
        pub(in crate::rpc::transport::outbound) fn pair() -> (Arc<Outbound>, TcpStream) {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (served, _) = listener.accept().unwrap();
            let sink = Sink::Socket(Arc::new(Socket::Tcp(served)));
            (Arc::new(Outbound::new(sink, Framing::Lines)), client)
        }

        #[test]
        fn what_is_added_meanwhile_comes_behind_in_order() {
            let (outbound, mut client) = pair();
            outbound.send(|out| out.extend_from_slice(b"before"));
            let mut long = outbound.begin_long(PATIENCE).unwrap();
            outbound.send(|out| out.extend_from_slice(b"answer"));
            let waker = Arc::new(poll::WakeEvent::new().unwrap());
            let offered =
                outbound.offer(&Waker::from(&waker), |out| out.extend_from_slice(b"event"));
            assert_eq!(offered, Offer::Taken);
            let reader = thread::spawn(move || {
                let mut text = Vec::new();
                client.read_to_end(&mut text).unwrap();
                text
            });
            for _ in 0..PIECES {
                assert!(long.add(|out| out.resize(out.len() + PIECE, b'x')));
            }
            assert!(long.finish(|out| out.push(b'!')));
            outbound.send(|out| out.extend_from_slice(b"after"));
            outbound.stop_sending_when_done();
            let text = reader.join().unwrap();
            let lines: Vec<_> = text.split(|byte| *byte == b'\n').collect();
            assert_eq!(lines.len(), 6);
            assert_eq!(lines[0], b"before");
            assert_eq!(lines[1].len(), PIECES * PIECE + 1);
            assert_eq!(lines[2..], [&b"answer"[..], b"event", b"after", b""]);
        }

        #[test]
        fn output_waits_in_its_pipe_when_much_is_behind() {
            let (outbound, mut client) = pair();
            let long = outbound.begin_long(PATIENCE).unwrap();
            let waker = Arc::new(poll::WakeEvent::new().unwrap());
            let offer = || {
                outbound.offer(&Waker::from(&waker), |out| {
                    out.resize(out.len() + PIECE, b'o')
                })
            };
            let taken = (0..PIECES).take_while(|_| offer() == Offer::Taken).count();
            assert!((4..8).contains(&taken), "{taken} taken");
            let reader = thread::spawn(move || {
                let mut text = Vec::new();
                client.read_to_end(&mut text).unwrap();
                text
            });
            assert!(long.finish(|_| ()));
            assert!(outbound.wait_until_below(0, PATIENCE));
            let mut fds = [PollFd::new(
                std::os::fd::AsFd::as_fd(&*waker),
                poll::READABLE,
            )];
            poll::wait(&mut fds, Some(PATIENCE)).unwrap();
            assert!(fds[0].is_ready(), "there is room, and nobody is told");
            outbound.stop_sending_when_done();
            assert_eq!(reader.join().unwrap().len(), 1 + taken * (PIECE + 1));
        }

        #[test]
        fn a_client_that_takes_nothing_loses_the_connection() {
            let (outbound, _client) = pair();
            let mut long = outbound.begin_long(Duration::from_millis(100)).unwrap();
            while long.add(|out| out.resize(out.len() + PIECE, b'x')) {}
            assert!(outbound.is_dead());
            drop(long);
            assert!(outbound.begin_long(PATIENCE).is_none());
        }

        #[test]
        fn a_message_that_is_given_up_ends_the_connection() {
            let (outbound, mut client) = pair();
            let mut long = outbound.begin_long(PATIENCE).unwrap();
            assert!(long.add(|out| out.extend_from_slice(b"half")));
            drop(long);
            assert!(outbound.is_dead());
            let mut text = Vec::new();
            client.read_to_end(&mut text).unwrap();
            assert_eq!(text, b"half");
        }

        #[test]
        fn a_second_long_message_waits_for_the_first() {
            let (outbound, mut client) = pair();
            let mut first = outbound.begin_long(PATIENCE).unwrap();
            assert!(first.add(|out| out.extend_from_slice(b"first")));
            let second = {
                let outbound = Arc::clone(&outbound);
                thread::spawn(move || {
                    let mut second = outbound.begin_long(PATIENCE).unwrap();
                    assert!(second.add(|out| out.extend_from_slice(b"second")));
                    assert!(second.finish(|_| ()));
                })
            };
            assert!(first.finish(|out| out.extend_from_slice(b" ends")));
            second.join().unwrap();
            outbound.stop_sending_when_done();
            let mut text = String::new();
            client.read_to_string(&mut text).unwrap();
            assert_eq!(text, "first ends\nsecond\n");
        }

        impl Outbound {
            fn stop_sending_when_done(self: &Arc<Self>) {
                assert!(self.drain(std::time::Instant::now() + PATIENCE));
                self.stop_sending();
            }
        }
    }
}
