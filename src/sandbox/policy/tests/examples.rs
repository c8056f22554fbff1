//! The proven examples of the reference as policies, in both generations' words.

use super::*;

#[test]
fn example_1_read_only() {
    let there = Project::new();
    let policy = parsed(&managed(vec![special("root", "read")]));
    assert_eq!(there.access(&policy, "proj/src/a.txt"), Access::Read);
    assert!(policy.has_full_read() && !policy.has_full_write());
    assert!(!policy.is_free());
    assert_eq!(policy.network(), Network::Restricted);
}

#[test]
fn example_2_workspace_write_in_the_old_form() {
    let there = Project::new();
    let sandbox = with(workspace_write(), "cwd", json!(there.text("proj")));
    let tmpdir = there.at("other");
    let context = Context {
        tmpdir: Some(&tmpdir),
        ..FILE_REQUEST
    };
    let policy = Policy::parse(&sandbox.to_string(), &context).unwrap();
    for (path, access) in [
        ("proj/src/n", Access::Write),
        ("other/n", Access::Write),
        ("elsewhere", Access::Read),
        ("proj/.git/n", Access::Read),
        ("proj/.codex/n", Access::Read),
        ("proj/.agents", Access::Read),
        ("proj/.aws/credentials", Access::Read),
        ("proj/src/.git", Access::Write),
        ("other/.git", Access::Read),
    ] {
        assert_eq!(there.access(&policy, path), access, "{path}");
    }
    assert_eq!(policy.access(Path::new("/tmp/x")), Access::Write);
    assert_eq!(policy.access(Path::new("/tmp/.git/x")), Access::Read);
}

#[test]
fn example_3_workspace_write_in_the_new_form() {
    let there = Project::new();
    let uri = to_uri(&there.at("proj"));
    let sandbox = with(workspace_write(), "cwd", json!(uri));
    let without_roots = parsed(&sandbox);
    assert_eq!(there.access(&without_roots, "proj/src/n"), Access::Read);
    let policy = parsed(&with(sandbox, "workspaceRoots", json!([uri])));
    assert_eq!(there.access(&policy, "proj/src/n"), Access::Write);
    assert_eq!(there.access(&policy, "proj/.git/n"), Access::Read);
}

#[test]
fn example_4_a_directory_is_denied() {
    let there = Project::new();
    for word in ["none", "deny"] {
        let policy = parsed(&managed(vec![
            special("root", "read"),
            path(there.text("proj"), "write"),
            path(there.text("proj/sub"), word),
        ]));
        assert_eq!(there.access(&policy, "proj/sub/a/x"), Access::Deny);
        assert_eq!(there.access(&policy, "proj/subx"), Access::Write);
        assert!(!policy.is_free());
    }
}

#[test]
fn example_5_a_pattern_is_denied() {
    let there = Project::new();
    let mut sandbox = managed(vec![
        special("root", "read"),
        path(there.text("proj"), "write"),
        pattern(&format!("{}/**/*.env", there.text("proj")), "none"),
    ]);
    sandbox["permissions"]["file_system"]["glob_scan_max_depth"] = json!(1);
    let policy = parsed(&sandbox);
    assert_eq!(there.access(&policy, "proj/sub/x.env"), Access::Deny);
    assert_eq!(there.access(&policy, "proj/sub/x.env/below"), Access::Deny);
    assert_eq!(there.access(&policy, "proj/sub/x"), Access::Write);
    assert_eq!(policy.scan_depth(), Some(1));
}

#[test]
fn example_6_a_minimal_view() {
    let there = Project::new();
    let policy = parsed(&managed(vec![
        special("minimal", "read"),
        path(there.text("proj/src"), "read"),
    ]));
    assert_eq!(there.access(&policy, "proj/src/a.txt"), Access::Read);
    assert_eq!(policy.access(Path::new("/etc/hostname")), Access::Read);
    assert_eq!(there.access(&policy, "other/o.txt"), Access::None);
}

#[test]
fn example_7_everything_but_a_directory() {
    let there = Project::new();
    let policy = parsed(&managed(vec![
        special("root", "write"),
        path(there.text("proj/sub"), "none"),
    ]));
    assert_eq!(there.access(&policy, "proj/.git/x"), Access::Write);
    assert_eq!(there.access(&policy, "proj/sub/x"), Access::Deny);
    assert!(!policy.has_full_write() && !policy.has_full_read());
    let asked = parsed(&managed(vec![
        special("root", "write"),
        path(there.text("proj/.git"), "read"),
    ]));
    assert_eq!(there.access(&asked, "proj/.git/x"), Access::Read);
}

#[test]
fn example_8_an_explicit_grant_lifts_the_protection() {
    let there = Project::new();
    let grant = |git: &str| {
        parsed(&managed(vec![
            path(there.text("proj"), "write"),
            path(there.text("proj/.git"), git),
        ]))
    };
    assert_eq!(there.access(&grant("write"), "proj/.git/x"), Access::Write);
    assert_eq!(there.access(&grant("write"), "proj/.codex"), Access::Read);
    assert_eq!(there.access(&grant("deny"), "proj/.git/x"), Access::Deny);
}

#[test]
fn example_9_a_directory_is_opened_again_below_a_denial() {
    let there = Project::new();
    let policy = parsed(&managed(vec![
        path(there.text("proj"), "write"),
        path(there.text("proj/sub"), "none"),
        path(there.text("proj/sub/a"), "write"),
    ]));
    assert_eq!(there.access(&policy, "proj/sub/a/x"), Access::Write);
    assert_eq!(there.access(&policy, "proj/sub/s"), Access::Deny);
}

#[test]
fn example_10_a_missing_root_protects_nothing() {
    let policy = parsed(&managed(vec![path("/nonexist".into(), "write")]));
    assert_eq!(policy.rules().len(), 1);
    assert_eq!(policy.access(Path::new("/nonexist/x")), Access::Write);
}

#[test]
fn examples_13_and_14_files_that_nobody_here_confines() {
    let permissions = |permissions: Value| {
        parsed(&json!({"permissions": permissions, "windowsSandboxLevel": "mxc"}))
    };
    let disabled = permissions(json!({"type": "disabled", "more": 1}));
    assert_eq!(disabled.enforcement(), Enforcement::Disabled);
    assert_eq!(disabled.network(), Network::Enabled);
    let external = permissions(json!({"type": "external", "network": "restricted"}));
    assert_eq!(external.enforcement(), Enforcement::External);
    assert_eq!(external.network(), Network::Restricted);
    let unrestricted = permissions(json!({
        "type": "managed",
        "file_system": {"type": "unrestricted"},
        "network": "restricted",
    }));
    assert_eq!(unrestricted.enforcement(), Enforcement::Managed);
    for policy in [&disabled, &external, &unrestricted] {
        assert!(policy.has_full_read() && policy.has_full_write());
    }
    // A program without a network is confined, too.
    assert!(disabled.is_free() && !external.is_free() && !unrestricted.is_free());
}
