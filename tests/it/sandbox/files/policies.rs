//! What each kind of policy lets be done, operation by operation.

use std::fs;

use serde_json::json;

use super::{
    DENIED, MISSING, READ_ONLY, as_each_user, changes, entry, everything, glob, helpers, put,
    read_only, restricted, special,
};

as_each_user! {
    fn a_read_only_policy_lets_everything_be_read_and_nothing_changed(stage) {
        let policy = read_only();
        let before = stage.host();
        let proj = stage.path("proj");
        assert_eq!(stage.read(&policy, &format!("{proj}/src/a.txt")), b"proj/src/a.txt");
        for (method, params) in changes(&format!("{proj}/src"), "a.txt") {
            if method != "createDirectory" {
                stage.refused(&policy, method, params, READ_ONLY);
            }
        }
        stage.refused(&policy, "createDirectory", json!({"path": format!("{proj}/a/b")}), READ_ONLY);
        stage.refused(&policy, "remove", json!({"path": proj}), READ_ONLY);
        stage.refused(&policy, "readFile", json!({"path": format!("{proj}/none")}), MISSING);
        stage.assert_host(&before);
    }

    fn a_writable_root_takes_every_change_and_the_host_has_it(stage) {
        let policy = stage.workspace();
        let src = stage.path("proj/src");
        for (method, params) in changes(&src, "a.txt") {
            if method == "rename" {
                assert_eq!(fs::read(format!("{src}/a.txt")).unwrap(), b"", "opened to be replaced");
            }
            if method == "remove" {
                fs::write(format!("{src}/a.txt"), "again").unwrap();
            }
            stage.ok(&policy, method, params);
        }
        assert_eq!(fs::read(format!("{src}/new")).unwrap(), b"x");
        assert_eq!(fs::read(format!("{src}/copy")).unwrap(), b"x");
        assert!(fs::metadata(format!("{src}/made")).unwrap().is_dir());
        assert_eq!(fs::read_link(format!("{src}/link")).unwrap().to_str(), Some("anything"));
        assert_eq!(fs::read(format!("{src}/renamed")).unwrap(), b"");
        assert!(!fs::exists(format!("{src}/a.txt")).unwrap());
        stage.ok(&policy, "remove", json!({"path": src}));
        assert!(!fs::exists(&src).unwrap());
    }

    fn outside_a_writable_root_nothing_changes(stage) {
        let policy = stage.workspace();
        let other = stage.path("other");
        let before = stage.host();
        for (method, params) in changes(&other, "o.txt") {
            stage.refused(&policy, method, params, READ_ONLY);
        }
        let (inside, outside) = (stage.path("proj/src/a.txt"), stage.path("other/new"));
        for (method, more) in [("copy", json!({"recursive": false})), ("rename", json!({}))] {
            let mut params = json!({"sourcePath": inside, "destinationPath": outside});
            for (member, value) in more.as_object().unwrap() {
                params[member] = value.clone();
            }
            let error = stage.ask(&policy, method, params).unwrap_err();
            // Two mounts are two file systems to a rename.
            assert!(error.message.contains("(os error 30)") || error.message.contains("(os error 18)"), "{error:?}");
        }
        let copy = json!({"sourcePath": other, "destinationPath": stage.path("proj/taken"), "recursive": true});
        stage.ok(&policy, "copy", copy);
        assert_eq!(fs::read(stage.path("proj/taken/o.txt")).unwrap(), b"other/o.txt");
        stage.ok(&policy, "remove", json!({"path": stage.path("proj/taken")}));
        stage.assert_host(&before);
    }

    fn metadata_of_the_project_is_protected_also_where_it_is_missing(stage) {
        let policy = stage.workspace();
        let before = stage.host();
        stage.refused(&policy, "writeFile", put(&stage.path("proj/.git/n"), "x"), READ_ONLY);
        stage.refused(&policy, "writeFile", put(&stage.path("proj/.git/config"), "x"), READ_ONLY);
        stage.refused(&policy, "remove", json!({"path": stage.path("proj/.git")}), READ_ONLY);
        for name in [".codex", ".agents", ".aws"] {
            stage.refused(&policy, "writeFile", put(&stage.path(&format!("proj/{name}/n")), "x"), READ_ONLY);
        }
        stage.write(&policy, &stage.path("proj/ok"), "x");
        fs::remove_file(stage.path("proj/ok")).unwrap();
        stage.assert_host(&before);
    }

    fn a_grant_of_its_own_lifts_the_protection(stage) {
        let git = stage.path("proj/.git");
        let policy = restricted(&[everything(), entry(&stage.path("proj"), "write"), entry(&git, "write")]);
        stage.write(&policy, &format!("{git}/n"), "x");
        assert_eq!(fs::read(format!("{git}/n")).unwrap(), b"x");
    }

    fn a_denied_directory_can_neither_be_read_nor_changed(stage) {
        let policy = stage.denying();
        let before = stage.host();
        let sub = stage.path("proj/sub");
        for method in ["readFile", "getMetadata", "canonicalize"] {
            stage.refused(&policy, method, json!({"path": format!("{sub}/s")}), DENIED);
        }
        stage.refused(&policy, "open", json!({"handleId": "h", "path": format!("{sub}/s")}), DENIED);
        stage.refused(&policy, "readDirectory", json!({"path": sub}), DENIED);
        let options = json!({"maxDepth": 8, "maxDirectories": 100, "maxEntries": 100, "followDirectorySymlinks": true});
        let found = stage.ok(&policy, "walk", json!({"path": sub, "options": options}));
        assert_eq!(found["entries"], json!([]));
        assert_eq!(found["errors"][0]["path"], json!(sub), "{found}");
        for (method, params) in changes(&sub, "s") {
            let error = stage.ask(&policy, method, params.clone()).unwrap_err();
            assert!(error.code == -32600 || error.code == -32603, "{method} {params}: {error:?}");
        }
        stage.ask(&policy, "remove", json!({"path": sub})).unwrap_err();
        stage.write(&policy, &stage.path("proj/ok"), "x");
        fs::remove_file(stage.path("proj/ok")).unwrap();
        stage.assert_host(&before);
    }

    fn what_is_reopened_below_a_denied_directory_can_be_written(stage) {
        let deep = stage.make("proj/sub/a");
        let policy = restricted(&[
            everything(), entry(&stage.path("proj"), "write"), entry(&stage.path("proj/sub"), "none"), entry(&deep, "write"),
        ]);
        stage.write(&policy, &format!("{deep}/n"), "x");
        assert_eq!(fs::read(format!("{deep}/n")).unwrap(), b"x");
        let error = stage.ask(&policy, "readFile", json!({"path": stage.path("proj/sub/s")})).unwrap_err();
        assert!(error.code == -32004 || error.code == -32600, "{error:?}");
    }

    fn what_a_pattern_matches_is_denied_also_when_it_is_made_later(stage) {
        let policy = restricted(&[
            everything(), entry(&stage.path("proj"), "write"), glob(&format!("{}/**/*.env", stage.path("proj"))),
        ]);
        let old = stage.path("proj/src/b.env");
        stage.refused(&policy, "readFile", json!({"path": old}), DENIED);
        let error = stage.ask(&policy, "writeFile", put(&old, "x")).unwrap_err();
        assert!(error.code == -32600 || error.code == -32603, "{error:?}");
        assert_eq!(fs::read(&old).unwrap(), b"proj/src/b.env");
        let new = stage.path("proj/new.env");
        stage.write(&policy, &new, "once");
        assert!(stage.ask(&policy, "writeFile", put(&new, "twice")).is_err(), "it matches now");
        assert_eq!(fs::read(&new).unwrap(), b"once");
        stage.refused(&policy, "readFile", json!({"path": new}), DENIED);
    }

    fn a_minimal_view_has_the_platform_and_what_is_named(stage) {
        let src = stage.path("proj/src");
        let policy = restricted(&[special("minimal", "read"), entry(&src, "read")]);
        let before = stage.host();
        assert_eq!(stage.read(&policy, &format!("{src}/a.txt")), b"proj/src/a.txt");
        assert_eq!(stage.read(&policy, "/etc/passwd"), fs::read("/etc/passwd").unwrap());
        for method in ["readFile", "getMetadata", "readDirectory", "canonicalize"] {
            stage.refused(&policy, method, json!({"path": stage.path("other/o.txt")}), MISSING);
        }
        stage.refused(&policy, "writeFile", put(&format!("{src}/n"), "x"), READ_ONLY);
        let names = stage.ok(&policy, "readDirectory", json!({"path": src}));
        assert_eq!(names["entries"].as_array().unwrap().len(), 2, "{names}");
        stage.assert_host(&before);
    }

    fn a_missing_root_is_not_there(stage) {
        let policy = restricted(&[everything(), entry("/nonexist", "write")]);
        stage.refused(&policy, "writeFile", put("/nonexist/n", "x"), MISSING);
    }

    fn a_root_that_may_be_written_needs_a_helper_only_where_a_command_is_confined(stage) {
        let mut policy = restricted(&[special("root", "write")]);
        for (network, count) in [("enabled", 0), ("restricted", 1)] {
            policy["permissions"]["network"] = json!(network);
            stage.write(&policy, &stage.path("proj/.git/n"), network);
            assert_eq!(fs::read_to_string(stage.path("proj/.git/n")).unwrap(), network);
            assert_eq!(helpers::of(stage).len(), count, "{network}");
        }
    }

    fn what_may_be_read_is_read_by_a_helper(stage) {
        let policy = read_only();
        let src = stage.path("proj/src");
        for _ in 0..3 {
            stage.read(&policy, &format!("{src}/a.txt"));
            for method in ["getMetadata", "readDirectory", "canonicalize"] {
                stage.ok(&policy, method, json!({"path": src}));
            }
            let options = json!({"maxDepth": 1, "maxDirectories": 9, "maxEntries": 9, "followDirectorySymlinks": true});
            stage.ok(&policy, "walk", json!({"path": src, "options": options}));
            assert_eq!(helpers::of(stage).len(), 1);
        }
    }

    fn an_error_says_at_which_stage_with_which_number_about_what(stage) {
        let policy = stage.workspace();
        let path = stage.path("other/n");
        let mut params = put(&path, "x");
        params["sandbox"] = policy;
        let id = stage.client.ask("fs/writeFile", params);
        let answer = stage.client.whole_answer(id);
        let rule = json!({"path": "/", "access": "read", "origin": "policy"});
        assert_eq!(answer["error"]["data"], json!({"kind": "sandboxDenied", "stage": "operation", "errno": 30, "path": path, "rule": rule}));
    }

    fn an_error_says_which_rule_is_why(stage) {
        let env = stage.path("proj/**/*.env");
        let asked = restricted(&[
            everything(), entry(&stage.path("proj"), "write"), entry(&stage.path("proj/sub"), "none"), glob(&env),
        ]);
        let narrow = restricted(&[special("minimal", "read"), entry(&stage.path("proj"), "read")]);
        let at = |name: &str| stage.path(name);
        let from = |source: &str, destination: &str| json!({"sourcePath": at(source), "destinationPath": at(destination), "recursive": false});
        let of = |name: &str| json!({"path": at(name)});
        let rule = |path: &str, access: &str, origin: &str| json!({"path": path, "access": access, "origin": origin});
        let cases = [
            (&asked, "writeFile", put(&at("other/n"), "x"), rule("/", "read", "policy")),
            (&asked, "writeFile", put(&at("proj/out/n"), "x"), rule("/", "read", "policy")),
            (&asked, "writeFile", put(&at("proj/.git/n"), "x"), rule(&at("proj/.git"), "read", "metadata")),
            (&asked, "remove", of("proj/.git"), rule(&at("proj/.git"), "read", "metadata")),
            (&asked, "readFile", of("proj/sub/s"), rule(&at("proj/sub"), "deny", "policy")),
            (&asked, "open", json!({"path": at("proj/in/s"), "handleId": "h"}), rule(&at("proj/sub"), "deny", "policy")),
            (&asked, "readFile", of("proj/src/b.env"), json!({"pattern": env, "access": "deny", "origin": "policy"})),
            (&asked, "copy", from("proj/src/a.txt", "other/a"), rule("/", "read", "policy")),
            (&asked, "copy", from("proj/sub/s", "proj/s"), rule(&at("proj/sub"), "deny", "policy")),
            (&asked, "rename", from("proj/src/a.txt", "other/a"), rule("/", "read", "policy")),
            (&narrow, "readFile", of("other/o.txt"), json!({"access": "none", "origin": "default"})),
            (&narrow, "readFile", of("proj/out/o.txt"), json!({"access": "none", "origin": "default"})),
            // What is not there, or not a directory, no rule is the cause of.
            (&asked, "readFile", of("proj/none"), serde_json::Value::Null),
            (&asked, "readDirectory", of("proj/src/a.txt"), serde_json::Value::Null),
            (&asked, "writeFile", put(&at("proj/none/n"), "x"), serde_json::Value::Null),
        ];
        for (policy, method, mut params, expected) in cases {
            params["sandbox"] = policy.clone();
            let id = stage.client.ask(&format!("fs/{method}"), params.clone());
            let answer = stage.client.whole_answer(id);
            assert_eq!(answer["error"]["data"]["rule"], expected, "{method} {params}: {answer}");
        }
        // It is written as the request writes paths.
        let mut params = put(&format!("file://{}", stage.path("proj/.git/n")), "x");
        params["sandbox"] = asked;
        let id = stage.client.ask("fs/writeFile", params);
        let answer = stage.client.whole_answer(id);
        assert_eq!(answer["error"]["data"]["rule"]["path"], format!("file://{}", stage.path("proj/.git")), "{answer}");
    }

    fn a_policy_that_cannot_be_read_is_refused_and_nothing_is_done(stage) {
        let before = stage.host();
        let path = stage.path("proj/src/n");
        for policy in [json!({}), json!({"permissions": {"type": "managed"}}), json!({"permissions": 1, "windowsSandboxLevel": "disabled"})] {
            stage.refused(&policy, "writeFile", put(&path, "x"), (-32602, ""));
        }
        let moving = restricted(&[special("current_working_directory", "write")]);
        stage.refused(&moving, "writeFile", put(&path, "x"), (-32600, "cwd"));
        stage.assert_host(&before);
    }

    fn the_newer_generation_names_its_roots(stage) {
        let uri = |path: String| format!("file://{path}");
        let proj = stage.path("proj");
        let mut policy = restricted(&[everything(), special("project_roots", "write")]);
        policy["cwd"] = json!(uri(proj.clone()));
        let params = put(&uri(format!("{proj}/n")), "x");
        stage.refused(&policy, "writeFile", params.clone(), READ_ONLY);
        policy["workspaceRoots"] = json!([uri(proj.clone())]);
        stage.ok(&policy, "writeFile", params);
        assert_eq!(fs::read(format!("{proj}/n")).unwrap(), b"x");
    }
}
