//! One limit over all connections on memory for large messages.
//!
//! A single message may have 64 MiB, and a thousand connections could each
//! send one. Small buffers are not counted; their number is limited already.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What one connection may hold without being counted.
const FREE: usize = 1024 * 1024;
/// What all connections may hold together beyond that.
const TOTAL: usize = 256 * 1024 * 1024;

static USED: AtomicUsize = AtomicUsize::new(0);

/// What one buffer has drawn from the common limit; given back on drop.
#[derive(Debug, Default)]
pub struct Charge(usize);

impl Charge {
    /// Accounts for a buffer of `bytes`; false when the limit forbids it.
    pub fn set(&mut self, bytes: usize) -> bool {
        let wanted = bytes.saturating_sub(FREE);
        if wanted > self.0 {
            let more = wanted - self.0;
            let before = USED.fetch_add(more, Ordering::Relaxed);
            if before + more > TOTAL {
                USED.fetch_sub(more, Ordering::Relaxed);
                return false;
            }
        } else {
            USED.fetch_sub(self.0 - wanted, Ordering::Relaxed);
        }
        self.0 = wanted;
        true
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        USED.fetch_sub(self.0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_common_and_given_back() {
        let mut first = Charge::default();
        let mut second = Charge::default();
        assert!(first.set(FREE));
        assert!(first.set(TOTAL));
        assert!(!second.set(FREE + TOTAL / 2));
        assert!(second.set(FREE));
        drop(first);
        assert!(second.set(FREE + TOTAL / 2));
    }
}
