//! What outlives the processes' threads: streams that descendants hold open, and late KILLs.
//!
//! After *closed* a descendant, say a daemon, may hold its end of a stream for
//! as long as it likes. What it writes is read and thrown away, so that it
//! neither blocks nor dies of a broken pipe. All such streams of all processes
//! share one thread: there may be many, and no limit on processes counts them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::process::Process;
use crate::log;
use crate::sys::poll::{self, PollFd, READABLE, WakeEvent};
use crate::sys::sync::Mutex;

/// Streams that are kept; above it the oldest are closed, and who writes there finds out.
const MAX_STREAMS: usize = 4096;
/// Read at once.
const CHUNK: usize = 16 * 1024;
/// Between looks at whether descendants that were asked to end have.
const DESCENDANTS_TICK: Duration = Duration::from_millis(250);
/// Between attempts to wait, where the kernel lacks the memory for it.
const RETRY_TICK: Duration = Duration::from_millis(20);

/// What one process leaves behind.
pub(crate) struct Leftover {
    /// Our ends of the streams that are still open.
    pub(crate) streams: Vec<Arc<File>>,
    /// When descendants that were asked to end must. A process that is gone has killed them.
    pub(crate) kill: Option<(Weak<Process>, Instant)>,
}

/// All that is left of processes.
pub(crate) struct Leftovers {
    state: Mutex<State>,
    waker: WakeEvent,
}

#[derive(Default)]
struct State {
    arrived: Vec<Leftover>,
    is_tended: bool,
}

impl Leftovers {
    /// Nothing yet. Fails only when we are out of descriptors.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            state: Mutex::default(),
            waker: WakeEvent::new()?,
        })
    }

    /// Leaves this to the thread that sees to such things; where there is none, the caller is it
    /// from now on until nothing is left.
    pub(crate) fn leave(&self, left: Leftover) {
        if left.streams.is_empty() && left.kill.is_none() {
            return;
        }
        let mut state = self.state.lock();
        state.arrived.push(left);
        if state.is_tended {
            self.waker.set();
            return;
        }
        state.is_tended = true;
        drop(state);
        self.tend();
    }

    fn tend(&self) {
        let mut held = Held::default();
        loop {
            {
                let mut state = self.state.lock();
                for left in state.arrived.drain(..) {
                    held.take(left);
                }
                if held.is_empty() {
                    state.is_tended = false;
                    return;
                }
            }
            held.kill_what_is_due();
            held.wait(&self.waker);
        }
    }
}

/// What the thread sees to.
#[derive(Default)]
struct Held {
    /// Oldest first.
    streams: VecDeque<Arc<File>>,
    kills: Vec<(Weak<Process>, Instant)>,
    buffer: Vec<u8>,
}

impl Held {
    fn take(&mut self, left: Leftover) {
        self.streams.extend(left.streams);
        self.kills.extend(left.kill);
        let surplus = self.streams.len().saturating_sub(MAX_STREAMS);
        if surplus > 0 {
            log::warn!("descendants hold more than {MAX_STREAMS} streams; closed the oldest");
            self.streams.drain(..surplus);
        }
    }

    fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.kills.is_empty()
    }

    fn kill_what_is_due(&mut self) {
        let now = Instant::now();
        self.kills.retain(|(process, at)| {
            let Some(process) = process.upgrade() else {
                return false;
            };
            if *at <= now {
                process.terminate(None, |_| ());
                return false;
            }
            !process.has_no_descendants()
        });
    }

    /// Waits for news, and reads what there is.
    fn wait(&mut self, waker: &WakeEvent) {
        let due = self.kills.iter().map(|(_, at)| *at).min();
        // The end of a group is no event.
        let timeout = due.map(|at| {
            let left = at.saturating_duration_since(Instant::now());
            left.min(DESCENDANTS_TICK)
        });
        let streams = self.streams.iter().map(|file| file.as_fd());
        let mut fds: Vec<_> = std::iter::once(waker.as_fd())
            .chain(streams)
            .map(|fd| PollFd::new(fd, READABLE))
            .collect();
        if let Err(error) = poll::wait(&mut fds, timeout) {
            log::warn!("waiting for the descendants of processes failed: {error}");
            std::thread::sleep(RETRY_TICK);
            return;
        }
        let ready: Vec<_> = fds.iter().map(PollFd::is_ready).collect();
        let mut ready = ready.into_iter();
        if ready.next() == Some(true) {
            waker.take();
        }
        self.buffer.resize(CHUNK, 0);
        let buffer = &mut self.buffer;
        self.streams.retain(|file| {
            let is_ready = ready.next().unwrap_or(false);
            !is_ready || !is_ended((&**file).read(buffer))
        });
    }
}

fn is_ended(read: io::Result<usize>) -> bool {
    match read {
        Ok(count) => count == 0,
        Err(error) => !matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
        ),
    }
}
