//! What is behind a process's lock.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::descendants::Marked;
use super::events::{Event, ProcessExit, Subscriber};
use super::output::Retained;
use super::read::{ReadQuery, ReadView, Waiting};
use super::stdin::Stdin;
use crate::rpc::transport::Offer;
use crate::sandbox::denial::Denial;
use crate::sys::event::WakeEvent;
use crate::sys::guardian::Guardian;
use crate::sys::process::Leader;
use crate::sys::pty::{self, WindowSize};
use crate::sys::signal::Signal;

/// Between TERM and KILL when a process's time is up.
const TIMEOUT_GRACE: Duration = Duration::from_secs(2);

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Running,
    Exited,
    /// It never ran.
    Failed,
}

/// The state of one process, which its session and its thread share.
pub(super) struct Control {
    pub(super) phase: Phase,
    pub(super) pid: Option<i32>,
    /// The group, while it may have members.
    pub(super) group: Option<(Leader, Guardian)>,
    /// All that descend from it. None where they are not marked.
    pub(super) marked: Option<Marked>,
    /// Wakes the process's thread; gone with it.
    pub(super) waker: Option<Arc<WakeEvent>>,
    /// Ends a confined start that has not come to its program yet.
    pub(super) cancel: Option<Arc<WakeEvent>>,
    pub(super) output: Retained,
    pub(super) next_seq: u64,
    pub(super) exited: Option<(u64, ProcessExit)>,
    /// Why it is taken to have failed for its sandbox.
    pub(super) denial: Option<Denial>,
    pub(super) closed: Option<u64>,
    pub(super) closed_at: Option<Instant>,
    /// The last event that the subscriber has, or will never get.
    pub(super) published: u64,
    pub(super) subscriber: Option<Arc<dyn Subscriber>>,
    /// The last event that the client has told it has, if it tells.
    pub(super) acknowledged: Option<u64>,
    /// Until when nothing may be dropped for want of room.
    pub(super) catch_up_until: Option<Instant>,
    pub(super) waiting: Vec<Waiting>,
    /// Whether their answers wait for the client to take what it has.
    pub(super) holds_answers: bool,
    pub(super) stdin: Stdin,
    pub(super) terminal: Option<Arc<File>>,
    /// When to send KILL.
    pub(super) kill_at: Option<Instant>,
    /// When its time is up.
    pub(super) timeout_at: Option<Instant>,
    pub(super) has_timed_out: bool,
    /// Whether it was asked to end, and what descends from it with it.
    pub(super) is_asked_to_end: bool,
    /// Signals that came before it had started.
    pub(super) early_signals: Vec<Signal>,
    /// The size of its terminal, if it was changed before it had started.
    pub(super) early_size: Option<WindowSize>,
    /// Whether its session is gone, so nobody will ask.
    pub(super) is_abandoned: bool,
}

impl Control {
    pub(super) fn take_seq(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.set();
        }
    }

    pub(super) fn has_news(&self, query: &ReadQuery) -> bool {
        self.output.has_after(query.after)
            || self.closed.is_some()
            || (self.exited.is_some() && query.after < self.next_seq - 1)
    }

    /// Whether any of the group was there to get it.
    pub(super) fn send(&mut self, signal: Signal) -> io::Result<bool> {
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
    pub(super) fn ask_to_end(&mut self) {
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
    pub(super) fn kill(&mut self) {
        // KILL is refused only for a group of another user, which we could not have started.
        let _ = self.send(Signal::KILL);
        if self.phase != Phase::Starting {
            self.kill_marked();
        }
    }

    fn kill_marked(&mut self) {
        self.is_asked_to_end = false;
        if let Some(marked) = &self.marked {
            marked.kill();
        }
    }

    /// A confined start begins, which this event ends.
    pub(super) fn watch_for_cancel(&mut self, cancel: Arc<WakeEvent>) {
        self.cancel = Some(cancel);
        self.cancel_if_told_to_end();
    }

    /// Gives up a confined start that goes on; any other takes a moment only.
    fn cancel_if_told_to_end(&self) {
        let ends = |signal: &Signal| [Signal::KILL, Signal::TERMINATE].contains(signal);
        if let Some(cancel) = &self.cancel
            && self.early_signals.iter().any(ends)
        {
            cancel.set();
        }
    }

    /// The program runs.
    pub(super) fn began(
        &mut self,
        leader: Leader,
        guardian: Guardian,
        waker: Arc<WakeEvent>,
        terminal: Option<Arc<File>>,
        timeout: Option<Duration>,
    ) {
        self.phase = Phase::Running;
        self.cancel = None;
        self.pid = Some(leader.program_pid());
        self.group = Some((leader, guardian));
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
    pub(super) fn failed(&mut self) {
        self.phase = Phase::Failed;
        self.cancel = None;
        self.stdin.close();
        for waiting in self.waiting.drain(..) {
            (waiting.reply)(None);
        }
    }

    /// The leader, while it is not reaped.
    pub(super) fn leader(&mut self) -> Option<&mut Leader> {
        if self.phase != Phase::Running {
            return None;
        }
        self.group.as_mut().map(|(leader, _)| leader)
    }

    /// The leader is reaped; its event follows when its output is in.
    pub(super) fn ended(&mut self) {
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
    pub(super) fn leave(&mut self) {
        self.drop_group();
        if self.is_asked_to_end {
            self.kill_marked();
        }
    }

    pub(super) fn drop_group(&mut self) {
        if let Some((leader, guardian)) = self.group.take() {
            let _ = leader.signal_group(Signal::KILL);
            guardian.remove(leader.pid());
        }
    }

    /// Numbers the exit.
    pub(super) fn record_exit(
        &mut self,
        code: i32,
        signal: Option<Signal>,
        denial: Option<Denial>,
    ) {
        let seq = self.take_seq();
        let exit = ProcessExit {
            code,
            signal,
            timed_out: self.has_timed_out,
            sandbox_denied: denial.is_some(),
        };
        self.denial = denial;
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

    /// The thread has nothing more to tell; when it must still kill what is left of the group.
    pub(super) fn thread_leaves(&mut self) -> Option<Instant> {
        self.waker = None;
        self.kill_at.take()
    }

    /// Whether every event is where it should be and nobody waits.
    pub(super) fn is_settled(&self) -> bool {
        self.closed.is_some() && self.published + 1 == self.next_seq && self.waiting.is_empty()
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

    /// Who gets the events now.
    pub(super) fn subscriber(&self) -> Option<Arc<dyn Subscriber>> {
        self.subscriber.clone()
    }

    /// Whether another chunk would push out one that the client was promised.
    pub(super) fn must_hold_output(&self, limit: usize, chunk: usize) -> Option<Instant> {
        let until = self.catch_up_until?;
        (until > Instant::now() && self.output.cost() + chunk > limit).then_some(until)
    }

    /// The last event whose output may be dropped: the client has it, or was sent it and does not
    /// tell what it has.
    pub(super) fn expendable(&self) -> u64 {
        match self.acknowledged {
            Some(seq) if !self.is_abandoned => seq.min(self.published),
            _ => self.published,
        }
    }

    /// Whether the program must wait until the client tells that it has more.
    pub(super) fn awaits_acknowledgement(&self, window: usize) -> bool {
        self.acknowledged.is_some() && !self.is_abandoned && self.output.cost() > window
    }

    /// Answers the reads that have news or whose time is up, as far as the client has room: each
    /// answer may be as large as all that is retained.
    pub(super) fn answer_reads(&mut self, waker: &Arc<WakeEvent>) {
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
    pub(super) fn keep_time(&mut self) -> Option<Instant> {
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
