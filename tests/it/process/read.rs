//! `process/read`: what is kept, and waiting for what is not there yet.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Client, Start, decode, params, patterned, patterned_from};

/// The numbers and the bytes of a read's chunks.
fn chunks(read: &Value) -> (Vec<u64>, Vec<u8>) {
    let all = read["chunks"].as_array().unwrap();
    let seqs = all
        .iter()
        .map(|chunk| chunk["seq"].as_u64().unwrap())
        .collect();
    (
        seqs,
        all.iter()
            .flat_map(|chunk| decode(chunk["chunk"].as_str().unwrap()))
            .collect(),
    )
}

/// A process that has said three words of five bytes each, one a chunk, and waits for more.
fn three_words(client: &mut Client, id: &str) {
    client.start(Start::child(id, &["steps", "5"]).pipe_stdin());
    for number in 1..=3 {
        client.write(id, b"go\n", &number.to_string());
        client.wait("one more word", |client| {
            (client.observed(id).bytes("stdout").len() == 5 * number).then_some(())
        });
    }
}

over_both! {
    fn a_read_of_an_ended_process_tells_everything(client) {
        client.run(Start::shell("p", "echo out; exit 3"));
        let read = client.read("p", json!({}));
        assert_eq!(read["chunks"], json!([{"seq": 1, "stream": "stdout", "chunk": "b3V0Cg=="}]));
        assert_eq!((&read["exited"], &read["exitCode"], &read["closed"]), (&json!(true), &json!(3), &json!(true)));
        assert_eq!((&read["failure"], &read["sandboxDenied"]), (&Value::Null, &json!(false)));
        assert_eq!(read["firstRetainedSeq"], 1);
        assert_eq!(read["nextSeq"], 4, "without maxBytes: the next number of the process");
        let part = client.read("p", json!({"maxBytes": 100}));
        assert_eq!(part["nextSeq"], 2, "with maxBytes: the next number after what was given");
        let after = client.read("p", json!({"afterSeq": 1}));
        assert_eq!((&after["chunks"], &after["nextSeq"]), (&json!([]), &json!(4)));
        let beyond = client.read("p", json!({"afterSeq": 1000, "waitMs": 60_000}));
        assert_eq!((&beyond["chunks"], &beyond["closed"]), (&json!([]), &json!(true)));
        assert_eq!(client.read("p", json!({})), read, "reading takes nothing away");
        let nulls = client.read("p", json!({"afterSeq": null, "maxBytes": null, "waitMs": null}));
        assert_eq!(nulls, read);
    }

    fn chunks_come_whole_and_at_least_one(client) {
        three_words(client, "p");
        assert_eq!(chunks(&client.read("p", json!({}))).0, [1, 2, 3]);
        for (most, want) in [(0, &[1][..]), (4, &[1]), (5, &[1]), (9, &[1]), (10, &[1, 2]), (14, &[1, 2]), (15, &[1, 2, 3])] {
            let read = client.read("p", json!({"maxBytes": most}));
            assert_eq!(chunks(&read).0, want, "maxBytes {most}");
            assert_eq!(read["nextSeq"], want.len() as u64 + 1);
        }
        let rest = client.read("p", json!({"afterSeq": 2, "maxBytes": 1}));
        assert_eq!(chunks(&rest).0, [3]);
        let expected = patterned(15);
        assert_eq!(chunks(&client.read("p", json!({}))).1, expected);
    }

    fn a_read_without_a_wait_does_not_wait(client) {
        client.start(Start::child("p", &["sleep"]));
        let read = client.read("p", json!({}));
        assert_eq!((&read["chunks"], &read["nextSeq"], &read["exited"]), (&json!([]), &json!(1), &json!(false)));
        assert_eq!((&read["exitCode"], &read["closed"]), (&Value::Null, &json!(false)));
    }

    fn a_wait_ends_in_its_time(client) {
        client.start(Start::child("p", &["sleep"]));
        let begun = Instant::now();
        let read = client.read("p", json!({"waitMs": 300}));
        assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
        assert_eq!(read["chunks"], json!([]));
    }

    fn output_ends_a_wait(client) {
        client.start(Start::child("p", &["cat"]).pipe_stdin());
        let pending = client.ask("process/read", params("p", json!({"waitMs": u64::MAX})));
        client.write("p", b"news", "1");
        let read = client.answer(pending).unwrap();
        assert_eq!(chunks(&read), (vec![1], b"news".to_vec()));
    }

    fn exit_and_close_end_a_wait(client) {
        client.start(Start::child("p", &["cat"]).pipe_stdin());
        let pending = client.ask("process/read", params("p", json!({"waitMs": u64::MAX})));
        client.ok("process/closeStdin", params("p", json!({})));
        assert_eq!(client.answer(pending).unwrap()["exited"], true);
        client.closed("p");
        let seq = client.observed("p").last_seq.unwrap();
        let read = client.read("p", json!({"afterSeq": seq, "waitMs": u64::MAX}));
        assert_eq!(read["closed"], true, "a closed process keeps nobody waiting");
    }

    fn a_wait_past_the_exit_is_for_the_close(client, "--drain-window", "2") {
        client.start(Start::child("p", &["background", "sleep"]));
        client.exited("p");
        let seq = client.observed("p").last_seq.unwrap();
        let read = client.read("p", json!({"afterSeq": seq, "waitMs": 60_000}));
        assert_eq!((&read["exited"], &read["closed"]), (&json!(true), &json!(true)));
    }

    fn a_wait_holds_up_nobody(client) {
        client.start(Start::child("p", &["cat"]).pipe_stdin());
        let waits: Vec<i64> = (0..100).map(|_| client.ask("process/read", params("p", json!({"waitMs": u64::MAX})))).collect();
        client.still_serves();
        assert_eq!(client.run(Start::child("q", &["echo", "hi"])).stdout, "hi\n");
        assert_eq!(client.read("p", json!({}))["chunks"], json!([]));
        assert!(waits.iter().all(|&id| !client.has_answer(id)));
        assert_eq!(client.ok("process/terminate", params("p", json!({}))), json!({"running": true}));
        for id in waits {
            assert_eq!(client.answer(id).unwrap()["exited"], true);
        }
    }

    fn a_wait_holds_no_thread(client) {
        client.start(Start::child("p", &["sleep"]));
        client.still_serves();
        let before = crate::support::threads(client.server_pid());
        for _ in 0..200 {
            client.ask("process/read", params("p", json!({"waitMs": 3_600_000})));
        }
        client.still_serves();
        let after = crate::support::threads(client.server_pid());
        assert!(after <= before + 1, "{before} threads before, {after} after");
    }

    fn what_is_no_longer_kept_is_an_explicit_gap(client) {
        client.start(Start::child("p", &["write", "3000000"]));
        client.closed("p");
        let read = client.read("p", json!({}));
        let (seqs, bytes) = chunks(&read);
        assert!(seqs[0] > 1, "3 MB do not fit in 1 MiB");
        assert_eq!(read["firstRetainedSeq"], seqs[0]);
        assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
        assert!(bytes.len() <= 1 << 20 && bytes.len() > (1 << 20) - (128 << 10), "{} kept", bytes.len());
        let expected = patterned_from(3_000_000 - bytes.len() as u64, bytes.len());
        assert!(bytes == expected, "the last of it, without a hole");
    }

    fn the_room_for_output_can_be_set(client, "--retained-output", "65536") {
        client.start(Start::child("p", &["write", "300000"]));
        client.closed("p");
        let (_, bytes) = chunks(&client.read("p", json!({})));
        assert!(bytes.len() <= 65_536 && !bytes.is_empty(), "{} kept", bytes.len());
    }

    fn a_bad_read_is_refused(client) {
        let error = client.err("process/read", params("nobody", json!({})));
        assert_eq!((error.code, error.message.as_str()), (-32600, "unknown process id nobody"));
        client.start(Start::child("p", &["sleep"]));
        for more in [json!({"waitMs": -1}), json!({"waitMs": 1.5}), json!({"afterSeq": "1"}), json!({"maxBytes": -1}), json!({"waitMs": 1e30})] {
            assert_eq!(client.err("process/read", params("p", more.clone())).code, -32602, "{more}");
        }
    }
}
