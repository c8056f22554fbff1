//! A program that works for the server and not for a client, at the other end of a socket.
//!
//! Each has a thread that starts it, keeps what it says on its standard streams, ends it and reaps
//! it. The kernel counts that thread's end as the parent's death, so it stays as long as the
//! program does. Dropping the [`Helper`] ends the program.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::host::Host;
use super::launch::{Launched, ProcessSpec, StartError, launch};
use crate::oneshot;
use crate::sandbox::journal::Claim;
use crate::sandbox::launcher::Level;
use crate::sys::file::Identity;
use crate::sys::poll::{self, PollFd, READABLE, WakeEvent};
use crate::sys::process::Exit;
use crate::sys::signal::Signal;
use crate::sys::sync::{Condvar, Mutex};
use crate::workers::Workers;

/// Bytes of what it says that are kept: the first ones, which name the cause.
const MAX_SAID: usize = 4096;
/// Between looks at a program where the kernel has no event for its end (before Linux 5.3).
const TICK: Duration = Duration::from_millis(50);
/// How long a start may take; a disk that does not answer takes longer.
const START: Duration = Duration::from_secs(20);

/// The helpers of one server.
pub struct Helpers {
    host: Arc<Host>,
    workers: Workers,
    living: Mutex<usize>,
    fewer: Condvar,
}

/// A running program. Dropping it ends the program.
pub struct Helper(Arc<Shared>);

/// A helper that has been started.
pub struct StartedHelper {
    pub helper: Helper,
    /// The confinement in force.
    pub level: Option<Level>,
    /// The mount points that its sandbox has on the host, until it ends.
    pub points: Vec<(PathBuf, Identity)>,
}

struct Shared {
    stop: Arc<WakeEvent>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    has_ended: bool,
    exit: Option<Exit>,
    said: Vec<u8>,
}

impl Helpers {
    pub fn new(host: &Arc<Host>) -> Arc<Self> {
        Arc::new(Self {
            host: Arc::clone(host),
            workers: Workers::named("file-helper"),
            living: Mutex::default(),
            fewer: Condvar::new(),
        })
    }

    /// Starts a program, which `stop` ends, also in the middle of its start.
    ///
    /// # Errors
    /// As for any process, or the start takes longer than 20 s.
    pub fn start(
        self: &Arc<Self>,
        spec: ProcessSpec,
        stop: Arc<WakeEvent>,
    ) -> Result<StartedHelper, StartError> {
        let shared = Arc::new(Shared {
            stop,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let helper = Helper(Arc::clone(&shared));
        let living = Living::begin(self);
        let (sender, receiver) = oneshot::channel();
        let job = move || {
            let host = &living.0.host;
            let launched = launch(host, &spec, None, None, Some(shared.stop.as_fd()));
            // The program alone is to hold its end of the socket.
            drop(spec);
            match launched {
                Ok(launched) => {
                    let points = launched.claim.iter().flat_map(Claim::points);
                    let points = points.map(|(path, identity)| (path.to_owned(), identity));
                    let level = launched.level.clone();
                    // Whoever has given up has also set the event that ends it.
                    sender.send(Ok((level, points.collect())));
                    shared.attend(launched);
                }
                // As above.
                Err(error) => sender.send(Err(error)),
            }
        };
        self.workers
            .run(Box::new(job))
            .map_err(|error| StartError::Resources("a thread", error))?;
        match receiver.wait(Some(START)) {
            Ok(outcome) => outcome.map(|(level, points)| StartedHelper {
                helper,
                level,
                points,
            }),
            Err(_) => Err(StartError::Resources(
                "an answer of the system to a start",
                io::ErrorKind::TimedOut.into(),
            )),
        }
    }

    /// Waits until none is left, at most until `deadline`.
    pub fn wait_until_none(&self, deadline: Instant) {
        let mut living = self.living.lock();
        while *living > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            living = self.fewer.wait_timeout(living, left).0;
        }
    }
}

/// One helper's place in the count.
struct Living(Arc<Helpers>);

impl Living {
    fn begin(helpers: &Arc<Helpers>) -> Self {
        *helpers.living.lock() += 1;
        Self(Arc::clone(helpers))
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        *self.0.living.lock() -= 1;
        self.0.fewer.notify_all();
    }
}

impl Helper {
    /// Whether the program runs no more.
    pub fn has_ended(&self) -> bool {
        self.0.state.lock().has_ended
    }

    /// What ends the program.
    pub fn stop(&self) -> &Arc<WakeEvent> {
        &self.0.stop
    }

    /// Ends the program, and waits until its mount points are gone, `limit` at most.
    pub fn end(self, limit: Duration) {
        self.0.stop.set();
        let state = self.0.state.lock();
        let waited = self
            .0
            .changed
            .wait_timeout_while(state, limit, |state| !state.has_ended);
        drop(waited);
    }

    /// Ends the program if it does not end by itself within `patience`, and tells how it ended
    /// and what it said before.
    pub fn last_words(&self, patience: Duration) -> (Option<Exit>, String) {
        let deadline = Instant::now() + patience;
        let mut state = self.0.state.lock();
        let mut is_told = false;
        while !state.has_ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                if is_told {
                    break;
                }
                is_told = true;
                self.0.stop.set();
            }
            let wait = if is_told { TICK } else { left };
            state = self.0.changed.wait_timeout(state, wait).0;
        }
        let said = String::from_utf8_lossy(&state.said).trim().to_owned();
        (state.exit, said)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.0.stop.set();
    }
}

impl Shared {
    /// Stays with the program to its end.
    fn attend(&self, launched: Launched) {
        let Launched {
            mut leader,
            guardian,
            outputs,
            claim,
            ..
        } = launched;
        let mut exit_event = leader.exit_event();
        let mut outputs: Vec<Arc<File>> = outputs.into_iter().map(|(_, pipe)| pipe).collect();
        let mut is_told = false;
        let exit = loop {
            match leader.reap() {
                Ok(Some(exit)) => break Some(exit),
                Ok(None) => {}
                // Somebody else has reaped our child.
                Err(_) => break None,
            }
            let mut fds = vec![
                exit_event
                    .as_ref()
                    .map_or_else(PollFd::never, |event| PollFd::new(event.as_fd(), READABLE)),
                if is_told {
                    PollFd::never()
                } else {
                    PollFd::new(self.stop.as_fd(), READABLE)
                },
            ];
            fds.extend(
                outputs
                    .iter()
                    .map(|pipe| PollFd::new(pipe.as_fd(), READABLE)),
            );
            if poll::wait(&mut fds, exit_event.is_none().then_some(TICK)).is_err() {
                // Nothing can be waited for, so nothing can be kept.
                is_told = true;
            }
            let ready: Vec<bool> = fds.iter().map(PollFd::is_ready).collect();
            is_told |= ready[1];
            if ready[0] {
                // Whoever traces it collects it first, and its event stays set meanwhile.
                exit_event = None;
            }
            if is_told {
                // One that is gone already is reaped next.
                let _ = leader.signal_group(Signal::KILL);
            }
            let mut readable = ready[2..].iter();
            outputs.retain(|pipe| !readable.next().is_some_and(|it| *it) || self.hear(pipe));
        };
        for pipe in &outputs {
            self.hear(pipe);
        }
        let _ = leader.signal_group(Signal::KILL);
        guardian.remove(leader.pid());
        // Whoever hears of the end finds no mount point any more.
        drop(claim);
        let mut state = self.state.lock();
        state.has_ended = true;
        state.exit = exit;
        drop(state);
        self.changed.notify_all();
    }

    /// Takes what is in a pipe; whether more may come.
    fn hear(&self, pipe: &File) -> bool {
        let mut buffer = [0; 1024];
        match (&*pipe).read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                let mut state = self.state.lock();
                let room = MAX_SAID.saturating_sub(state.said.len());
                state.said.extend_from_slice(&buffer[..count.min(room)]);
                true
            }
            Err(error) => matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ),
        }
    }
}
