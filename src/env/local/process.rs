//! One process, as its session and its thread see it.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use super::control::{Control, Phase};
use super::descendants::{Marked, Owner};
use super::events::{ProcessExit, Subscriber};
use super::host::Host;
use super::launch::{ProcessSpec, StartError, Started};
use super::output::Retained;
use super::pump;
use super::read::{ReadQuery, ReadReply, ReadView, Waiting};
use super::stdin::Stdin;
pub use super::stdin::WriteError;
use crate::rpc::methods::process::WriteStatus;
use crate::sys::mark::Mark;
use crate::sys::pty::{self, WindowSize};
use crate::sys::signal::Signal;
use crate::sys::sync::Mutex;

/// How long a client that took up its session again has to ask for what it
/// missed, before output that it has not seen may be dropped.
const CATCH_UP: Duration = Duration::from_secs(5);
/// Reads that may wait on one process.
const MAX_WAITING: usize = 256;

/// Answers a write, now or when there is room.
pub type WriteReply = Box<dyn FnOnce(Result<WriteStatus, WriteError>) + Send>;
/// Tells whether the start succeeded. Called before the first event.
pub(super) type StartReply = Box<dyn FnOnce(Result<Started, StartError>) + Send>;

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
        let control = Control {
            phase: Phase::Starting,
            pid: None,
            group: None,
            marked: owner.next(),
            waker: None,
            cancel: None,
            output: Retained::default(),
            next_seq: 1,
            exited: None,
            denial: None,
            closed: None,
            closed_at: None,
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
            is_asked_to_end: false,
            early_signals: Vec::new(),
            early_size: None,
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
        started: impl FnOnce(Result<Started, StartError>) + Send + 'static,
    ) {
        let Some(running) = self.host.enter() else {
            self.lock().failed();
            started(Err(StartError::TooMany(self.host.config().max_processes)));
            return;
        };
        let process = Arc::clone(self);
        // The reply must be reachable when no thread can be had.
        let reply: Arc<Mutex<Option<StartReply>>> = Arc::new(Mutex::new(Some(Box::new(started))));
        let on_thread = Arc::clone(&reply);
        let job = move || {
            if let Some(started) = take(&on_thread) {
                let left = pump::run(&process, spec, running, started);
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
            self.lock().failed();
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
        self.control.lock()
    }

    /// Answers a read at once if there is news, else when there is, or when
    /// the time is up. False, and no answer, when too many reads wait.
    pub fn read(&self, query: ReadQuery, reply: ReadReply) -> bool {
        let mut control = self.lock();
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
        let mut control = self.lock();
        reply(control.send(signal).map(drop));
    }

    /// Ends the group and what has left it: by KILL at once, or by TERM and after `grace` by KILL.
    /// `reply` is told whether the process ran until now, before any event.
    /// What a process left behind at its natural end is killed too.
    pub fn terminate(&self, grace: Option<Duration>, reply: impl FnOnce(bool)) {
        let mut control = self.lock();
        let was_running = matches!(control.phase, Phase::Starting | Phase::Running);
        reply(was_running);
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
        let mut control = self.lock();
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
        let mut control = self.lock();
        control.subscriber = Some(subscriber);
        control.published = control.next_seq - 1;
        control.catch_up_until = Instant::now().checked_add(CATCH_UP);
        control.wake();
    }

    /// The client has all events up to `seq`. From the first call on nothing above is dropped;
    /// instead the program waits when much of its output is not acknowledged, also while no
    /// client is attached.
    pub fn acknowledge(&self, seq: u64) {
        let mut control = self.lock();
        let before = control.acknowledged.unwrap_or(0);
        control.acknowledged = Some(before.max(seq));
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

    /// Directs events to nobody: they are retained, as far as there is room.
    pub fn detach(&self) {
        let mut control = self.lock();
        control.subscriber = None;
        control.catch_up_until = None;
        // Their connection is gone.
        control.waiting.clear();
        control.wake();
    }

    /// Kills the group and what has left it; nobody will ask about the process again.
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
        self.lock().ask_to_end();
    }

    /// What it is to be marked with.
    pub(super) fn mark(&self) -> Option<Mark> {
        self.lock().marked.as_ref().map(Marked::mark)
    }

    /// Whether neither its group nor what has left it has a living process, as far as can be told.
    pub(super) fn has_no_descendants(&self) -> bool {
        let marked = self.lock().marked.clone();
        self.has_no_group() && !marked.is_some_and(|it| it.is_any_left())
    }

    /// Whether no process of its group is left, as far as can be told.
    pub fn has_no_group(&self) -> bool {
        let mut control = self.lock();
        let is_empty = control
            .group
            .as_ref()
            .is_none_or(|(leader, _)| leader.is_group_empty());
        if is_empty {
            control.drop_group();
        }
        is_empty
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

    /// Drops the retained output that the client has been sent or can no longer expect.
    pub(super) fn forget_sent_output(&self) {
        let mut control = self.lock();
        let sent = control.published;
        self.forget_through(&mut control, sent);
        control.output.shrink();
    }

    /// Drops the retained output that the client has, or was sent and does not tell.
    pub(super) fn forget_expendable_output(&self) {
        let mut control = self.lock();
        let sent = control.expendable();
        self.forget_through(&mut control, sent);
    }

    fn forget_through(&self, control: &mut Control, seq: u64) {
        let before = control.output.cost();
        control.output.evict(usize::MAX, seq);
        self.host.account_retained(before, control.output.cost());
    }

    /// Retains a chunk and numbers it.
    pub(super) fn record_output(&self, stream: super::output::Stream, data: &[u8]) {
        let mut control = self.lock();
        let seq = control.take_seq();
        let limit = self.host.config().retained_output;
        let before = control.output.cost();
        let sent = control.expendable();
        control.output.push(seq, stream, data, limit, sent);
        let over = self.host.account_retained(before, control.output.cost());
        drop(control);
        if over > 0 {
            let over = self.host.relieve();
            let mut control = self.lock();
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
        self.lock().leave();
    }
}

fn take(reply: &Mutex<Option<StartReply>>) -> Option<StartReply> {
    reply.lock().take()
}
