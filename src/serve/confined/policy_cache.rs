//! Policies that have been read before.

use std::path::PathBuf;
use std::sync::{Arc, MutexGuard};

use crate::sandbox::policy::{Policy, PolicyInputs};
use crate::sys::file::Identity;
use crate::sys::sync::Mutex;

/// How many are remembered: twice as many as helpers wait, since some need no helper.
const MAX: usize = 16;
/// The longest JSON that is remembered; the real client's has some 2 KiB.
const LONGEST: usize = 64 * 1024;

/// A policy, and what on the file system it was read from. It is also what the sandbox that is
/// made for it shows: a root that comes later is not in there, what was masked as missing stays
/// masked, and a file that another was renamed over is the former one.
#[derive(Debug)]
pub(super) struct CachedPolicy {
    /// As it is for files: without a network.
    pub(super) policy: Arc<Policy>,
    /// Whether the policy, with its network, confines nothing.
    pub(super) is_free: bool,
    pub(super) inputs: PolicyInputs,
}

impl CachedPolicy {
    pub(super) fn new(policy: Policy, inputs: PolicyInputs) -> Arc<Self> {
        Arc::new(Self {
            is_free: policy.is_free(),
            policy: Arc::new(policy.without_network()),
            inputs,
        })
    }

    /// The same with the mount points of a sandbox that was made for it, which are there now.
    pub(super) fn with_points(&self, points: Vec<(PathBuf, Identity)>) -> Arc<Self> {
        let mut inputs = self.inputs.clone();
        for (path, identity) in points {
            inputs.adopt(&path, identity);
        }
        Arc::new(Self {
            policy: Arc::clone(&self.policy),
            is_free: self.is_free,
            inputs,
        })
    }
}

/// Policies by their JSON.
#[derive(Default)]
pub(super) struct PolicyCache(Mutex<Vec<(Box<str>, Arc<CachedPolicy>)>>);

impl PolicyCache {
    /// The policy of this JSON, if reading it again would give the same now.
    pub(super) fn find(&self, json: &str) -> Option<Arc<CachedPolicy>> {
        let cached = {
            let policy_cache = self.lock();
            let found = policy_cache.iter().find(|(text, _)| **text == *json);
            Arc::clone(&found?.1)
        };
        cached.inputs.holds().then_some(cached)
    }

    /// Remembers a policy in place of the one of the same JSON, or of the oldest.
    pub(super) fn remember(&self, json: &str, cached: &Arc<CachedPolicy>) {
        if json.len() > LONGEST {
            return;
        }
        let mut policy_cache = self.lock();
        policy_cache.retain(|(text, _)| **text != *json);
        if policy_cache.len() == MAX {
            policy_cache.remove(0);
        }
        policy_cache.push((json.into(), Arc::clone(cached)));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Box<str>, Arc<CachedPolicy>)>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::path_uri::PathStyle;
    use crate::sandbox::policy::Context;

    const JSON: &str = r#"{"permissions":{"type":"disabled"},"windowsSandboxLevel":"disabled"}"#;

    fn cached() -> Arc<CachedPolicy> {
        let context = Context {
            process_cwd: None,
            tmpdir: None,
            style: PathStyle::Native,
        };
        let (policy, inputs) = Policy::parse_with_evidence(JSON, &context).unwrap();
        CachedPolicy::new(policy, inputs)
    }

    #[test]
    fn a_reading_is_found_by_its_very_json() {
        let policy_cache = PolicyCache::default();
        let (one, other) = (cached(), cached());
        policy_cache.remember("a", &one);
        assert!(Arc::ptr_eq(&policy_cache.find("a").unwrap(), &one));
        assert!(policy_cache.find("a ").is_none());
        policy_cache.remember("a", &other);
        assert!(Arc::ptr_eq(&policy_cache.find("a").unwrap(), &other));
    }

    #[test]
    fn no_more_is_remembered_than_fits() {
        let policy_cache = PolicyCache::default();
        let cached = cached();
        for number in 0..=MAX {
            policy_cache.remember(&number.to_string(), &cached);
        }
        assert!(policy_cache.find("0").is_none() && policy_cache.find("1").is_some());
        let long = "x".repeat(LONGEST + 1);
        policy_cache.remember(&long, &cached);
        assert!(policy_cache.find(&long).is_none());
    }
}
