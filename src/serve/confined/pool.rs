//! Helpers that wait for the next request.

use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use crate::sandbox::policy::Policy;
use crate::sys::sync::Mutex;

/// How many are kept.
pub(super) const MAX_IDLE: usize = 8;
/// How long one is kept without a request.
pub(super) const IDLE: Duration = Duration::from_secs(30);

/// Helpers without work, by the policy that they run under. One that works is with its request
/// and not here, so that no request waits for another's.
pub(super) struct Pool<H> {
    state: Mutex<State<H>>,
}

struct State<H> {
    /// The one that has waited longest is the first.
    idle: Vec<Idle<H>>,
    is_closed: bool,
}

struct Idle<H> {
    policy: Arc<Policy>,
    helper: H,
    since: Instant,
}

impl<H> Default for Pool<H> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                idle: Vec::new(),
                is_closed: false,
            }),
        }
    }
}

impl<H> Pool<H> {
    /// Takes one of this policy: the one that has worked last.
    pub(super) fn take(&self, policy: &Arc<Policy>) -> Option<H> {
        let mut state = self.lock();
        let found = state.idle.iter().rposition(|idle| idle.policy == *policy)?;
        Some(state.idle.remove(found).helper)
    }

    /// Keeps one for the next request. The one that has waited longest makes way.
    pub(super) fn put(&self, policy: Arc<Policy>, helper: H, now: Instant) {
        let mut state = self.lock();
        if state.is_closed {
            drop(state);
            return drop(helper);
        }
        let oldest = (state.idle.len() >= MAX_IDLE).then(|| state.idle.remove(0));
        state.idle.push(Idle {
            policy,
            helper,
            since: now,
        });
        // Ending one takes a system call or two, which nobody need wait for.
        drop(state);
        drop(oldest);
    }

    /// Drops those that have waited for too long.
    pub(super) fn sweep(&self, now: Instant) {
        let mut state = self.lock();
        let expired = state
            .idle
            .iter()
            .take_while(|idle| now.saturating_duration_since(idle.since) >= IDLE)
            .count();
        let expired: Vec<_> = state.idle.drain(..expired).collect();
        drop(state);
        drop(expired);
    }

    /// Whether any waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().idle.is_empty()
    }

    /// Drops all, and what is still to come.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        drop(idle);
    }

    fn lock(&self) -> MutexGuard<'_, State<H>> {
        self.state.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::path_uri::PathStyle;
    use crate::sandbox::policy::Context;

    fn policy(path: &str) -> Arc<Policy> {
        let json = format!(
            r#"{{"permissions":{{"type":"managed","network":"restricted","file_system":{{
                "type":"restricted","entries":[
                {{"path":{{"type":"path","path":"{path}"}},"access":"read"}}]}}}},
                "windowsSandboxLevel":"disabled"}}"#
        );
        let context = Context {
            process_cwd: None,
            tmpdir: None,
            style: PathStyle::Native,
        };
        Arc::new(Policy::parse(&json, &context).unwrap())
    }

    #[test]
    fn a_helper_is_given_to_its_own_policy_only() {
        let pool = Pool::default();
        let now = Instant::now();
        pool.put(policy("/a"), 1, now);
        pool.put(policy("/b"), 2, now);
        pool.put(policy("/a"), 3, now);
        assert_eq!(pool.take(&policy("/c")), None);
        assert_eq!(pool.take(&policy("/a")), Some(3));
        assert_eq!(pool.take(&policy("/a")), Some(1));
        assert_eq!(pool.take(&policy("/a")), None);
        assert_eq!(pool.take(&policy("/b")), Some(2));
        assert!(pool.is_empty());
    }

    #[test]
    fn the_ninth_takes_the_place_of_the_one_that_has_waited_longest() {
        let pool = Pool::default();
        let now = Instant::now();
        for number in 0..8 {
            pool.put(policy(&format!("/{number}")), number, now);
        }
        // Used again, so it is no longer the oldest.
        let first = pool.take(&policy("/0")).unwrap();
        pool.put(policy("/0"), first, now);
        pool.put(policy("/8"), 8, now);
        assert_eq!(pool.take(&policy("/1")), None);
        for number in [0, 2, 3, 4, 5, 6, 7, 8] {
            assert_eq!(pool.take(&policy(&format!("/{number}"))), Some(number));
        }
    }

    #[test]
    fn those_that_wait_for_long_are_dropped() {
        let pool = Pool::default();
        let start = Instant::now();
        let helper = Arc::new(());
        pool.put(policy("/a"), Arc::clone(&helper), start);
        pool.put(policy("/b"), Arc::clone(&helper), start + IDLE / 2);
        pool.sweep(start + IDLE - Duration::from_millis(1));
        assert_eq!(Arc::strong_count(&helper), 3);
        pool.sweep(start + IDLE);
        assert_eq!(Arc::strong_count(&helper), 2);
        assert!(pool.take(&policy("/a")).is_none());
        pool.sweep(start + IDLE * 2);
        assert!(pool.is_empty());
    }

    #[test]
    fn a_closed_pool_keeps_nothing() {
        let pool = Pool::default();
        let helper = Arc::new(());
        pool.put(policy("/a"), Arc::clone(&helper), Instant::now());
        pool.close();
        pool.put(policy("/a"), Arc::clone(&helper), Instant::now());
        assert_eq!(Arc::strong_count(&helper), 1);
    }
}
