//! What all processes of this machine share: limits, threads, the guardian.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::cgroup::{CgroupConfig, CgroupError, Cgroups};
use super::descendants::{Descendants, Owner};
use super::launch;
use super::leftovers::Leftovers;
use super::process::Process;
use crate::log;
use crate::memory::{self, Kind};
use crate::sandbox::launcher::{Available, Launchers, Refusal, SpawnContext, Stage};
use crate::sys::guardian::Guardian;
use crate::sys::process;
use crate::sys::sync::{Condvar, Mutex};
use crate::workers::Workers;

/// Limits on processes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostConfig {
    /// Bytes of output kept for each process.
    pub retained_output: usize,
    /// Bytes of output kept for all together.
    pub retained_total: usize,
    /// How long output is awaited after an exit when a descendant holds the pipe.
    pub drain_window: Duration,
    /// Processes that may run at once.
    pub max_processes: usize,
    /// Whether processes that have left their group outlive who started them.
    pub keeps_daemons: bool,
}

impl Default for HostConfig {
    /// What a server has unless it is told otherwise, and this machine in process.
    fn default() -> Self {
        Self {
            retained_output: 1024 * 1024,
            retained_total: 64 * 1024 * 1024,
            drain_window: Duration::from_secs(2),
            max_processes: 1024,
            keeps_daemons: false,
        }
    }
}

/// Output of a process that its client has not acknowledged: more than a connection carries within
/// a round trip, mostly, and what a machine can spare for every process.
const ACKNOWLEDGEMENT_WINDOW: usize = 4 * 1024 * 1024;
/// The same when there is too much of all: above what a client may acknowledge together.
const CROWDED_WINDOW: usize = 512 * 1024;

/// How long cgroups may take to become empty after all else has ended, before the guardian waits for that.
const CGROUPS_TIME: Duration = Duration::from_millis(200);

/// This machine as a place where processes run. One a server, shared by all sessions.
pub struct Host {
    config: HostConfig,
    workers: Workers,
    guardian: Mutex<Option<Guardian>>,
    descendants: Arc<Descendants>,
    cgroups: Arc<Cgroups>,
    takes_orphans: bool,
    null: OwnedFd,
    retained: AtomicUsize,
    /// Ended processes with output, oldest first: the first to lose it.
    ended: Mutex<Ended>,
    collected: AtomicUsize,
    leftovers: Leftovers,
    launchers: Launchers,
    running: Mutex<usize>,
    fewer_running: Condvar,
}

impl Host {
    /// A host with these limits, and this way to confine.
    pub fn new(mut config: HostConfig, launchers: Launchers) -> io::Result<Self> {
        config.retained_total = config.retained_total.min(Kind::Output.share());
        let workers = Workers::named("process");
        let descendants = Descendants::new(workers.clone(), config.keeps_daemons);
        Ok(Self {
            config,
            workers,
            guardian: Mutex::default(),
            descendants,
            cgroups: Cgroups::new(CgroupConfig::default(), !config.keeps_daemons),
            takes_orphans: false,
            null: open_null()?,
            retained: AtomicUsize::new(0),
            ended: Mutex::default(),
            collected: AtomicUsize::new(0),
            leftovers: Leftovers::new()?,
            launchers,
            running: Mutex::new(0),
            fewer_running: Condvar::new(),
        })
    }

    /// The same for who owns the whole program: orphans among all its descendants come to it, and
    /// its main thread has to [`reap`](Self::reap) them. Elsewhere in a program nobody may: there
    /// are children that others wait for.
    pub fn with_orphans(mut self) -> Self {
        match process::take_orphans() {
            Ok(()) => self.takes_orphans = true,
            // Before Linux 3.4. Process 1 of a container gets them anyway.
            Err(error) => log::warn!("orphans are left to process 1: {error}"),
        }
        self
    }

    /// The same with these limits on sessions, and cgroups where an operator wants them.
    ///
    /// # Errors
    /// An operator has chosen how to limit processes, and a trial has shown that they cannot be limited so.
    pub fn with_cgroups(mut self, config: CgroupConfig) -> Result<Self, CgroupError> {
        self.cgroups = Cgroups::new(config, !self.config.keeps_daemons);
        if let Some(cgroup) = self.cgroups.trial()? {
            let guardian = self.guardian().map_err(|error| cgroup.unusable(error))?;
            self.cgroups.guard_by(&guardian);
            launch::try_cgroup(&cgroup, self.null(), &guardian)?;
        }
        Ok(self)
    }

    /// Where the cgroups of processes are made.
    pub(crate) fn cgroups(&self) -> &Cgroups {
        &self.cgroups
    }

    pub fn config(&self) -> &HostConfig {
        &self.config
    }

    pub(crate) fn workers(&self) -> &Workers {
        &self.workers
    }

    /// What ended processes have left behind.
    pub(crate) fn leftovers(&self) -> &Leftovers {
        &self.leftovers
    }

    /// Who confines.
    pub fn launchers(&self) -> &Launchers {
        &self.launchers
    }

    /// An input that is at its end.
    pub(crate) fn null(&self) -> BorrowedFd<'_> {
        self.null.as_fd()
    }

    /// Who is to answer for processes from now on.
    pub fn owner(&self) -> Owner {
        Owner::new(&self.descendants, &self.cgroups)
    }

    /// The process that kills what is left should we be killed; started on first use.
    pub(crate) fn guardian(&self) -> io::Result<Guardian> {
        let mut guardian = self.guardian.lock();
        if let Some(guardian) = &*guardian {
            replace_if_ended(guardian);
            return Ok(guardian.clone());
        }
        let started = Guardian::start(self.descendants.mark())?;
        *guardian = Some(started.clone());
        Ok(started)
    }

    /// Becomes readable when the guardian has ended, and [`reap`](Self::reap) is to be called.
    /// `None` while there is no guardian, and before Linux 5.3.
    pub fn guardian_ended(&self) -> Option<Arc<OwnedFd>> {
        self.guardian.lock().as_ref()?.ended()
    }

    /// For when children may have ended: reaps those that have no thread, which are orphans and the
    /// guardian, who gets a successor.
    pub fn reap(&self) {
        let guardian = self.guardian.lock().clone();
        if self.takes_orphans {
            for pid in process::reap_orphans() {
                self.descendants.note_reaped();
                guardian.iter().for_each(|it| it.note_reaped(pid));
            }
        }
        guardian.iter().for_each(replace_if_ended);
    }

    /// Waits until nothing lives that was started here, nor what descends from it; false when the
    /// time was up.
    pub fn wait_for_descendants(&self, deadline: Instant) -> bool {
        self.descendants.wait_until_told(deadline) && self.descendants.wait_for_all(deadline)
    }

    /// Kills all descendants and reaps them, and then lets the guardian end, which has nothing left
    /// to guard. For the main thread of who has [taken orphans](Self::with_orphans).
    pub fn end_descendants(&self, deadline: Instant) {
        let guardian = self.guardian.lock().clone();
        let pid = guardian.as_ref().and_then(Guardian::pid);
        self.cgroups.kill();
        self.descendants.end(pid, deadline);
        self.end_cgroups(deadline.max(Instant::now() + CGROUPS_TIME));
        self.end_guardian();
        process::reap_orphans().for_each(drop);
    }

    /// Removes all cgroups, or leaves that to the guardian.
    pub fn end_cgroups(&self, deadline: Instant) {
        if self.cgroups.end(deadline)
            && let Some(guardian) = &*self.guardian.lock()
        {
            guardian.guard_cgroups(None);
        }
    }

    /// Lets the guardian kill what is left, and end.
    pub fn end_guardian(&self) {
        if let Some(guardian) = &*self.guardian.lock() {
            guardian.end();
        }
    }

    /// Counts a process in, if the limit allows it.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Running> {
        let mut running = self.running.lock();
        if *running >= self.config.max_processes {
            return None;
        }
        *running += 1;
        Some(Running(Arc::clone(self)))
    }

    /// How many processes run.
    pub fn running(&self) -> usize {
        *self.running.lock()
    }

    /// Waits until no process runs, at most until `deadline`; whether none does.
    pub fn wait_until_idle(&self, deadline: Instant) -> bool {
        let mut running = self.running.lock();
        while *running > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            running = self.fewer_running.wait_timeout(running, left).0;
        }
        true
    }

    /// Accounts for a change of retained output; the bytes above the common limit.
    pub(crate) fn account_retained(&self, before: usize, after: usize) -> usize {
        memory::count(Kind::Output, before, after);
        if after < before {
            let freed = before - after;
            self.retained.fetch_sub(freed, Ordering::Relaxed);
            return 0;
        }
        let added = after - before;
        let total = self.retained.fetch_add(added, Ordering::Relaxed) + added;
        total.saturating_sub(self.config.retained_total)
    }

    /// Whether the retained output of all is above its limit.
    pub(crate) fn is_crowded(&self) -> bool {
        self.retained.load(Ordering::Relaxed) > self.config.retained_total || memory::is_scarce()
    }

    /// How much output a process may have that its client has not acknowledged.
    pub(crate) fn acknowledgement_window(&self) -> usize {
        if self.is_crowded() {
            return CROWDED_WINDOW;
        }
        ACKNOWLEDGEMENT_WINDOW.max(self.config.retained_output)
    }

    /// Takes the output of ended processes, oldest first, until all is within
    /// the limit; the bytes still above it. No process may be locked.
    pub(crate) fn relieve(&self) -> usize {
        loop {
            let used = self.retained.load(Ordering::Relaxed);
            let over = used.saturating_sub(self.config.retained_total);
            if over == 0 {
                return 0;
            }
            let Some(oldest) = self.ended.lock().processes.pop_front() else {
                return over;
            };
            if let Some(process) = oldest.upgrade() {
                process.forget_sent_output();
            }
        }
    }

    /// Remembers a process that has ended.
    pub(crate) fn note_ended(&self, process: &Arc<Process>) {
        let mut ended = self.ended.lock();
        if ended.processes.len() >= ended.clean_at {
            ended.processes.retain(|process| process.strong_count() > 0);
            ended.clean_at = 2 * ended.processes.len();
        }
        ended.processes.push_back(Arc::downgrade(process));
    }

    /// Accounts for bytes that begin to wait for a standard input; false when too many do.
    pub(crate) fn queue_stdin(&self, bytes: usize) -> bool {
        memory::take(Kind::Input, bytes)
    }

    /// Accounts for a byte or two that must not be refused.
    pub(crate) fn add_to_stdin(&self, bytes: usize) {
        memory::count(Kind::Input, 0, bytes);
    }

    /// Accounts for bytes that no longer wait.
    pub(crate) fn unqueue_stdin(&self, bytes: usize) {
        memory::count(Kind::Input, bytes, 0);
    }

    /// Makes sure that so much output of a process may be kept, until the result is dropped; none if
    /// all that may be kept is more than the memory that there is. It counts as it comes.
    pub fn collect(self: &Arc<Self>, bytes: usize) -> Option<Collecting> {
        let before = self.collected.fetch_add(bytes, Ordering::Relaxed);
        let collecting = Collecting(Arc::clone(self), bytes);
        (before + bytes <= memory::limit()).then_some(collecting)
    }

    /// What a start gets at best. What is not known yet is found out by a sandbox or two, which takes
    /// some milliseconds, or many seconds where launchers hang.
    ///
    /// # Errors
    /// Nothing can be confined, and why.
    pub fn available(&self) -> Result<Available, Refusal> {
        let unable = |error: io::Error| {
            Refusal::new(Stage::Start, "cannot start processes", "").because(&error)
        };
        let null = File::options().read(true).write(true).open("/dev/null");
        let null = OwnedFd::from(null.map_err(unable)?);
        let guardian = self.guardian().map_err(unable)?;
        self.launchers().available(&SpawnContext {
            standard: [None; 3],
            null: null.as_fd(),
            guardian: &guardian,
            cgroup: None,
            cancel: None,
        })
    }

    /// The same on another thread, which tells `done`.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn find_available(
        self: &Arc<Self>,
        done: impl FnOnce(Result<Available, Refusal>) + Send + 'static,
    ) -> io::Result<()> {
        let host = Arc::clone(self);
        self.workers().run(Box::new(move || done(host.available())))
    }
}

/// Processes that have ended, oldest first; some of them forgotten by their sessions.
#[derive(Default)]
struct Ended {
    processes: VecDeque<Weak<Process>>,
    /// The length from which forgotten ones are looked for: twice what the last look left.
    clean_at: usize,
}

/// One running process's place in the count.
pub(crate) struct Running(Arc<Host>);

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.running.lock() -= 1;
        self.0.fewer_running.notify_all();
    }
}

/// Room for the output of one process.
pub struct Collecting(Arc<Host>, usize);

impl Drop for Collecting {
    fn drop(&mut self) {
        self.0.collected.fetch_sub(self.1, Ordering::Relaxed);
    }
}

/// Puts another in the place of a guardian that was killed.
fn replace_if_ended(guardian: &Guardian) {
    match guardian.replace_if_ended() {
        Ok(false) => {}
        Ok(true) => log::warn!("the guardian process was gone; started another"),
        Err(error) => log::error!(
            "the guardian process is gone, so processes may outlive a killed server; \
             cannot start another: {error}"
        ),
    }
}

/// `/dev/null`, which programs know as "no input"; where there is no `/dev`, a
/// pipe that is at its end.
fn open_null() -> io::Result<OwnedFd> {
    match File::open("/dev/null") {
        Ok(null) => Ok(null.into()),
        Err(_) => Ok(io::pipe()?.0.into()),
    }
}
