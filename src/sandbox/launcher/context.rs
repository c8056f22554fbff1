//! What every start needs besides the program, and how it waits: until it is given up at most.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::start::PATIENCE;
use crate::sandbox::mounts::Cancel;
use crate::sys::event::WakeEvent;
use crate::sys::guardian::Guardian;
use crate::sys::poll::{self, PollFd, READABLE};
use crate::sys::process::{Exit, Leader};
use crate::sys::signal::Signal;

/// How long a killed launcher may take to end.
const END: Duration = Duration::from_secs(5);
/// Between looks at a child, where the kernel has no pidfd.
const TICK: Duration = Duration::from_millis(5);

/// What every start needs besides the program.
#[derive(Clone, Copy)]
pub struct SpawnContext<'a> {
    /// Become the program's descriptors 0, 1 and 2; none is `/dev/null`.
    pub standard: [Option<BorrowedFd<'a>>; 3],
    /// `/dev/null`
    pub null: BorrowedFd<'a>,
    /// Who kills what we started when we die.
    pub guardian: &'a Guardian,
    /// Becomes readable when the start is to be given up.
    pub cancel: Option<BorrowedFd<'a>>,
}

/// What came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// What was waited for.
    Ready,
    /// The start is to be given up.
    Cancelled,
    /// The end of the time, or nothing yet.
    Nothing,
}

impl SpawnContext<'_> {
    /// Whether the start is to be given up.
    pub(super) fn is_cancelled(&self) -> bool {
        Cancel(self.cancel).is_set()
    }

    /// Waits until `fd` is readable or the start is given up, at most for `limit`.
    pub(super) fn await_readable(
        &self,
        fd: Option<BorrowedFd<'_>>,
        limit: Duration,
    ) -> io::Result<Awaited> {
        let mut fds = [fd, self.cancel].map(|fd| match fd {
            Some(fd) => PollFd::new(fd, READABLE),
            None => PollFd::never(),
        });
        poll::wait(&mut fds, Some(limit))?;
        // What has come is taken: a program that runs already is told to end by a signal.
        Ok(match fds.each_ref().map(PollFd::is_ready) {
            [true, _] => Awaited::Ready,
            [false, true] => Awaited::Cancelled,
            [false, false] => Awaited::Nothing,
        })
    }

    /// Waits for an event; false when the start is given up before.
    pub(super) fn wait_for(&self, event: &WakeEvent) -> bool {
        loop {
            match self.await_readable(Some(event.as_fd()), PATIENCE) {
                Ok(Awaited::Nothing) => {}
                Ok(Awaited::Cancelled) => return false,
                Ok(Awaited::Ready) | Err(_) => return true,
            }
        }
    }

    /// Stays with a launcher until `deadline` or until the start is given up, and then leaves nothing of it. Its exit; none
    /// if it did not end by itself.
    pub(super) fn see_out(&self, mut leader: Leader, deadline: Instant) -> Option<Exit> {
        let exit = self.wait_for_exit(&mut leader, deadline);
        if exit.is_some() {
            // What it left behind has no business here.
            let _ = leader.signal_group(Signal::KILL);
            self.guardian.remove(leader.pid());
        } else {
            self.end(&mut leader);
        }
        exit
    }

    /// Kills what is left of a launcher and reaps it, also when the start is given up.
    pub(super) fn end(&self, leader: &mut Leader) -> Option<Exit> {
        let unhurried = Self {
            cancel: None,
            ..*self
        };
        // It may be about to end by itself, unless it was in the middle of what is given up.
        let patience = if self.is_cancelled() {
            Duration::ZERO
        } else {
            TICK
        };
        let exit = unhurried.wait_for_exit(leader, Instant::now() + patience);
        let exit = exit.or_else(|| {
            // One that is gone needs no signal.
            let _ = leader.signal_group(Signal::KILL);
            unhurried.wait_for_exit(leader, Instant::now() + END)
        });
        self.guardian.remove(leader.pid());
        exit
    }

    /// Waits for the exit; none if it has not come by `deadline`, or before the start is given up.
    fn wait_for_exit(&self, leader: &mut Leader, deadline: Instant) -> Option<Exit> {
        loop {
            if let Ok(Some(exit)) = leader.reap() {
                return Some(exit);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let event = leader.exit_event();
            let limit = if event.is_some() {
                left
            } else {
                left.min(TICK)
            };
            match self.await_readable(event.as_ref().map(AsFd::as_fd), limit) {
                Ok(Awaited::Cancelled) => return None,
                Ok(Awaited::Ready | Awaited::Nothing) => {}
                Err(_) => std::thread::sleep(TICK),
            }
        }
    }
}
