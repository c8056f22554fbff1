//! Whether the peer of a websocket is still there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::rpc::transport::Outbound;

/// A peer that lets so many pings go unanswered is gone.
const LOST_PINGS: u32 = 3;

/// Pings a peer, and notes when it shows no sign of life.
#[derive(Debug)]
pub struct Keepalive {
    interval: Duration,
    pinged: Instant,
}

impl Keepalive {
    /// Pings every `interval`, for the first time when that has passed.
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            pinged: Instant::now(),
        }
    }

    /// The time between pings.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// How long a peer may be silent.
    pub fn silence(&self) -> Duration {
        self.interval.saturating_mul(LOST_PINGS)
    }

    /// Pings if it is time to. False, and the end of the connection, when the peer was last heard
    /// of too long ago.
    pub fn check(&mut self, last_heard: Instant, outbound: &Arc<Outbound>) -> bool {
        let now = Instant::now();
        if now.saturating_duration_since(last_heard) >= self.silence() {
            outbound.kill();
            return false;
        }
        if now.saturating_duration_since(self.pinged) >= self.interval {
            self.pinged = now;
            outbound.ping();
        }
        true
    }
}
