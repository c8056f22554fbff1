//! `fs/open`, `fs/readBlock`, `fs/writeBlock` and `fs/close`.

use serde_json::{Value, json};

use super::{IS_A_DIRECTORY, NOT_FOUND, make_fifo, refused, uri};
use crate::support::{Client, Server, descriptors, encode, patterned, scratch, within};

fn read(handle: &str, offset: u64, len: u64) -> Value {
    json!({"handleId": handle, "offset": offset, "len": len})
}

fn write(handle: &str, offset: u64, data: &[u8]) -> Value {
    json!({"handleId": handle, "offset": offset, "chunk": encode(data)})
}

#[track_caller]
fn open(client: &mut Client, handle: &str, path: &str, mode: &str) {
    let opened = client.ok(
        "fs/open",
        json!({"handleId": handle, "path": path, "mode": mode}),
    );
    assert_eq!(opened, json!({"handleId": handle}));
}

over_both! {
    fn a_file_is_read_from_anywhere(client) {
        let scratch = scratch();
        let path = scratch.path("f");
        std::fs::write(&path, "hello").unwrap();
        client.ok("fs/open", json!({"handleId": "h", "path": uri(&path)}));
        for (offset, len, chunk, eof) in [
            (1, 2, "el", false), (0, 4, "hell", false), (0, 5, "hello", true), (3, 1 << 20, "lo", true), (4, 1, "o", true),
            (5, 1, "", true), (9, 5, "", true), (i64::MAX as u64, 5, "", true),
        ] {
            let found = client.ok("fs/readBlock", read("h", offset, len));
            assert_eq!(found, json!({"chunk": encode(chunk.as_bytes()), "eof": eof}), "{offset} {len}");
        }
        assert_eq!(client.ok("fs/close", json!({"handleId": "h"})), json!({}));
        assert_eq!(client.ok("fs/close", json!({"handleId": "h"})), json!({}));
        refused(client, "fs/readBlock", read("h", 0, 1), -32004, "unknown file handle `h`");
        refused(client, "fs/writeBlock", write("h", 0, b"x"), -32004, "unknown file handle `h`");
    }

    fn no_link_is_followed_if_that_is_asked_for(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        std::fs::create_dir(path("d")).unwrap();
        std::fs::write(path("d/f"), "hello").unwrap();
        std::os::unix::fs::symlink("f", path("d/to-file")).unwrap();
        std::os::unix::fs::symlink("d", path("to-d")).unwrap();
        std::os::unix::fs::symlink("none", path("d/to-nothing")).unwrap();
        for mode in ["read", "replace", "update"] {
            let asked = |name: &str| json!({"handleId": mode, "path": path(name), "mode": mode, "followSymlinks": false});
            for (name, message) in [
                ("d/to-file", "Symbolic link loop (os error 40)"), ("d/to-nothing", "Symbolic link loop (os error 40)"),
                ("to-d/f", "Not a directory (os error 20)"),
            ] {
                refused(client, "fs/open", asked(name), -32603, message);
            }
            client.ok("fs/open", asked("d/f"));
        }
        assert!(!std::fs::exists(path("d/none")).unwrap());
    }

    fn a_file_of_any_size_is_read_block_by_block(client) {
        let scratch = scratch();
        let path = scratch.path("f");
        let bytes = patterned(5 << 20);
        std::fs::write(&path, &bytes).unwrap();
        open(client, "h", &path, "read");
        // All are asked for at once.
        let reads: Vec<i64> = (0..5).map(|number| client.ask("fs/readBlock", read("h", number << 20, 1 << 20))).collect();
        let mut found = Vec::new();
        for (number, id) in reads.into_iter().enumerate() {
            let block = client.answer(id).unwrap();
            assert_eq!(block["eof"], number == 4);
            found.extend(crate::support::decode(block["chunk"].as_str().unwrap()));
        }
        assert!(found == bytes);
    }

    fn an_error_leaves_the_file_open(client) {
        let scratch = scratch();
        let path = scratch.path("f");
        std::fs::write(&path, "hello").unwrap();
        open(client, "r", &path, "read");
        let length = "file read block length must be between 1 and 1048576";
        for len in [0, (1 << 20) + 1] {
            refused(client, "fs/readBlock", read("r", 0, len), -32600, length);
        }
        refused(client, "fs/readBlock", read("r", 1 << 63, 1), -32600, "Invalid argument (os error 22)");
        refused(client, "fs/writeBlock", write("r", 0, b"x"), -32603, "Bad file descriptor (os error 9)");
        assert_eq!(client.ok("fs/readBlock", read("r", 0, 5))["eof"], true);
        open(client, "w", &scratch.path("w"), "replace");
        let length = "file write block length must be between 1 and 1048576";
        for data in [&[][..], &[0; (1 << 20) + 1]] {
            refused(client, "fs/writeBlock", write("w", 0, data), -32600, length);
        }
        let range = "file write range exceeds the signed 64-bit file offset limit";
        for offset in [u64::MAX, 1 << 63, i64::MAX as u64] {
            refused(client, "fs/writeBlock", write("w", offset, b"x"), -32600, range);
        }
        refused(client, "fs/readBlock", read("w", 0, 1), -32603, "Bad file descriptor (os error 9)");
        assert_eq!(client.ok("fs/writeBlock", write("w", 3, b"hi")), json!({}));
        assert_eq!(std::fs::read(scratch.path("w")).unwrap(), b"\0\0\0hi");
    }

    fn replace_empties_at_once_and_makes_what_is_missing(client) {
        let scratch = scratch();
        let path = scratch.path("f");
        std::fs::write(&path, "hello").unwrap();
        open(client, "h", &path, "replace");
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        let bytes = patterned(1 << 20);
        for number in [2, 0, 1] {
            client.ok("fs/writeBlock", write("h", number << 20, &bytes));
        }
        assert!(std::fs::read(&path).unwrap() == bytes.repeat(3));
        refused(client, "fs/open", json!({"handleId": "d", "path": scratch.dir(), "mode": "replace"}), IS_A_DIRECTORY.0, IS_A_DIRECTORY.1);
        let params = json!({"handleId": "d", "path": scratch.path("none/f"), "mode": "replace"});
        refused(client, "fs/open", params, NOT_FOUND.0, NOT_FOUND.1);
    }

    fn opening_has_its_rules(client) {
        let scratch = scratch();
        let path = scratch.path("f");
        std::fs::write(&path, "x").unwrap();
        make_fifo(&scratch.path("fifo"));
        let long = "h".repeat(33);
        refused(client, "fs/open", json!({"handleId": long, "path": path}), -32600, "file handle ID must not exceed 32 bytes");
        for handle in ["", &"h".repeat(32)] {
            open(client, handle, &path, "read");
        }
        refused(client, "fs/open", json!({"handleId": "", "path": path}), -32600, "file handle `` already exists");
        let message = "unknown variant `x`, expected one of `read`, `replace`, `update`, `create`";
        refused(client, "fs/open", json!({"handleId": "h", "path": path, "mode": "x"}), -32602, message);
        for name in [scratch.dir(), scratch.path("fifo")] {
            refused(client, "fs/open", json!({"handleId": "h", "path": name}), -32600, &format!("path `{name}` is not a file"));
        }
        let fifo = json!({"handleId": "h", "path": scratch.path("fifo"), "mode": "replace"});
        refused(client, "fs/open", fifo, -32603, "No such device or address (os error 6)");
        for number in 0..126 {
            open(client, &number.to_string(), &path, "read");
        }
        let message = "at most 128 file handles may be open per connection";
        refused(client, "fs/open", json!({"handleId": "more", "path": path}), -32600, message);
        client.ok("fs/close", json!({"handleId": "5"}));
        open(client, "more", &path, "read");
    }
}

#[test]
fn open_files_belong_to_a_connection_and_go_with_it() {
    let server = Server::websocket(&[]);
    let scratch = scratch();
    let path = scratch.path("f");
    std::fs::write(&path, "x").unwrap();
    let mut other = server.connect();
    other.ok("fs/getMetadata", json!({"path": path}));
    let before = descriptors(server.pid());
    let mut client = server.connect();
    for number in 0..100 {
        open(&mut client, &number.to_string(), &path, "read");
    }
    refused(
        &mut other,
        "fs/readBlock",
        read("5", 0, 1),
        -32004,
        "unknown file handle `5`",
    );
    drop(client);
    within(crate::support::PATIENCE, "the files are closed", || {
        descriptors(server.pid()) <= before
    });
}
