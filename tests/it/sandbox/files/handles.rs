//! Files that are opened in a sandbox and then read and written block by block.

use std::fs;

use serde_json::json;

use super::{DENIED, as_each_user, helpers};
use crate::support::{PATIENCE, alive, encode, signal, within};

as_each_user! {
    fn a_file_that_was_opened_inside_is_read_and_written_by_blocks(stage) {
        let policy = stage.denying();
        let path = stage.path("proj/src/a.txt");
        assert_eq!(stage.ok(&policy, "open", json!({"handleId": "r", "path": path})), json!({"handleId": "r"}));
        let block = stage.client.ok("fs/readBlock", json!({"handleId": "r", "offset": 5, "len": 3}));
        assert_eq!(block, json!({"chunk": encode(b"src"), "eof": false}));
        stage.ok(&policy, "open", json!({"handleId": "w", "path": path, "mode": "replace"}));
        stage.client.ok("fs/writeBlock", json!({"handleId": "w", "offset": 1, "chunk": encode(b"yz")}));
        assert_eq!(fs::read(&path).unwrap(), b"\0yz");
        let refused = stage.client.err("fs/writeBlock", json!({"handleId": "r", "offset": 0, "chunk": encode(b"x")}));
        assert_eq!(refused.message, "Bad file descriptor (os error 9)");
        stage.client.ok("fs/close", json!({"handleId": "w"}));
        let unknown = stage.client.err("fs/readBlock", json!({"handleId": "w", "offset": 0, "len": 1}));
        assert_eq!(unknown.code, -32004);
    }

    fn a_handle_that_is_taken_is_refused_before_anything_is_emptied(stage) {
        let policy = stage.workspace();
        let path = stage.path("proj/src/a.txt");
        stage.ok(&policy, "open", json!({"handleId": "h", "path": path}));
        for handle in ["h", &"x".repeat(33)] {
            let params = json!({"handleId": handle, "path": path, "mode": "replace"});
            stage.refused(&policy, "open", params, (-32600, "file handle"));
        }
        assert_eq!(fs::read(&path).unwrap(), b"proj/src/a.txt");
    }

    fn a_handle_outlives_the_helper_that_opened_it(stage) {
        let policy = stage.denying();
        let path = stage.path("proj/src/a.txt");
        stage.ok(&policy, "open", json!({"handleId": "h", "path": path}));
        for helper in helpers::of(stage) {
            signal(helper, "KILL");
            within(PATIENCE, "the helper is gone", || !alive(helper));
        }
        let block = stage.client.ok("fs/readBlock", json!({"handleId": "h", "offset": 0, "len": 4}));
        assert_eq!(block["chunk"], encode(b"proj"));
    }

    fn what_may_not_be_opened_leaves_no_handle(stage) {
        let policy = stage.denying();
        stage.refused(&policy, "open", json!({"handleId": "h", "path": stage.path("proj/sub/s")}), DENIED);
        let unknown = stage.client.err("fs/readBlock", json!({"handleId": "h", "offset": 0, "len": 1}));
        assert_eq!(unknown.code, -32004);
        stage.ok(&policy, "open", json!({"handleId": "h", "path": stage.path("proj/src/a.txt")}));
    }
}
