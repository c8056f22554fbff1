//! `fs/createDirectory` and `fs/readDirectory`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use super::{EXISTS, NOT_A_DIRECTORY, NOT_FOUND, content, make_fifo, refused, uri};
use crate::support::{Client, encode, scratch};

/// The entries of a directory by their names.
#[track_caller]
fn entries(client: &mut Client, path: &str) -> BTreeMap<String, Value> {
    let read = client.ok("fs/readDirectory", json!({"path": path}));
    let entries = read["entries"].as_array().unwrap();
    let named = |entry: &Value| {
        (
            entry["fileName"].as_str().unwrap().to_owned(),
            entry.clone(),
        )
    };
    entries.iter().map(named).collect()
}

over_both! {
    fn directories_are_made_with_those_above(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        let make = "fs/createDirectory";
        for _ in 0..2 {
            assert_eq!(client.ok(make, json!({"path": uri(&path("a/b/c"))})), json!({}));
        }
        assert!(Path::new(&path("a/b/c")).is_dir());
        symlink("a", path("link")).unwrap();
        client.ok(make, json!({"path": path("link")}));
        client.ok(make, json!({"path": path("link/x"), "recursive": null}));
        client.ok(make, json!({"path": path("y"), "recursive": false}));
        client.ok(make, json!({"path": "/"}));
        std::fs::write(path("f"), "").unwrap();
        refused(client, make, json!({"path": path("f")}), EXISTS.0, EXISTS.1);
        refused(client, make, json!({"path": path("f/x")}), NOT_A_DIRECTORY.0, NOT_A_DIRECTORY.1);
        refused(client, make, json!({"path": path("a"), "recursive": false}), EXISTS.0, EXISTS.1);
        refused(client, make, json!({"path": path("p/q"), "recursive": false}), NOT_FOUND.0, NOT_FOUND.1);
    }

    fn every_name_is_listed_with_what_it_is(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        std::fs::write(path("f"), "").unwrap();
        std::fs::create_dir(path("d")).unwrap();
        symlink("f", path("to-file")).unwrap();
        symlink("d", path("to-directory")).unwrap();
        symlink("nowhere", path("dangling")).unwrap();
        make_fifo(&path("fifo"));
        let odd = OsStr::from_bytes(b"odd-\xff");
        std::fs::write(Path::new(&scratch.dir()).join(odd), "odd").unwrap();
        let found = entries(client, &uri(&scratch.dir()));
        let expected = [
            ("d", json!({"isDirectory": true, "isFile": false})),
            ("dangling", json!({"isDirectory": false, "isFile": false, "isSymlink": true})),
            ("f", json!({"isDirectory": false, "isFile": true})),
            ("fifo", json!({"isDirectory": false, "isFile": false})),
            ("odd-\u{fffd}", json!({"isDirectory": false, "isFile": true, "fileNameBase64": encode(b"odd-\xff")})),
            ("to-directory", json!({"isDirectory": true, "isFile": false, "isSymlink": true})),
            ("to-file", json!({"isDirectory": false, "isFile": true, "isSymlink": true})),
        ];
        let expected: BTreeMap<String, Value> = expected
            .into_iter()
            .map(|(name, mut entry)| {
                entry["fileName"] = name.into();
                (name.to_owned(), entry)
            })
            .collect();
        assert_eq!(found, expected);
        assert_eq!(entries(client, &scratch.dir()), expected, "the same by a native path");
        // What the name that is no text stands for can be opened.
        let reopened = content(client, &format!("{}/odd-%FF", uri(&scratch.dir())));
        assert_eq!(reopened, b"odd");
        assert!(entries(client, &path("d")).is_empty());
    }

    fn what_is_no_directory_is_not_listed(client) {
        let scratch = scratch();
        std::fs::write(scratch.path("f"), "").unwrap();
        refused(client, "fs/readDirectory", json!({"path": scratch.path("f")}), NOT_A_DIRECTORY.0, NOT_A_DIRECTORY.1);
        refused(client, "fs/readDirectory", json!({"path": scratch.path("x")}), NOT_FOUND.0, NOT_FOUND.1);
    }

    fn ten_thousand_names_come_soon(client) {
        let scratch = scratch();
        for number in 0..10_000 {
            std::fs::write(scratch.path(&format!("name-{number:05}")), "").unwrap();
        }
        let begun = Instant::now();
        let found = entries(client, &scratch.dir());
        let took = begun.elapsed();
        assert_eq!(found.len(), 10_000);
        // Parsing here costs more than the server does; a stat for each name would cost more still.
        assert!(took.as_millis() < 2000, "{took:?}");
    }
}
