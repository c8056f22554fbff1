//! What an environment is found to be.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::env::{Environment, EnvironmentError, EnvironmentFacts, SandboxFacts};
use crate::oneshot::{self, Receiver};

/// What a check has found.
#[derive(Clone, Debug)]
pub(super) struct Health {
    pub(super) facts: EnvironmentFacts,
    /// How it confines, where it tells.
    pub(super) sandbox: Option<SandboxFacts>,
    /// From the start of connecting to the facts.
    pub(super) connect: Duration,
    /// One request and its answer, the shortest of some.
    pub(super) round_trip: Duration,
}

/// Round trips that are measured: the first ones find cold caches.
const TRIPS: usize = 5;

/// Checks all of them at the same time; why, for those that are not well within `limit`.
pub(super) fn check(
    environments: &[Arc<Environment>],
    limit: Duration,
) -> Vec<Result<Health, String>> {
    let deadline = Instant::now() + limit;
    let begin = |environment: &Arc<Environment>| {
        let environment = Arc::clone(environment);
        let (sender, receiver) = oneshot::channel();
        thread::Builder::new()
            .name("check".to_owned())
            .spawn(move || {
                sender.send(examine(&environment).map_err(|error| error.to_string()));
            })
            .map(|_| receiver)
            .map_err(|error| format!("no thread to check it with: {error}"))
    };
    let begun: Vec<_> = environments.iter().map(begin).collect();
    let end = |begun: Result<Receiver<Result<Health, String>>, String>| {
        let left = deadline.saturating_duration_since(Instant::now());
        begun?
            .wait(Some(left))
            .unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
    };
    begun.into_iter().map(end).collect()
}

fn examine(environment: &Environment) -> Result<Health, EnvironmentError> {
    let begun = Instant::now();
    let facts = environment.facts()?;
    let connect = begun.elapsed();
    let mut round_trip = Duration::MAX;
    for _ in 0..TRIPS {
        let begun = Instant::now();
        // The root is everywhere; an error of the server's is an answer, too.
        match environment.client()?.metadata("/", true) {
            Err(error) if error.code().is_none() => return Err(environment.error(error)),
            _ => round_trip = round_trip.min(begun.elapsed()),
        }
    }
    Ok(Health {
        facts,
        sandbox: environment.sandbox()?,
        connect,
        round_trip,
    })
}
