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

mod control;
mod long;
mod room;
mod state;

pub use long::LongMessage;

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};
use std::thread;
use std::time::Duration;

use self::state::State;
use super::frame;
use super::mask::{Masks, Role};
use super::payload::PayloadBuffer;
use super::sink::Sink;
use crate::sys::event::WakeEvent;
use crate::sys::poll::{self, PollFd, WRITABLE};
use crate::sys::sync::{Condvar, Mutex};

/// Above this many unsent bytes, process output waits in its pipe.
const OUTPUT_LIMIT: usize = 256 * 1024;
/// Above this many unsent bytes, no further request is read: the client
/// must first take the answers it has. Above what output alone can reach, so
/// that a flood of output never keeps a `terminate` from being read.
const ANSWER_LIMIT: usize = 4 * 1024 * 1024;
/// What an idle connection's buffer may keep.
const IDLE_KEEP: usize = 16 * 1024;
/// What a busy one's may: the largest block of a file with its announcement, and a little output.
const BUSY_KEEP: usize = frame::MAX_PAYLOAD + OUTPUT_LIMIT;
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
        let mut state = self.lock();
        if !state.is_dead {
            self.append(&mut state, write);
        }
    }

    /// Adds a binary message, on a websocket.
    pub fn add_binary(&self, message: &[u8]) {
        let mut guard = self.lock();
        let state = &mut *guard;
        if !state.is_dead {
            state.compact();
            let (out, masks) = state.end();
            frame::binary(out, masks, message);
        }
    }

    /// As [`Outbound::add`], with a payload of at least one byte right behind the message.
    pub fn add_with_payload(&self, write: impl FnOnce(&mut Vec<u8>), payload: &[u8]) {
        let mut guard = self.lock();
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
    pub fn add_with_buffer(&self, write: impl FnOnce(&mut Vec<u8>), payload: &mut PayloadBuffer) {
        let is_client = matches!(self.framing, Framing::WebSocket(Role::Client));
        if is_client || payload.bytes().len() > frame::MAX_PAYLOAD {
            return self.add_with_payload(write, payload.bytes());
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
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.is_dead {
            return;
        }
        if state.unsent() == 0
            && !state.has_long
            && let Some(start) = payload.exchange(&head, &mut state.buffer)
        {
            state.sent = start;
            return;
        }
        state.compact();
        let (out, _) = state.end();
        out.extend_from_slice(&head);
        out.extend_from_slice(payload.bytes());
    }

    /// Adds a message and sends what the stream takes.
    pub fn send(self: &Arc<Self>, write: impl FnOnce(&mut Vec<u8>)) {
        self.add(write);
        self.flush();
    }

    /// Sends what the stream takes; somebody will see to the rest.
    pub fn flush(self: &Arc<Self>) {
        let mut state = self.lock();
        if self.push(&mut state) == Flush::Done || state.has_flusher {
            return;
        }
        state.has_flusher = true;
        drop(state);
        let outbound = Arc::clone(self);
        let thread = thread::Builder::new()
            .name("flush".into())
            .stack_size(64 * 1024);
        if thread.spawn(move || outbound.flush_until_done()).is_err() {
            // Without a thread nobody would ever send the rest.
            self.kill();
        }
    }

    /// Adds a message that can wait, unless too much is unsent.
    pub fn offer(&self, waker: &Arc<WakeEvent>, write: impl FnOnce(&mut Vec<u8>)) -> Offer {
        let mut state = self.lock();
        if state.is_dead {
            return Offer::Dead;
        }
        if state.ahead_of_output() > OUTPUT_LIMIT {
            state.remember(waker);
            return Offer::Full;
        }
        self.append(&mut state, write);
        Offer::Taken
    }

    /// Whether an answer that has waited may be added now: not while the reader would wait for
    /// room either. If not, the waker will be set when there is room.
    pub fn has_room(&self, waker: &Arc<WakeEvent>) -> bool {
        let mut state = self.lock();
        let has_room = state.is_dead || state.unsent() <= ANSWER_LIMIT;
        if !has_room {
            state.remember(waker);
        }
        has_room
    }

    /// Sends what the stream takes of what was offered. True lays the duty on
    /// the caller to poll [`Outbound::fd`] for room and call
    /// [`Outbound::flush_duty`] until it is done.
    pub fn flush_offered(&self) -> bool {
        let mut state = self.lock();
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
        let mut state = self.lock();
        let flush = self.push(&mut state);
        if flush == Flush::Done {
            state.has_flusher = false;
        }
        flush
    }

    /// Hands the duty to flush to a thread, for a process thread that ends.
    pub fn give_up_duty(self: &Arc<Self>) {
        self.lock().has_flusher = false;
        self.flush();
    }

    /// How messages are told apart.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether nothing can be sent any more.
    pub fn is_dead(&self) -> bool {
        self.lock().is_dead
    }

    /// The reading half has heard something from the peer.
    pub(super) fn note_heard(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// A number that grows whenever the peer does something: sends anything,
    /// or takes bytes after it had long taken none.
    pub fn signs_of_life(&self) -> u64 {
        let drained = self.lock().drained;
        drained + self.heard.load(Ordering::Relaxed)
    }

    /// What to poll for room.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.sink.fd()
    }

    /// Bytes that the stream has taken so far.
    pub fn total_sent(&self) -> u64 {
        self.lock().total_sent
    }

    /// Bytes that are not sent yet.
    pub fn unsent(&self) -> usize {
        self.lock().unsent()
    }

    /// Gives back memory that only a burst has needed.
    pub fn shrink(&self) {
        let mut state = self.lock();
        if state.buffer.is_empty() && state.buffer.capacity() > IDLE_KEEP {
            state.buffer = Vec::new();
        }
    }

    /// Tells the peer that nothing more will come, so that it can hang up.
    pub fn stop_sending(&self) {
        self.sink.stop_sending();
    }

    /// Ends the connection for both halves; a reader that sleeps wakes up.
    pub fn kill(&self) {
        let mut state = self.lock();
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
        if state.buffer.capacity() > BUSY_KEEP && !state.has_long {
            state.buffer = Vec::new();
        } else {
            state.buffer.clear();
        }
        self.announce_room(state);
        Flush::Done
    }

    fn announce_room(&self, state: &mut State) {
        if state.ahead_of_output() <= OUTPUT_LIMIT / 2 {
            for waker in state.wakers.drain(..) {
                waker.set();
            }
        }
        if state.waiting > 0 && state.unsent() <= ANSWER_LIMIT {
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}
