//! `fs/readFile`.

use serde_json::json;

use super::{LOOP, NOT_A_DIRECTORY, NOT_FOUND, content, pair, refused, set_mode, uri};
use crate::support::{encode, patterned_from, scratch};

over_both! {
    fn content_comes_whole_whatever_its_length(client) {
        let scratch = scratch();
        let path = scratch.path("f");
        for length in [0, 1, 2, 3, 4096, 786_431, 786_432, 786_433, 983_040, 1_000_003, 3_000_000] {
            let bytes = patterned_from(7, length);
            std::fs::write(&path, &bytes).unwrap();
            assert!(content(client, &path) == bytes, "{length} bytes");
        }
        let read = client.ok("fs/readFile", json!({"path": uri(&path), "followSymlinks": null, "sandbox": null}));
        assert_eq!(read.as_object().unwrap().len(), 1, "dataBase64 and nothing else");
    }

    fn a_file_of_the_kernel_that_says_it_is_empty_is_not(client) {
        let version = std::fs::read("/proc/version").unwrap();
        assert_eq!(content(client, "file:///proc/version"), version);
        assert!(content(client, "/proc/self/smaps").len() > 4096);
    }

    fn what_cannot_be_read_is_named(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        std::fs::write(path("f"), "x").unwrap();
        std::os::unix::fs::symlink("loop2", path("loop1")).unwrap();
        std::os::unix::fs::symlink("loop1", path("loop2")).unwrap();
        std::os::unix::fs::symlink("nowhere", path("dangling")).unwrap();
        for (name, (code, message)) in [
            ("none", NOT_FOUND), ("none/f", NOT_FOUND), ("dangling", NOT_FOUND), ("f/x", NOT_A_DIRECTORY), ("loop1", LOOP),
        ] {
            for path in [path(name), uri(&path(name))] {
                refused(client, "fs/readFile", json!({"path": path}), code, message);
            }
        }
        let directory = scratch.dir();
        refused(client, "fs/readFile", json!({"path": uri(&directory)}), -32600, &format!("path `{directory}` is not a file"));
    }

    fn permission_is_the_systems_to_give(client) {
        let scratch = scratch();
        let path = scratch.path("f");
        std::fs::write(&path, "x").unwrap();
        set_mode(&path, 0);
        // Root may read it all the same.
        match client.request("fs/readFile", json!({"path": path})) {
            Ok(read) => assert_eq!(read, json!({"dataBase64": encode(b"x")})),
            Err(error) => assert_eq!(pair(&error), (-32600, "Permission denied (os error 13)")),
        }
    }
}
