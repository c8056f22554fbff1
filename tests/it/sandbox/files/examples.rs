//! The reference's proven examples as file requests, in the words of both generations. Examples 11 and 12 are about
//! commands alone. After each, the host has what was permitted and nothing else.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::{
    DENIED, MISSING, READ_ONLY, Stage, as_each_user, entry, everything, glob, helpers, put,
    restricted, special,
};

/// A generation of clients: how it writes paths, and which project its policies are about.
#[derive(Clone, Copy)]
struct Words {
    scheme: &'static str,
}

const BOTH: [Words; 2] = [Words { scheme: "" }, Words { scheme: "file://" }];

impl Words {
    fn is_new(self) -> bool {
        !self.scheme.is_empty()
    }

    /// The path of something in the stage's directory.
    fn at(self, stage: &Stage, name: &str) -> String {
        format!("{}{}", self.scheme, stage.path(name))
    }

    /// A policy about the project.
    fn policy(self, stage: &Stage, entries: &[Value]) -> Value {
        let mut policy = restricted(entries);
        let project = self.at(stage, "proj");
        policy["cwd"] = json!(project);
        if self.is_new() {
            policy["workspaceRoots"] = json!([project]);
        }
        policy
    }

    /// The entries that the real client writes for a workspace.
    fn workspace(self, stage: &Stage) -> Value {
        let below = |subpath: &str| {
            let value = json!({"kind": "project_roots", "subpath": subpath});
            json!({"path": {"type": "special", "value": value}, "access": "read"})
        };
        let mut entries = vec![
            everything(),
            special("project_roots", "write"),
            special("tmpdir", "write"),
        ];
        entries.extend([".git", ".codex", ".agents"].map(below));
        self.policy(stage, &entries)
    }
}

/// A request about one path.
fn of(path: &str) -> Value {
    json!({"path": path})
}

as_each_user! {
    fn example_1_read_only(stage) {
        let before = stage.host();
        for words in BOTH {
            let policy = words.policy(stage, &[everything()]);
            assert_eq!(stage.read(&policy, &words.at(stage, "proj/src/a.txt")), b"proj/src/a.txt");
            stage.refused(&policy, "writeFile", put(&words.at(stage, "proj/src/a.txt"), "x"), READ_ONLY);
            stage.refused(&policy, "readFile", of(&words.at(stage, "proj/none")), MISSING);
            stage.refused(&policy, "readFile", of(&words.at(stage, "proj")), (-32600, "is not a file"));
        }
        stage.assert_host(&before);
    }

    fn examples_2_and_3_workspace_write(stage) {
        let temporary = stage.make("temporary");
        stage.serve(&[], &[("TMPDIR", &temporary)]);
        let before = stage.host();
        for words in BOTH {
            let policy = words.workspace(stage);
            for name in ["proj/src/n", "temporary/x"] {
                stage.write(&policy, &words.at(stage, name), "x");
                assert_eq!(fs::read(stage.path(name)).unwrap(), b"x");
                fs::remove_file(stage.path(name)).unwrap();
            }
            for name in ["other/n", "proj/.git/n", "proj/.codex/n", "proj/.agents/n"] {
                stage.refused(&policy, "writeFile", put(&words.at(stage, name), "x"), READ_ONLY);
            }
            // As `mkdir -p` does where there is a directory: here it is the one that protects the name.
            stage.ok(&policy, "createDirectory", of(&words.at(stage, "proj/.codex")));
            stage.refused(&policy, "remove", of(&words.at(stage, "proj/.git")), READ_ONLY);
            let mut without = policy.clone();
            without.as_object_mut().unwrap().remove("cwd");
            let code = if words.is_new() { -32602 } else { -32600 };
            stage.refused(&without, "writeFile", put(&words.at(stage, "proj/src/n"), "x"), (code, "require cwd"));
        }
        stage.assert_host(&before);
    }

    fn example_2_the_directory_tmp(stage) {
        let name = format!("exec-server-test-slash-tmp-{}-{:?}", std::process::id(), stage.owner);
        let (inside, outside) = (format!("/tmp/{name}"), format!("/var/tmp/{name}"));
        for words in BOTH {
            let policy = words.policy(stage, &[everything(), special("slash_tmp", "write")]);
            stage.write(&policy, &format!("{}{inside}", words.scheme), "x");
            assert_eq!(fs::read(&inside).unwrap(), b"x");
            fs::remove_file(&inside).unwrap();
            stage.refused(&policy, "writeFile", put(&format!("{}{outside}", words.scheme), "x"), READ_ONLY);
            assert!(!fs::exists(&outside).unwrap());
        }
    }

    fn example_3_a_project_is_not_its_cwd(stage) {
        let before = stage.host();
        let words = BOTH[1];
        let mut policy = words.workspace(stage);
        policy.as_object_mut().unwrap().remove("workspaceRoots");
        stage.refused(&policy, "writeFile", put(&words.at(stage, "proj/src/n"), "x"), READ_ONLY);
        stage.assert_host(&before);
    }

    fn example_4_a_denied_directory(stage) {
        let before = stage.host();
        for (words, word) in [(BOTH[0], "none"), (BOTH[0], "deny"), (BOTH[1], "none"), (BOTH[1], "deny")] {
            let entries = [everything(), entry(&words.at(stage, "proj"), "write"), entry(&words.at(stage, "proj/sub"), word)];
            let policy = words.policy(stage, &entries);
            stage.refused(&policy, "readFile", of(&words.at(stage, "proj/sub/s")), DENIED);
            stage.refused(&policy, "readDirectory", of(&words.at(stage, "proj/sub")), DENIED);
            stage.refused(&policy, "readFile", of(&words.at(stage, "proj/in/s")), DENIED);
        }
        stage.assert_host(&before);
    }

    fn example_5_a_denied_pattern(stage) {
        for words in BOTH {
            let entries = [everything(), entry(&words.at(stage, "proj"), "write"), glob(&stage.path("proj/**/*.env"))];
            let policy = words.policy(stage, &entries);
            let old = words.at(stage, "proj/src/b.env");
            stage.refused(&policy, "readFile", of(&old), DENIED);
            assert!(stage.ask(&policy, "writeFile", put(&old, "x")).is_err());
            assert_eq!(fs::read(stage.path("proj/src/b.env")).unwrap(), b"proj/src/b.env");
            let new = words.at(stage, "proj/new.env");
            stage.write(&policy, &new, "made");
            assert!(stage.ask(&policy, "writeFile", put(&new, "again")).is_err(), "it matches now");
            // Better than the reference, which reads it.
            stage.refused(&policy, "readFile", of(&new), DENIED);
            assert_eq!(fs::read(stage.path("proj/new.env")).unwrap(), b"made");
            fs::remove_file(stage.path("proj/new.env")).unwrap();
        }
    }

    fn example_5_a_pattern_has_a_depth(stage) {
        fs::write(stage.path("proj/top.env"), "secret").unwrap();
        stage.own(stage.path("proj/top.env").as_ref());
        for words in BOTH {
            let mut policy = words.policy(stage, &[everything(), glob("**/*.env")]);
            policy["permissions"]["file_system"]["glob_scan_max_depth"] = json!(1);
            stage.refused(&policy, "readFile", of(&words.at(stage, "proj/top.env")), DENIED);
            assert_eq!(stage.read(&policy, &words.at(stage, "proj/src/b.env")), b"proj/src/b.env");
            policy["permissions"]["file_system"]["glob_scan_max_depth"] = json!(0);
            stage.refused(&policy, "readFile", of(&words.at(stage, "proj/top.env")), (-32602, "sandbox"));
        }
    }

    fn example_6_a_minimal_view(stage) {
        symlink("../../other/o.txt", stage.path("proj/src/away")).unwrap();
        for words in BOTH {
            let policy = words.policy(stage, &[special("minimal", "read"), entry(&words.at(stage, "proj/src"), "read")]);
            assert_eq!(stage.read(&policy, &words.at(stage, "proj/src/a.txt")), b"proj/src/a.txt");
            let hostname = format!("{}/etc/passwd", words.scheme);
            assert_eq!(stage.read(&policy, &hostname), fs::read("/etc/passwd").unwrap());
            for name in ["other/o.txt", "proj/src/away", "proj/sub/s"] {
                stage.refused(&policy, "readFile", of(&words.at(stage, name)), MISSING);
            }
            stage.refused(&policy, "writeFile", put(&words.at(stage, "proj/src/n"), "x"), READ_ONLY);
        }
        assert!(!fs::exists(stage.path("proj/src/n")).unwrap());
    }

    fn example_7_everything_but_one_directory(stage) {
        for words in BOTH {
            let entries = [special("root", "write"), entry(&words.at(stage, "proj/sub"), "none")];
            let policy = words.policy(stage, &entries);
            for name in ["proj/.git/n", "other/n"] {
                stage.write(&policy, &words.at(stage, name), "x");
                assert_eq!(fs::read(stage.path(name)).unwrap(), b"x");
                fs::remove_file(stage.path(name)).unwrap();
            }
            stage.refused(&policy, "readFile", of(&words.at(stage, "proj/sub/s")), DENIED);
            assert!(stage.ask(&policy, "writeFile", put(&words.at(stage, "proj/sub/s"), "x")).is_err());
            assert_eq!(fs::read(stage.path("proj/sub/s")).unwrap(), b"proj/sub/s");
        }
    }

    fn example_8_an_explicit_grant(stage) {
        for words in BOTH {
            let entries = [everything(), entry(&words.at(stage, "proj"), "write"), entry(&words.at(stage, "proj/.git"), "write")];
            let policy = words.policy(stage, &entries);
            stage.write(&policy, &words.at(stage, "proj/.git/n"), "x");
            assert_eq!(fs::read(stage.path("proj/.git/n")).unwrap(), b"x");
            fs::remove_file(stage.path("proj/.git/n")).unwrap();
            stage.refused(&policy, "writeFile", put(&words.at(stage, "proj/.codex/n"), "x"), READ_ONLY);
        }
    }

    fn example_9_a_directory_is_opened_again(stage) {
        stage.make("proj/sub/a");
        for words in BOTH {
            let entries = [
                everything(),
                entry(&words.at(stage, "proj"), "write"),
                entry(&words.at(stage, "proj/sub"), "none"),
                entry(&words.at(stage, "proj/sub/a"), "write"),
            ];
            let policy = words.policy(stage, &entries);
            stage.write(&policy, &words.at(stage, "proj/sub/a/n"), "x");
            assert_eq!(fs::read(stage.path("proj/sub/a/n")).unwrap(), b"x");
            fs::remove_file(stage.path("proj/sub/a/n")).unwrap();
            let error = stage.ask(&policy, "readFile", of(&words.at(stage, "proj/sub/s"))).unwrap_err();
            assert!([MISSING.0, DENIED.0].contains(&error.code), "{error:?}");
        }
    }

    fn example_10_a_missing_root(stage) {
        for words in BOTH {
            let policy = words.policy(stage, &[everything(), entry(&words.at(stage, "nowhere"), "write")]);
            stage.refused(&policy, "writeFile", put(&words.at(stage, "nowhere/n"), "x"), MISSING);
            assert!(!fs::exists(stage.path("nowhere")).unwrap());
        }
    }

    fn examples_13_and_14_files_are_free(stage) {
        let files = json!({"type": "unrestricted"});
        for (permissions, count) in [
            (json!({"type": "disabled"}), 0),
            (json!({"type": "external", "network": "enabled"}), 0),
            (json!({"type": "managed", "file_system": files, "network": "enabled"}), 0),
            // A command has a filter of system calls then.
            (json!({"type": "external", "network": "restricted"}), 1),
            (json!({"type": "managed", "file_system": files, "network": "restricted"}), 2),
        ] {
            let policy = json!({"permissions": permissions, "windowsSandboxLevel": "disabled"});
            for words in BOTH {
                stage.write(&policy, &words.at(stage, "proj/.git/n"), "x");
                assert_eq!(stage.read(&policy, &words.at(stage, "proj/.git/n")), b"x");
                fs::remove_file(stage.path("proj/.git/n")).unwrap();
            }
            assert_eq!(helpers::of(stage).len(), count, "a helper where a command is confined: {policy}");
        }
    }

    fn example_15_a_network_is_nothing_to_files(stage) {
        for words in BOTH {
            let mut policy = words.policy(stage, &[everything()]);
            for network in ["restricted", "enabled"] {
                policy["permissions"]["network"] = json!(network);
                assert_eq!(stage.read(&policy, &words.at(stage, "proj/src/a.txt")), b"proj/src/a.txt");
                stage.refused(&policy, "writeFile", put(&words.at(stage, "proj/src/n"), "x"), READ_ONLY);
            }
        }
        assert_eq!(helpers::of(stage).len(), 1, "the same helper for all of it");
        assert!(!fs::exists(stage.path("proj/src/n")).unwrap());
    }
}
