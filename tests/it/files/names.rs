//! `fs/rename`.

use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

use super::{EXISTS, NOT_FOUND, refused, uri};
use crate::support::scratch;

over_both! {
    fn no_link_on_the_way_is_followed_if_that_is_asked_for(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        std::fs::create_dir(path("d")).unwrap();
        std::fs::write(path("d/f"), "f").unwrap();
        symlink("d", path("to-d")).unwrap();
        for (from, to) in [("to-d/f", "d/g"), ("d/f", "to-d/g")] {
            let params = json!({"sourcePath": path(from), "destinationPath": path(to), "followSymlinks": false});
            refused(client, "fs/rename", params, -32603, "Not a directory (os error 20)");
        }
        let link = |at: &str| json!({"path": path(at), "target": "f", "followSymlinks": false});
        refused(client, "fs/symlink", link("to-d/l"), -32603, "Not a directory (os error 20)");
        let params = json!({"sourcePath": path("d/f"), "destinationPath": path("d/g"), "followSymlinks": false});
        client.ok("fs/rename", params);
        client.ok("fs/symlink", link("d/l"));
        assert_eq!(crate::support::names(&path("d")), ["g", "l"]);
    }

    fn a_name_is_changed_and_what_had_it_is_replaced_unless_told_otherwise(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        std::fs::write(path("a"), "a").unwrap();
        std::fs::write(path("b"), "b").unwrap();
        let rename = "fs/rename";
        let params = json!({"sourcePath": path("a"), "destinationPath": path("b"), "overwrite": false});
        refused(client, rename, params, EXISTS.0, EXISTS.1);
        let params = json!({"sourcePath": uri(&path("a")), "destinationPath": path("b")});
        assert_eq!(client.ok(rename, params.clone()), json!({}));
        assert_eq!(std::fs::read(path("b")).unwrap(), b"a");
        refused(client, rename, params, NOT_FOUND.0, NOT_FOUND.1);
        let params = json!({"sourcePath": path("b"), "destinationPath": path("c"), "overwrite": false});
        client.ok(rename, params);
        symlink("nowhere", path("link")).unwrap();
        client.ok(rename, json!({"sourcePath": path("link"), "destinationPath": path("link2")}));
        assert!(Path::new(&path("link2")).is_symlink());
        std::fs::create_dir(path("d")).unwrap();
        client.ok(rename, json!({"sourcePath": path("d"), "destinationPath": path("e")}));
        assert!(Path::new(&path("e")).is_dir());
    }
}
