//! What matches a pattern now.

mod tree;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::tree::Tree;
use super::Cancel;
use super::PlanError;
use crate::sandbox::policy::Policy;
use crate::sys::sync::{Condvar, Mutex};

/// Policies of which trees are kept.
const MAX_KEPT: usize = 8;
/// Bytes of memory for all of them.
const MAX_SIZE: usize = 32 * 1024 * 1024;
/// The largest policy that is kept with its tree.
const LARGEST_POLICY: usize = 256 * 1024;
/// Between looks at whether a search is still wanted, while another's is waited for.
const TICK: Duration = Duration::from_millis(20);

/// What a policy's patterns match.
#[derive(Debug, Default)]
pub struct Scan {
    /// The canonical paths that are denied, in order. Of a directory that matches, what is below it is denied with it.
    pub matches: Vec<PathBuf>,
}

impl Scan {
    /// What matches now. Only what has changed since the last search for the same patterns, by whomever, is looked at
    /// again. A result that is the same as before is the same object.
    ///
    /// # Errors
    /// More matches than can be covered, too large a tree, one that cannot be searched, or nobody wants it any more.
    pub fn of(policy: &Policy, cancel: Cancel<'_>) -> Result<Arc<Self>, PlanError> {
        static KEPT: Kept = Kept(Mutex::new(Vec::new()));
        if policy.globs().is_empty() {
            return Ok(Arc::default());
        }
        KEPT.search(policy, cancel)
    }
}

/// The trees of the policies that were used last, the oldest first.
struct Kept(Mutex<Vec<(Policy, Arc<Search>)>>);

/// The searches for one policy.
struct Search {
    last: Mutex<Last>,
    /// Tells of the end of each.
    ended: Condvar,
}

/// What is known of the last one.
struct Last {
    /// None while a search is at work on it.
    tree: Option<Tree>,
    /// When it began, and what it found.
    result: Option<(Instant, Arc<Scan>)>,
}

impl Kept {
    fn search(&self, policy: &Policy, cancel: Cancel<'_>) -> Result<Arc<Scan>, PlanError> {
        let search = self.of(policy);
        let result = search.run(policy, cancel);
        self.drop_oldest(&search);
        result
    }

    fn of(&self, policy: &Policy) -> Arc<Search> {
        let mut kept = self.0.lock();
        let found = kept
            .iter()
            .position(|(one, _)| one.says_the_same_of_files(policy));
        let (policy, search) = match found {
            Some(at) => kept.remove(at),
            None if policy.size() > LARGEST_POLICY => return Arc::new(Search::new()),
            None => (policy.clone(), Arc::new(Search::new())),
        };
        let used = Arc::clone(&search);
        kept.push((policy, search));
        used
    }

    /// Makes room, but for what was used last.
    fn drop_oldest(&self, used: &Arc<Search>) {
        let mut kept = self.0.lock();
        // One that is at work is not waited for.
        let size = |search: &Search| search.last.lock().tree.as_ref().map_or(0, Tree::size);
        let mut sum: usize = kept.iter().map(|(_, search)| size(search)).sum();
        while let Some((_, oldest)) = kept.first()
            && (sum > MAX_SIZE || kept.len() > MAX_KEPT)
            && !Arc::ptr_eq(oldest, used)
        {
            sum = sum.saturating_sub(size(oldest));
            kept.remove(0);
        }
    }
}

impl Search {
    fn new() -> Self {
        let last = Last {
            tree: Some(Tree::default()),
            result: None,
        };
        Self {
            last: Mutex::new(last),
            ended: Condvar::new(),
        }
    }

    /// What matches now: what a search has found that began after this call, be it another's.
    fn run(&self, policy: &Policy, cancel: Cancel<'_>) -> Result<Arc<Scan>, PlanError> {
        let asked = Instant::now();
        let mut last = self.last.lock();
        let mut tree = loop {
            if let Some((began, found)) = &last.result
                && *began > asked
            {
                return Ok(Arc::clone(found));
            }
            if let Some(tree) = last.tree.take() {
                break tree;
            }
            cancel.check()?;
            (last, _) = self.ended.wait_timeout(last, TICK);
        };
        drop(last);
        let began = Instant::now();
        let searched = tree.search(policy, cancel);
        let mut last = self.last.lock();
        last.tree = Some(tree);
        self.ended.notify_all();
        let matches = searched?;
        let same = last.result.take().map(|(_, found)| found);
        let found = same
            .filter(|found| found.matches == matches)
            .unwrap_or_else(|| Arc::new(Scan { matches }));
        last.result = Some((began, Arc::clone(&found)));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::scratch::Scratch;
    use crate::sys::poll::WakeEvent;
    use std::fs;
    use std::os::fd::AsFd;

    #[test]
    fn the_trees_of_the_last_policies_are_kept() {
        let scratch = Scratch::new("scan-kept");
        let kept = Kept(Mutex::default());
        let policy = |name: &str| tree::tests::policy(scratch.path(), &[&format!("**/{name}")], "");
        let first = kept.of(&policy("first"));
        assert!(Arc::ptr_eq(&first, &kept.of(&policy("first"))));
        for number in 0..MAX_KEPT {
            kept.search(&policy(&number.to_string()), Cancel::default())
                .unwrap();
        }
        assert_eq!(kept.0.lock().len(), MAX_KEPT);
        assert!(!Arc::ptr_eq(&first, &kept.of(&policy("first"))));
        let large = policy(&"x*".repeat(2000)).size();
        assert!(large <= LARGEST_POLICY, "{large}");
        let larger: Vec<_> = (0..20)
            .map(|end| format!("{}{end}", "x*".repeat(2000)))
            .collect();
        let larger: Vec<_> = larger.iter().map(String::as_str).collect();
        let larger = tree::tests::policy(scratch.path(), &larger, "");
        assert!(!Arc::ptr_eq(&kept.of(&larger), &kept.of(&larger)));
    }

    #[test]
    fn what_is_the_same_is_the_same_object() {
        let scratch = Scratch::new("scan-same");
        fs::write(scratch.path().join("a"), "").unwrap();
        let policy = tree::tests::policy(scratch.path(), &["?"], "");
        let kept = Kept(Mutex::default());
        let search = || kept.search(&policy, Cancel::default()).unwrap();
        let first = search();
        fs::write(scratch.path().join("other"), "").unwrap();
        assert!(Arc::ptr_eq(&first, &search()));
        fs::write(scratch.path().join("b"), "").unwrap();
        assert_eq!(search().matches.len(), 2);
    }

    #[test]
    fn who_waits_for_a_search_takes_its_result_if_it_began_later() {
        let scratch = Scratch::new("scan-waits");
        let policy = tree::tests::policy(scratch.path(), &["?"], "");
        let search = Search::new();
        let later = Instant::now() + std::time::Duration::from_secs(3600);
        let others = Arc::new(Scan::default());
        search.last.lock().result = Some((later, Arc::clone(&others)));
        assert!(Arc::ptr_eq(
            &others,
            &search.run(&policy, Cancel::default()).unwrap()
        ));
        search.last.lock().result = Some((
            Instant::now(),
            Arc::new(Scan {
                matches: vec!["/x".into()],
            }),
        ));
        assert!(
            search
                .run(&policy, Cancel::default())
                .unwrap()
                .matches
                .is_empty()
        );
    }

    #[test]
    fn who_waits_for_a_search_gives_up_when_nobody_wants_it() {
        let scratch = Scratch::new("scan-given-up");
        let policy = tree::tests::policy(scratch.path(), &["?"], "");
        let search = Search::new();
        // Another's, which never ends.
        let tree = search.last.lock().tree.take();
        let event = WakeEvent::new().unwrap();
        event.set();
        let given_up = search.run(&policy, Cancel(Some(event.as_fd())));
        assert!(matches!(given_up, Err(PlanError::Cancelled)));
        search.last.lock().tree = tree;
        let given_up = search.run(&policy, Cancel(Some(event.as_fd())));
        assert!(matches!(given_up, Err(PlanError::Cancelled)));
        search.run(&policy, Cancel::default()).unwrap();
    }
}
