//! The reference's proven examples, in the JSON of both generations, on the real program: as whoever runs the tests and, if
//! that is root, as an ordinary user too. After each, the host is as it was.

mod site;

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;

use serde_json::json;

use site::{Site, as_both_users, give};

use crate::support::sandbox::ORDINARY;
use crate::support::{Need, PATIENCE, Start, signal, within};

/// Everything can be read.
const ROOT: &str = r#"{"path":{"type":"special","value":{"kind":"root"}},"access":"read"}"#;

/// What the real client adds for a workspace.
const WORKSPACE: &str = r#"
    {"path":{"type":"special","value":{"kind":"root"}},"access":"read"},
    {"path":{"type":"special","value":{"kind":"project_roots"}},"access":"write"},
    {"path":{"type":"special","value":{"kind":"project_roots","subpath":".git"}},"access":"read"},
    {"path":{"type":"special","value":{"kind":"project_roots","subpath":".codex"}},"access":"read"},
    {"path":{"type":"special","value":{"kind":"project_roots","subpath":".agents"}},"access":"read"}"#;

fn path(path: &str, access: &str) -> String {
    format!(r#"{{"path":{{"type":"path","path":"{path}"}},"access":"{access}"}}"#)
}

fn list(entries: &[&str]) -> String {
    entries.join(",")
}

const NAMES: [&str; 3] = [".git", "src", "sub"];

as_both_users! {
    fn example_1_read_only(site) {
        let ran = site.both(ROOT, "cat src/a.txt; cat gone; touch src/n; touch ../other/n");
        assert_eq!(ran.stdout, "a\n");
        assert_eq!(ran.stderr.matches("Read-only file system").count(), 2, "{ran:?}");
        assert_eq!(ran.stderr.matches("No such file").count(), 1, "{ran:?}");
        assert!(!site.exists("proj/src/n") && !site.exists("other/n"));
        assert_eq!(site.names(), NAMES);
    }

    fn examples_2_and_3_workspace_write(site) {
        let ran = site.both(
            WORKSPACE,
            "echo n >src/n || exit 9; touch ../other/n; touch .git/n; mkdir .codex/n; touch .codex/n; \
             mkdir .agents; mkdir .aws; rm -rf .git/config; exit 3",
        );
        assert_eq!(ran.code, 3, "{ran:?}");
        assert_eq!(site.text("proj/src/n"), "n\n");
        assert_eq!(site.text("proj/.git/config"), "[core]\n");
        assert!(!site.exists("other/n") && !site.exists("proj/.git/n"));
        assert_eq!(site.names(), NAMES);
    }

    fn example_3_a_project_is_not_its_cwd(site) {
        let mut sandbox = site.managed(true, "restricted", WORKSPACE);
        sandbox.as_object_mut().unwrap().remove("workspaceRoots");
        let ran = site.run(sandbox, "touch src/n");
        assert!(ran.stderr.contains("Read-only file system"), "{ran:?}");
        assert!(!site.exists("proj/src/n"));
    }

    fn example_4_a_denied_directory(site) {
        for word in ["none", "deny"] {
            let entries = list(&[ROOT, &path("@/proj", "write"), &path("@/proj/sub", word)]);
            let ran = site.both(
                &entries,
                "cat sub/s; ls sub; chmod 777 sub; mkdir sub/n; touch n && echo free; rm n",
            );
            assert_eq!(ran.stdout, "free\n", "{ran:?}");
            assert_eq!(ran.stderr.matches("Permission denied").count(), 3, "{ran:?}");
        }
        assert_eq!(site.text("proj/sub/s"), "secret\n");
        assert_eq!(site.names(), NAMES);
    }

    fn example_5_a_denied_pattern(site) {
        fs::write(site.scratch.path("proj/a.env"), "secret\n").unwrap();
        fs::write(site.scratch.path("proj/sub/x.env"), "secret\n").unwrap();
        let glob = r#"{"path":{"type":"glob_pattern","pattern":"@/proj/**/*.env"},"access":"none"}"#;
        let entries = list(&[ROOT, &path("@/proj", "write"), glob]);
        let ran = site.both(&entries, "cat a.env; cat sub/x.env; echo no >>a.env; rm -f a.env; cat src/a.txt");
        assert_eq!(ran.stdout, "a\n", "{ran:?}");
        assert_eq!(site.text("proj/a.env"), "secret\n");
        let weaker = ran.start["sandboxLevel"]["weaker"].to_string();
        assert!(weaker.contains("*.env"), "{weaker}");
    }

    fn example_5_a_pattern_has_a_depth(site) {
        fs::write(site.scratch.path("proj/a.env"), "secret\n").unwrap();
        fs::write(site.scratch.path("proj/sub/x.env"), "below\n").unwrap();
        let glob = r#"{"path":{"type":"glob_pattern","pattern":"**/*.env"},"access":"deny"}"#;
        let mut sandbox = site.managed(true, "restricted", &list(&[ROOT, glob]));
        sandbox["permissions"]["file_system"]["glob_scan_max_depth"] = json!(1);
        let ran = site.run(sandbox, "cat a.env; cat sub/x.env");
        assert_eq!(ran.stdout, "below\n", "{ran:?}");
    }

    fn example_6_a_minimal_view(site) {
        let minimal = r#"{"path":{"type":"special","value":{"kind":"minimal"}},"access":"read"}"#;
        let entries = list(&[minimal, &path("@/proj/src", "read")]);
        symlink("../../other/o.txt", site.scratch.path("proj/src/out")).unwrap();
        let script = "cd src; cat a.txt; cat /etc/hostname >/dev/null && echo there; \
                      cat ../../other/o.txt; cat out; touch n; touch /n; ls /";
        let sandbox = site.managed(true, "restricted", &entries);
        let start = Start::shell("minimal", script)
            .cwd(&site.scratch.path("proj/src"))
            .with("sandbox", sandbox);
        site.client.start(start);
        let outcome = site.client.closed("minimal");
        // The shell started in `src` already.
        let lines: Vec<&str> = outcome.stdout.lines().collect();
        assert_eq!(lines[..2], ["a", "there"], "{outcome:?}");
        assert!(!lines.contains(&"home") && !lines.contains(&"root"), "{outcome:?}");
        assert_eq!(outcome.stderr.matches("Read-only file system").count(), 2, "{outcome:?}");
        assert!(!site.exists("proj/src/n"));
    }

    fn example_7_everything_but_one_directory(site) {
        let root = ROOT.replace("read", "write");
        let entries = list(&[&root, &path("@/proj/sub", "none")]);
        let ran = site.both(&entries, "touch .git/n ../other/n; cat sub/s; exit 3");
        assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{ran:?}");
        assert!(site.exists("proj/.git/n") && site.exists("other/n"));
        let asked = list(&[&root, &path("@/proj/.git", "read"), &path("@/proj/.codex", "read")]);
        let ran = site.both(&asked, "touch .git/m .codex/m; mkdir .codex; exit 3");
        assert_eq!(ran.code, 3);
        assert!(!site.exists("proj/.git/m") && !site.exists("proj/.codex"));
    }

    fn example_8_an_explicit_grant(site) {
        let entries = list(&[ROOT, &path("@/proj", "write"), &path("@/proj/.git", "write")]);
        let ran = site.both(&entries, "touch .git/n && touch .codex/n");
        assert!(ran.stderr.contains(".codex"), "{ran:?}");
        assert!(site.exists("proj/.git/n"));
        assert_eq!(site.names(), NAMES);
    }

    fn example_9_a_directory_is_opened_again(site) {
        let entries = list(&[
            ROOT,
            &path("@/proj", "write"),
            &path("@/proj/sub", "none"),
            &path("@/proj/sub/a", "write"),
        ]);
        let ran = site.both(&entries, "touch sub/a/n && echo in; cat sub/s; touch sub/n; ls sub");
        assert_eq!(ran.stdout, "in\n", "{ran:?}");
        assert!(site.exists("proj/sub/a/n") && !site.exists("proj/sub/n"));
    }

    fn example_10_a_missing_root(site) {
        let entries = list(&[ROOT, &path("@/nowhere", "write")]);
        let ran = site.both(&entries, "touch ../nowhere/n; echo on");
        assert_eq!(ran.stdout, "on\n");
        assert!(ran.stderr.contains("No such file"), "{ran:?}");
        assert!(!site.exists("nowhere"));
    }

    fn example_11_what_a_process_is_left_with(site) {
        let sandbox = site.managed(true, "restricted", ROOT);
        let ran = site.run(
            sandbox,
            "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; \
             for n in 3 4 5 6 7 8 9 10 11 12 13 14 15; do [ -e /proc/self/fd/$n ] && echo open $n; done; \
             env; ls /proc | grep -c '^[0-9]*$'",
        );
        for line in ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
            assert!(ran.stdout.contains(line), "{ran:?}");
        }
        assert!(!ran.stdout.contains("open"), "{ran:?}");
        let mut variables: Vec<&str> = ran
            .stdout
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, _)| name)
            .collect();
        variables.sort_unstable();
        assert!(variables.iter().all(|name| ["OLDPWD", "PATH", "PWD", "_"].contains(name)), "{ran:?}");
        let processes: u32 = ran.stdout.lines().last().unwrap().parse().unwrap();
        assert!(processes < 10, "{ran:?}");
        assert_eq!(ran.start["sandboxType"], "linuxSeccomp");
    }

    fn example_12_a_denial_is_told_with_its_path(site) {
        let sandbox = site.managed(true, "restricted", WORKSPACE);
        let outside = site.scratch.path("other/n");
        let (id, _) = site.start(sandbox.clone(), &format!("touch {outside}"));
        site.client.closed(&id);
        let exited = site.client.exited(&id);
        assert_eq!(exited["sandboxDenied"], true, "{exited}");
        let rule = json!({"path": "/", "access": "read", "origin": "policy"});
        let expected = json!({"kind": "path", "path": outside, "errno": "EROFS", "rule": rule});
        assert_eq!(exited["sandboxDenial"], expected, "{exited}");
        let read = site.client.read(&id, json!({}));
        assert_eq!(read["sandboxDenied"], true, "{read}");
        for script in ["exit 7", "exit 0", "touch src/n"] {
            let (id, _) = site.start(sandbox.clone(), script);
            site.client.closed(&id);
            let exited = site.client.exited(&id);
            assert_eq!(exited["sandboxDenied"], false, "{script}: {exited}");
        }
    }

    fn the_old_clients_helper_is_understood(site) {
        let proj = site.scratch.path("proj");
        let profile = site.managed(false, "restricted", WORKSPACE)["permissions"].to_string();
        let helper = "/gone/tmp/arg0/codex-arg0Ab12/codex-linux-sandbox";
        let start = |id: &str, option: &str, script: &str| {
            let profile = ["--permission-profile", profile.as_str(), option];
            let places = ["--sandbox-policy-cwd", proj.as_str(), "--command-cwd", proj.as_str()];
            let command = ["--", "/bin/sh", "-c", script];
            let argv = [&[helper][..], &places, &profile, &command].concat();
            Start::command(id, &argv).env("PATH", "/usr/bin:/bin").with("arg0", helper)
        };
        let script = "pwd; touch src/n && touch .git/n; touch ../other/n; exit 3";
        let outcome = site.client.run(start("old", "--no-proc", script));
        assert_eq!((outcome.code, outcome.stdout), (3, format!("{proj}\n")));
        assert!(site.exists("proj/src/n"));
        assert!(!site.exists("proj/.git/n") && !site.exists("other/n"));
        let refused = start("new", "--more-confined", "touch src/m");
        let error = site.client.request("process/start", refused.0).unwrap_err();
        assert_eq!(error.code, -32602);
        assert!(error.message.contains("--more-confined"), "{error:?}");
        assert!(!site.exists("proj/src/m"));
        assert_eq!(site.names(), NAMES);
    }

    fn example_13_nothing_is_confined_and_said_to_be(site) {
        let sandbox = json!({"permissions": {"type": "disabled"}, "windowsSandboxLevel": "disabled"});
        let ran = site.run(sandbox, "grep Seccomp: /proc/self/status; touch src/n");
        assert_eq!(ran.stdout, "Seccomp:\t0\n", "{ran:?}");
        assert_eq!(ran.start["sandboxType"], "none");
        assert!(site.exists("proj/src/n"));
    }

    fn example_14_only_the_network_is_confined(site) {
        let files = json!({"type": "unrestricted"});
        for permissions in [
            json!({"type": "external", "network": "restricted"}),
            json!({"type": "managed", "file_system": files, "network": "restricted"}),
        ] {
            let sandbox = json!({"permissions": permissions, "windowsSandboxLevel": "disabled"});
            let ran = site.run(
                sandbox,
                "grep -E '^(NoNewPrivs|Seccomp:)' /proc/self/status; readlink /proc/self/ns/user; touch src/n",
            );
            let namespace = fs::read_link("/proc/self/ns/user").unwrap();
            let expected = format!("NoNewPrivs:\t1\nSeccomp:\t2\n{}\n", namespace.display());
            assert_eq!(ran.stdout, expected, "{ran:?}");
            assert!(site.exists("proj/src/n"));
        }
    }

    fn example_15_the_network_is_the_servers(site) {
        let script = "readlink /proc/self/ns/net; touch src/n";
        let online = site.managed(true, "enabled", ROOT);
        let offline = site.managed(true, "restricted", ROOT);
        let namespace = fs::read_link("/proc/self/ns/net").unwrap();
        let expected = format!("{}\n", namespace.display());
        assert_eq!(site.run(online, script).stdout, expected);
        assert_ne!(site.run(offline, script).stdout, expected);
        assert!(!site.exists("proj/src/n"));
    }

    fn a_workspace_with_a_linked_codex_works(site) {
        fs::create_dir(site.scratch.path("proj/real")).unwrap();
        symlink("real", site.scratch.path("proj/.codex")).unwrap();
        let ran = site.both(WORKSPACE, "touch src/n; touch .codex/n; touch real/n; exit 3");
        assert_eq!(ran.code, 3, "{ran:?}");
        assert!(site.exists("proj/src/n") && !site.exists("proj/real/n"));
        let weaker = ran.start["sandboxLevel"]["weaker"].to_string();
        assert!(weaker.contains(".codex"), "{weaker}");
    }

    fn a_file_as_a_writable_root_works(site) {
        let entries = list(&[ROOT, &path("@/proj/src/a.txt", "write")]);
        let ran = site.both(&entries, "echo b >>src/a.txt; touch src/n; exit 3");
        assert_eq!(ran.code, 3, "{ran:?}");
        assert_eq!(site.text("proj/src/a.txt"), "a\nb\nb\n");
        assert!(!site.exists("proj/src/n"));
    }

    fn mount_points_are_gone_after_a_kill(site) {
        let sandbox = site.managed(true, "restricted", WORKSPACE);
        let (id, _) = site.start(sandbox, "echo on; sleep 1000");
        site.client.output(&id, "stdout", |text| text == "on\n");
        assert!(site.exists("proj/.codex") && site.exists("proj/.aws"));
        site.client.ok("process/terminate", json!({"processId": id}));
        site.client.closed(&id);
        within(PATIENCE, "the project is as it was", || site.names() == NAMES);
    }

    fn the_next_server_takes_away_what_a_killed_one_left(site) {
        let sandbox = site.managed(true, "restricted", WORKSPACE);
        let (id, _) = site.start(sandbox, "echo on; sleep 1000");
        site.client.output(&id, "stdout", |text| text == "on\n");
        signal(site.client.server_pid(), "KILL");
        within(PATIENCE, "the project is as it was", || {
            let next = Site::serve(site.user);
            drop(next);
            site.names() == NAMES
        });
    }

    fn several_runs_share_a_mount_point(site) {
        fs::create_dir(site.scratch.path("proj/.agents")).unwrap();
        let sandbox = site.managed(true, "restricted", WORKSPACE);
        let (first, _) = site.start(sandbox.clone(), "echo on; sleep 1000");
        site.client.output(&first, "stdout", |text| text == "on\n");
        let second = site.run(sandbox, "mkdir .codex || mkdir .codex/n");
        assert!(second.stderr.contains("Read-only file system"), "{second:?}");
        assert!(site.exists("proj/.codex"));
        site.client.ok("process/terminate", json!({"processId": first}));
        site.client.closed(&first);
        let left = [".agents", ".git", "src", "sub"];
        within(PATIENCE, "the project is as it was", || site.names() == left);
    }
}

#[test]
fn a_workspace_of_another_owner_works() {
    needs!(Need::Root);
    let site = &mut Site::new(Some(ORDINARY));
    chown(site.scratch.path("proj"), Some(0), Some(0)).unwrap();
    give(Path::new(&site.scratch.path("proj/src")), ORDINARY);
    let ran = site.both(WORKSPACE, "touch src/n; mkdir .codex; exit 3");
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(site.exists("proj/src/n"));
    assert_eq!(site.names(), NAMES);
}
