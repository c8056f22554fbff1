//! What policies mean, and what is refused; the proven examples are in [`examples`].

mod examples;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;
use crate::rpc::error::ErrorKind;
use crate::rpc::path_uri::to_uri;
use crate::sandbox::scratch::Scratch;

const FILE_REQUEST: Context<'_> = Context {
    process_cwd: None,
    tmpdir: None,
    style: PathStyle::Native,
};

/// A project with a repository and a source file, and a directory beside it.
struct Project {
    scratch: Scratch,
}

impl Project {
    fn new() -> Self {
        let scratch = Scratch::new("policy");
        for directory in ["proj/.git", "proj/src", "proj/sub/a", "other"] {
            fs::create_dir_all(scratch.path().join(directory)).unwrap();
        }
        fs::write(scratch.path().join("proj/src/a.txt"), "a").unwrap();
        Self { scratch }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.scratch.path().join(path)
    }

    fn text(&self, path: &str) -> String {
        self.at(path).to_str().unwrap().to_owned()
    }

    fn access(&self, policy: &Policy, path: &str) -> Access {
        policy.access(&self.at(path))
    }
}

fn special(kind: &str, access: &str) -> Value {
    json!({"path": {"type": "special", "value": {"kind": kind}}, "access": access})
}

fn project(subpath: &str, access: &str) -> Value {
    let value = json!({"kind": "project_roots", "subpath": subpath});
    json!({"path": {"type": "special", "value": value}, "access": access})
}

fn path(path: String, access: &str) -> Value {
    json!({"path": {"type": "path", "path": path}, "access": access})
}

fn pattern(pattern: &str, access: &str) -> Value {
    json!({"path": {"type": "glob_pattern", "pattern": pattern}, "access": access})
}

fn managed(entries: Vec<Value>) -> Value {
    json!({
        "permissions": {
            "type": "managed",
            "file_system": {"type": "restricted", "entries": entries},
            "network": "restricted",
        },
        "windowsSandboxLevel": "disabled",
    })
}

fn workspace_write() -> Value {
    managed(vec![
        special("root", "read"),
        special("project_roots", "write"),
        special("slash_tmp", "write"),
        special("tmpdir", "write"),
        project(".git", "read"),
        project(".codex", "read"),
        project(".agents", "read"),
    ])
}

fn with(mut sandbox: Value, member: &str, value: Value) -> Value {
    sandbox[member] = value;
    sandbox
}

fn parse(sandbox: &Value) -> Result<Policy, PolicyError> {
    Policy::parse(&sandbox.to_string(), &FILE_REQUEST)
}

fn parsed(sandbox: &Value) -> Policy {
    parse(sandbox).unwrap_or_else(|error| panic!("{error}: {sandbox}"))
}

#[test]
fn project_roots_without_cwd_are_refused_as_each_generation_does() {
    let sandbox = workspace_write().to_string();
    let error = Policy::parse(&sandbox, &FILE_REQUEST).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    let message = error.to_string();
    assert!(
        message.contains("dynamic permissions require cwd") && message.contains("project_roots"),
        "{message}"
    );
    let context = Context {
        style: PathStyle::Uri,
        ..FILE_REQUEST
    };
    let error = Policy::parse(&sandbox, &context).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidParams);
}

#[test]
fn a_directory_of_a_process_makes_nothing_writable() {
    let there = Project::new();
    let cwd = there.at("proj");
    let context = Context {
        process_cwd: Some(&cwd),
        ..FILE_REQUEST
    };
    let sandbox = managed(vec![
        special("current_working_directory", "write"),
        special("project_roots", "write"),
        pattern("**/*.env", "deny"),
    ]);
    let policy = Policy::parse(&sandbox.to_string(), &context).unwrap();
    assert_eq!(there.access(&policy, "proj/src/n"), Access::Read);
    assert_eq!(there.access(&policy, "proj/src/n.env"), Access::Deny);
    assert_eq!(there.access(&policy, "other"), Access::None);
}

#[test]
fn the_strictest_of_equal_rules_counts() {
    let there = Project::new();
    let both = |one: &str, other: &str| {
        let entries = [one, other].map(|access| path(there.text("other"), access));
        there.access(&parsed(&managed(entries.into())), "other/x")
    };
    assert_eq!(both("read", "write"), Access::Write);
    assert_eq!(both("write", "deny"), Access::Deny);
    assert_eq!(both("deny", "read"), Access::Deny);
}

#[test]
fn no_rule_permits_what_a_pattern_denies() {
    let there = Project::new();
    let policy = parsed(&managed(vec![
        path(there.text("proj"), "deny"),
        path(there.text("proj/src"), "read"),
        path(there.text("proj/src/a.txt"), "write"),
        path(there.text("proj/sub.txt"), "read"),
        path(there.text("proj/sub.txt/a"), "read"),
        pattern(&there.text("proj/**/*.txt"), "deny"),
    ]));
    let rules: Vec<_> = policy.rules().map(|rule| rule.path.clone()).collect();
    assert_eq!(
        rules,
        ["proj", "proj/src", "proj/sub.txt/a"].map(|path| there.at(path))
    );
    for (path, access) in [
        ("proj/src", Access::Read),
        ("proj/src/a.txt", Access::Deny),
        ("proj/sub.txt/b", Access::Deny),
        ("proj/sub.txt/a/b", Access::Read),
    ] {
        assert_eq!(there.access(&policy, path), access, "{path}");
    }
}

#[test]
fn the_untagged_profile_is_the_same() {
    let there = Project::new();
    let profile = |permissions: Value| {
        parsed(&json!({"permissions": permissions, "windowsSandboxLevel": "disabled"}))
    };
    let nothing = profile(json!({}));
    assert_eq!(there.access(&nothing, "proj"), Access::None);
    assert_eq!(nothing.network(), Network::Restricted);
    let lists = profile(json!({
        "file_system": {"read": ["/"], "write": [there.text("proj")]},
        "network": {"enabled": true},
    }));
    assert_eq!(there.access(&lists, "proj/x"), Access::Write);
    assert_eq!(there.access(&lists, "other"), Access::Read);
    assert_eq!(lists.network(), Network::Enabled);
    let entries = profile(json!({"file_system": {"entries": [special("root", "read")]}}));
    assert!(entries.has_full_read());
}

#[test]
fn a_profile_of_a_helper_has_its_directory_as_project() {
    let there = Project::new();
    let profile = workspace_write()["permissions"].to_string();
    let policy = Policy::parse_profile(&profile, &there.at("proj"), &FILE_REQUEST).unwrap();
    assert_eq!(there.access(&policy, "proj/x"), Access::Write);
    assert_eq!(there.access(&policy, "proj/.codex/x"), Access::Read);
}

#[test]
fn what_is_malformed_is_refused_with_its_reason() {
    let entry = |entry: Value| managed(vec![entry]);
    let depth = {
        let mut sandbox = managed(vec![]);
        sandbox["permissions"]["file_system"]["glob_scan_max_depth"] = json!(0);
        sandbox
    };
    let mut no_level = managed(vec![]);
    no_level
        .as_object_mut()
        .unwrap()
        .remove("windowsSandboxLevel");
    let mut no_network = managed(vec![]);
    no_network["permissions"]
        .as_object_mut()
        .unwrap()
        .remove("network");
    let cases = [
        (
            json!({"sandboxPolicy": {"type": "read-only"}}),
            "missing field `permissions`",
        ),
        (no_level, "missing field `windowsSandboxLevel`"),
        (no_network, "missing field `network`"),
        (
            with(managed(vec![]), "windowsSandboxLevel", json!("high")),
            "unknown variant `high`",
        ),
        (
            with(managed(vec![]), "cwd", json!("relative")),
            "relative URL without a base",
        ),
        (
            with(managed(vec![]), "permissions", json!({"type": "none"})),
            "unknown variant `none`",
        ),
        (entry(special("home", "read")), "unknown variant `home`"),
        (
            entry(special("root", "execute")),
            "unknown variant `execute`",
        ),
        (
            entry(path("a/b".into(), "read")),
            "relative URL without a base",
        ),
        (
            entry(project("../x", "write")),
            "stay below the project root",
        ),
        (entry(project("/x", "write")), "stay below the project root"),
        (
            entry(pattern("/a/**/..", "deny")),
            "`..` cannot follow `**`",
        ),
        (depth, "nonzero u32"),
    ];
    for (sandbox, reason) in cases {
        let error = parse(&sandbox).expect_err(&sandbox.to_string());
        assert_eq!(error.kind(), ErrorKind::InvalidParams, "{error}");
        assert!(error.to_string().contains(reason), "{error}, not {reason}");
    }
}

#[test]
fn what_is_new_is_ignored_and_what_may_be_null_is() {
    let mut root = special("root", "read");
    root["missing_path_behavior"] = json!("skip");
    root["added"] = json!([1]);
    let mut unknown = special("unknown", "write");
    unknown["path"]["value"]["path"] = json!("~/x");
    unknown["missing_path_behavior"] = json!(null);
    let mut sandbox = managed(vec![root, unknown, pattern("/a/*", "write")]);
    for member in ["cwd", "workspaceRoots", "useLegacyLandlock", "userHomeDir"] {
        sandbox[member] = json!(null);
    }
    sandbox["policyContext"] = json!({"cwd": "file:///x"});
    let policy = parsed(&sandbox);
    assert!(policy.has_full_read() && policy.rules().len() == 1);
}

#[test]
fn a_symbolic_link_for_metadata_is_protected_by_its_target() {
    let there = Project::new();
    fs::create_dir(there.at("proj/real")).unwrap();
    symlink("real", there.at("proj/.codex")).unwrap();
    let policy = parsed(&managed(vec![path(there.text("proj"), "write")]));
    assert_eq!(there.access(&policy, "proj/real/x"), Access::Read);
    assert!(
        policy.weaker().iter().any(|note| note.contains(".codex")),
        "{:?}",
        policy.weaker()
    );
}

#[test]
fn a_permission_through_a_link_that_a_program_can_replace_is_refused() {
    let there = Project::new();
    symlink(there.at("other"), there.at("proj/link")).unwrap();
    let error = parse(&managed(vec![
        special("root", "read"),
        path(there.text("proj"), "write"),
        path(there.text("proj/link"), "write"),
    ]))
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    let message = error.to_string();
    for part in ["proj/link", "other"] {
        assert!(message.contains(&there.text(part)), "{message}");
    }
    // The link to the root itself is not the program's.
    symlink(there.at("proj"), there.at("alias")).unwrap();
    let policy = parsed(&managed(vec![path(there.text("alias"), "write")]));
    assert_eq!(there.access(&policy, "proj/x"), Access::Write);
    assert_eq!(
        policy.rules().next().unwrap().links[0].path,
        there.at("alias")
    );
}

#[test]
fn a_git_file_protects_what_it_points_at() {
    let there = Project::new();
    let repository = there.at("other/bare/worktrees/one");
    fs::create_dir_all(&repository).unwrap();
    fs::write(repository.join("commondir"), "../..\n").unwrap();
    fs::create_dir(there.at("other/tree")).unwrap();
    let pointer = format!("gitdir: {}\n", repository.display());
    fs::write(there.at("other/tree/.git"), pointer).unwrap();
    let policy = parsed(&managed(vec![
        path(there.text("other"), "write"),
        path(there.text("other/tree"), "write"),
    ]));
    for (path, access) in [
        ("other/tree/.git", Access::Read),
        ("other/bare/worktrees/one/HEAD", Access::Read),
        ("other/bare/hooks/post-commit", Access::Read),
        ("other/x", Access::Write),
    ] {
        assert_eq!(there.access(&policy, path), access, "{path}");
    }
}

/// Makes a worktree `tree` of the repository at `main`, whose directory there has `commondir` in it.
fn worktree(there: &Project, main: &str, tree: &str, commondir: &str) {
    let own = there.at(main).join("worktrees/one");
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("commondir"), commondir).unwrap();
    fs::create_dir_all(there.at(tree)).unwrap();
    let pointer = format!("gitdir: {}\n", own.display());
    fs::write(there.at(tree).join(".git"), pointer).unwrap();
}

#[test]
fn an_entry_about_a_repository_permits_its_worktrees() {
    for main in ["other/.git", "other/bare"] {
        let there = Project::new();
        worktree(&there, main, "tree", "../..\n");
        let policy = parsed(&managed(vec![
            path(there.text("tree"), "write"),
            path(there.text(main), "write"),
        ]));
        for (path, access) in [
            (format!("{main}/worktrees/one/HEAD"), Access::Write),
            (format!("{main}/objects"), Access::Write),
            // Where the worktree belongs is no part of the repository.
            ("tree/.git".into(), Access::Read),
            ("other/x".into(), Access::None),
        ] {
            assert_eq!(there.access(&policy, &path), access, "{path}");
        }
    }
}

#[test]
fn an_entry_about_a_repository_permits_its_submodules() {
    let there = Project::new();
    fs::create_dir_all(there.at("proj/.git/modules/sub")).unwrap();
    fs::write(there.at("proj/sub/.git"), "gitdir: ../.git/modules/sub\n").unwrap();
    let mut entries = vec![
        path(there.text("proj"), "write"),
        path(there.text("proj/sub"), "write"),
    ];
    let head = "proj/.git/modules/sub/HEAD";
    let policy = parsed(&managed(entries.clone()));
    assert_eq!(there.access(&policy, head), Access::Read);
    entries.push(path(there.text("proj/.git"), "write"));
    let policy = parsed(&managed(entries));
    assert_eq!(there.access(&policy, head), Access::Write);
}

#[test]
fn what_a_git_file_says_permits_nothing() {
    let protected = "other/bare/worktrees/one/HEAD";
    // Neither an entry around the repository nor one that the files take for it.
    for commondir in ["../..\n", "../../..\n", "/\n", ".\n", "../../../../tree\n"] {
        let there = Project::new();
        worktree(&there, "other/bare", "tree", commondir);
        let policy = parsed(&managed(vec![
            path(there.text("tree"), "write"),
            path(there.text("other"), "write"),
        ]));
        let found = there.access(&policy, protected);
        assert_eq!(found, Access::Read, "{commondir:?}");
    }
    // What no entry lets be written, or one takes back, stays so.
    let there = Project::new();
    worktree(&there, "other/.git", "tree", "../..\n");
    let policy = parsed(&managed(vec![
        special("root", "read"),
        path(there.text("tree"), "write"),
    ]));
    let head = "other/.git/worktrees/one/HEAD";
    assert_eq!(there.access(&policy, head), Access::Read);
    let policy = parsed(&managed(vec![
        path(there.text("tree"), "write"),
        path(there.text("other/.git"), "write"),
        path(there.text("other/.git/worktrees"), "read"),
    ]));
    assert_eq!(there.access(&policy, head), Access::Read);
}

#[test]
fn a_file_as_a_root_has_no_metadata() {
    let there = Project::new();
    let policy = parsed(&managed(vec![path(there.text("proj/src/a.txt"), "write")]));
    assert_eq!(policy.rules().len(), 1);
}

#[test]
fn landlock_can_say_what_only_allows() {
    let there = Project::new();
    let rules = parsed(&managed(vec![
        special("root", "read"),
        path(there.text("proj/src/a.txt"), "write"),
    ]));
    let rules = rules.as_landlock(Waivers::default()).unwrap();
    assert_eq!(rules.read, [PathBuf::from("/")]);
    assert_eq!(rules.write, [there.at("proj/src/a.txt")]);
    let parts = parsed(&managed(vec![
        path(there.text("proj/src"), "read"),
        path(there.text("other"), "deny"),
    ]));
    let parts = parts.as_landlock(Waivers::default()).unwrap();
    assert_eq!((parts.read.len(), parts.write.len()), (1, 0));
}

#[test]
fn what_landlock_cannot_say_is_named() {
    let there = Project::new();
    let refused = |entries: Vec<Value>| {
        let refusal = parsed(&managed(entries))
            .as_landlock(Waivers::default())
            .unwrap_err();
        (refusal.origin, refusal.to_string())
    };
    let (origin, message) = refused(vec![
        special("root", "read"),
        path(there.text("proj/sub"), "deny"),
    ]);
    assert_eq!(origin, Origin::Asked);
    assert!(message.contains(&there.text("proj/sub")), "{message}");
    let (origin, message) = refused(vec![path(there.text("proj"), "write")]);
    assert_eq!(origin, Origin::Metadata);
    assert!(message.contains("proj/.agents"), "{message}");
    let (_, message) = refused(vec![special("root", "read"), pattern("/**/*.key", "deny")]);
    assert!(message.contains("/**/*.key"), "{message}");
}

#[test]
fn metadata_can_be_given_up_and_nothing_else() {
    let there = Project::new();
    let accepting = |entries: Vec<Value>| {
        let mut sandbox = managed(entries);
        sandbox["acceptWeaker"] = json!(["metadata"]);
        let policy = parsed(&sandbox);
        policy.as_landlock(policy.waivers())
    };
    let root = path(there.text("proj"), "write");
    let rules = accepting(vec![special("root", "read"), root.clone()]).unwrap();
    assert_eq!(rules.write, [there.at("proj")]);
    let names = [".agents", ".aws", ".codex", ".git"];
    assert_eq!(
        rules.given_up,
        names.map(|name| there.at("proj").join(name))
    );
    // What the client itself takes away, also inside of what is given up.
    for asked in ["proj/.git", "proj/.git/hooks", "proj/src"] {
        for access in ["read", "deny"] {
            let entries = vec![root.clone(), path(there.text(asked), access)];
            let refusal = accepting(entries).unwrap_err();
            assert_eq!(refusal.origin, Origin::Asked, "{asked} {access}");
            assert!(refusal.entry.ends_with(asked), "{refusal}");
        }
    }
    let entries = vec![root, pattern("/**/*.key", "deny")];
    assert!(accepting(entries).is_err());
}

#[test]
fn what_is_given_up_is_a_list_of_known_names() {
    let mut sandbox = managed(vec![special("root", "read")]);
    assert!(!parsed(&sandbox).waivers().metadata);
    sandbox["acceptWeaker"] = json!(["metadata", "everything"]);
    let error = Policy::parse(&sandbox.to_string(), &FILE_REQUEST).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidParams);
    assert!(error.to_string().contains("everything"), "{error}");
}

#[test]
fn only_an_entry_that_names_the_root_lets_everything_be_written() {
    let there = Project::new();
    let link = there.at("all");
    symlink("/", &link).unwrap();
    let of = |entry: Value, root: &str| {
        let mut sandbox = managed(vec![special("root", "read"), entry]);
        sandbox["cwd"] = json!(format!("file://{root}"));
        sandbox["workspaceRoots"] = json!([format!("file://{root}")]);
        Policy::parse(&sandbox.to_string(), &FILE_REQUEST)
    };
    let link = link.to_str().unwrap();
    for (entry, root) in [
        (special("project_roots", "write"), "/"),
        (special("project_roots", "write"), link),
        (special("current_working_directory", "write"), "/"),
        (path(link.to_owned(), "write"), "/srv"),
    ] {
        let error = of(entry.clone(), root).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidParams);
        assert!(error.to_string().contains("confines nothing"), "{error}");
        let mut reading = entry;
        reading["access"] = json!("read");
        assert!(!of(reading, root).unwrap().has_full_write(), "{root}");
    }
    for entry in [special("root", "write"), path("/".to_owned(), "write")] {
        assert!(of(entry, "/srv").unwrap().has_full_write());
    }
}
