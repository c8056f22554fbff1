//! Policies that have been read before.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sandbox::policy::{Evidence, Policy};
use crate::sys::file::Identity;

/// How many are remembered: twice as many as helpers wait, since some need no helper.
const MAX: usize = 16;
/// The longest JSON that is remembered; the real client's has some 2 KiB.
const LONGEST: usize = 64 * 1024;

/// A policy, and what on the file system it was read from. It is also what the sandbox that is
/// made for it shows: a root that comes later is not in there, what was masked as missing stays
/// masked, and a file that another was renamed over is the former one.
#[derive(Debug)]
pub(super) struct Reading {
    /// As it is for files: without a network.
    pub(super) policy: Arc<Policy>,
    /// Whether the policy, with its network, confines nothing.
    pub(super) is_free: bool,
    pub(super) evidence: Evidence,
}

impl Reading {
    pub(super) fn new(policy: Policy, evidence: Evidence) -> Arc<Self> {
        Arc::new(Self {
            is_free: policy.is_free(),
            policy: Arc::new(policy.without_network()),
            evidence,
        })
    }

    /// The same with the mount points of a sandbox that was made for it, which are there now.
    pub(super) fn with_points(&self, points: Vec<(PathBuf, Identity)>) -> Arc<Self> {
        let mut evidence = self.evidence.clone();
        for (path, identity) in points {
            evidence.adopt(&path, identity);
        }
        Arc::new(Self {
            policy: Arc::clone(&self.policy),
            is_free: self.is_free,
            evidence,
        })
    }
}

/// Readings by their JSON.
#[derive(Default)]
pub(super) struct Known(Mutex<Vec<(Box<str>, Arc<Reading>)>>);

impl Known {
    /// The reading of this JSON, if another would come to the same now.
    pub(super) fn find(&self, json: &str) -> Option<Arc<Reading>> {
        let reading = {
            let known = self.lock();
            let found = known.iter().find(|(text, _)| **text == *json);
            Arc::clone(&found?.1)
        };
        reading.evidence.holds().then_some(reading)
    }

    /// Remembers a reading in place of the one of the same JSON, or of the oldest.
    pub(super) fn remember(&self, json: &str, reading: &Arc<Reading>) {
        if json.len() > LONGEST {
            return;
        }
        let mut known = self.lock();
        known.retain(|(text, _)| **text != *json);
        if known.len() == MAX {
            known.remove(0);
        }
        known.push((json.into(), Arc::clone(reading)));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Box<str>, Arc<Reading>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::path_uri::PathStyle;
    use crate::sandbox::policy::Context;

    const JSON: &str = r#"{"permissions":{"type":"disabled"},"windowsSandboxLevel":"disabled"}"#;

    fn reading() -> Arc<Reading> {
        let context = Context {
            process_cwd: None,
            tmpdir: None,
            style: PathStyle::Native,
        };
        let (policy, evidence) = Policy::parse_with_evidence(JSON, &context).unwrap();
        Reading::new(policy, evidence)
    }

    #[test]
    fn a_reading_is_found_by_its_very_json() {
        let known = Known::default();
        let (one, other) = (reading(), reading());
        known.remember("a", &one);
        assert!(Arc::ptr_eq(&known.find("a").unwrap(), &one));
        assert!(known.find("a ").is_none());
        known.remember("a", &other);
        assert!(Arc::ptr_eq(&known.find("a").unwrap(), &other));
    }

    #[test]
    fn no_more_is_remembered_than_fits() {
        let known = Known::default();
        let reading = reading();
        for number in 0..=MAX {
            known.remember(&number.to_string(), &reading);
        }
        assert!(known.find("0").is_none() && known.find("1").is_some());
        let long = "x".repeat(LONGEST + 1);
        known.remember(&long, &reading);
        assert!(known.find(&long).is_none());
    }
}
