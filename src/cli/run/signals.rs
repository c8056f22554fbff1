//! Signals that we get, on their way to the command.
//!
//! Two threads: one takes the signals and never waits for the network, so that we can always be
//! ended; the other makes the requests, one after the other, from the first on.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};
use std::{io, process};

use crate::cli::output::Speaker;
use crate::env::TerminalSize;
use crate::rpc::client::Process;
use crate::sys::poll::{self, PollFd, READABLE, WakeEvent};
use crate::sys::pty::WindowSize;
use crate::sys::signal::{Signal, SignalEvents};
use crate::sys::terminal::{self, RawMode};

/// A second signal within this time means that the first was not enough.
const IMPATIENCE: Duration = Duration::from_secs(2);

/// What is asked of the command's environment.
#[derive(Debug)]
enum Action {
    Signal(Signal),
    /// KILL, at once.
    Kill,
    Resize,
}

/// What both threads know.
struct Shared {
    speaker: Speaker,
    /// Set once the command runs; before, a signal ends us.
    command: OnceLock<Arc<Process>>,
    /// To the thread that makes requests, once there is one.
    actions: OnceLock<Sender<Action>>,
    /// Whether the command was killed by us.
    has_killed: AtomicBool,
}

/// The forwarding of signals.
pub(crate) struct Signals {
    shared: Arc<Shared>,
}

impl Signals {
    /// Collects signals from now on; must run before the first thread is started. Until
    /// [`Signals::forward_to`] they end this process with 128+n, as they do without us.
    ///
    /// # Errors
    /// The system gives no descriptor or thread.
    pub(crate) fn collect(
        has_terminal: bool,
        done: Arc<WakeEvent>,
        speaker: Speaker,
    ) -> io::Result<Self> {
        let mut wanted = vec![
            Signal::INTERRUPT,
            Signal::TERMINATE,
            Signal::HANGUP,
            Signal::QUIT,
        ];
        if has_terminal {
            wanted.extend([Signal::WINDOW, Signal::STOP_KEY]);
        }
        let events = SignalEvents::collect(&wanted)?;
        let shared = Arc::new(Shared {
            speaker,
            command: OnceLock::new(),
            actions: OnceLock::new(),
            has_killed: AtomicBool::new(false),
        });
        let taken = Arc::clone(&shared);
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || taken.take_all(&events, &done))?;
        Ok(Self { shared })
    }

    /// Passes signals on to this command from now on, and the terminal's size.
    pub(crate) fn forward_to(&self, command: Arc<Process>) {
        // Set once only: this is called once.
        let _ = self.shared.command.set(command);
    }

    /// Gives the command's terminal the size of ours: it may have changed meanwhile.
    pub(crate) fn resize(&self) {
        self.shared.ask(Action::Resize);
    }
}

/// The size of our terminal, wherever it is to be found.
pub(crate) fn own_size() -> Option<TerminalSize> {
    let size = terminal::window_size(io::stdin().as_fd())
        .or_else(|| terminal::window_size(io::stdout().as_fd()))
        .or_else(|| terminal::window_size(io::stderr().as_fd()))?;
    let WindowSize { rows, cols } = size;
    Some(TerminalSize { rows, cols })
}

/// Ends this process without waiting for anything; the terminal is as it was.
pub(crate) fn leave(code: i32) -> ! {
    terminal::restore();
    process::exit(code)
}

impl Shared {
    fn take_all(self: &Arc<Self>, events: &SignalEvents, done: &WakeEvent) {
        let mut last: Option<Instant> = None;
        let mut raw = None;
        loop {
            let mut ready = [
                PollFd::new(events.as_fd(), READABLE),
                PollFd::new(done.as_fd(), READABLE),
            ];
            if poll::wait(&mut ready, None).is_err() || ready[1].is_ready() {
                return;
            }
            while let Some(signal) = events.take() {
                match signal {
                    Signal::WINDOW => self.ask(Action::Resize),
                    Signal::STOP_KEY => raw = self.stop().or(raw),
                    ending => {
                        let is_hasty = last.is_some_and(|last| last.elapsed() < IMPATIENCE);
                        self.end(ending, is_hasty);
                        last = Some(Instant::now());
                    }
                }
            }
        }
    }

    /// A signal that is to end the command: as it is first, then as KILL, then by our own end.
    fn end(self: &Arc<Self>, signal: Signal, is_hasty: bool) {
        if self.command.get().is_none() {
            leave(128 + signal.number());
        }
        if !is_hasty {
            return self.ask(Action::Signal(signal));
        }
        if self.has_killed.swap(true, Ordering::AcqRel) {
            terminal::restore();
            self.speaker
                .say("gave up waiting; the command may go on for a while there");
            leave(128 + signal.number());
        }
        self.ask(Action::Kill);
    }

    /// Stops us with the terminal as it was, and goes on in raw mode when we are continued.
    fn stop(self: &Arc<Self>) -> Option<RawMode> {
        let was_raw = terminal::is_raw();
        terminal::restore();
        terminal::stop_self();
        self.ask(Action::Resize);
        // A terminal that refuses is gone.
        was_raw
            .then(|| RawMode::enter(io::stdin().as_fd()).ok())
            .flatten()
    }

    fn ask(self: &Arc<Self>, action: Action) {
        let Some(command) = self.command.get() else {
            return;
        };
        let actions = self.actions.get_or_init(|| {
            let (actions, queue) = channel();
            let (shared, command) = (Arc::clone(self), Arc::clone(command));
            let thread = thread::Builder::new().name("actions".to_owned());
            let started = thread.spawn(move || {
                for action in queue {
                    shared.perform(action, &command);
                }
            });
            if let Err(error) = started {
                self.speaker.say(format_args!(
                    "signals are not passed on: no thread: {error}"
                ));
            }
            actions
        });
        // The other thread, if there is one, ends with this process only.
        let _ = actions.send(action);
    }

    fn perform(&self, action: Action, command: &Process) {
        let done = match action {
            Action::Signal(signal) => {
                let name = signal.name();
                let sent = command.signal(name.trim_start_matches("SIG"));
                match &sent {
                    // A server that does not know it can still end the command.
                    Err(error) if error.code().is_some() => command.terminate(IMPATIENCE),
                    _ => sent,
                }
            }
            Action::Kill => command.terminate(Duration::ZERO),
            Action::Resize => match own_size() {
                Some(size) => command.resize(size),
                None => Ok(()),
            },
        };
        match done {
            // It has no resize: programs keep the size that they began with.
            Err(error) if !matches!(action, Action::Resize) && error.code().is_some() => {
                self.speaker.say(format_args!("not passed on: {error}"));
            }
            // A lost connection is the main thread's to tell.
            _ => {}
        }
    }
}
