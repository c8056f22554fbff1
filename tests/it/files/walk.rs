//! `fs/walk`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use super::{NOT_FOUND, content, make_fifo, refused, uri};
use crate::support::{Client, scratch};

fn options(more: Value) -> Value {
    let mut options = json!({"maxDepth": 5, "maxDirectories": 100, "maxEntries": 100, "followDirectorySymlinks": false});
    for (name, value) in more.as_object().unwrap() {
        options[name] = value.clone();
    }
    options
}

/// `path kind` of each, without the top.
fn short(list: &Value, top: &str) -> Vec<String> {
    let entries = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let shorten = |entry: &Value| {
        let path = entry["path"].as_str().unwrap().strip_prefix(top).unwrap();
        let link = if entry["isSymlink"] == true {
            " link"
        } else {
            ""
        };
        format!(
            "{} {}{link}",
            path.trim_start_matches('/'),
            entry["kind"].as_str().unwrap()
        )
    };
    entries.iter().map(shorten).collect()
}

#[track_caller]
fn walk(client: &mut Client, top: &str, more: Value) -> Value {
    client.ok("fs/walk", json!({"path": top, "options": options(more)}))
}

over_both! {
    fn it_goes_level_by_level_in_order(client) {
        let scratch = scratch();
        for directory in ["a/b/c", ".hidden/z"] {
            std::fs::create_dir_all(scratch.path(directory)).unwrap();
        }
        for file in ["f", "a/g", "a/b/h", "a/b/c/i"] {
            std::fs::write(scratch.path(file), "").unwrap();
        }
        let all = [
            ".hidden directory", "a directory", "f file", ".hidden/z directory", "a/b directory", "a/g file",
            "a/b/c directory", "a/b/h file", "a/b/c/i file",
        ];
        for (more, count, truncated) in [
            (json!({}), 9, false), (json!({"maxDepth": 0}), 3, false), (json!({"maxDepth": 1}), 6, false),
            (json!({"maxDirectories": 1}), 3, true), (json!({"maxDirectories": 2}), 4, true),
            (json!({"maxEntries": 3}), 3, true), (json!({"maxEntries": 8}), 8, true), (json!({"maxEntries": 9}), 9, false),
        ] {
            for top in [scratch.dir(), uri(&scratch.dir())] {
                let found = walk(client, &top, more.clone());
                assert_eq!(short(&found["entries"], &top), all[..count], "{more}");
                assert_eq!((&found["truncated"], &found["errors"]), (&json!(truncated), &json!([])), "{more}");
                assert_eq!(found["others"], Value::Null);
            }
        }
        let top = scratch.dir();
        let found = walk(client, &top, json!({"pruneHiddenDirectories": true}));
        let without_z: Vec<&str> = all.into_iter().filter(|entry| !entry.contains("/z")).collect();
        assert_eq!(short(&found["entries"], &top), without_z);
    }

    fn links_are_told_and_followed_once_if_wanted(client) {
        let scratch = scratch();
        std::fs::create_dir_all(scratch.path("d")).unwrap();
        std::fs::write(scratch.path("d/f"), "").unwrap();
        symlink("..", scratch.path("d/up")).unwrap();
        symlink("d", scratch.path("e")).unwrap();
        symlink("d/f", scratch.path("to-file")).unwrap();
        symlink("nowhere", scratch.path("dangling")).unwrap();
        make_fifo(&scratch.path("fifo"));
        let top = scratch.dir();
        let found = walk(client, &top, json!({}));
        assert_eq!(short(&found["entries"], &top), ["d directory", "to-file file link", "d/f file"]);
        assert_eq!(short(&found["others"], &top), ["dangling symlink", "e symlink", "fifo fifo", "d/up symlink"]);
        let found = walk(client, &top, json!({"followDirectorySymlinks": true}));
        assert_eq!(
            short(&found["entries"], &top),
            ["d directory", "e directory link", "to-file file link", "d/f file", "d/up directory link"]
        );
        // The top itself may be a link.
        let link = scratch.path("e");
        assert_eq!(walk(client, &link, json!({})), json!({"entries": [], "errors": [], "truncated": false}));
        let found = walk(client, &link, json!({"followDirectorySymlinks": true, "maxDepth": 0}));
        assert_eq!(short(&found["entries"], &link), ["f file", "up directory link"]);
        assert_eq!(walk(client, &scratch.path("d/f"), json!({})), json!({"entries": [], "errors": [], "truncated": false}));
    }

    fn a_name_that_is_no_text_can_be_opened(client) {
        let scratch = scratch();
        std::fs::write(Path::new(&scratch.dir()).join(OsStr::from_bytes(b"odd-\xff")), "odd").unwrap();
        for top in [scratch.dir(), uri(&scratch.dir())] {
            let found = walk(client, &top, json!({}));
            let path = found["entries"][0]["path"].as_str().unwrap();
            assert_eq!(path, uri(&scratch.path("odd-%FF")));
            assert_eq!(content(client, path), b"odd");
            assert_eq!(found["errors"], json!([]));
        }
    }

    fn limits_have_limits(client) {
        let zero = "filesystem walk limits must be greater than zero";
        let high = "filesystem walk limits exceed maximums: depth=64, directories=10000, entries=50000";
        for (more, message) in [
            (json!({"maxEntries": 0}), zero), (json!({"maxDirectories": 0}), zero), (json!({"maxDepth": 65}), high),
            (json!({"maxDirectories": 10_001}), high), (json!({"maxEntries": 50_001}), high),
        ] {
            refused(client, "fs/walk", json!({"path": "/", "options": options(more)}), -32600, message);
        }
        let scratch = scratch();
        let params = json!({"path": scratch.path("none"), "options": options(json!({}))});
        refused(client, "fs/walk", params, NOT_FOUND.0, NOT_FOUND.1);
    }
}
