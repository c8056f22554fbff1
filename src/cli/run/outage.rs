//! A word about a connection that is away for longer than anybody likes to wait without one.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use super::SPEAKER;
use crate::env::Environment;

/// An outage that is shorter is nobody's business.
const SHORT: Duration = Duration::from_secs(2);

/// Looks for outages while a command runs.
pub(super) struct OutageWatch {
    /// Whether somebody is there to be told.
    tells: bool,
    since: Option<Instant>,
    has_told: bool,
}

impl OutageWatch {
    pub(super) fn new(is_verbose: bool) -> Self {
        Self {
            tells: is_verbose || io::stderr().is_terminal(),
            since: None,
            has_told: false,
        }
    }

    /// Looks at the connection, and tells what is new.
    pub(super) fn look(&mut self, environment: &Environment) {
        if !self.tells {
            return;
        }
        match environment.outage() {
            Some(why) => {
                let since = *self.since.get_or_insert_with(Instant::now);
                if !self.has_told && since.elapsed() >= SHORT {
                    self.has_told = true;
                    SPEAKER.say(format_args!("{why}\ntrying to take it up again"));
                }
            }
            None => {
                if std::mem::take(&mut self.has_told) {
                    SPEAKER.say("connected again");
                }
                self.since = None;
            }
        }
    }
}
