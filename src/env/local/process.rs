//! One process, as its session and its thread see it.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::events::{Event, ProcessExit, Subscriber};
use super::host::Host;
use super::launch::{ProcessSpec, StartError};
use super::output::{Chunk, Retained};
use super::pump;
use super::stdin::Stdin;
pub use super::stdin::WriteError;
use crate::rpc::protocol::process::WriteStatus;
use crate::rpc::transport::Offer;
use crate::sys::event::WakeEvent;
use crate::sys::guardian::Guardian;
use crate::sys::process::Leader;
use crate::sys::pty::{self, WindowSize};
use crate::sys::signal::Signal;

/// Between TERM and KILL when a process's time is up.
const TIMEOUT_GRACE: Duration = Duration::from_secs(2);
/// How long a client that took up its session again has to ask for what it
/// missed, before output that it has not seen may be dropped.
const CATCH_UP: Duration = Duration::from_secs(5);
/// Reads that may wait on one process.
const MAX_WAITING: usize = 256;

/// Answers a write, now or when there is room.
pub type WriteReply = Box<dyn FnOnce(Result<WriteStatus, WriteError>) + Send>;
/// Answers a read, now or when there is news. Called under the process's lock.
pub type ReadReply = Box<dyn FnOnce(&ReadView<'_>) + Send>;
/// Tells whether the start succeeded. Called before the first event.
pub(super) type StartReply = Box<dyn FnOnce(Result<(), StartError>) + Send>;

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

struct Waiting {
    query: ReadQuery,
    /// `None` when it lies beyond what the clock can count.
    deadline: Option<Instant>,
    reply: ReadReply,
}

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Running,
    Exited,
}

/// What `process/list` tells.
#[derive(Debug)]
pub struct Summary {
    /// The kernel's number, once it runs.
    pub pid: Option<i32>,
    /// Whether it has a terminal.
    pub has_terminal: bool,
    /// How it ended.
    pub exit: Option<ProcessExit>,
    /// Whether all its output is in.
    pub is_closed: bool,
    /// The next event's number.
    pub next_seq: u64,
    /// See [`ReadView::first_retained_seq`].
    pub first_retained_seq: u64,
}

/// A process of a session.
pub struct Process {
    id: String,
    has_terminal: bool,
    host: Arc<Host>,
    control: Mutex<Control>,
}

/// What is behind the process's lock.
pub(super) struct Control {
    pub(super) phase: Phase,
    pid: Option<i32>,
    /// The group, while it may have members.
    group: Option<(Leader, Arc<Guardian>)>,
    /// Wakes the process's thread; gone with it.
    waker: Option<Arc<WakeEvent>>,
    output: Retained,
    next_seq: u64,
    exited: Option<(u64, ProcessExit)>,
    closed: Option<u64>,
    closed_at: Option<Instant>,
    /// The last event that the subscriber has, or will never get.
    published: u64,
    subscriber: Option<Arc<dyn Subscriber>>,
    /// Until when nothing may be dropped for want of room.
    catch_up_until: Option<Instant>,
    waiting: Vec<Waiting>,
    pub(super) stdin: Stdin,
    terminal: Option<Arc<File>>,
    /// When to send KILL.
    kill_at: Option<Instant>,
    /// When its time is up.
    timeout_at: Option<Instant>,
    has_timed_out: bool,
    /// Whether it was to be killed before it had started.
    kill_on_start: bool,
    /// Whether its session is gone, so nobody will ask.
    is_abandoned: bool,
}

/// A process's state for the answer to a read, borrowed under its lock.
pub struct ReadView<'a> {
    control: &'a Control,
    query: ReadQuery,
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

    /// Whether all its output is in.
    pub fn is_closed(&self) -> bool {
        self.control.closed.is_some()
    }
}

impl Process {
    /// A process that is about to start. Input that is written before it has
    /// started waits for it.
    pub fn new(
        host: &Arc<Host>,
        spec: &ProcessSpec,
        subscriber: Option<Arc<dyn Subscriber>>,
    ) -> Arc<Self> {
        let has_terminal = spec.terminal.is_some();
        let control = Control {
            phase: Phase::Starting,
            pid: None,
            group: None,
            waker: None,
            output: Retained::default(),
            next_seq: 1,
            exited: None,
            closed: None,
            closed_at: None,
            published: 0,
            subscriber,
            catch_up_until: None,
            waiting: Vec::new(),
            stdin: Stdin::new(Arc::clone(host), has_terminal || spec.pipe_stdin),
            terminal: None,
            kill_at: None,
            timeout_at: None,
            has_timed_out: false,
            kill_on_start: false,
            is_abandoned: false,
        };
        Arc::new(Self {
            id: spec.id.clone(),
            has_terminal,
            host: Arc::clone(host),
            control: Mutex::new(control),
        })
    }

    /// Starts the program on a thread of its own and returns at once; `started` is told.
    pub fn start(
        self: &Arc<Self>,
        spec: ProcessSpec,
        started: impl FnOnce(Result<(), StartError>) + Send + 'static,
    ) {
        let Some(running) = self.host.enter() else {
            started(Err(StartError::TooMany(self.host.config().max_processes)));
            return;
        };
        let process = Arc::clone(self);
        // The reply must be reachable when no thread can be had.
        let reply: Arc<Mutex<Option<StartReply>>> = Arc::new(Mutex::new(Some(Box::new(started))));
        let on_thread = Arc::clone(&reply);
        let job = move || {
            if let Some(started) = take(&on_thread) {
                pump::run(&process, spec, running, started);
            }
        };
        if let Err(error) = self.host.workers().run(Box::new(job))
            && let Some(started) = take(&reply)
        {
            started(Err(StartError::Resources("a thread", error)));
        }
    }

    /// The client's name for it.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a read at once if there is news, else when there is, or when
    /// the time is up. False, and no answer, when too many reads wait.
    pub fn read(&self, query: ReadQuery, reply: ReadReply) -> bool {
        let mut control = self.lock();
        control.catch_up_until = None;
        let has_news = control.has_news(&query);
        if has_news || query.wait.is_zero() {
            reply(&ReadView {
                control: &control,
                query,
            });
            // The thread may have held back output for this read.
            control.wake();
            return true;
        }
        if control.waiting.len() >= MAX_WAITING {
            return false;
        }
        control.waiting.push(Waiting {
            query,
            deadline: Instant::now().checked_add(query.wait),
            reply,
        });
        control.wake();
        true
    }

    /// Writes to standard input; the answer comes when there is room for more.
    pub fn write(&self, id: Option<&str>, data: Vec<u8>, reply: WriteReply) {
        let mut control = self.lock();
        control.stdin.write(id, data, reply);
        if control.stdin.waits_on().is_some() {
            control.wake();
        }
    }

    /// Ends standard input after what was written.
    pub fn close_stdin(&self) -> WriteStatus {
        let mut control = self.lock();
        let status = control.stdin.end();
        control.wake();
        status
    }

    /// Sends a signal to the group, if it is still there; then `reply` is
    /// called, before any event that the signal leads to is published.
    pub fn signal(&self, signal: Signal, reply: impl FnOnce(io::Result<()>)) {
        let control = self.lock();
        reply(control.send(signal).map(drop));
    }

    /// Ends the group: by KILL at once, or by TERM and after `grace` by KILL.
    /// `reply` is told whether the process ran until now, before any event.
    /// What a process left behind at its natural end is killed too.
    pub fn terminate(&self, grace: Option<Duration>, reply: impl FnOnce(bool)) {
        let mut control = self.lock();
        let was_running = control.phase != Phase::Exited;
        reply(was_running);
        match grace {
            Some(grace) if control.phase == Phase::Running => {
                let kill_at = Instant::now().checked_add(grace);
                control.kill_at = control.kill_at.map_or(kill_at, |before| {
                    Some(kill_at.map_or(before, |new| before.min(new)))
                });
                // A group that cannot be signalled is met again at `kill_at`.
                let _ = control.send(Signal::TERMINATE);
            }
            _ => control.kill(),
        }
        control.wake();
    }

    /// Sets the terminal's size. An error of `InvalidInput` kind when it has none.
    pub fn resize(&self, size: WindowSize) -> io::Result<()> {
        let control = self.lock();
        match &control.terminal {
            Some(terminal) => pty::resize(terminal.as_fd(), size),
            None if self.has_terminal => Ok(()),
            None => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Directs events to a connection: new ones only, older ones can be read.
    pub fn attach(&self, subscriber: Arc<dyn Subscriber>) {
        let mut control = self.lock();
        control.subscriber = Some(subscriber);
        control.published = control.next_seq - 1;
        control.catch_up_until = Instant::now().checked_add(CATCH_UP);
        control.wake();
    }

    /// Directs events to nobody: they are retained, as far as there is room.
    pub fn detach(&self) {
        let mut control = self.lock();
        control.subscriber = None;
        control.catch_up_until = None;
        // Their connection is gone.
        control.waiting.clear();
        control.wake();
    }

    /// Kills the group; nobody will ask about the process again.
    pub fn abandon(&self) {
        let mut control = self.lock();
        control.is_abandoned = true;
        control.subscriber = None;
        control.catch_up_until = None;
        control.waiting.clear();
        control.kill();
        if control.phase == Phase::Exited {
            control.drop_group();
        }
        control.wake();
        drop(control);
        self.forget_output();
    }

    /// Asks the process to end, before the server does.
    pub fn ask_to_end(&self) {
        // One that cannot be asked will be killed.
        let _ = self.lock().send(Signal::TERMINATE);
    }

    /// When the last event was published, if it was.
    pub fn closed_at(&self) -> Option<Instant> {
        self.lock().closed_at
    }

    /// What `process/list` tells.
    pub fn summary(&self) -> Summary {
        let control = self.lock();
        Summary {
            pid: control.pid,
            has_terminal: self.has_terminal,
            exit: control.exited.map(|(_, exit)| exit),
            is_closed: control.closed.is_some(),
            next_seq: control.next_seq,
            first_retained_seq: control.output.first_retained_seq(),
        }
    }

    /// Drops the retained output.
    pub(super) fn forget_output(&self) {
        let mut control = self.lock();
        let before = control.output.cost();
        control.output.clear();
        self.host.account_retained(before, 0);
    }

    /// Retains a chunk and numbers it.
    pub(super) fn record_output(&self, stream: super::output::Stream, data: &[u8]) {
        let mut control = self.lock();
        let seq = control.take_seq();
        let limit = self.host.config().retained_output;
        let before = control.output.cost();
        control.output.push(seq, stream, data, limit);
        let over = self.host.account_retained(before, control.output.cost());
        drop(control);
        if over > 0 {
            let over = self.host.relieve();
            let mut control = self.lock();
            let before = control.output.cost();
            control.output.evict(over);
            self.host.account_retained(before, control.output.cost());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.forget_output();
        self.lock().drop_group();
    }
}

impl Control {
    fn take_seq(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.set();
        }
    }

    fn has_news(&self, query: &ReadQuery) -> bool {
        self.output.has_after(query.after)
            || self.closed.is_some()
            || (self.exited.is_some() && query.after < self.next_seq - 1)
    }

    /// Whether any of the group was there to get it.
    fn send(&self, signal: Signal) -> io::Result<bool> {
        match &self.group {
            Some((leader, _)) => leader.signal_group(signal),
            None => Ok(false),
        }
    }

    fn kill(&mut self) {
        if self.phase == Phase::Starting {
            self.kill_on_start = true;
        }
        // KILL is refused only for a group of another user, which we could not have started.
        let _ = self.send(Signal::KILL);
    }

    /// The program runs.
    pub(super) fn began(
        &mut self,
        leader: Leader,
        guardian: Arc<Guardian>,
        waker: Arc<WakeEvent>,
        terminal: Option<Arc<File>>,
        timeout: Option<Duration>,
    ) {
        self.phase = Phase::Running;
        self.pid = Some(leader.pid());
        self.group = Some((leader, guardian));
        self.waker = Some(waker);
        self.terminal = terminal;
        self.timeout_at = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        if self.kill_on_start {
            let _ = self.send(Signal::KILL);
        }
    }

    /// The leader, while it is not reaped.
    pub(super) fn leader(&mut self) -> Option<&mut Leader> {
        if self.phase == Phase::Exited {
            return None;
        }
        self.group.as_mut().map(|(leader, _)| leader)
    }

    /// The leader is reaped; its event follows when its output is in.
    pub(super) fn ended(&mut self) {
        self.phase = Phase::Exited;
        self.kill_at = None;
        self.timeout_at = None;
        if let Some((leader, guardian)) = &self.group {
            if leader.is_group_empty() {
                self.drop_group();
            } else {
                guardian.leader_reaped(leader.pid());
            }
        }
        if self.is_abandoned {
            self.drop_group();
        }
        self.stdin.close();
    }

    fn drop_group(&mut self) {
        if let Some((leader, guardian)) = self.group.take() {
            let _ = leader.signal_group(Signal::KILL);
            guardian.remove(leader.pid());
        }
    }

    /// Numbers the exit.
    pub(super) fn record_exit(&mut self, code: i32, signal: Option<Signal>) {
        let seq = self.take_seq();
        let exit = ProcessExit {
            code,
            signal,
            timed_out: self.has_timed_out,
        };
        self.exited = Some((seq, exit));
    }

    /// Numbers the last event.
    pub(super) fn record_close(&mut self) {
        let seq = self.take_seq();
        self.closed = Some(seq);
        self.closed_at = Some(Instant::now());
        self.terminal = None;
        self.output.shrink();
    }

    /// The thread leaves; nothing will happen any more.
    pub(super) fn thread_left(&mut self) {
        self.waker = None;
    }

    /// Whether every event is where it should be and nobody waits.
    pub(super) fn is_settled(&self) -> bool {
        self.closed.is_some() && self.published + 1 == self.next_seq
    }

    /// Whether the last event has its number.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Whether nobody will ask about it again.
    pub(super) fn is_abandoned(&self) -> bool {
        self.is_abandoned
    }

    /// Offers what was not published yet. `false` when the subscriber has no room.
    pub(super) fn publish(&mut self, id: &str, waker: &Arc<WakeEvent>) -> bool {
        while self.published + 1 < self.next_seq {
            let Some(subscriber) = &self.subscriber else {
                self.published = self.next_seq - 1;
                break;
            };
            let seq = self.published + 1;
            let event = match (self.exited, self.closed) {
                (Some((exited, exit)), _) if exited == seq => Some(Event::Exited { seq, exit }),
                (_, Some(closed)) if closed == seq => Some(Event::Closed { seq }),
                _ => {
                    let next = self.output.after(seq - 1).next();
                    next.filter(|chunk| chunk.seq == seq).map(Event::Output)
                }
            };
            let offer = event.map_or(Offer::Taken, |event| subscriber.offer(id, &event, waker));
            match offer {
                Offer::Taken => self.published = seq,
                Offer::Full => return false,
                Offer::Dead => self.subscriber = None,
            }
        }
        true
    }

    /// Who gets the events now.
    pub(super) fn subscriber(&self) -> Option<Arc<dyn Subscriber>> {
        self.subscriber.clone()
    }

    /// Whether another chunk would push out one that the client was promised.
    pub(super) fn must_hold_output(&self, limit: usize, chunk: usize) -> Option<Instant> {
        let until = self.catch_up_until?;
        (until > Instant::now() && self.output.cost() + chunk > limit).then_some(until)
    }

    /// Answers the reads that have news or whose time is up.
    pub(super) fn answer_reads(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut index = 0;
        while let Some(waiting) = self.waiting.get(index) {
            let is_due = waiting.deadline.is_some_and(|deadline| deadline <= now);
            if !is_due && !self.has_news(&waiting.query) {
                index += 1;
                continue;
            }
            let Waiting { query, reply, .. } = self.waiting.remove(index);
            reply(&ReadView {
                control: self,
                query,
            });
        }
    }

    /// Sends the signals that are due, and tells when the next thing is.
    pub(super) fn keep_time(&mut self) -> Option<Instant> {
        let now = Instant::now();
        if self.timeout_at.is_some_and(|at| at <= now) {
            self.timeout_at = None;
            self.has_timed_out = true;
            self.kill_at = now.checked_add(TIMEOUT_GRACE);
            let _ = self.send(Signal::TERMINATE);
        }
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_at = None;
            self.kill();
        }
        let reads = self.waiting.iter().filter_map(|waiting| waiting.deadline);
        reads.chain(self.timeout_at).chain(self.kill_at).min()
    }
}

fn take(reply: &Mutex<Option<StartReply>>) -> Option<StartReply> {
    reply.lock().unwrap_or_else(PoisonError::into_inner).take()
}
