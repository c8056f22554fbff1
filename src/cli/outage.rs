//! What is told while a command works in an environment: that its server does not answer yet, not
//! any more, or that the connection is lost, each with how long it is waited for; and once, that all
//! is well again.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::env::{ConnectionState, Environment};
use crate::rpc::client::RECOVERY_WINDOW;
use crate::sys::sync::{Condvar, Mutex};

/// How long a server may take to answer at first before that is told.
const SLOW: Duration = Duration::from_millis(2500);
/// An outage that is shorter is nobody's business.
const SHORT: Duration = Duration::from_millis(1500);
/// Between two looks; with what comes before, all is told within 3 s.
const LOOK: Duration = Duration::from_millis(500);

/// Tells of an environment until it is dropped.
pub(crate) struct OutageWatch(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    has_answered: bool,
    is_over: bool,
}

impl OutageWatch {
    /// Begins; none where there is no server to be waited for.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn begin(
        environment: &Arc<Environment>,
        say: impl Fn(fmt::Arguments<'_>) + Send + 'static,
    ) -> io::Result<Option<Self>> {
        if !environment.is_remote() {
            return Ok(None);
        }
        let shared = Arc::new(Shared::default());
        let (watched, environment) = (Arc::clone(&shared), Arc::clone(environment));
        thread::Builder::new()
            .name("silence".into())
            .spawn(move || watched.watch(&environment, say))?;
        Ok(Some(Self(shared)))
    }

    /// The server has done what it was asked for first.
    pub(crate) fn answered(&self) {
        self.0.state.lock().has_answered = true;
    }
}

impl Drop for OutageWatch {
    fn drop(&mut self) {
        self.0.state.lock().is_over = true;
        self.0.ended.notify_all();
    }
}

/// What was told last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Slow,
    Silent,
    Lost,
}

impl Shared {
    fn watch(&self, environment: &Environment, say: impl Fn(fmt::Arguments<'_>)) {
        let id = environment.id();
        let begun = Instant::now();
        let mut lost_since = None;
        let mut told = Told::Nothing;
        loop {
            let goes_on = |state: &mut State| !state.is_over;
            let state = self.state.lock();
            let state = self.ended.wait_timeout_while(state, LOOK, goes_on).0;
            if state.is_over {
                return;
            }
            let has_answered = state.has_answered;
            drop(state);
            let connection = environment.state();
            match &connection {
                ConnectionState::Recovering(why) => {
                    let since: &Instant = lost_since.get_or_insert_with(Instant::now);
                    if told != Told::Lost && since.elapsed() >= SHORT {
                        told = Told::Lost;
                        let seconds = RECOVERY_WINDOW.as_secs();
                        say(format_args!(
                            "{why}\ntrying to take it up again, for {seconds} s at most"
                        ));
                    }
                    continue;
                }
                ConnectionState::Silent { time, limit } if has_answered => {
                    if told != Told::Silent {
                        told = Told::Silent;
                        let (seconds, limit) = (time.as_secs(), limit.as_secs());
                        say(format_args!(
                            "`{id}` has not answered for {seconds} s; waiting until it is {limit} s"
                        ));
                    }
                }
                ConnectionState::Failed(_) => {}
                _ if !has_answered => {
                    if told == Told::Nothing && begun.elapsed() >= SLOW {
                        told = Told::Slow;
                        match environment.patience() {
                            Some(limit) if connection == ConnectionState::Connecting => {
                                let seconds = limit.as_secs();
                                say(format_args!(
                                    "`{id}` has not answered yet; waiting for it, {seconds} s at most"
                                ));
                            }
                            _ => say(format_args!("`{id}` has not answered yet; waiting for it")),
                        }
                    }
                }
                _ => match std::mem::replace(&mut told, Told::Nothing) {
                    Told::Lost => say(format_args!("connected again")),
                    Told::Silent => say(format_args!("`{id}` answers again")),
                    Told::Slow | Told::Nothing => {}
                },
            }
            lost_since = None;
        }
    }
}
