//! The life of a process on its thread: start, carry its bytes, see it end.
//!
//! ```text
//!   launch ─► running ─► exit seen ─► exited ─► closed ─► (leftovers)
//! ```
//!
//! *Exit seen* lasts until the bytes that were in the pipes at that moment,
//! which are all that was written before the exit, have been read. After
//! *exited*, a descendant that holds a pipe may go on for the drain window.
//! After *closed* what it still writes is no concern of this thread
//! ([`leftovers`](crate::env::local::leftovers)).

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Milestone, Observer, Process, StartReply, Subscriber};
use crate::env::local::cgroup::Cgroup;
use crate::env::local::denial_detector::DenialDetector;
use crate::env::local::host::Running;
use crate::env::local::launch::{self, Launched, ProcessSpec, Started};
use crate::env::local::leftovers::Leftover;
use crate::env::local::streams::Stream;
use crate::log;
use crate::rpc::transport::Flush;
use crate::sandbox::journal::Claim;
use crate::sys::pages;
use crate::sys::poll::{PollFd, READABLE, Sleeper, WRITABLE, WakeEvent, Waker};
use crate::sys::process::Exit;
use crate::sys::socket::{readable_bytes, widen_pipe};
use crate::sys::sync::Mutex;

/// The largest chunk, in bytes.
const CHUNK: usize = 64 * 1024;
/// The first size of a buffer, which little output never outgrows.
const FIRST_CHUNK: usize = 4 * 1024;
/// The largest chunk where many threads read at the same time.
const CROWDED_CHUNK: usize = 16 * 1024;
/// More of them than this are many.
const CROWD: usize = 8;
/// Buffers that are kept.
const KEPT: usize = 2;
/// Room in the pipe of a program that fills it: fewer changes between it and us.
const BULK_PIPE: i32 = 256 * 1024;
/// What a terminal gives at once while somebody types; a program that floods it gives more.
const TYPING: usize = 1024;
/// A process that has been silent for so long gives back what its thread does not need meanwhile.
const REST_AFTER: Duration = Duration::from_secs(1);
/// Between looks at a terminal that a running program has closed.
const HANG_UP_TICK: Duration = Duration::from_millis(50);
/// How often it is looked for room while the output of all processes is too much.
const CROWDED_TICK: Duration = Duration::from_millis(100);
/// Between looks at a child, where the kernel has no pidfd.
const EXIT_TICK: Duration = Duration::from_millis(20);

/// Runs a process from start to end; gives what its descendants still hold. `running` counts it
/// meanwhile.
pub(crate) fn run(
    process: &Arc<Process>,
    spec: ProcessSpec,
    running: Running,
    started: StartReply,
    mut observer: Observer,
) -> Option<Leftover> {
    let begun = begin(process, &spec);
    let launched = match begun {
        Ok(launched) => launched,
        Err(error) => {
            process.control.lock().failed();
            started(Err(error));
            return None;
        }
    };
    let Launched {
        leader,
        guardian,
        outputs,
        stdin,
        terminal,
        level,
        claim,
        cgroup,
    } = launched;
    let exit_event = leader.exit_event();
    let sleeper = Sleeper::of_this_thread();
    let waker = sleeper.waker();
    let milestone = Milestone::Started {
        pid: leader.program_pid(),
        launcher: level.as_ref().map(|level| level.launcher),
    };
    {
        let mut control = process.control.lock();
        // The answer first: nobody else can publish an event of this process.
        started(Ok(Started { level }));
        let shared = terminal.clone();
        let group = (leader, guardian);
        let waker = waker.clone();
        control.began(group, cgroup.clone(), waker, shared, spec.timeout);
        if let Some(pipe) = stdin {
            control.stdin.open_pipe(Arc::new(pipe));
        }
        if let Some(terminal) = terminal {
            control.stdin.open_terminal(terminal);
        }
    }
    observer(&milestone);
    let mut pump = Pump {
        process,
        observer,
        sleeper,
        waker,
        exit_event,
        outputs: outputs
            .into_iter()
            .map(|(stream, file)| Output {
                stream,
                file: Some(file),
                owed: 0,
                is_wide: false,
                is_hung_up: false,
            })
            .collect(),
        exit: None,
        cgroup,
        claim,
        denial_detector: spec.confinement.map(DenialDetector::new),
        drain_until: None,
        flush: None,
        is_resting: false,
    };
    pump.carry();
    let left = pump.finish();
    drop(running);
    Some(left)
}

/// Starts the program; a confined one can be told to end meanwhile, as that may take long.
fn begin(process: &Process, spec: &ProcessSpec) -> Result<Launched, launch::StartError> {
    let cancel = spec.confinement.as_ref().map(|_| WakeEvent::new());
    let cancel = cancel.transpose();
    let cancel = cancel.map_err(|error| launch::StartError::Resources("an event", error))?;
    let cancel = cancel.map(Arc::new);
    if let Some(cancel) = &cancel {
        process.control.lock().watch_for_cancel(Arc::clone(cancel));
    }
    let cancel = cancel.as_ref().map(|cancel| cancel.as_fd());
    let cgroup = process.session_cgroup.for_process(&spec.cgroup_limits);
    let cgroup = cgroup.map_err(launch::StartError::Cgroup)?;
    if let Some(cgroup) = &cgroup {
        process.control.lock().starts_in(Arc::clone(cgroup));
    }
    let host = process.host();
    launch::launch(host, spec, process.mark(), cgroup, cancel)
}

/// One stream of output.
struct Output {
    stream: Stream,
    /// `None` after its end.
    file: Option<Arc<File>>,
    /// Bytes written before the exit that are not read yet.
    owed: usize,
    /// Whether the pipe was made larger.
    is_wide: bool,
    /// Whether nobody has the terminal open; the program may open it again.
    is_hung_up: bool,
}

struct Pump<'a> {
    process: &'a Arc<Process>,
    observer: Observer,
    sleeper: Sleeper,
    waker: Waker,
    /// Readable after the exit. `None` where the kernel has no pidfd.
    exit_event: Option<Arc<OwnedFd>>,
    outputs: Vec<Output>,
    /// The exit that was seen but not recorded yet.
    exit: Option<Exit>,
    /// What limits it, until its exit is recorded.
    cgroup: Option<Arc<Cgroup>>,
    /// The mount points that its sandbox needs, until it has ended.
    claim: Option<Claim>,
    /// Sees why it fails, if it is confined.
    denial_detector: Option<DenialDetector>,
    /// Set when the exit is recorded: until when to wait for the streams' ends.
    drain_until: Option<Instant>,
    /// The connection that we have the duty to flush.
    flush: Option<Arc<dyn Subscriber>>,
    /// Whether nothing has come for a while.
    is_resting: bool,
}

/// Buffers to read into. Few threads read at once, however many processes there are, so a thread that
/// waits has none.
struct Buffers {
    free: Vec<Vec<u8>>,
    used: usize,
}

static BUFFERS: Mutex<Buffers> = Mutex::new(Buffers {
    free: Vec::new(),
    used: 0,
});

impl Buffers {
    /// One of any length, and how long it may become.
    fn take(&mut self) -> (Vec<u8>, usize) {
        self.used += 1;
        let most = if self.used > CROWD {
            CROWDED_CHUNK
        } else {
            CHUNK
        };
        (self.free.pop().unwrap_or_default(), most)
    }

    fn give_back(&mut self, buffer: Vec<u8>) {
        self.used -= 1;
        if self.free.len() < KEPT {
            self.free.push(buffer);
        }
    }
}

/// What a wait has found.
#[derive(Default)]
struct Ready {
    exit: bool,
    outputs: [bool; 2],
}

impl Pump<'_> {
    /// Carries bytes until the last event is published and the reads are answered.
    fn carry(&mut self) {
        loop {
            let is_flowing = self.publish();
            let mut control = self.process.control.lock();
            if control.is_settled() {
                return;
            }
            let due = control.keep_time();
            let limit = self.process.host().config().retained_output;
            let held = control.must_hold_output(limit, CHUNK);
            if control.is_abandoned && self.drain_until.is_some() {
                self.drain_until = Some(Instant::now());
            }
            let host = self.process.host();
            let awaits = control.awaits_acknowledgement(host.acknowledgement_window());
            // Nobody tells when there is room again for the output of all.
            let is_crowded = awaits && host.is_crowded();
            let crowded = is_crowded.then(|| Instant::now() + CROWDED_TICK);
            let input = control.stdin.waits_on();
            drop(control);
            if is_crowded {
                self.process.forget_expendable_output();
            }
            let wants_output = is_flowing && held.is_none() && !awaits;
            let drain = self.drain_until.filter(|_| wants_output);
            let deadline = [due, held, drain, crowded].into_iter().flatten().min();
            let ready = self.wait(wants_output, input.as_deref(), deadline);
            if ready.exit {
                self.see_exit();
            }
            for (index, is_ready) in ready.outputs.into_iter().enumerate() {
                if is_ready {
                    self.read(index);
                }
            }
            self.advance(wants_output);
        }
    }

    /// Sends what is new; whether there is room for more.
    fn publish(&mut self) -> bool {
        let mut control = self.process.control.lock();
        let has_room = control.publish(self.process.id(), &self.waker);
        control.answer_reads(&self.waker);
        let subscriber = control.subscriber.clone();
        drop(control);
        if self.flush.is_none()
            && let Some(subscriber) = subscriber
            && subscriber.flush()
        {
            self.flush = Some(subscriber);
        }
        has_room
    }

    /// Sleeps until there is something to do, and does what is quick.
    fn wait(
        &mut self,
        wants_output: bool,
        input: Option<&File>,
        deadline: Option<Instant>,
    ) -> Ready {
        let watches_exit = self.exit.is_none() && self.drain_until.is_none();
        let is_blind = watches_exit && self.exit_event.is_none();
        let mut timeout = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if is_blind {
            timeout = Some(timeout.map_or(EXIT_TICK, |limit| limit.min(EXIT_TICK)));
        }
        // A terminal that is hung up is always ready, so it is not polled but tried.
        let tries = wants_output && self.outputs.iter().any(|out| out.is_hung_up);
        if tries {
            timeout = Some(timeout.map_or(HANG_UP_TICK, |limit| limit.min(HANG_UP_TICK)));
        }
        let may_rest = !self.is_resting && timeout.is_none_or(|limit| limit > REST_AFTER);
        if may_rest {
            timeout = Some(REST_AFTER);
        }
        let output = |index: usize| match self.outputs.get(index) {
            Some(Output {
                file: Some(file),
                is_hung_up: false,
                ..
            }) if wants_output => PollFd::new(file.as_fd(), READABLE),
            _ => PollFd::never(),
        };
        let exit_event = self.exit_event.as_deref().filter(|_| watches_exit);
        let flush = self.flush.as_deref();
        let mut fds = [
            exit_event.map_or_else(PollFd::never, |fd| PollFd::new(fd.as_fd(), READABLE)),
            input.map_or_else(PollFd::never, |fd| PollFd::new(fd.as_fd(), WRITABLE)),
            flush
                .and_then(|to| to.fd())
                .map_or_else(PollFd::never, |fd| PollFd::new(fd, WRITABLE)),
            output(0),
            output(1),
        ];
        let woken = match self.sleeper.wait(&mut fds, timeout) {
            Ok(woken) => woken,
            Err(error) => {
                // Only for want of kernel memory; a short nap keeps it from being made worse.
                log::warn!("waiting for a process failed: {error}");
                std::thread::sleep(EXIT_TICK);
                return Ready::default();
            }
        };
        let is_silent = !woken && !fds.iter().any(PollFd::is_ready);
        let [exit, writable, flushable, out, err] = fds.map(|fd| fd.is_ready());
        if is_silent && may_rest {
            pages::rest();
        }
        self.is_resting = is_silent && (may_rest || self.is_resting);
        if writable {
            self.process.control.lock().stdin.pump();
        }
        if flushable && flush.is_some_and(|to| to.flush_duty() == Flush::Done) {
            self.flush = None;
        }
        Ready {
            exit: exit || is_blind,
            // A terminal is the only output of its process.
            outputs: [out || tries, err],
        }
    }

    /// Reads one chunk: what is there, and what comes while it is being read.
    fn read(&mut self, index: usize) {
        let output = &mut self.outputs[index];
        let Some(file) = &output.file else { return };
        let (mut buffer, most) = BUFFERS.lock().take();
        let mut filled = 0;
        let is_at_end = loop {
            if filled == buffer.len() {
                match buffer.len() {
                    0 => buffer.resize(FIRST_CHUNK, 0),
                    len if len >= most => break false,
                    _ => buffer.resize(most, 0),
                }
            }
            match (&**file).read(&mut buffer[filled..]) {
                Ok(0) => break true,
                Ok(count) => {
                    filled += count;
                    output.is_hung_up = false;
                    // Asking an empty terminal for more waits for a kernel thread, which
                    // costs more than all the rest of an echo.
                    let is_typing = output.stream == Stream::Pty && count < TYPING;
                    if is_typing && self.exit.is_none() {
                        break false;
                    }
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => {
                        output.owed = 0;
                        output.is_hung_up = false;
                        break false;
                    }
                    // A terminal whose other end is closed says EIO.
                    _ => {
                        let is_running = self.exit.is_none() && self.drain_until.is_none();
                        output.is_hung_up = output.stream == Stream::Pty && is_running;
                        break !output.is_hung_up;
                    }
                },
            }
        };
        if filled == CHUNK && !output.is_wide {
            output.is_wide = true;
            widen_pipe(file.as_fd(), BULK_PIPE);
        }
        if is_at_end {
            output.file = None;
        }
        output.owed = output.owed.saturating_sub(filled);
        if filled > 0 {
            if let Some(denial_detector) = &mut self.denial_detector {
                denial_detector.sees(&buffer[..filled]);
            }
            self.process.record_output(output.stream, &buffer[..filled]);
        }
        BUFFERS.lock().give_back(buffer);
    }
}

/// More than a terminal can hold inside the kernel.
const TERMINAL_OWED: usize = 256 * 1024;
/// A drain window beyond this is as good as none.
const MAX_WINDOW: Duration = Duration::from_secs(24 * 3600);

impl Pump<'_> {
    /// Reaps the process and notes how much of its output is still to be read.
    fn see_exit(&mut self) {
        let mut control = self.process.control.lock();
        let Some(leader) = control.leader() else {
            return;
        };
        match leader.reap() {
            Ok(None) => {
                // Whoever traces it collects it first. Its event stays set meanwhile: look now
                // and again instead, as where there are no events.
                self.exit_event = None;
                return;
            }
            Ok(Some(exit)) => self.exit = Some(exit),
            Err(error) => {
                // Somebody else has reaped our child; without an exit there would be no end.
                log::error!("the exit of a process was lost: {error}");
                self.exit = Some(Exit::Code(255));
            }
        }
        control.ended();
        drop(control);
        // Whoever hears of the exit finds no mount point any more.
        self.claim = None;
        for output in &mut self.outputs {
            if let Some(file) = &output.file {
                output.owed = match output.stream {
                    // A terminal's count leaves out what is still under way inside the
                    // kernel; reading until nothing comes fetches that too.
                    Stream::Pty => TERMINAL_OWED,
                    Stream::Stdout | Stream::Stderr => readable_bytes(file.as_fd()),
                };
            }
        }
        for index in 0..self.outputs.len() {
            if self.outputs[index].stream == Stream::Pty {
                self.read(index);
            }
        }
    }

    /// Takes the steps from the exit that was seen to the last event.
    fn advance(&mut self, may_close: bool) {
        if let Some(exit) = self.exit {
            let is_owed = |output: &Output| output.file.is_some() && output.owed > 0;
            if self.outputs.iter().any(is_owed) {
                return;
            }
            let (code, signal) = match exit {
                Exit::Code(code) => (code, None),
                Exit::Killed(signal) => (128 + signal.number(), Some(signal)),
            };
            let denial = self.denial_detector.take().and_then(|it| it.judge(code));
            let oom_killed = self
                .cgroup
                .take()
                .is_some_and(|it| it.has_run_out_of_memory());
            let mut control = self.process.control.lock();
            let milestone = control.record_exit(code, signal, denial, oom_killed);
            let cgroup = control.take_empty_cgroup();
            drop(control);
            // To remove it takes a moment.
            drop(cgroup);
            (self.observer)(&milestone);
            self.exit = None;
            let window = self.process.host().config().drain_window;
            self.drain_until = Some(Instant::now() + window.min(MAX_WINDOW));
        }
        let Some(until) = self.drain_until else {
            return;
        };
        let is_dry = self.outputs.iter().all(|output| output.file.is_none());
        if is_dry || (may_close && until <= Instant::now()) {
            let mut control = self.process.control.lock();
            if control.closed.is_none() {
                control.record_close();
                drop(control);
                self.process.host().note_ended(self.process);
            }
            // From here on only a slow client is awaited, which has no deadline here.
            self.drain_until = Some(Instant::now() + MAX_WINDOW);
        }
    }

    /// Leaves the process to its session.
    fn finish(mut self) -> Leftover {
        if let Some(subscriber) = self.flush.take() {
            subscriber.give_up_duty();
        }
        let kill_at = self.process.control.lock().thread_leaves();
        let streams = self.outputs.into_iter().filter_map(|output| output.file);
        Leftover {
            streams: streams.collect(),
            kill: kill_at.map(|at| (Arc::downgrade(self.process), at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_buffers_at_once_are_small_and_few_are_kept() {
        let mut buffers = Buffers {
            free: Vec::new(),
            used: 0,
        };
        for round in 0..2 {
            let taken: Vec<_> = (0..2 * CROWD).map(|_| buffers.take()).collect();
            let large = taken.iter().filter(|(_, most)| *most == CHUNK);
            assert_eq!(large.count(), CROWD, "round {round}");
            for (buffer, _) in taken {
                buffers.give_back(buffer);
            }
            assert_eq!((buffers.free.len(), buffers.used), (KEPT, 0));
        }
    }
}
