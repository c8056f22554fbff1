//! A search that remembers finds what one without memory would.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::rpc::path_uri::PathStyle;
use crate::sandbox::policy::Context;
use crate::sandbox::scratch::Scratch;

/// Everything below `root` may be written, but for what the patterns match there, and `more` entries.
pub(crate) fn policy(root: &Path, patterns: &[&str], more: &str) -> Policy {
    policy_to(None, root, patterns, more)
}

/// The same, for a search to some depth.
fn policy_to(depth: Option<u32>, root: &Path, patterns: &[&str], more: &str) -> Policy {
    let depth = depth.map(|depth| format!(r#""glob_scan_max_depth":{depth},"#));
    let depth = depth.unwrap_or_default();
    let root = root.display();
    let patterns: Vec<_> = patterns
        .iter()
        .map(|pattern| {
            format!(
                r#",{{"path":{{"type":"glob_pattern","pattern":"{root}/{pattern}"}},"access":"deny"}}"#
            )
        })
        .collect();
    let json = format!(
        r#"{{"permissions":{{"type":"managed","network":"restricted","file_system":{{
            "type":"restricted",{depth}"entries":[
            {{"path":{{"type":"path","path":"{root}"}},"access":"write"}}{}{more}]}}}},
            "windowsSandboxLevel":"disabled"}}"#,
        patterns.concat()
    );
    let context = Context {
        process_cwd: None,
        tmpdir: None,
        style: PathStyle::Native,
    };
    Policy::parse(&json, &context).unwrap()
}

impl Tree {
    fn look(&mut self, policy: &Policy) -> Result<Vec<PathBuf>, PlanError> {
        self.search(policy, Cancel::default())
    }

    /// As if nothing had changed for long.
    fn settle(&mut self) {
        for (path, directory) in &mut self.directories {
            let path = CString::new(path.clone()).unwrap();
            let status = file::status_at(ROOTED, &path, LastLink::Keep).unwrap();
            directory.stamp = Some((status.identity, status.changed));
        }
    }

    /// Adds a match that is not there to a directory: who lists it does not find it.
    fn pretend(&mut self, path: &Path) {
        let directory = self.directories.get_mut(path.as_os_str().as_bytes());
        let name = c"pretended".into();
        let one = Match {
            name,
            is_link: false,
        };
        directory.unwrap().matches = Arc::new([one]);
    }
}

fn names(root: &Path, matches: &[PathBuf]) -> Vec<String> {
    let names = matches
        .iter()
        .map(|path| path.strip_prefix(root).unwrap().display().to_string());
    names.collect()
}

/// `sub/deep`, and files in `sub`.
fn place() -> Scratch {
    let scratch = Scratch::new("scan");
    let sub = scratch.path().join("sub");
    fs::create_dir_all(sub.join("deep")).unwrap();
    for name in ["a.env", "other"] {
        fs::write(sub.join(name), "").unwrap();
    }
    scratch
}

#[test]
fn what_has_changed_is_found_again() {
    type Change = fn(&Path);
    let changes: [(&str, Change, &[&str]); 5] = [
        (
            "made",
            |sub| fs::write(sub.join("b.env"), "").unwrap(),
            &["sub/a.env", "sub/b.env"],
        ),
        (
            "made deep",
            |sub| fs::write(sub.join("deep/b.env"), "").unwrap(),
            &["sub/a.env", "sub/deep/b.env"],
        ),
        (
            "renamed",
            |sub| fs::rename(sub.join("other"), sub.join("b.env")).unwrap(),
            &["sub/a.env", "sub/b.env"],
        ),
        (
            "gone",
            |sub| fs::remove_file(sub.join("a.env")).unwrap(),
            &[],
        ),
        (
            "moved with its directory",
            |sub| fs::rename(sub, sub.with_file_name("bus")).unwrap(),
            &["bus/a.env"],
        ),
    ];
    for (what, change, expected) in changes {
        let place = place();
        let root = place.path();
        let policy = policy(root, &["**/*.env"], "");
        let mut tree = Tree::default();
        let found = tree.look(&policy).unwrap();
        assert_eq!(names(root, &found), ["sub/a.env"]);
        tree.settle();
        change(&root.join("sub"));
        let found = tree.look(&policy).unwrap();
        assert_eq!(names(root, &found), expected, "{what}");
        assert_eq!(tree.directories.len(), 3, "{what}");
    }
}

#[test]
fn what_has_not_changed_is_not_listed_again() {
    let place = place();
    let sub = place.path().join("sub");
    let policy = policy(place.path(), &["**/*.env"], "");
    let mut tree = Tree::default();
    tree.look(&policy).unwrap();
    let is_known = |tree: &Tree| {
        let directories = tree.directories.values();
        directories.filter(|one| one.stamp.is_some()).count()
    };
    assert_eq!(is_known(&tree), 0, "what has just changed tells nothing");
    tree.settle();
    tree.pretend(&sub);
    let found = |tree: &mut Tree| names(place.path(), &tree.look(&policy).unwrap());
    assert_eq!(found(&mut tree), ["sub/pretended"]);
    fs::write(sub.join("other"), "what a file holds").unwrap();
    fs::write(sub.join("deep/b.env"), "and what is deeper").unwrap();
    assert_eq!(found(&mut tree), ["sub/deep/b.env", "sub/pretended"]);
    // Met with other patterns, it may hold other matches.
    let directory = tree.directories.get_mut(sub.as_os_str().as_bytes());
    directory.unwrap().state += 1;
    assert_eq!(found(&mut tree), ["sub/a.env", "sub/deep/b.env"]);
}

#[test]
fn one_walk_finds_what_each_pattern_matches() {
    let scratch = Scratch::new("scan-walk");
    let root = scratch.path();
    let mut all = Vec::new();
    for directory in ["", "a", "a/b", "a/b/a", "b", "b/x.d", "c", "c/a", "c/a/b"] {
        fs::create_dir_all(root.join(directory)).unwrap();
        all.push(root.join(directory));
        for name in ["x", "a.env", ".env", "b.c"] {
            let file = root.join(directory).join(name);
            fs::write(&file, "").unwrap();
            all.push(file);
        }
    }
    let patterns = [
        "**/*.env", "a/**/x", "*/b*/*", "c/a/?.c", "**/a/b", "b/*.d/**", "a/b/[ab]",
    ];
    for some in 1..1_u32 << patterns.len() {
        let some = patterns
            .iter()
            .enumerate()
            .filter(|(at, _)| some >> at & 1 == 1);
        let some: Vec<_> = some.map(|(_, pattern)| *pattern).collect();
        let policy = policy(root, &some, "");
        let is_match = |path: &&PathBuf| policy.globs().iter().any(|glob| glob.matches(path));
        let mut expected: Vec<_> = all.iter().filter(is_match).cloned().collect();
        expected.sort();
        let expected = topmost(&expected);
        let mut tree = Tree::default();
        for time in ["first", "second"] {
            let found = tree.look(&policy).unwrap();
            assert_eq!(topmost(&found), expected, "{some:?}, the {time} time");
            tree.settle();
        }
    }
}

/// What is below a match goes with it.
fn topmost(matches: &[PathBuf]) -> Vec<&PathBuf> {
    let is_below = |path: &PathBuf| {
        let mut around = path.ancestors().skip(1);
        around.any(|around| matches.iter().any(|one| one == around))
    };
    matches.iter().filter(|path| !is_below(path)).collect()
}

#[test]
fn a_match_that_is_opened_below_is_searched() {
    let scratch = Scratch::new("scan-open");
    let root = scratch.path();
    fs::create_dir_all(root.join("secret/open/secret")).unwrap();
    fs::create_dir_all(root.join("secret/closed/secret")).unwrap();
    let open = root.join("secret/open");
    let entry = format!(
        r#",{{"path":{{"type":"path","path":"{}"}},"access":"read"}}"#,
        open.display()
    );
    let policy = policy(root, &["**/secret"], &entry);
    let found = Tree::default().look(&policy).unwrap();
    assert_eq!(found[0], root.join("secret"));
    assert!(found.contains(&open.join("secret")), "{found:?}");
}

#[test]
fn the_depth_counts_from_each_base() {
    let scratch = Scratch::new("scan-depth");
    let root = scratch.path();
    fs::create_dir_all(root.join("a/b/c")).unwrap();
    for directory in ["", "a", "a/b", "a/b/c"] {
        fs::write(root.join(directory).join("x"), "").unwrap();
    }
    let policy = policy_to(Some(2), root, &["**/x", "a/b/**/x"], "");
    let found = Tree::default().look(&policy).unwrap();
    assert_eq!(names(root, &found), ["a/b/c/x", "a/b/x", "a/x", "x"]);
}

#[test]
fn a_link_is_covered_where_it_leads() {
    let scratch = Scratch::new("scan-link");
    let root = scratch.path();
    fs::write(root.join("target"), "").unwrap();
    symlink("target", root.join("a.env")).unwrap();
    symlink("nothing", root.join("b.env")).unwrap();
    let policy = policy(root, &["*.env"], "");
    let mut tree = Tree::default();
    let found = tree.look(&policy).unwrap();
    assert_eq!(names(root, &found), ["nothing", "target"]);
    tree.settle();
    // Where it leads changes without its directory.
    let elsewhere = root.join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    tree.look(&policy).unwrap();
    tree.settle();
    symlink("elsewhere", root.join("nothing")).unwrap();
    tree.settle();
    let found = tree.look(&policy).unwrap();
    assert_eq!(names(root, &found), ["elsewhere", "target"]);
}

#[test]
fn what_lies_too_deep_to_be_mounted_on_is_denied_as_a_whole() {
    let scratch = Scratch::new("scan-long");
    let root = scratch.path();
    let name = "d".repeat(200);
    let mut deepest = root.to_owned();
    while deepest.as_os_str().len() < LONGEST_PATH {
        deepest.push(&name);
    }
    fs::create_dir_all(&deepest).unwrap();
    fs::write(deepest.join("x.env"), "").unwrap();
    let policy = policy(root, &["**/*.env"], "");
    let found = Tree::default().look(&policy).unwrap();
    assert_eq!(found, [deepest]);
}

#[test]
fn more_matches_than_can_be_covered_are_refused_with_their_pattern() {
    let scratch = Scratch::new("scan-many");
    for number in 0..=MAX_MATCHES {
        fs::write(scratch.path().join(format!("{number}.env")), "").unwrap();
    }
    let policy = policy(scratch.path(), &["**/x", "**/*.env"], "");
    let error = Tree::default().look(&policy).unwrap_err().to_string();
    assert!(
        error.contains("*.env` matches more than 8192 paths"),
        "{error}"
    );
    fs::remove_file(scratch.path().join("0.env")).unwrap();
    assert_eq!(Tree::default().look(&policy).unwrap().len(), MAX_MATCHES);
}

#[test]
fn a_base_that_became_a_link_is_no_base() {
    let place = place();
    let policy = policy(place.path(), &["sub/*.env"], "");
    fs::rename(place.path().join("sub"), place.path().join("moved")).unwrap();
    symlink("moved", place.path().join("sub")).unwrap();
    let error = Tree::default().look(&policy).unwrap_err();
    assert!(matches!(error, PlanError::Changed(_)), "{error}");
}

#[test]
fn what_is_kept_is_bounded() {
    let place = place();
    let policy = policy(place.path(), &["**/*.env"], "");
    let mut tree = Tree::default();
    tree.look(&policy).unwrap();
    let size = tree.size;
    assert!(size > 0);
    tree.look(&policy).unwrap();
    assert_eq!(tree.size, size);
    fs::remove_dir(place.path().join("sub/deep")).unwrap();
    tree.look(&policy).unwrap();
    assert!(tree.size < size);
    tree.size = MAX_SIZE;
    fs::create_dir(place.path().join("sub/deep")).unwrap();
    assert_eq!(tree.look(&policy).unwrap().len(), 1);
    assert_eq!(tree.directories.len(), 2);
}

#[test]
fn states_are_bounded() {
    let scratch = Scratch::new("scan-states");
    let patterns = ["**/*a*/**/z", "**/*b*/**/z", "**/*c*/**/z"];
    let policy = policy(scratch.path(), &patterns, "");
    let mut expected = Vec::new();
    for name in ["a", "b", "c", "ab", "bc", "ac", "abc"] {
        fs::create_dir(scratch.path().join(name)).unwrap();
        fs::write(scratch.path().join(name).join("z"), "").unwrap();
        expected.push(scratch.path().join(name).join("z"));
    }
    expected.sort();
    let mut tree = Tree::default();
    assert_eq!(tree.look(&policy).unwrap(), expected);
    let states = tree.states.len();
    assert!(states > 7, "{states}");
    // A state more, and there are too many.
    tree.states.clear();
    tree.states_size = MAX_STATES_SIZE - 100;
    assert_eq!(tree.look(&policy).unwrap(), expected);
    assert!(tree.states_size < MAX_STATES_SIZE / 2);
    let mut walk = Walk::new(&mut tree, &policy, Cancel::default());
    walk.states_size = MAX_STATES_SIZE;
    let error = walk.all().unwrap_err();
    assert!(matches!(error, PlanError::Places { .. }), "{error}");
}
