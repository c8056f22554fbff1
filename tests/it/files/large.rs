//! Large files: a piece at a time, with room for others.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use serde_json::json;

use super::{refused, uri};
use crate::support::{Client, Start, decode, params, pattern, peak_resident, scratch};

/// Just below what base64 makes of it fits in 64 MiB.
const LARGE: u64 = 48 * 1024 * 1024 - 4096;

fn make(path: &str, length: u64) {
    let mut file = File::create(path).unwrap();
    let mut piece = vec![0; 1 << 20];
    let mut written = 0;
    while written < length {
        let next = (length - written).min(piece.len() as u64) as usize;
        pattern::fill(written, &mut piece[..next]);
        file.write_all(&piece[..next]).unwrap();
        written += next as u64;
    }
}

#[track_caller]
fn check(text: &str, length: u64) {
    let bytes = decode(text);
    assert_eq!(bytes.len() as u64, length);
    let mut expected = vec![0; 1 << 20];
    for (number, piece) in bytes.chunks(1 << 20).enumerate() {
        let expected = &mut expected[..piece.len()];
        pattern::fill((number << 20) as u64, expected);
        assert!(expected == piece, "wrong bytes in MiB {number}");
    }
}

over_both! {
    fn a_large_file_costs_little_memory_and_tears_no_output(client) {
        client.patience = Duration::from_secs(120);
        let scratch = scratch();
        let path = scratch.path("large");
        make(&path, LARGE);
        // What a busy connection costs anyway.
        const OUTPUT: u64 = 64 << 20;
        client.run(Start::child("warm", &["write", "4000000"]));
        let before = peak_resident(client.server_pid());
        client.start(Start::child("p", &["write", &OUTPUT.to_string()]));
        let reads: Vec<i64> = (0..2).map(|_| client.ask("fs/readFile", json!({"path": uri(&path)}))).collect();
        // Requests go on being read, and their answers come in one piece.
        let others: Vec<i64> = (0..50).map(|_| client.ask("process/list", json!({}))).collect();
        for id in reads {
            let read = client.answer(id).unwrap();
            assert_eq!(read.as_object().unwrap().len(), 1);
            check(read["dataBase64"].as_str().unwrap(), LARGE);
        }
        for id in others {
            client.answer(id).unwrap();
        }
        // The numbers of the events have no gap, and the bytes are compared.
        let outcome = client.closed("p");
        assert_eq!(outcome.code, 0);
        let bytes = client.observed("p").bytes("stdout");
        assert_eq!(bytes.len() as u64, OUTPUT);
        let growth = peak_resident(client.server_pid()) - before;
        assert!(growth <= 8 << 10, "the server took {growth} KiB more");
    }

    fn a_message_too_long_for_clients_is_an_error_that_says_what_to_do(client) {
        let scratch = scratch();
        let path = scratch.path("f");
        let file = File::create(&path).unwrap();
        file.set_len(48 * 1024 * 1024).unwrap();
        let error = client.err("fs/readFile", json!({"path": path}));
        assert_eq!(error.code, -32600);
        assert!(error.message.contains("fs/open") && error.message.contains("fs/readBlock"), "{error:?}");
        let error = client.err("fs/readFile", json!({"path": path, "maxMessageBytes": 1000}));
        assert!(error.message.contains("1000"), "{error:?}");
        // A file of the kernel does not say beforehand how much it is.
        let error = client.err("fs/readFile", json!({"path": "/proc/self/smaps", "maxMessageBytes": 1000}));
        assert!(error.message.contains("fs/readBlock"), "{error:?}");
        file.set_len(512 * 1024 * 1024 + 1).unwrap();
        let message = "file is too large to read: limit is 536870912 bytes";
        refused(client, "fs/readFile", json!({"path": path, "maxMessageBytes": 1_u64 << 40}), -32600, message);
    }

    fn what_fails_in_the_middle_is_not_taken_for_the_whole(client) {
        // A file of the kernel that does not end, and does not say so.
        let params = json!({"path": "/proc/self/pagemap", "maxMessageBytes": 4 << 20});
        let read = client.ok("fs/readFile", params);
        let good = read["dataBase64"].as_str().unwrap().strip_suffix('!').unwrap();
        assert_eq!(read["incomplete"]["bytes"], decode(good).len());
        assert!(good.len() > 3 << 20 && good.len() <= 4 << 20, "{}", good.len());
        assert!(read["incomplete"]["message"].is_string());
        client.still_serves();
    }

    fn a_client_may_take_longer_messages(client) {
        client.patience = Duration::from_secs(120);
        let scratch = scratch();
        let path = scratch.path("f");
        make(&path, 64 << 20);
        let read = client.ok("fs/readFile", json!({"path": path, "maxMessageBytes": 1_u64 << 30}));
        check(read["dataBase64"].as_str().unwrap(), 64 << 20);
    }

    fn a_client_that_does_not_read_its_file_is_still_obeyed(client) {
        client.patience = Duration::from_secs(60);
        let scratch = scratch();
        let path = scratch.path("large");
        make(&path, LARGE);
        client.start(Start::child("p", &["sleep"]));
        let list = client.ok("process/list", json!({}));
        let pid = list["processes"][0]["pid"].as_u64().unwrap() as u32;
        let read = client.ask("fs/readFile", json!({"path": path}));
        let terminate = client.ask("process/terminate", params("p", json!({})));
        crate::support::within(client.patience, "the process ends though nobody reads", || {
            !crate::support::alive(pid)
        });
        assert_eq!(client.answer(terminate).unwrap(), json!({"running": true}));
        check(client.answer(read).unwrap()["dataBase64"].as_str().unwrap(), LARGE);
    }
}

#[test]
fn a_ping_passes_between_the_frames_of_a_large_file() {
    let mut client = Client::websocket();
    client.patience = Duration::from_secs(60);
    let scratch = scratch();
    let path = scratch.path("large");
    make(&path, LARGE);
    let read = client.ask("fs/readFile", json!({"path": path}));
    client.ping(b"here?");
    assert_eq!(client.pong(), b"here?");
    assert!(
        !client.has_answer(read),
        "the pong had to wait for the file"
    );
    check(
        client.answer(read).unwrap()["dataBase64"].as_str().unwrap(),
        LARGE,
    );
}
