//! Conditions that must come true some time soon.

use std::time::{Duration, Instant};

/// Waits until a figure has not changed for half a second.
pub fn settled(mut figure: impl FnMut() -> u64) {
    let mut last = (figure(), Instant::now());
    within(Duration::from_secs(60), "it comes to rest", || {
        let now = figure();
        if now != last.0 {
            last = (now, Instant::now());
        }
        last.1.elapsed() > Duration::from_millis(500)
    });
}

/// Waits until `condition` holds; fails the test with `what` if it does not within `limit`.
pub fn within(limit: Duration, what: &str, condition: impl FnMut() -> bool) {
    assert!(comes_true(limit, condition), "not within {limit:?}: {what}");
}

/// Waits until `condition` holds; whether it does within `limit`.
pub fn comes_true(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !condition() {
        if begun.elapsed() >= limit {
            return false;
        }
        // What is seen from outside only wakes nobody: it is looked at again and again.
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}
