//! What belongs to a connection, not to its session, and ends with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::http_requests::HttpRequests;
use crate::env::local::Watches;

/// The belongings of one connection.
pub(super) struct ConnectionState {
    /// The connection's number.
    pub(super) connection: u64,
    /// One more than the last id of a `fs/watchMissing`.
    next_watch: AtomicU64,
    pub(super) http: Arc<HttpRequests>,
}

impl ConnectionState {
    pub(super) fn new(connection: u64) -> Self {
        Self {
            connection,
            next_watch: AtomicU64::new(0),
            http: Arc::default(),
        }
    }

    /// Whether a watch of this id is newer than all before it, as ids must be.
    pub(super) fn is_new_watch(&self, id: u64) -> bool {
        let next = id.saturating_add(1);
        self.next_watch.fetch_max(next, Ordering::Relaxed) < next
    }

    /// The connection is over.
    pub(super) fn release(&self, watches: &Watches) {
        self.http.cancel_all();
        watches.forget(self.connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_watches_only_grow() {
        let connection_state = ConnectionState::new(1);
        let news = [0, 0, 1, 5, 4, 5, 6, u64::MAX, u64::MAX, 7]
            .map(|id| connection_state.is_new_watch(id));
        assert_eq!(
            news,
            [
                true, false, true, true, false, false, true, true, false, false
            ]
        );
    }
}
