//! Until when something is waited for, where a person or a peer says how long.

use std::time::{Duration, Instant};

/// As good as for ever: a hundred years. With more than this, a point in time could not be told.
pub const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// When so much time will have passed, or [`FOREVER`] if that is less.
pub fn after(limit: Duration) -> Instant {
    Instant::now() + limit.min(FOREVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_is_too_long() {
        assert!(after(Duration::MAX) > Instant::now() + FOREVER / 2);
        assert!(after(Duration::ZERO) <= Instant::now());
    }
}
