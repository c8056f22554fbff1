//! Reading what the policy does not let be read.

use crate::support::sandbox::{Sandbox, Stage};

on_every_launcher! {
    fn a_place_that_no_entry_names_cannot_be_read(stage) {
        let secret = stage.make_file("outside/secret", "the-secret");
        let workspace = stage.workspace();
        // The child itself must be readable to run.
        let child = crate::support::child();
        let policy = [".git", ".codex", ".agents", ".aws"].iter().filter(|_| stage.launcher == Launcher::Landlock).fold(
            Sandbox::minimal().write(&workspace).read(&child),
            |policy, name| policy.write(&format!("{workspace}/{name}")),
        );
        all_ways(stage, &policy, &secret);
    }
}

on_every_bwrap! {
    fn a_denied_file_cannot_be_read(stage) {
        stage.make_directory("workspace/sub");
        let secret = stage.make_file("workspace/sub/secret", "the-secret");
        let policy = stage.policy().deny(&secret);
        all_ways(stage, &policy, &secret);
    }

    fn a_denied_directory_cannot_be_read(stage) {
        stage.make_directory("workspace/sub");
        let directory = stage.make_directory("workspace/sub/denied");
        let secret = stage.make_file("workspace/sub/denied/secret", "the-secret");
        let policy = stage.policy().deny(&directory);
        all_ways(stage, &policy, &secret);
        let listed = stage.refuses(&policy, &["list", &directory]);
        assert!(!listed.stdout.contains("secret"), "{listed:?}");
    }

    fn a_file_that_a_pattern_denies_cannot_be_read(stage) {
        stage.make_directory("workspace/sub");
        let secret = stage.make_file("workspace/sub/secret", "the-secret");
        let policy = stage.policy().deny_glob(&format!("{}/**/sec*", stage.workspace()));
        all_ways(stage, &policy, &secret);
    }
}

/// Tries every way to a file below the stage's directory.
fn all_ways(stage: &mut Stage, policy: &Sandbox, secret: &str) {
    let workspace = stage.workspace();
    let handle = stage.works_free(&["handle", secret]);
    let (link, hard, moved) = (
        format!("{workspace}/link"),
        format!("{workspace}/hard"),
        format!("{workspace}/moved"),
    );
    let through_self = format!("/proc/self/root{secret}");
    let through_first = format!("/proc/1/root{secret}");
    let up = format!("{workspace}/../../../../../../../..{secret}");
    let dots = format!("{workspace}/.{}", secret.replacen(&workspace, "", 1));
    let parent = std::path::Path::new(secret)
        .parent()
        .unwrap()
        .to_str()
        .unwrap();
    for way in [
        &["read", secret][..],
        &["read", &through_self],
        &["read", &through_first],
        &["read", &up],
        &["read", &dots],
        &["map", secret],
        &["symlink", secret, &link, "--", "read", &link],
        &["link", secret, &hard, "--", "read", &hard],
        &["rename", secret, &moved, "--", "read", &moved],
        &[
            "rename",
            parent,
            &moved,
            "--",
            "read",
            &format!("{moved}/secret"),
        ],
        &["chmod", secret, "777", "--", "read", secret],
        &["umount", secret, "--", "read", secret],
        &["umount", parent, "--", "read", secret],
        &["in-userns", "umount", secret, "--", "read", secret],
        &[
            "in-userns",
            "bind",
            "/",
            &workspace,
            "--",
            "read",
            &format!("{workspace}{secret}"),
        ],
        &["through-proc", secret],
        &["through-cwd", secret],
        &["through-descriptors", secret],
        &["open-handle", &workspace, &handle],
        &["open-handle", "/", &handle],
        &["exec-memfd", "read", secret],
    ] {
        let outcome = stage.confined(policy, way);
        let all = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(
            !all.contains("the-secret"),
            "{} as {:?}: {way:?}: {outcome:?}",
            stage.launcher,
            stage.who
        );
        assert!(
            outcome.stdout.starts_with("failed")
                || outcome.stdout.starts_with("did")
                || outcome.signal.is_some(),
            "nothing was tried: {way:?}: {outcome:?}"
        );
        for left in ["link", "hard"] {
            let _ = std::fs::remove_file(format!("{workspace}/{left}"));
        }
        // The parent may be moved where nothing holds it, and is put back.
        let _ = std::fs::rename(&moved, parent);
    }
    assert!(stage.works_free(&["read", secret]).contains("the-secret"));
}
