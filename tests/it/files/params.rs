//! Parameters of the `fs/*` methods: members, positions, and what is refused.

use serde_json::{Value, json};

use super::refused;
use crate::support::{Client, encode, scratch};

over_both! {
    fn positions_are_those_of_the_reference(client) {
        let scratch = scratch();
        let path = scratch.path("f");
        let positional = [
            ("fs/writeFile", json!([path, encode(b"hello"), true, null, null])),
            ("fs/readFile", json!([path, null, null, null])),
            ("fs/getMetadata", json!([path, false, null])),
            ("fs/createDirectory", json!([scratch.path("d"), true, null, null])),
            ("fs/readDirectory", json!([scratch.dir(), null])),
            ("fs/copy", json!([path, scratch.path("g"), false, null, null])),
            ("fs/canonicalize", json!([path, null])),
            ("fs/open", json!(["h", path, "read", null])),
            ("fs/readBlock", json!(["h", 0, 10])),
            ("fs/close", json!(["h"])),
            ("fs/walk", json!([scratch.dir(), [1, 1, 1, false, false], null])),
            ("fs/remove", json!([path, true, false, true, null])),
        ];
        for (method, params) in positional {
            client.ok(method, params);
        }
    }

    fn unknown_members_are_passed_over_and_missing_ones_named(client) {
        let scratch = scratch();
        let found = client.ok("fs/getMetadata", json!({"path": scratch.dir(), "more": [1, {"x": 2}]}));
        assert_eq!(found["isDirectory"], true);
        for (method, params, missing) in [
            ("fs/readFile", json!({}), "path"), ("fs/writeFile", json!({"path": "/x"}), "dataBase64"),
            ("fs/copy", json!({"sourcePath": "/x", "destinationPath": "/y"}), "recursive"),
            ("fs/open", json!({"path": "/x"}), "handleId"), ("fs/readBlock", json!({"handleId": "h", "offset": 0}), "len"),
            ("fs/writeBlock", json!({"handleId": "h", "offset": 0}), "chunk"), ("fs/walk", json!({"path": "/"}), "options"),
            ("fs/walk", json!({"path": "/", "options": {"maxDepth": 1}}), "maxDirectories"),
        ] {
            refused(client, method, params, -32602, &format!("missing field `{missing}`"));
        }
        for (method, params) in [
            ("fs/readFile", Value::Null), ("fs/readFile", json!({"path": 3})), ("fs/readFile", json!({"path": "/x", "followSymlinks": 1})),
            ("fs/readBlock", json!({"handleId": "h", "offset": -1, "len": 1})), ("fs/writeBlock", json!({"handleId": "h", "offset": 0, "chunk": "a"})),
        ] {
            assert_eq!(client.err(method, params.clone()).code, -32602, "{method} {params}");
        }
    }

    fn a_policy_that_makes_no_sense_is_refused_and_nothing_is_done(client) {
        let scratch = scratch();
        let path = scratch.path("f");
        let confined = json!({"permissions": {"type": "managed"}, "windowsSandboxLevel": "disabled"});
        for sandbox in [confined, json!({}), json!(true)] {
            for (method, mut params) in [
                ("fs/writeFile", json!({"path": path, "dataBase64": ""})), ("fs/createDirectory", json!({"path": path})),
                ("fs/readFile", json!({"path": "/proc/version"})), ("fs/remove", json!({"path": scratch.dir()})),
                ("fs/copy", json!({"sourcePath": "/proc/version", "destinationPath": path, "recursive": false})),
                ("fs/open", json!({"handleId": "h", "path": path, "mode": "replace"})), ("fs/getMetadata", json!({"path": "/"})),
                ("fs/readDirectory", json!({"path": "/"})), ("fs/canonicalize", json!({"path": "/"})),
                ("fs/rename", json!({"sourcePath": scratch.dir(), "destinationPath": path})),
                ("fs/setPermissions", json!({"path": scratch.dir(), "mode": 0})), ("fs/symlink", json!({"path": path, "target": "x"})),
                ("fs/readLink", json!({"path": "/proc/self"})),
                ("fs/hardLink", json!({"sourcePath": "/proc/version", "destinationPath": path})),
                ("fs/setMetadata", json!({"path": scratch.dir(), "metadata": {"permissions": 0}})),
            ] {
                params["sandbox"] = sandbox.clone();
                let error = client.err(method, params);
                assert_eq!(error.code, -32602, "{method}");
                assert!(error.message.contains("sandbox"), "{error:?}");
            }
        }
        assert_eq!(std::fs::read_dir(scratch.dir()).unwrap().count(), 0);
        let open = json!({"permissions": {"type": "disabled"}, "windowsSandboxLevel": "disabled"});
        client.ok("fs/writeFile", json!({"path": path, "dataBase64": "", "sandbox": open}));
    }
}

#[test]
fn the_handshake_comes_first() {
    let mut client = Client::stdio_silent(&[]);
    let params = json!({"path": "/"});
    for method in ["fs/readFile", "fs/getMetadata", "fs/rename"] {
        let params = json!({"path": "/", "sourcePath": "/a", "destinationPath": "/b"});
        refused(
            &mut client,
            method,
            params,
            -32600,
            "client must call initialize before using filesystem methods",
        );
    }
    client.ok("initialize", json!({"clientName": "x"}));
    refused(
        &mut client,
        "fs/getMetadata",
        params,
        -32600,
        "client must send initialized before using filesystem methods",
    );
}

#[test]
fn extensions_are_announced() {
    let client = Client::stdio();
    let extensions =
        &client.greeting["environmentInfo"]["capabilities"]["execServer"]["extensions"];
    for name in [
        "fs/readLink",
        "fs/rename",
        "fs/setMetadata",
        "fs/setPermissions",
        "fs/symlink",
        "fs/writeFile.atomic",
    ] {
        assert!(
            extensions.as_array().unwrap().contains(&json!(name)),
            "{name}"
        );
    }
    let capabilities = &client.greeting["environmentInfo"]["capabilities"];
    assert_eq!(capabilities["fileWriteStreaming"], true);
}
