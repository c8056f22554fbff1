//! Samples of a step, and what the rounds say together.

use std::time::{Duration, Instant};

/// Times of single events.
#[derive(Default)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The time in seconds that a share of the events did not exceed; not a number if none happened.
    pub fn quantile(&mut self, share: f64) -> f64 {
        self.0.sort_unstable();
        let rank = (self.0.len() as f64 * share).ceil() as usize;
        let at = rank.saturating_sub(1).min(self.0.len().saturating_sub(1));
        self.0.get(at).map_or(f64::NAN, Duration::as_secs_f64)
    }
}

/// Repeats `event` until `budget` is spent, but at least `least` times, and times each.
/// The first `warm_up` are not counted.
pub fn repeat<E>(
    budget: Duration,
    least: usize,
    warm_up: usize,
    mut event: impl FnMut() -> Result<Duration, E>,
) -> Result<Times, E> {
    for _ in 0..warm_up {
        event()?;
    }
    let begun = Instant::now();
    let mut times = Times::default();
    while begun.elapsed() < budget || times.len() < least {
        times.push(event()?);
    }
    Ok(times)
}

/// The median of the rounds and how far they lie apart.
#[derive(Clone, Copy)]
pub struct Figure {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Figure {
    /// `None` without any round.
    pub fn of(rounds: &[f64]) -> Option<Self> {
        let mut sorted: Vec<f64> = rounds.iter().copied().filter(|x| x.is_finite()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let (&least, &most) = (sorted.first()?, sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self {
            median,
            least,
            most,
        })
    }
}
