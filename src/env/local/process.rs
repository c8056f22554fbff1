//! One process, as its session and its thread see it: what is asked of it, what it tells, and the
//! state behind its lock, which both share. [`pump`] is the thread.

mod pump;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cgroup::{Cgroup, SessionCgroup};
use super::descendants::{Marked, Owner};
use super::host::Host;
use super::launch::{ProcessSpec, StartError, Started};
use super::streams::Stdin;
pub use super::streams::WriteError;
use super::streams::{Chunk, Retained, Stream};
use crate::rpc::methods::process::WriteStatus;
use crate::rpc::transport::{Flush, Offer};
use crate::sandbox::denial::Denial;
use crate::sandbox::launcher::LauncherKind;
use crate::sys::guardian::Guardian;
use crate::sys::mark::Mark;
use crate::sys::poll::{WakeEvent, Waker};
use crate::sys::process::Leader;
use crate::sys::pty::{self, WindowSize};
use crate::sys::signal::Signal;
use crate::sys::sync::Mutex;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessExit {
    /// Its code, or 128+n when signal n killed it.
    pub code: i32,
    /// The signal that killed it.
    pub signal: Option<Signal>,
    /// Whether its time was up.
    pub timed_out: bool,
    /// Whether the kernel has ended it, or what descends from it, as its cgroup had no memory left.
    pub oom_killed: bool,
    /// Whether it failed for its sandbox, as far as can be told.
    pub sandbox_denied: bool,
}

/// One numbered event of a process.
#[derive(Debug)]
pub enum Event<'a> {
    /// It has printed something.
    Output(Chunk<'a>),
    /// It has ended. All that it printed before came earlier.
    Exited {
        /// The event's number.
        seq: u64,
        exit: ProcessExit,
        /// Why it is taken to have failed for its sandbox.
        denial: Option<&'a Denial>,
    },
    /// No output will follow. The last event.
    Closed {
        /// The event's number.
        seq: u64,
    },
}

/// Who gets a process's events, in their order: a connection, or who started it in process.
///
/// Called with the process's lock held, so it must not call back.
pub trait Subscriber: Send + Sync {
    /// Takes an event, or refuses it for now and sets `waker` when it can take
    /// it. What is taken may wait in a buffer until [`Subscriber::flush`].
    fn offer(&self, process_id: &str, event: &Event<'_>, waker: &Waker) -> Offer;

    /// Whether the process is of use to this one alone, gives nobody else its events, keeps no output
    /// for others, and has to end when this one has gone.
    fn is_the_only_one(&self) -> bool {
        false
    }

    /// Whether a read that has waited may be answered; if not, sets `waker` when it may.
    fn has_room(&self, waker: &Waker) -> bool;

    /// Sends what was taken. True lays the duty on the caller to poll
    /// [`Subscriber::fd`] for room and call [`Subscriber::flush_duty`] until it is done. One that
    /// has what it takes need not send anything, nor do what follows.
    fn flush(&self) -> bool {
        false
    }

    /// See [`Subscriber::flush`].
    fn flush_duty(&self) -> Flush {
        Flush::Done
    }

    /// See [`Subscriber::flush`].
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Passes the duty to flush on.
    fn give_up_duty(&self) {}
}

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
struct Waiting {
    query: ReadQuery,
    /// `None` when it lies beyond what the clock can count.
    deadline: Option<Instant>,
    reply: ReadReply,
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

    /// Whether no output is kept beyond what is given.
    fn reaches_end(&self) -> bool {
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

/// How long a client that took up its session again has to ask for what it
/// missed, before output that it has not seen may be dropped.
const CATCH_UP: Duration = Duration::from_secs(5);
/// Reads that may wait on one process.
const MAX_WAITING: usize = 256;

/// Answers a write, now or when there is room.
pub type WriteReply = Box<dyn FnOnce(Result<WriteStatus, WriteError>) + Send>;
/// What the operator is told of a process.
#[derive(Clone, Copy, Debug)]
pub enum Milestone {
    /// The program runs.
    Started {
        /// The kernel's number.
        pid: i32,
        /// Who confines it, if anything does.
        launcher: Option<LauncherKind>,
    },
    /// It has ended, and before its client was told.
    Exited {
        /// How.
        exit: ProcessExit,
        /// Whether it was told to end, or its session was over.
        was_terminated: bool,
    },
}
/// Takes them in their order, on the process's thread.
pub type Observer = Box<dyn FnMut(&Milestone) + Send>;

/// Tells whether the start succeeded. Called before the first event.
type StartReply = Box<dyn FnOnce(Result<Started, StartError>) + Send>;

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
    /// See [`Subscriber::is_the_only_one`].
    has_audience: bool,
    host: Arc<Host>,
    session_cgroup: Arc<SessionCgroup>,
    control: Mutex<Control>,
}

impl Process {
    /// A process that is about to start. Input that is written before it has
    /// started waits for it. It is one of the owner's.
    pub fn new(
        host: &Arc<Host>,
        owner: &Owner,
        spec: &ProcessSpec,
        subscriber: Option<Arc<dyn Subscriber>>,
    ) -> Arc<Self> {
        let has_terminal = spec.terminal.is_some();
        let is_the_only_one = |subscriber: &Arc<dyn Subscriber>| subscriber.is_the_only_one();
        let has_audience = subscriber.as_ref().is_some_and(is_the_only_one);
        let control = Control {
            phase: Phase::Starting,
            pid: None,
            group: None,
            marked: owner.next(),
            cgroup: None,
            waker: None,
            cancel: None,
            output: Retained::default(),
            next_seq: 1,
            exited: None,
            denial: None,
            closed: None,
            kept_since: None,
            published: 0,
            subscriber,
            acknowledged: None,
            catch_up_until: None,
            waiting: Vec::new(),
            holds_answers: false,
            stdin: Stdin::new(Arc::clone(host), has_terminal || spec.pipe_stdin),
            terminal: None,
            kill_at: None,
            timeout_at: None,
            has_timed_out: false,
            was_terminated: false,
            is_asked_to_end: false,
            early_signals: Vec::new(),
            early_size: None,
            is_abandoned: false,
        };
        Arc::new(Self {
            id: spec.id.clone(),
            has_terminal,
            has_audience,
            host: Arc::clone(host),
            session_cgroup: Arc::clone(owner.cgroup()),
            control: Mutex::new(control),
        })
    }

    /// Starts the program on a thread of its own and returns at once; `started` is told. What
    /// becomes of it then, `observer` is.
    pub fn start(
        self: &Arc<Self>,
        spec: ProcessSpec,
        observer: Observer,
        started: impl FnOnce(Result<Started, StartError>) + Send + 'static,
    ) {
        let Some(running) = self.host.enter() else {
            self.control.lock().failed();
            started(Err(StartError::TooMany(self.host.config().max_processes)));
            return;
        };
        let process = Arc::clone(self);
        // The reply must be reachable when no thread can be had.
        let reply: Arc<Mutex<Option<StartReply>>> = Arc::new(Mutex::new(Some(Box::new(started))));
        let on_thread = Arc::clone(&reply);
        let job = move || {
            if let Some(started) = take(&on_thread) {
                let left = pump::run(&process, spec, running, started, observer);
                let host = Arc::clone(&process.host);
                // This thread may now serve the leftovers of others for long.
                drop(process);
                if let Some(left) = left {
                    host.leftovers().leave(left);
                }
            }
        };
        if let Err(error) = self.host.workers().run(Box::new(job))
            && let Some(started) = take(&reply)
        {
            self.control.lock().failed();
            started(Err(StartError::Resources("a thread", error)));
        }
    }

    /// The client's name for it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether its events, and its output, are for who has started it alone.
    pub fn has_audience_of_its_own(&self) -> bool {
        self.has_audience
    }

    fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// Answers a read at once if there is news, else when there is, or when
    /// the time is up. False, and no answer, when too many reads wait.
    pub fn read(&self, query: ReadQuery, reply: ReadReply) -> bool {
        let mut control = self.control.lock();
        let has_news = control.has_news(&query) || control.phase == Phase::Failed;
        if has_news || query.wait.is_zero() {
            let view = ReadView {
                control: &control,
                query,
            };
            reply((control.phase != Phase::Failed).then_some(&view));
            if control.catch_up_until.is_some() && view.reaches_end() {
                control.catch_up_until = None;
                // The thread may have held back output for this read.
                control.wake();
            }
            return true;
        }
        control.catch_up_until = None;
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
        let mut control = self.control.lock();
        control.stdin.write(id, data, reply);
        if control.stdin.waits_on().is_some() {
            control.wake();
        }
    }

    /// Ends standard input after what was written.
    pub fn close_stdin(&self) -> WriteStatus {
        let mut control = self.control.lock();
        let status = control.stdin.end();
        control.wake();
        status
    }

    /// Sends a signal to the group, if it is still there; then `reply` is
    /// called, before any event that the signal leads to is published.
    pub fn signal(&self, signal: Signal, reply: impl FnOnce(io::Result<()>)) {
        let mut control = self.control.lock();
        reply(control.send(signal).map(drop));
    }

    /// Ends the group and what has left it: by KILL at once, or by TERM and after `grace` by KILL.
    /// `reply` is told whether the process ran until now, before any event.
    /// What a process left behind at its natural end is killed too.
    pub fn terminate(&self, grace: Option<Duration>, reply: impl FnOnce(bool)) {
        let mut control = self.control.lock();
        let was_running = matches!(control.phase, Phase::Starting | Phase::Running);
        reply(was_running);
        control.was_terminated |= was_running;
        match grace {
            Some(grace) if control.phase == Phase::Running => {
                let kill_at = Instant::now().checked_add(grace);
                control.kill_at = control.kill_at.map_or(kill_at, |before| {
                    Some(kill_at.map_or(before, |new| before.min(new)))
                });
                control.ask_to_end();
            }
            _ => control.kill(),
        }
        control.wake();
    }

    /// Sets the terminal's size. An error of `InvalidInput` kind when it has none.
    pub fn resize(&self, size: WindowSize) -> io::Result<()> {
        let mut control = self.control.lock();
        match &control.terminal {
            Some(terminal) => pty::resize(terminal.as_fd(), size),
            None if self.has_terminal => {
                control.early_size = Some(size);
                Ok(())
            }
            None => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Directs events to a connection: new ones only, older ones can be read.
    pub fn attach(&self, subscriber: Arc<dyn Subscriber>) {
        if self.has_audience {
            return;
        }
        let mut control = self.control.lock();
        control.subscriber = Some(subscriber);
        control.published = control.next_seq - 1;
        control.catch_up_until = Instant::now().checked_add(CATCH_UP);
        control.keep_from_now();
        control.wake();
    }

    /// The client has all events up to `seq`. From the first call on nothing above is dropped;
    /// instead the program waits when much of its output is not acknowledged, also while no
    /// client is attached.
    pub fn acknowledge(&self, seq: u64) {
        let mut control = self.control.lock();
        let before = control.acknowledged.unwrap_or(0);
        control.acknowledged = Some(before.max(seq));
        if control.closed.is_some_and(|closed| before < closed) {
            control.keep_from_now();
        }
        let before = control.output.cost();
        let over = before.saturating_sub(self.host.config().retained_output);
        let sent = control.expendable();
        control.output.evict(over, sent);
        let after = control.output.cost();
        self.host.account_retained(before, after);
        if after < before {
            control.wake();
        }
    }

    /// Directs events to nobody: they are retained, as far as there is room. One that has an
    /// audience of its own is ended.
    pub fn detach(&self) {
        let mut control = self.control.lock();
        control.subscriber = None;
        if self.has_audience {
            control.kill();
        }
        control.catch_up_until = None;
        // Their connection is gone.
        control.waiting.clear();
        control.wake();
    }

    /// Kills the group and what has left it; nobody will ask about the process again.
    pub fn abandon(&self) {
        let mut control = self.control.lock();
        control.is_abandoned = true;
        control.was_terminated = true;
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
        self.control.lock().ask_to_end();
    }

    /// What it is to be marked with.
    fn mark(&self) -> Option<Mark> {
        self.control.lock().marked.as_ref().map(Marked::mark)
    }

    /// Whether neither its group nor what has left it has a living process, as far as can be told.
    pub(crate) fn has_no_descendants(&self) -> bool {
        let marked = self.control.lock().marked.clone();
        self.has_no_group() && !marked.is_some_and(|it| it.is_any_left())
    }

    /// Whether no process of its group is left, as far as can be told.
    pub fn has_no_group(&self) -> bool {
        let mut control = self.control.lock();
        let is_empty = control
            .group
            .as_ref()
            .is_none_or(|(leader, _)| leader.is_group_empty());
        if is_empty {
            control.drop_group();
        }
        let cgroup = control.take_empty_cgroup();
        drop(control);
        // To remove it takes a moment.
        drop(cgroup);
        is_empty
    }

    /// Whether its last event has its number.
    pub fn is_closed(&self) -> bool {
        self.control.lock().closed.is_some()
    }

    /// Since when it is kept for its client to ask again: the latest of its end, of the moment when the
    /// client acknowledged that, and of the moment when the client came back. None while it runs,
    /// while its connection has not taken its last event, and while a client that acknowledges has
    /// not acknowledged that one.
    pub fn kept_since(&self) -> Option<Instant> {
        let control = self.control.lock();
        let closed = control.closed?;
        let is_told = control.published >= closed;
        let is_acknowledged = control.acknowledged.is_none_or(|seq| seq >= closed);
        control.kept_since.filter(|_| is_told && is_acknowledged)
    }

    /// What `process/list` tells.
    pub fn summary(&self) -> Summary {
        let control = self.control.lock();
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
    fn forget_output(&self) {
        let mut control = self.control.lock();
        let before = control.output.cost();
        control.output.clear();
        self.host.account_retained(before, 0);
    }

    /// Drops the retained output that the client has been sent or can no longer expect.
    pub(crate) fn forget_sent_output(&self) {
        let mut control = self.control.lock();
        let sent = control.published;
        self.forget_through(&mut control, sent);
        control.output.shrink();
    }

    /// Drops the retained output that the client has, or was sent and does not tell.
    fn forget_expendable_output(&self) {
        let mut control = self.control.lock();
        let sent = control.expendable();
        self.forget_through(&mut control, sent);
    }

    fn forget_through(&self, control: &mut Control, seq: u64) {
        let before = control.output.cost();
        control.output.evict(usize::MAX, seq);
        self.host.account_retained(before, control.output.cost());
    }

    /// Retains a chunk and numbers it.
    fn record_output(&self, stream: Stream, data: &[u8]) {
        let mut control = self.control.lock();
        let seq = control.take_seq();
        let limit = match self.has_audience {
            // What has been taken is not asked for again.
            true => 0,
            false => self.host.config().retained_output,
        };
        let before = control.output.cost();
        let sent = control.expendable();
        control.output.push(seq, stream, data, limit, sent);
        let over = self.host.account_retained(before, control.output.cost());
        drop(control);
        if over > 0 {
            let over = self.host.relieve();
            let mut control = self.control.lock();
            let before = control.output.cost();
            let sent = control.expendable();
            control.output.evict(over, sent);
            self.host.account_retained(before, control.output.cost());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.forget_output();
        self.control.lock().leave();
    }
}

fn take(reply: &Mutex<Option<StartReply>>) -> Option<StartReply> {
    reply.lock().take()
}

/// Between TERM and KILL when a process's time is up.
const TIMEOUT_GRACE: Duration = Duration::from_secs(2);

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    Exited,
    /// It never ran.
    Failed,
}

/// The state of one process, which its session and its thread share.
struct Control {
    phase: Phase,
    pid: Option<i32>,
    /// The group, while it may have members.
    group: Option<(Leader, Guardian)>,
    /// All that descend from it. None where they are not marked.
    marked: Option<Marked>,
    /// What limits all of them together, while it may have members.
    cgroup: Option<Arc<Cgroup>>,
    /// Wakes the process's thread; gone with it.
    waker: Option<Waker>,
    /// Ends a confined start that has not come to its program yet.
    cancel: Option<Arc<WakeEvent>>,
    output: Retained,
    next_seq: u64,
    exited: Option<(u64, ProcessExit)>,
    /// Why it is taken to have failed for its sandbox.
    denial: Option<Denial>,
    closed: Option<u64>,
    /// See [`Process::kept_since`].
    kept_since: Option<Instant>,
    /// The last event that the subscriber has, or will never get.
    published: u64,
    subscriber: Option<Arc<dyn Subscriber>>,
    /// The last event that the client has told it has, if it tells.
    acknowledged: Option<u64>,
    /// Until when nothing may be dropped for want of room.
    catch_up_until: Option<Instant>,
    waiting: Vec<Waiting>,
    /// Whether their answers wait for the client to take what it has.
    holds_answers: bool,
    stdin: Stdin,
    terminal: Option<Arc<File>>,
    /// When to send KILL.
    kill_at: Option<Instant>,
    /// When its time is up.
    timeout_at: Option<Instant>,
    has_timed_out: bool,
    /// Whether it was told to end before it had, by its client or with its session.
    was_terminated: bool,
    /// Whether it was asked to end, and what descends from it with it.
    is_asked_to_end: bool,
    /// Signals that came before it had started.
    early_signals: Vec<Signal>,
    /// The size of its terminal, if it was changed before it had started.
    early_size: Option<WindowSize>,
    /// Whether its session is gone, so nobody will ask.
    is_abandoned: bool,
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
    fn send(&mut self, signal: Signal) -> io::Result<bool> {
        if self.phase == Phase::Starting {
            if !self.early_signals.contains(&signal) {
                self.early_signals.push(signal);
            }
            self.cancel_if_told_to_end();
            return Ok(true);
        }
        match &self.group {
            Some((leader, _)) => leader.signal_group(signal),
            None => Ok(false),
        }
    }

    /// Asks the group to end, and those who have left it.
    fn ask_to_end(&mut self) {
        self.is_asked_to_end = true;
        // One that cannot be asked will be killed.
        let _ = self.send(Signal::TERMINATE);
        if self.phase == Phase::Starting {
            return;
        }
        let leader = self.group.as_ref().map(|(leader, _)| leader);
        // The launcher of a sandbox passes nothing on, and all that is inside ends with it.
        if let Some(marked) = &self.marked
            && !leader.is_some_and(Leader::is_launcher)
        {
            marked.ask_to_end(leader.map(Leader::pid));
        }
    }

    /// Kills the group, and those who have left it.
    fn kill(&mut self) {
        // KILL is refused only for a group of another user, which we could not have started.
        let _ = self.send(Signal::KILL);
        if self.phase != Phase::Starting {
            self.kill_marked();
        }
    }

    fn kill_marked(&mut self) {
        self.is_asked_to_end = false;
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        }
        if let Some(marked) = &self.marked {
            marked.kill();
        }
    }

    /// A confined start begins, which this event ends.
    fn watch_for_cancel(&mut self, cancel: Arc<WakeEvent>) {
        self.cancel = Some(cancel);
        self.cancel_if_told_to_end();
    }

    /// A start begins in this cgroup.
    fn starts_in(&mut self, cgroup: Arc<Cgroup>) {
        self.cgroup = Some(cgroup);
        self.cancel_if_told_to_end();
    }

    /// Gives up a confined start that goes on, or one in a cgroup that is frozen; any other takes a moment only.
    fn cancel_if_told_to_end(&self) {
        let ends = |signal: &Signal| [Signal::KILL, Signal::TERMINATE].contains(signal);
        if !self.early_signals.iter().any(ends) {
            return;
        }
        if let Some(cancel) = &self.cancel {
            cancel.set();
        }
        if let Some(cgroup) = &self.cgroup {
            cgroup.give_up();
        }
    }

    fn began(
        &mut self,
        (leader, guardian): (Leader, Guardian),
        cgroup: Option<Arc<Cgroup>>,
        waker: Waker,
        terminal: Option<Arc<File>>,
        timeout: Option<Duration>,
    ) {
        self.phase = Phase::Running;
        self.cancel = None;
        self.pid = Some(leader.program_pid());
        self.group = Some((leader, guardian));
        self.cgroup = cgroup;
        self.waker = Some(waker);
        self.terminal = terminal;
        self.timeout_at = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        if let (Some(size), Some(terminal)) = (self.early_size, &self.terminal) {
            // The size that it was opened with is the next best.
            let _ = pty::resize(terminal.as_fd(), size);
        }
        for signal in std::mem::take(&mut self.early_signals) {
            match signal {
                Signal::KILL => self.kill(),
                // It was answered already; a group that refuses it will not take another.
                _ => drop(self.send(signal)),
            }
        }
    }

    /// The program could not be started: nothing will happen.
    fn failed(&mut self) {
        self.phase = Phase::Failed;
        self.cancel = None;
        self.cgroup = None;
        self.stdin.close();
        for waiting in self.waiting.drain(..) {
            (waiting.reply)(None);
        }
    }

    /// The leader, while it is not reaped.
    fn leader(&mut self) -> Option<&mut Leader> {
        if self.phase != Phase::Running {
            return None;
        }
        self.group.as_mut().map(|(leader, _)| leader)
    }

    /// The leader is reaped; its event follows when its output is in.
    fn ended(&mut self) {
        self.phase = Phase::Exited;
        self.timeout_at = None;
        if let Some((leader, guardian)) = &self.group {
            if leader.is_group_empty() {
                guardian.remove(leader.pid());
                self.group = None;
            } else if leader.is_launcher() {
                // What is left of a sandbox is about to end anyway, and would be asked for until then.
                self.drop_group();
            } else {
                guardian.leader_reaped(leader.pid());
            }
        }
        if self.is_abandoned {
            self.drop_group();
            self.kill_marked();
        }
        if self.group.is_none() && self.marked.is_none() {
            self.kill_at = None;
        }
        self.stdin.close();
    }

    /// Nobody will ask about the process again, so what was asked to end must.
    fn leave(&mut self) {
        self.drop_group();
        if self.is_asked_to_end {
            self.kill_marked();
        }
    }

    fn drop_group(&mut self) {
        if let Some((leader, guardian)) = self.group.take() {
            let _ = leader.signal_group(Signal::KILL);
            guardian.remove(leader.pid());
        }
    }

    fn take_empty_cgroup(&mut self) -> Option<Arc<Cgroup>> {
        let is_over = !matches!(self.phase, Phase::Starting | Phase::Running);
        self.cgroup.take_if(|cgroup| is_over && cgroup.is_empty())
    }

    /// Numbers the exit.
    fn record_exit(
        &mut self,
        code: i32,
        signal: Option<Signal>,
        denial: Option<Denial>,
        oom_killed: bool,
    ) -> Milestone {
        let seq = self.take_seq();
        let exit = ProcessExit {
            code,
            signal,
            timed_out: self.has_timed_out,
            oom_killed,
            sandbox_denied: denial.is_some(),
        };
        self.denial = denial;
        self.exited = Some((seq, exit));
        Milestone::Exited {
            exit,
            was_terminated: self.was_terminated,
        }
    }

    /// Numbers the last event.
    fn record_close(&mut self) {
        let seq = self.take_seq();
        self.closed = Some(seq);
        self.keep_from_now();
        self.terminal = None;
        self.output.shrink();
    }

    /// Begins anew to count how long it is remembered, if it has ended.
    fn keep_from_now(&mut self) {
        if self.closed.is_some() {
            self.kept_since = Some(Instant::now());
        }
    }

    /// The thread has nothing more to tell; when it must still kill what is left of the group.
    fn thread_leaves(&mut self) -> Option<Instant> {
        self.waker = None;
        self.kill_at.take()
    }

    /// Whether every event is where it should be and nobody waits.
    fn is_settled(&self) -> bool {
        self.closed.is_some() && self.published + 1 == self.next_seq && self.waiting.is_empty()
    }

    /// Offers what was not published yet. `false` when the subscriber has no room.
    fn publish(&mut self, id: &str, waker: &Waker) -> bool {
        while self.published + 1 < self.next_seq {
            let Some(subscriber) = &self.subscriber else {
                self.published = self.next_seq - 1;
                break;
            };
            let seq = self.published + 1;
            let event = match (self.exited, self.closed) {
                (Some((exited, exit)), _) if exited == seq => Some(Event::Exited {
                    seq,
                    exit,
                    denial: self.denial.as_ref(),
                }),
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

    /// Whether another chunk would push out one that the client was promised.
    fn must_hold_output(&self, limit: usize, chunk: usize) -> Option<Instant> {
        let until = self.catch_up_until?;
        (until > Instant::now() && self.output.cost() + chunk > limit).then_some(until)
    }

    /// The last event whose output may be dropped: the client has it, or was sent it and does not
    /// tell what it has.
    fn expendable(&self) -> u64 {
        match self.acknowledged {
            Some(seq) if !self.is_abandoned => seq.min(self.published),
            _ => self.published,
        }
    }

    /// Whether the program must wait until the client tells that it has more.
    fn awaits_acknowledgement(&self, window: usize) -> bool {
        self.acknowledged.is_some() && !self.is_abandoned && self.output.cost() > window
    }

    /// Answers the reads that have news or whose time is up, as far as the client has room: each
    /// answer may be as large as all that is retained.
    fn answer_reads(&mut self, waker: &Waker) {
        self.holds_answers = false;
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
            if let Some(subscriber) = &self.subscriber
                && !subscriber.has_room(waker)
            {
                self.holds_answers = true;
                return;
            }
            let Waiting { query, reply, .. } = self.waiting.remove(index);
            reply(Some(&ReadView {
                control: self,
                query,
            }));
        }
    }

    /// Sends the signals that are due, and tells when the next thing is.
    fn keep_time(&mut self) -> Option<Instant> {
        let now = Instant::now();
        if self.timeout_at.is_some_and(|at| at <= now) {
            self.timeout_at = None;
            self.has_timed_out = true;
            self.kill_at = now.checked_add(TIMEOUT_GRACE);
            self.ask_to_end();
        }
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_at = None;
            self.kill();
        }
        let reads = self.waiting.iter().filter(|_| !self.holds_answers);
        let reads = reads.filter_map(|waiting| waiting.deadline);
        reads.chain(self.timeout_at).chain(self.kill_at).min()
    }
}
