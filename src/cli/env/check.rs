//! What an environment is found to be.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use crate::env::{Environment, EnvironmentError, EnvironmentFacts, SandboxFacts};

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
    environments: &[Arc<dyn Environment>],
    limit: Duration,
) -> Vec<Result<Health, String>> {
    let deadline = Instant::now() + limit;
    let (found, results) = channel();
    let mut health: Vec<Option<Result<Health, String>>> = Vec::new();
    for (index, environment) in environments.iter().enumerate() {
        let (found, environment) = (found.clone(), Arc::clone(environment));
        let started = thread::Builder::new()
            .name("check".to_owned())
            .spawn(move || {
                let result = examine(&*environment).map_err(|error| error.to_string());
                // Nobody waits any more after the deadline.
                let _ = found.send((index, result));
            });
        let failed = started
            .err()
            .map(|error| format!("no thread to check it with: {error}"));
        health.push(failed.map(Err));
    }
    drop(found);
    while health.iter().any(Option::is_none) {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok((index, result)) = results.recv_timeout(left) else {
            break;
        };
        health[index] = Some(result);
    }
    let late = || Err(format!("no answer within {limit:?}"));
    health
        .into_iter()
        .map(|each| each.unwrap_or_else(late))
        .collect()
}

fn examine(environment: &dyn Environment) -> Result<Health, EnvironmentError> {
    let begun = Instant::now();
    let facts = environment.facts()?;
    let connect = begun.elapsed();
    let mut round_trip = Duration::MAX;
    for _ in 0..TRIPS {
        let begun = Instant::now();
        // The root is everywhere; an error of the server's is an answer, too.
        match environment.files().metadata("/", true) {
            Err(error) if error.code().is_none() => return Err(error),
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
