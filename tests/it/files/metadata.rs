//! `fs/getMetadata`.

use std::os::unix::fs::symlink;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::{NOT_A_DIRECTORY, NOT_FOUND, make_fifo, mode, refused, set_mode, uri};
use crate::support::scratch;

over_both! {
    fn it_tells_what_a_path_leads_to(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        std::fs::write(path("f"), "12345").unwrap();
        set_mode(&path("f"), 0o4751);
        std::fs::create_dir(path("d")).unwrap();
        symlink("f", path("to-file")).unwrap();
        symlink("d", path("to-directory")).unwrap();
        symlink("nowhere", path("dangling")).unwrap();
        make_fifo(&path("fifo"));
        for (name, directory, file, link) in [
            ("f", false, true, false), ("d", true, false, false), ("to-file", false, true, true),
            ("to-directory", true, false, true), ("fifo", false, false, false),
        ] {
            for path in [path(name), uri(&path(name))] {
                let found = client.ok("fs/getMetadata", json!({"path": path}));
                assert_eq!(
                    (&found["isDirectory"], &found["isFile"], &found["isSymlink"]),
                    (&json!(directory), &json!(file), &json!(link)), "{path}"
                );
            }
        }
        let found = client.ok("fs/getMetadata", json!({"path": path("to-file")}));
        assert_eq!((&found["size"], &found["mode"]), (&json!(5), &json!(0o4751)));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        for time in ["createdAtMs", "modifiedAtMs"] {
            let age = now - found[time].as_i64().unwrap();
            assert!((-1000..600_000).contains(&age) || (time == "createdAtMs" && age == now), "{time} {age} ms ago");
        }
        refused(client, "fs/getMetadata", json!({"path": path("dangling")}), NOT_FOUND.0, NOT_FOUND.1);
        refused(client, "fs/getMetadata", json!({"path": path("f/x")}), NOT_A_DIRECTORY.0, NOT_A_DIRECTORY.1);
    }

    fn permissions_can_be_set(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        std::fs::write(path("f"), "").unwrap();
        symlink("f", path("link")).unwrap();
        let set = "fs/setPermissions";
        assert_eq!(client.ok(set, json!({"path": uri(&path("link")), "mode": 0o600})), json!({}));
        assert_eq!(mode(&path("f")), 0o600);
        client.ok(set, json!({"path": path("f"), "mode": 0o2755, "followSymlinks": false}));
        assert_eq!(mode(&path("f")), 0o2755);
        refused(client, set, json!({"path": path("link"), "mode": 0, "followSymlinks": false}), -32600, "path contains a symbolic link");
        assert_eq!(client.err(set, json!({"path": path("f"), "mode": 0o10000})).code, -32600);
        refused(client, set, json!({"path": path("x"), "mode": 0}), NOT_FOUND.0, NOT_FOUND.1);
        assert_eq!(mode(&path("f")), 0o2755);
    }
}
