//! Repositories and the configuration of agents inside a workspace.

use std::fs;
use std::path::Path;

use crate::support::sandbox::{Sandbox, Stage, snapshot};
use crate::support::within;

/// How long what is over may be seen.
const SOON: std::time::Duration = std::time::Duration::from_secs(10);

/// What must not change, and must not come.
const NAMES: [&str; 4] = [".git", ".codex", ".agents", ".aws"];

/// Whether the launcher cannot protect anything inside a workspace; such a policy it has to refuse.
fn must_refuse(stage: &mut Stage, policy: &Sandbox) -> bool {
    if stage.launcher != crate::support::sandbox::Launcher::Landlock {
        return false;
    }
    let start = stage.attempt(&["read", "/"]).with("sandbox", policy.json());
    let error = stage.client.err("process/start", start.0);
    let named = NAMES.iter().any(|name| error.message.contains(name));
    assert!(named, "it names no entry: {error:?}");
    true
}

on_every_launcher! {
    fn a_repository_does_not_change(stage) {
        let workspace = stage.workspace();
        stage.make_directory("workspace/.git");
        stage.make_directory("workspace/.git/hooks");
        stage.make_file("workspace/.git/config", "untouched");
        let policy = Sandbox::workspace(&workspace);
        if must_refuse(stage, &policy) {
            return;
        }
        let at = |name: &str| format!("{workspace}/{name}");
        let git = at(".git");
        let before = snapshot(&git);
        for attempts in [
            &["write", &at(".git/config")][..],
            &["write", &at(".git/hooks/pre-commit")],
            &["mkdir", &at(".git/new")],
            &["remove", &at(".git/config")],
            &["remove-tree", &git],
            &["chmod", &at(".git/config"), "777"],
            &["rename", &git, &at("moved")],
            &["exchange", &git, &at("other")],
            &["rename", &at("other"), &git],
            &["link", &at(".git/config"), &at("linked"), "--", "truncate", &at("linked")],
            &["symlink", ".git", &at("link"), "--", "write", &at("link/config")],
            &["umount", &git, "--", "write", &at(".git/config")],
            &["remount-rw", &git, "--", "write", &at(".git/config")],
        ] {
            let _ = fs::create_dir(at("other"));
            stage.refuses(&policy, attempts);
            let _ = fs::remove_file(at("link"));
        }
        assert_eq!(snapshot(&git), before);
        stage.allows(&policy, &["write", &at("file")]);
        stage.works_free(&["write", &at(".git/hooks/pre-commit")]);
    }

    fn what_is_missing_cannot_be_made(stage) {
        let workspace = stage.workspace();
        let policy = Sandbox::workspace(&workspace);
        if must_refuse(stage, &policy) {
            return;
        }
        stage.make_directory("workspace/other");
        for name in NAMES {
            let path = format!("{workspace}/{name}");
            let inside = format!("{path}/config.toml");
            for attempts in [
                &["mkdir", &path][..],
                &["write", &path],
                &["symlink", "other", &path],
                &["fifo", &path],
                &["rename", &format!("{workspace}/other"), &path],
                &["mkdirs", &path, "--", "write", &inside],
                &["remove-tree", &path, "--", "mkdir", &path],
            ] {
                stage.refuses(&policy, attempts);
                assert!(!Path::new(&path).exists(), "{attempts:?} left {path}");
            }
            stage.works_free(&["mkdirs", &path, "--", "write", &inside]);
            fs::remove_dir_all(&path).unwrap();
        }
    }

    fn the_repository_that_a_git_file_points_to_does_not_change(stage) {
        let workspace = stage.workspace();
        for name in ["main", "main/.git", "main/.git/worktrees", "main/.git/worktrees/one", "tree"] {
            stage.make_directory(&format!("workspace/{name}"));
        }
        stage.make_file("workspace/main/.git/config", "untouched");
        stage.make_file("workspace/main/.git/worktrees/one/commondir", "../..\n");
        let pointer = format!("gitdir: {workspace}/main/.git/worktrees/one\n");
        let file = stage.make_file("workspace/tree/.git", &pointer);
        let tree = format!("{workspace}/tree");
        // Both the tree and all around it are permitted, so nothing but the protection keeps the repository.
        let policy = Sandbox::workspace(&workspace).write(&tree);
        if must_refuse(stage, &policy) {
            return;
        }
        let before = snapshot(&format!("{workspace}/main"));
        for target in ["main/.git/config", "main/.git/worktrees/one/commondir", "main/.git/hooks", "tree/.git"] {
            stage.refuses(&policy, &["write", &format!("{workspace}/{target}")]);
        }
        stage.refuses(&policy, &["rename", &file, &format!("{tree}/moved")]);
        assert_eq!(snapshot(&format!("{workspace}/main")), before);
        assert_eq!(fs::read_to_string(file).unwrap(), pointer);
    }

    fn an_entry_about_the_repository_of_a_worktree_opens_all_of_it(stage) {
        for name in ["main", "main/.git", "main/.git/worktrees", "main/.git/worktrees/one"] {
            stage.make_directory(&format!("outside/{name}"));
        }
        let main = stage.path("outside/main");
        stage.make_file("outside/main/.git/worktrees/one/commondir", "../..\n");
        stage.make_file("workspace/.git", &format!("gitdir: {main}/.git/worktrees/one\n"));
        let policy = stage.policy().write(&format!("{main}/.git"));
        for target in ["worktrees/one/HEAD", "worktrees/one/index.lock", "objects", "HEAD"] {
            let target = format!("{main}/.git/{target}");
            stage.allows(&policy, &["write", &target]);
            assert_eq!(fs::read_to_string(target).unwrap(), "changed");
        }
        stage.refuses(&policy, &["write", &format!("{main}/file")]);
        if stage.launcher != Launcher::Landlock {
            stage.refuses(&policy, &["write", &format!("{}/.git", stage.workspace())]);
        }
    }

    fn a_link_by_a_protected_name_stops_nothing_and_opens_nothing(stage) {
        let workspace = stage.workspace();
        stage.make_directory("workspace/real");
        stage.make_file("workspace/real/config.toml", "untouched");
        std::os::unix::fs::symlink("real", format!("{workspace}/.codex")).unwrap();
        let policy = Sandbox::workspace(&workspace);
        if must_refuse(stage, &policy) {
            return;
        }
        stage.allows(&policy, &["write", &format!("{workspace}/file")]);
        for target in [".codex/config.toml", "real/config.toml"] {
            stage.refuses(&policy, &["write", &format!("{workspace}/{target}")]);
        }
        assert_eq!(fs::read_to_string(format!("{workspace}/real/config.toml")).unwrap(), "untouched");
    }

    fn an_entry_about_a_protected_name_opens_it(stage) {
        let workspace = stage.workspace();
        stage.make_directory("workspace/.git");
        let git = format!("{workspace}/.git");
        let policy = stage.policy().write(&git);
        stage.allows(&policy, &["write", &format!("{git}/config")]);
        assert_eq!(fs::read_to_string(format!("{git}/config")).unwrap(), "changed");
    }

    fn no_program_can_say_what_the_server_is_to_take_away(stage) {
        let workspace = stage.workspace();
        let policy = Sandbox::workspace(&workspace);
        if must_refuse(stage, &policy) {
            return;
        }
        let outside = stage.make_file("outside/empty", "");
        // How many files it could write to is the kernel's matter.
        stage.confined(&policy, &["forge-records", &outside]);
        within(SOON, "the mount points are gone", || {
            fs::read_dir(&workspace).unwrap().next().is_none()
        });
        assert!(Path::new(&outside).exists(), "it was taken away");
        stage.works_free(&["remove", &outside]);
    }
}

as_another_on_every_bwrap! {
    fn a_directory_that_a_program_closed_is_not_taken_for_empty(stage) {
        let workspace = stage.workspace();
        stage.make_directory("workspace/.git");
        let config = stage.make_file("workspace/.git/config", "untouched");
        let sub = stage.make_directory("workspace/sub");
        let secret = stage.make_file("workspace/sub/secret", "the-secret");
        let open = ["chmod", &sub, "755", "--", "read", &secret];
        for policy in [stage.policy().deny(&secret), stage.policy().deny_glob(&format!("{workspace}/**/sec*"))] {
            stage.allows(&policy, &["chmod", &sub, "000"]);
            let start = stage.attempt(&open).with("sandbox", policy.json());
            let id = start.id();
            match stage.client.request("process/start", start.0) {
                Ok(_) => {
                    let outcome = stage.client.closed(&id);
                    assert!(!outcome.stdout.contains("the-secret"), "{outcome:?}");
                }
                Err(error) => assert!(error.message.contains("cannot be entered"), "{error:?}"),
            }
            assert!(stage.works_free(&open).contains("the-secret"));
        }
        let policy = stage.policy();
        stage.allows(&policy, &["chmod", &workspace, "000"]);
        let start = stage.attempt(&["chmod", &workspace, "755", "--", "write", &config]).with("sandbox", policy.json());
        let error = stage.client.err("process/start", start.0);
        assert!(error.message.contains("cannot be entered"), "{error:?}");
        stage.works_free(&["chmod", &workspace, "755"]);
        assert_eq!(fs::read_to_string(config).unwrap(), "untouched");
    }
}

on_every_bwrap! {
    fn the_directories_above_what_is_protected_cannot_be_moved_away(stage) {
        let workspace = stage.workspace();
        stage.make_directory("workspace/sub");
        stage.make_directory("workspace/sub/inner");
        let secret = stage.make_file("workspace/sub/inner/secret", "the-secret");
        let (sub, moved) = (format!("{workspace}/sub"), format!("{workspace}/moved"));
        let inner = format!("{sub}/inner");
        for policy in [stage.policy().deny(&secret), stage.policy().read(&secret), stage.policy().deny_glob(&format!("{inner}/s*"))] {
            stage.refuses(&policy, &["rename", &sub, &moved]);
            stage.refuses(&policy, &["rename", &inner, &moved]);
            stage.refuses(&policy, &["exchange", &inner, &sub]);
        }
        stage.works_free(&["rename", &sub, &moved]);
    }
}
