//! `fs/remove`.

use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

use super::{NOT_A_DIRECTORY, NOT_FOUND, make_fifo, refused, uri};
use crate::support::scratch;

const REMOVE: &str = "fs/remove";

over_both! {
    fn a_file_a_link_and_a_tree_go(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        std::fs::create_dir_all(path("d/e/f")).unwrap();
        std::fs::create_dir_all(path("kept")).unwrap();
        std::fs::write(path("kept/file"), "").unwrap();
        for name in ["file", "d/file", "d/e/file"] {
            std::fs::write(path(name), "").unwrap();
        }
        symlink(path("kept"), path("d/link")).unwrap();
        symlink("kept", path("link")).unwrap();
        symlink("nowhere", path("dangling")).unwrap();
        make_fifo(&path("d/fifo"));
        for name in ["file", "link", "dangling", "d"] {
            assert_eq!(client.ok(REMOVE, json!({"path": uri(&path(name))})), json!({}));
            assert!(std::fs::symlink_metadata(path(name)).is_err(), "{name} is gone");
        }
        assert!(Path::new(&path("kept/file")).exists());
    }

    fn force_hides_only_what_is_missing(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        std::fs::write(path("f"), "").unwrap();
        client.ok(REMOVE, json!({"path": path("none")}));
        client.ok(REMOVE, json!({"path": path("none/x"), "force": null}));
        refused(client, REMOVE, json!({"path": path("none"), "force": false}), NOT_FOUND.0, NOT_FOUND.1);
        refused(client, REMOVE, json!({"path": path("f/x")}), NOT_A_DIRECTORY.0, NOT_A_DIRECTORY.1);
    }

    fn without_recursive_only_an_empty_directory_goes(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        std::fs::create_dir_all(path("d/e")).unwrap();
        let flat = |name: &str| json!({"path": path(name), "recursive": false, "force": false});
        refused(client, REMOVE, flat("d"), -32603, "Directory not empty (os error 39)");
        client.ok(REMOVE, flat("d/e"));
        client.ok(REMOVE, flat("d"));
        std::fs::write(path("f"), "").unwrap();
        client.ok(REMOVE, flat("f"));
    }

    fn the_root_is_not_removed(client) {
        for path in ["/", "file:///", "/tmp/..", "file:///tmp/%2e%2e"] {
            for recursive in [true, false] {
                let error = client.err(REMOVE, json!({"path": path, "recursive": recursive, "force": true}));
                assert!(error.code == -32600 && error.message.contains("refusing"), "{error:?}");
            }
        }
    }
}
