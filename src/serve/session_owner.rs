//! The connection that a session is attached to, and whether it is still there.
//!
//! A peer that lost its network leaves a connection that looks alive until it
//! has been silent for long. Its client comes back over a new connection
//! meanwhile and asks for its session, again and again. The first time it is
//! refused and the old connection gets a ping; only one that shows no sign of
//! life for [`PROBE`] after that gives its session up. Nobody waits for that:
//! the verdict is made when the client asks again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::env::local::Subscriber;
use crate::rpc::encode;
use crate::rpc::error::RpcError;
use crate::rpc::message::UNKNOWN_ID;
use crate::rpc::transport::{Goodbye, Outbound};

/// How long a living peer may take to answer a ping. Well below the 45 s for
/// which the real client asks for its session every 100 ms.
const PROBE: Duration = Duration::from_secs(2);

/// A connection as the owner of a session.
pub(super) struct SessionOwner {
    connection: u64,
    outbound: Arc<Outbound>,
    subscriber: Arc<dyn Subscriber>,
    doubt: Option<Doubt>,
}

/// Somebody else asked for the session.
struct Doubt {
    since: Instant,
    /// The signs of life that there were by then.
    signs: u64,
}

impl SessionOwner {
    pub(super) fn new(
        connection: u64,
        outbound: &Arc<Outbound>,
        subscriber: &Arc<dyn Subscriber>,
    ) -> Self {
        Self {
            connection,
            outbound: Arc::clone(outbound),
            subscriber: Arc::clone(subscriber),
            doubt: None,
        }
    }

    /// The connection's number.
    pub(super) fn connection(&self) -> u64 {
        self.connection
    }

    /// Who gets the events of the session's processes.
    pub(super) fn subscriber(&self) -> &Arc<dyn Subscriber> {
        &self.subscriber
    }

    /// Whether the peer is known to be gone. If not, asks it for a sign of life.
    pub(super) fn is_gone(&mut self, now: Instant) -> bool {
        if self.outbound.is_dead() {
            return true;
        }
        let signs = self.outbound.signs_of_life();
        match &self.doubt {
            Some(doubt) if doubt.signs == signs => {
                now.saturating_duration_since(doubt.since) >= PROBE
            }
            _ => {
                self.doubt = Some(Doubt { since: now, signs });
                self.outbound.ping();
                false
            }
        }
    }

    /// Ends the connection, which has lost the session to another one.
    pub(super) fn dismiss(&self) {
        let error = RpcError::invalid_request("session has been resumed by another connection");
        self.outbound
            .add(|out| encode::error(out, UNKNOWN_ID, &error));
        self.outbound.say_goodbye(Goodbye::Replaced);
        self.outbound.kill();
    }
}
