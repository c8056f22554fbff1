//! Descendants of processes that have left their group, and so cannot be signalled by it.
//!
//! Every process that is started carries a [mark](crate::sys::mark), which all that descend from
//! it inherit: that of the server, of the owner (a session, or an environment of the library), and
//! its own. Looking for marks means to look at all processes of the machine, so it is not done by
//! those who ask for it but by one thread, for all at once.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::cgroup::{Cgroups, SessionCgroup};
use crate::log;
use crate::sys::mark::{self, Mark, OWNERS};
use crate::sys::process;
use crate::sys::signal::Signal;
use crate::sys::sync::{Condvar, Mutex};
use crate::workers::Workers;

/// How long KILL may take to end a process; one that waits for a broken disk takes longer.
const KILL_TIME: Duration = Duration::from_millis(400);
/// How long those are killed again and again that have a child before they end.
const CHASE: Duration = Duration::from_secs(10);

/// All descendants of what one host has started.
pub(crate) struct Descendants {
    /// Whether they may outlive who started them.
    keeps: bool,
    /// None where they cannot be marked, or are not to be found.
    mark: Option<Mark>,
    workers: Workers,
    state: Mutex<State>,
    done: Condvar,
    /// Orphans that were reaped.
    reaped: AtomicU64,
}

#[derive(Default)]
struct State {
    owners: HashSet<u16>,
    last_owner: u16,
    asked: Vec<Errand>,
    is_at_work: bool,
}

/// KILL, or else TERM, for all with a mark.
struct Errand {
    mark: Mark,
    kills: bool,
    asked_at: Instant,
    /// The group that has had TERM already.
    spared: Option<i32>,
    /// Keeps its number until this is done.
    _owner: Arc<Number>,
}

impl Descendants {
    /// Those of a new host; `keeps` them alive when they have left their group.
    pub(crate) fn new(workers: Workers, keeps: bool) -> Arc<Self> {
        let mark = if keeps { None } else { Mark::draw() };
        if mark.is_none() && !keeps {
            log::warn!(
                "processes cannot be marked here, so those that leave their group may outlive their session"
            );
        }
        Arc::new(Self {
            keeps,
            mark,
            workers,
            state: Mutex::default(),
            done: Condvar::new(),
            reaped: AtomicU64::new(0),
        })
    }

    /// The mark of all of them.
    pub(crate) fn mark(&self) -> Option<Mark> {
        self.mark
    }

    /// An orphan was reaped.
    pub(crate) fn note_reaped(&self) {
        self.reaped.fetch_add(1, Ordering::Relaxed);
    }

    fn reaped(&self) -> u64 {
        self.reaped.load(Ordering::Relaxed)
    }

    /// Waits until those that were sent a signal have it; false when the time was up.
    pub(crate) fn wait_until_told(&self, deadline: Instant) -> bool {
        let mut state = self.state.lock();
        while state.is_at_work || !state.asked.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.done.wait_timeout(state, left).0;
        }
        true
    }

    /// Waits until none lives; false when the time was up.
    pub(crate) fn wait_for_all(&self, deadline: Instant) -> bool {
        self.mark.is_none() || mark::wait_for_all(&|pid| self.is_marked(pid), deadline)
    }

    fn is_marked(&self, pid: i32) -> bool {
        self.mark.is_some_and(|mark| mark.is_on(pid))
    }

    /// Kills all, also those that have no mark any more but are children of this process, apart
    /// from `guardian`. For a process that [takes orphans](process::take_orphans).
    pub(crate) fn end(&self, guardian: Option<i32>, deadline: Instant) {
        if self.keeps {
            return;
        }
        let own = process::own_pid();
        let is_child = |pid| mark::parent_of(pid) == Some(own) && Some(pid) != guardian;
        let is_ours = |pid| self.is_marked(pid) || is_child(pid);
        if !mark::kill_all(&is_ours, &|| self.reaped(), deadline) {
            log::warn!("a descendant of a process does not end though it was killed");
        }
    }

    fn send(self: &Arc<Self>, errand: Errand) {
        let mut state = self.state.lock();
        state.asked.push(errand);
        if state.is_at_work {
            return;
        }
        state.is_at_work = true;
        drop(state);
        let descendants = Arc::clone(self);
        if self
            .workers
            .run(Box::new(move || descendants.work()))
            .is_err()
        {
            // There is no thread to be had but this one.
            self.work();
        }
    }

    fn work(&self) {
        loop {
            let errands = {
                let mut state = self.state.lock();
                if state.asked.is_empty() {
                    state.is_at_work = false;
                    self.done.notify_all();
                    return;
                }
                std::mem::take(&mut state.asked)
            };
            if self.carry_out(&errands) {
                continue;
            }
            // Whoever asks meanwhile does not wait for these.
            let (late, again): (Vec<_>, Vec<_>) = errands
                .into_iter()
                .filter(|errand| errand.kills)
                .partition(|errand| errand.asked_at.elapsed() >= CHASE);
            if !late.is_empty() {
                log::warn!("a descendant of a process does not end though it was killed");
            }
            self.state.lock().asked.extend(again);
        }
    }

    /// The polite signals first. False if some of those to be killed still live.
    fn carry_out(&self, errands: &[Errand]) -> bool {
        let (kills, requests): (Vec<&Errand>, Vec<&Errand>) =
            errands.iter().partition(|errand| errand.kills);
        if !requests.is_empty() {
            let is_asked = |pid| {
                let group = mark::group_of(pid);
                let others = requests
                    .iter()
                    .filter(|it| it.spared.is_none() || it.spared != group);
                mark::has_one(pid, others.map(|it| it.mark))
            };
            mark::signal(&is_asked, Signal::TERMINATE);
        }
        let is_wanted = |pid| mark::has_one(pid, kills.iter().map(|errand| errand.mark));
        kills.is_empty()
            || mark::kill_all(&is_wanted, &|| self.reaped(), Instant::now() + KILL_TIME)
    }
}

/// Who answers for processes: a session of the server, or an environment of the library.
pub struct Owner {
    descendants: Arc<Descendants>,
    /// None where nothing is marked.
    number: Option<(Mark, Arc<Number>)>,
    started: Mutex<u32>,
    cgroup: Arc<SessionCgroup>,
}

/// The number of an owner, which is free again when this is dropped.
struct Number {
    descendants: Arc<Descendants>,
    number: u16,
}

impl Owner {
    pub(crate) fn new(descendants: &Arc<Descendants>, cgroups: &Arc<Cgroups>) -> Self {
        let number = descendants.mark.and_then(|mark| {
            let number = descendants.take_number()?;
            Some((mark.of_owner(number.number), Arc::new(number)))
        });
        Self {
            descendants: Arc::clone(descendants),
            number,
            started: Mutex::default(),
            cgroup: Arc::new(SessionCgroup::new(cgroups)),
        }
    }

    /// The marked descendants of a process that is about to be started.
    pub(crate) fn next(&self) -> Option<Marked> {
        let (mark, number) = self.number.as_ref()?;
        let mut started = self.started.lock();
        *started = started.wrapping_add(1);
        Some(Marked {
            mark: mark.of_process(*started),
            owner: Arc::clone(number),
        })
    }

    /// Where its processes go.
    pub(crate) fn cgroup(&self) -> &Arc<SessionCgroup> {
        &self.cgroup
    }

    /// Kills everything that was started for it.
    pub fn end(&self) {
        self.cgroup.kill();
        if let Some((mark, owner)) = &self.number {
            self.descendants.send(Errand {
                mark: *mark,
                kills: true,
                asked_at: Instant::now(),
                spared: None,
                _owner: Arc::clone(owner),
            });
        }
    }

    /// Waits until that is done, a moment at most.
    pub fn wait_until_ended(&self) {
        self.descendants.wait_until_told(Instant::now() + KILL_TIME);
    }
}

impl Descendants {
    /// One that nobody has.
    fn take_number(self: &Arc<Self>) -> Option<Number> {
        let mut state = self.state.lock();
        if state.owners.len() >= usize::from(OWNERS) {
            return None;
        }
        let mut number = state.last_owner;
        loop {
            number = number % OWNERS + 1;
            if state.owners.insert(number) {
                break;
            }
        }
        state.last_owner = number;
        Some(Number {
            descendants: Arc::clone(self),
            number,
        })
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        self.descendants.state.lock().owners.remove(&self.number);
    }
}

/// One process and all that descend from it, wherever they are.
#[derive(Clone)]
pub(crate) struct Marked {
    mark: Mark,
    owner: Arc<Number>,
}

impl Marked {
    /// What they carry.
    pub(crate) fn mark(&self) -> Mark {
        self.mark
    }

    /// Asks them to end, apart from those of the group that was asked already.
    pub(crate) fn ask_to_end(&self, asked: Option<i32>) {
        self.send(false, asked);
    }

    pub(crate) fn kill(&self) {
        self.send(true, None);
    }

    /// Whether one of them lives.
    pub(crate) fn is_any_left(&self) -> bool {
        mark::is_any_left(&|pid| self.mark.is_on(pid))
    }

    fn send(&self, kills: bool, spared: Option<i32>) {
        self.owner.descendants.send(Errand {
            mark: self.mark,
            kills,
            asked_at: Instant::now(),
            spared,
            _owner: Arc::clone(&self.owner),
        });
    }
}
