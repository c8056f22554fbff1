//! File requests where Landlock alone confines.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::{
    DENIED, MISSING, Stage, as_each_user, changes, entry, everything, glob, helpers, put,
    restricted, special,
};
use crate::support::sandbox::{Launcher, Who};
use crate::support::{Need, encode, has};

/// A server that has nothing but Landlock; false, with the reason, where this machine has none.
fn has_landlock(stage: &mut Stage) -> bool {
    let who = match stage.owner {
        Some(_) => Who::Another,
        None => Who::Myself,
    };
    if !has(Need::Launcher(Launcher::Landlock, who)) {
        return false;
    }
    stage.serve(&["--sandbox-launcher", "landlock"], &[]);
    true
}

/// The project may be changed with its metadata, which Landlock could not take out of it.
fn project(stage: &Stage) -> Value {
    let proj = stage.path("proj");
    let mut entries = vec![everything(), entry(&proj, "write")];
    for name in [".git", ".codex", ".agents", ".aws"] {
        entries.push(entry(&format!("{proj}/{name}"), "write"));
    }
    restricted(&entries)
}

as_each_user! {
    fn what_is_permitted_is_read_and_written(stage) {
        if !has_landlock(stage) { return; }
        let policy = project(stage);
        let path = stage.path("proj/src/a.txt");
        assert_eq!(stage.read(&policy, &path), b"proj/src/a.txt");
        for number in 0..20 {
            stage.write(&policy, &path, &format!("{number}"));
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{number}"));
        }
        assert_eq!(helpers::of(stage).len(), 1, "one helper for all of it");
        let made = stage.path("proj/src/made/deep");
        stage.ok(&policy, "createDirectory", json!({"path": made}));
        stage.ok(&policy, "rename", json!({"sourcePath": path, "destinationPath": format!("{made}/a")}));
        assert_eq!(fs::read(format!("{made}/a")).unwrap(), b"19");
        stage.ok(&policy, "remove", json!({"path": stage.path("proj/src")}));
        assert!(!fs::exists(stage.path("proj/src")).unwrap());
    }

    fn outside_of_what_is_permitted_nothing_changes(stage) {
        if !has_landlock(stage) { return; }
        let policy = project(stage);
        let before = stage.host();
        for directory in ["other", "proj/out", "proj/../other", "proj/src/../out"] {
            for (method, params) in changes(&stage.path(directory), "o.txt") {
                let sets_mode = method == "createDirectory" && params.get("permissions").is_some();
                match method {
                    // Changes of modes are nothing that Landlock could deny.
                    _ if sets_mode => stage.refused(&policy, method, params, (-32603, "Landlock")),
                    "setMetadata" | "setPermissions" => stage.refused(&policy, method, params, (-32603, "Landlock")),
                    _ => stage.refused(&policy, method, params, DENIED),
                }
            }
        }
        let mode = fs::metadata(stage.path("other/o.txt")).unwrap().permissions().mode();
        let params = json!({"path": stage.path("other/o.txt"), "mode": 0o777});
        stage.refused(&policy, "setPermissions", params, (-32603, "permissions"));
        assert_eq!(fs::metadata(stage.path("other/o.txt")).unwrap().permissions().mode(), mode);
        stage.assert_host(&before);
    }

    fn blocks_are_read_and_written_by_handles(stage) {
        if !has_landlock(stage) { return; }
        let policy = project(stage);
        let path = stage.path("proj/src/a.txt");
        stage.ok(&policy, "open", json!({"handleId": "r", "path": path}));
        let block = stage.client.ok("fs/readBlock", json!({"handleId": "r", "offset": 5, "len": 3}));
        assert_eq!(block, json!({"chunk": encode(b"src"), "eof": false}));
        stage.ok(&policy, "open", json!({"handleId": "w", "path": path, "mode": "update"}));
        stage.client.ok("fs/writeBlock", json!({"handleId": "w", "offset": 1, "chunk": encode(b"yz")}));
        assert_eq!(fs::read(&path).unwrap(), b"pyzj/src/a.txt");
        let outside = stage.path("other/o.txt");
        for mode in ["replace", "update"] {
            stage.refused(&policy, "open", json!({"handleId": "o", "path": outside, "mode": mode}), DENIED);
        }
        assert_eq!(fs::read(&outside).unwrap(), b"other/o.txt");
        // To be read it may be opened, and not for more.
        stage.ok(&policy, "open", json!({"handleId": "o", "path": outside}));
        stage.client.err("fs/writeBlock", json!({"handleId": "o", "offset": 0, "chunk": encode(b"x")}));
        assert_eq!(fs::read(&outside).unwrap(), b"other/o.txt");
    }

    fn what_no_entry_covers_cannot_be_read(stage) {
        if !has_landlock(stage) { return; }
        let src = stage.path("proj/src");
        let policy = restricted(&[special("minimal", "read"), entry(&src, "read")]);
        let before = stage.host();
        assert_eq!(stage.read(&policy, &format!("{src}/a.txt")), b"proj/src/a.txt");
        for path in ["other/o.txt", "proj/out/o.txt", "proj/sub/s", "proj/src/../sub/s"] {
            let path = stage.path(path);
            stage.refused(&policy, "readFile", json!({"path": path}), DENIED);
            stage.refused(&policy, "open", json!({"handleId": "h", "path": path}), DENIED);
            let copy = json!({"sourcePath": path, "destinationPath": format!("{src}/got"), "recursive": false});
            stage.refused(&policy, "copy", copy, DENIED);
        }
        stage.refused(&policy, "readDirectory", json!({"path": stage.path("other")}), DENIED);
        stage.refused(&policy, "readFile", json!({"path": stage.path("proj/src/none")}), MISSING);
        stage.refused(&policy, "writeFile", put(&format!("{src}/a.txt"), "x"), DENIED);
        stage.assert_host(&before);
    }

    fn a_root_that_comes_later_is_permitted_then(stage) {
        if !has_landlock(stage) { return; }
        let late = stage.path("late");
        let policy = restricted(&[special("minimal", "read"), entry(&late, "read")]);
        stage.refused(&policy, "readFile", json!({"path": format!("{late}/f")}), MISSING);
        stage.make("late");
        fs::write(format!("{late}/f"), "here").unwrap();
        assert_eq!(stage.read(&policy, &format!("{late}/f")), b"here");
    }

    fn an_entry_that_landlock_cannot_express_is_named_and_nothing_done(stage) {
        if !has_landlock(stage) { return; }
        let before = stage.host();
        let (proj, sub) = (stage.path("proj"), stage.path("proj/sub"));
        let pattern = format!("{proj}/**/*.env");
        let cases = [
            (stage.workspace(), format!("{proj}/.agents"), "the rule for metadata that protects"),
            (restricted(&[everything(), entry(&sub, "none")]), sub.clone(), "the entry that denies"),
            (restricted(&[everything(), entry(&proj, "write"), entry(&sub, "read")]), format!("{proj}/.agents"), "protects"),
            (restricted(&[everything(), glob(&pattern)]), pattern, "the entry that denies"),
        ];
        for (policy, named, how) in cases {
            let mut params = put(&stage.path("proj/src/a.txt"), "x");
            params["sandbox"] = policy;
            let id = stage.client.ask("fs/writeFile", params);
            let answer = stage.client.whole_answer(id);
            let error = &answer["error"];
            assert_eq!(error["code"], -32603, "{answer}");
            let message = error["message"].as_str().unwrap();
            assert!(message.contains(&named) && message.contains(how), "{message}");
            assert_eq!(error["data"]["path"], json!(named), "{answer}");
            assert_eq!(error["data"]["stage"], "policy", "{answer}");
        }
        assert_eq!(helpers::of(stage).len(), 0);
        stage.assert_host(&before);
    }
}
