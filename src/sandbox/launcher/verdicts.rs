//! What is known of each bwrap: whether it is fit, found out once for all starts.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use super::candidates::Identity;
use super::context::SpawnContext;
use super::fit::Fit;
use crate::sys::event::WakeEvent;
use crate::sys::sync::Mutex;

/// How long it is remembered that a bwrap is not fit: a setting of the machine may change.
const REMEMBER_UNFIT: Duration = Duration::from_secs(30);

/// A bwrap.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    System(Identity),
    Bundled,
}

/// Why a bwrap is not used.
#[derive(Debug)]
pub(super) enum Unfit {
    /// The start was given up, so it is not known what the bwrap can do.
    GivenUp,
    /// It was found out.
    Because(String),
}

impl From<String> for Unfit {
    fn from(why: String) -> Self {
        Self::Because(why)
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GivenUp => "the start was given up during its trial",
            Self::Because(why) => why,
        })
    }
}

/// What is known of each bwrap.
#[derive(Default)]
pub(super) struct Verdicts(Mutex<Knowledge>);

#[derive(Default)]
struct Knowledge {
    verdicts: HashMap<Key, Verdict>,
    /// Those that are being tried.
    busy: HashSet<Key>,
    /// Set when a trial is over.
    waiting: Vec<Arc<WakeEvent>>,
}

#[derive(Clone)]
struct Verdict {
    outcome: Result<Arc<Fit>, String>,
    at: Instant,
}

impl Verdicts {
    /// What is known of a bwrap, or is now found out. Other starts wait meanwhile, until they are given up. Should this one
    /// be, nothing is known, and one of them tries it in turn.
    pub(super) fn get(
        &self,
        key: Key,
        context: &SpawnContext<'_>,
        examine: impl FnOnce() -> Result<Fit, String>,
    ) -> Result<Arc<Fit>, Unfit> {
        if let Some(outcome) = self.begin_trial(&key, context) {
            return outcome;
        }
        let outcome = examine().map(Arc::new);
        let is_known = outcome.is_ok() || !context.is_cancelled();
        let mut known = self.lock();
        known.busy.remove(&key);
        if is_known {
            let verdict = Verdict {
                outcome: outcome.clone(),
                at: Instant::now(),
            };
            known.verdicts.insert(key, verdict);
        }
        for event in known.waiting.drain(..) {
            event.set();
        }
        match outcome {
            Ok(fit) => Ok(fit),
            Err(why) if is_known => Err(Unfit::Because(why)),
            Err(_) => Err(Unfit::GivenUp),
        }
    }

    /// What is known, or will be when another start has tried it. None: the trial is the caller's.
    fn begin_trial(
        &self,
        key: &Key,
        context: &SpawnContext<'_>,
    ) -> Option<Result<Arc<Fit>, Unfit>> {
        loop {
            let mut known = self.lock();
            if let Some(verdict) = known.verdicts.get(key)
                && (verdict.outcome.is_ok() || verdict.at.elapsed() < REMEMBER_UNFIT)
            {
                return Some(verdict.outcome.clone().map_err(Unfit::Because));
            }
            if known.busy.insert(key.clone()) {
                return None;
            }
            let is_over = match WakeEvent::new() {
                Ok(event) => Arc::new(event),
                Err(error) => {
                    let why = format!("no event to wait for its trial: {error}");
                    return Some(Err(Unfit::Because(why)));
                }
            };
            known.waiting.push(Arc::clone(&is_over));
            drop(known);
            if !context.wait_for(&is_over) {
                return Some(Err(Unfit::GivenUp));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Knowledge> {
        self.0.lock()
    }
}
