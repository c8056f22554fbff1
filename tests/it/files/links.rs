//! `followSymlinks: false`: no link anywhere in the path.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

use super::{EXISTS, LOOP, NOT_A_DIRECTORY, NOT_FOUND, refused, uri};
use crate::support::{encode, scratch};

const LINK: (i64, &str) = (-32600, "path contains a symbolic link");

over_both! {
    fn a_link_in_any_place_is_refused(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        std::fs::create_dir(path("d")).unwrap();
        std::fs::write(path("d/f"), "kept").unwrap();
        symlink("d", path("ld")).unwrap();
        symlink("d/f", path("lf")).unwrap();
        symlink("nowhere", path("dangling")).unwrap();
        for (method, name, (code, message)) in [
            ("fs/readFile", "lf", LOOP), ("fs/readFile", "ld/f", NOT_A_DIRECTORY), ("fs/readFile", "dangling", LOOP),
            ("fs/readFile", "none", NOT_FOUND), ("fs/readFile", "d/f/x", NOT_A_DIRECTORY),
            ("fs/writeFile", "lf", LOOP), ("fs/writeFile", "ld/new", NOT_A_DIRECTORY), ("fs/writeFile", "dangling", LOOP),
            ("fs/createDirectory", "ld", NOT_A_DIRECTORY), ("fs/createDirectory", "ld/new", NOT_A_DIRECTORY),
            ("fs/createDirectory", "dangling", NOT_A_DIRECTORY), ("fs/createDirectory", "d/f/x", NOT_A_DIRECTORY),
            ("fs/getMetadata", "lf", LINK), ("fs/getMetadata", "ld/f", NOT_A_DIRECTORY), ("fs/getMetadata", "dangling", LINK),
            ("fs/remove", "lf", LINK), ("fs/remove", "ld/f", NOT_A_DIRECTORY), ("fs/remove", "dangling", LINK),
        ] {
            for path in [path(name), uri(&path(name))] {
                let params = json!({"path": path, "dataBase64": encode(b"x"), "followSymlinks": false});
                refused(client, method, params.clone(), code, message);
                if method == "fs/writeFile" {
                    let mut params = params;
                    params["atomic"] = true.into();
                    refused(client, method, params, code, message);
                }
            }
        }
        assert_eq!(std::fs::read(path("d/f")).unwrap(), b"kept");
        assert!(!Path::new(&path("d/new")).exists() && !Path::new(&path("nowhere")).exists());
        let params = json!({"path": path("d"), "recursive": false, "followSymlinks": false});
        refused(client, "fs/createDirectory", params, EXISTS.0, EXISTS.1);
    }

    fn a_path_without_links_is_fine(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        let with = |name: &str| json!({"path": uri(&path(name)), "dataBase64": encode(b"x"), "followSymlinks": false});
        client.ok("fs/createDirectory", with("a/b/c"));
        client.ok("fs/createDirectory", with("a/b/c"));
        client.ok("fs/writeFile", with("a/b/f"));
        assert_eq!(client.ok("fs/readFile", with("a/b/f")), json!({"dataBase64": encode(b"x")}));
        assert_eq!(client.ok("fs/getMetadata", with("a/b/f"))["size"], 1);
        assert_eq!(client.ok("fs/getMetadata", json!({"path": "/", "followSymlinks": false}))["isDirectory"], true);
        symlink("f", path("a/b/link")).unwrap();
        client.ok("fs/remove", with("a"));
        assert!(!Path::new(&path("a")).exists());
        client.ok("fs/remove", with("a"));
        client.ok("fs/remove", with("a/b"));
    }

    fn links_can_be_made(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        std::fs::write(path("f"), "x").unwrap();
        let make = "fs/symlink";
        for (name, target, says) in [
            ("relative", "../x/./f".to_owned(), "../x/./f".to_owned()), ("native", path("f"), path("f")),
            ("uri", uri(&path("f")), path("f")), ("nowhere", "nowhere".into(), "nowhere".into()),
        ] {
            assert_eq!(client.ok(make, json!({"path": uri(&path(name)), "target": target})), json!({}));
            assert_eq!(std::fs::read_link(path(name)).unwrap(), Path::new(&says));
        }
        refused(client, make, json!({"path": path("f"), "target": "g"}), EXISTS.0, EXISTS.1);
        refused(client, make, json!({"path": path("none/f"), "target": "g"}), NOT_FOUND.0, NOT_FOUND.1);
        assert_eq!(client.err(make, json!({"path": path("e"), "target": ""})).code, -32004);
        assert_eq!(client.err(make, json!({"path": path("e"), "target": "a\u{0}b"})).code, -32602);
    }

    fn a_link_says_what_it_says(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        let read = "fs/readLink";
        for says in ["../x/./f", "/no/where", "file:///not a path"] {
            symlink(says, path("l")).unwrap();
            for path in [path("l"), uri(&path("l"))] {
                assert_eq!(client.ok(read, json!({"path": path})), json!({"target": says}));
            }
            std::fs::remove_file(path("l")).unwrap();
        }
        std::fs::write(path("f"), "").unwrap();
        refused(client, read, json!({"path": path("f")}), -32600, "Invalid argument (os error 22)");
        refused(client, read, json!({"path": path("none")}), NOT_FOUND.0, NOT_FOUND.1);
        symlink(OsStr::from_bytes(b"\xff"), path("odd")).unwrap();
        let told = client.ok(read, json!({"path": path("odd")}));
        assert_eq!(told, json!({"target": "\u{fffd}", "targetBase64": encode(b"\xff")}));
        let odd = json!({"path": path("odd-too"), "target": "", "targetBase64": encode(b"\xff")});
        client.ok("fs/symlink", odd);
        assert_eq!(std::fs::read_link(path("odd-too")).unwrap().as_os_str().as_bytes(), b"\xff");
    }

    fn a_canonical_path_has_no_links(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        std::fs::create_dir(path("d e")).unwrap();
        symlink("d e", path("l")).unwrap();
        let canonical = "fs/canonicalize";
        assert_eq!(client.ok(canonical, json!({"path": uri(&path("l"))})), json!({"path": uri(&path("d%20e"))}));
        assert_eq!(client.ok(canonical, json!({"path": path("l")})), json!({"path": path("d e")}));
        assert_eq!(client.ok(canonical, json!({"path": "file:///"})), json!({"path": "file:///"}));
        refused(client, canonical, json!({"path": path("x")}), NOT_FOUND.0, NOT_FOUND.1);
    }
}
