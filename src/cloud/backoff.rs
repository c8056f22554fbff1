//! How long to wait before the next attempt.

use std::time::Duration;

use crate::sys::random;

/// The first wait.
const FIRST: Duration = Duration::from_secs(1);
/// The longest that a service may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// Waits that double up to a limit. Each is cut at random, so that a thousand machines that lost
/// the same service do not come back at the same moment.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    limit: Duration,
}

impl Backoff {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            next: FIRST.min(limit),
            limit,
        }
    }

    /// After a success the next failure begins from the start.
    pub(super) fn reset(&mut self) {
        self.next = FIRST.min(self.limit);
    }

    /// The next wait; what the service has asked for, if it has, is the least.
    pub(super) fn wait(&mut self, asked: Option<Duration>) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.limit);
        let cut = whole.mul_f64(fraction());
        // Not cut below what was asked for, but still spread beyond it.
        asked.map_or(cut, |asked| asked.min(LONGEST_ASKED) + cut)
    }
}

/// A random number from 0 to 1.
fn fraction() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness the wait is whole, which is as right.
    match random::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_begin_anew() {
        let mut backoff = Backoff::new(Duration::from_secs(30));
        for whole in [1, 2, 4, 8, 16, 30, 30] {
            assert!(backoff.wait(None) <= Duration::from_secs(whole));
        }
        backoff.reset();
        assert!(backoff.wait(None) <= Duration::from_secs(1));
    }

    #[test]
    fn waits_are_spread() {
        let wait = || Backoff::new(Duration::from_secs(30)).wait(None).as_millis() / 100;
        let distinct: std::collections::HashSet<_> = (0..200).map(|_| wait()).collect();
        assert!(distinct.len() >= 8, "{distinct:?}");
    }

    #[test]
    fn what_is_asked_for_is_the_least_and_has_an_end() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        assert!(backoff.wait(Some(Duration::from_secs(7))) >= Duration::from_secs(7));
        assert!(backoff.wait(Some(Duration::MAX)) <= Duration::from_secs(3601));
    }
}
