//! Conditions that must come true some time soon.

use std::time::{Duration, Instant};

/// Waits until `condition` holds; fails the test with `what` if it does not within `limit`.
pub fn within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
