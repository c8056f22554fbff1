//! The odd forms of path URIs.

use serde_json::json;

use super::{content, refused, uri};
use crate::support::scratch;

over_both! {
    fn many_forms_lead_to_one_file(client) {
        let scratch = scratch();
        let path = scratch.path("a b");
        std::fs::write(&path, "x").unwrap();
        let dir = scratch.dir();
        let bare = dir.strip_prefix('/').unwrap();
        for form in [
            format!("file://{dir}/a%20b"), format!("file:{dir}/a%20b"), format!("FILE://{dir}/a b"), format!("file://localhost{dir}/a%20b"),
            format!("  file://{dir}/a%20b"), format!("file:\\\\\\{bare}\\a b"), format!("file://{dir}%2Fa%20b"),
            format!("file://{dir}/none/../a%20b"), format!("file://{dir}/none/%2e%2E/./a%20b/"), format!("file:////{bare}//a%20b"),
            format!("{dir}/./a b"), format!("{dir}/none/../a b"), format!("{dir}//a b/"),
        ] {
            assert_eq!(content(client, &form), b"x", "{form}");
        }
        std::fs::write(scratch.path("%zz"), "literal").unwrap();
        assert_eq!(content(client, &uri(&scratch.path("%zz"))), b"literal");
        assert_eq!(content(client, &scratch.path("%zz")), b"literal");
        assert_eq!(client.ok("fs/getMetadata", json!({"path": "file:"}))["isDirectory"], true);
    }

    fn what_is_no_path_of_this_machine_is_refused(client) {
        for (text, code, message) in [
            ("relative", -32602, "invalid URI: relative URL without a base"), ("", -32602, "invalid URI: relative URL without a base"),
            ("http://host/x", -32602, "unsupported path URI scheme `http`"), ("file:///x?y", -32602, "query parameters are not allowed in path URIs"),
            ("file:///x#y", -32602, "fragments are not allowed in path URIs"), ("file:///%00", -32602, "'file:///%00' is invalid on 'linux'"),
            ("file://host/x", -32600, "'file://host/x' is invalid on 'linux'"), ("file:///C:/x", -32600, "'file:///C:/x' is invalid on 'linux'"),
        ] {
            refused(client, "fs/getMetadata", json!({"path": text}), code, message);
            refused(client, "fs/copy", json!({"sourcePath": "/proc/version", "destinationPath": text, "recursive": false}), code, message);
        }
    }
}
