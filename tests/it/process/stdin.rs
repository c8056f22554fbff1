//! `process/write` and `process/closeStdin`.

use serde_json::{Value, json};

use crate::support::{Client, PATIENCE, Start, encode, params, patterned, within};

fn close_stdin(client: &mut Client, process: &str) -> Value {
    client.ok("process/closeStdin", params(process, json!({})))["status"].clone()
}

over_both! {
    fn what_is_written_arrives_and_can_come_to_an_end(client) {
        client.start(Start::child("p", &["cat"]).pipe_stdin());
        assert_eq!(client.write("p", b"hello ", "1"), "accepted");
        assert_eq!(client.write("p", b"", "2"), "accepted");
        assert_eq!(client.write("p", b"world\n", "3"), "accepted");
        assert_eq!(close_stdin(client, "p"), "accepted");
        assert_eq!(client.closed("p").stdout, "hello world\n");
    }

    fn nothing_need_be_waited_for(client) {
        let mut asked = Vec::new();
        asked.push(client.ask("process/start", Start::child("p", &["cat"]).pipe_stdin().0));
        let mut expected = String::new();
        for number in 0..500 {
            let text = format!("{number}\n");
            asked.push(client.ask("process/write", params("p", json!({"chunk": encode(text.as_bytes()), "writeId": number.to_string()}))));
            expected += &text;
        }
        asked.push(client.ask("process/closeStdin", params("p", json!({}))));
        for id in asked {
            client.answer(id).unwrap();
        }
        assert_eq!(client.closed("p").stdout, expected);
    }

    fn a_write_with_an_id_seen_before_is_not_done_again(client) {
        client.start(Start::child("p", &["cat"]).pipe_stdin());
        assert_eq!(client.write("p", b"once\n", "same"), "accepted");
        assert_eq!(client.write("p", b"once\n", "same"), "accepted");
        assert_eq!(client.write("p", b"twice\n", "other"), "accepted");
        close_stdin(client, "p");
        assert_eq!(client.closed("p").stdout, "once\ntwice\n");
    }

    fn an_id_seen_before_with_other_bytes_is_an_error_and_not_a_loss(client) {
        client.start(Start::child("p", &["cat"]).pipe_stdin());
        client.write("p", b"one", "same");
        client.err("process/write", params("p", json!({"chunk": encode(b"two"), "writeId": "same"})));
        close_stdin(client, "p");
        assert_eq!(client.closed("p").stdout, "one");
    }

    fn the_end_of_a_terminal_is_its_end_character(client) {
        client.start(Start::child("p", &["cat"]).tty());
        client.write("p", b"hi\n", "1");
        client.output("p", "pty", |text| text == "hi\r\nhi\r\n");
        assert_eq!(close_stdin(client, "p"), "accepted");
        assert_eq!(client.closed("p").code, 0);
    }

    fn a_write_needs_no_id(client) {
        client.start(Start::child("p", &["cat"]).pipe_stdin());
        for _ in 0..3 {
            let status = client.ok("process/write", params("p", json!({"chunk": encode(b"x")})));
            assert_eq!(status["status"], "accepted");
        }
        close_stdin(client, "p");
        assert_eq!(client.closed("p").stdout, "xxx");
    }

    fn a_write_that_cannot_arrive_says_so(client) {
        assert_eq!(client.write("nobody", b"x", "1"), "unknownProcess");
        assert_eq!(close_stdin(client, "nobody"), "unknownProcess");

        client.start(Start::child("no stdin", &["sleep"]));
        assert_eq!(client.write("no stdin", b"x", "1"), "stdinClosed");
        assert_eq!(close_stdin(client, "no stdin"), "stdinClosed");

        client.start(Start::child("closed", &["sleep"]).pipe_stdin());
        assert_eq!(close_stdin(client, "closed"), "accepted");
        assert_eq!(client.write("closed", b"x", "1"), "stdinClosed");
        assert_eq!(close_stdin(client, "closed"), "stdinClosed");

        client.run(Start::child("ended", &["true"]).pipe_stdin());
        assert_eq!(client.write("ended", b"x", "1"), "stdinClosed");

        client.start(Start::shell("deaf", "exec 0<&-; echo ready; exec sleep 1000").pipe_stdin());
        client.output("deaf", "stdout", |text| text == "ready\n");
        let mut number = 0;
        within(PATIENCE, "a write to a stdin that the child has closed is refused", || {
            number += 1;
            client.write("deaf", b"x", &number.to_string()) == "stdinClosed"
        });
    }

    fn what_is_not_base64_is_refused(client) {
        client.start(Start::child("p", &["cat"]).pipe_stdin());
        for chunk in [json!("x"), json!("eA"), json!("eA==\n"), json!("e A="), json!("_-8="), json!("eB=="), json!("===="), json!(7)] {
            let error = client.err("process/write", params("p", json!({"chunk": chunk, "writeId": "1"})));
            assert_eq!(error.code, -32602, "{chunk}");
        }
        let error = client.err("process/write", params("p", json!({"writeId": "1"})));
        assert_eq!(error.message, "missing field `chunk`");
        assert_eq!(client.write("p", b"good", "1"), "accepted");
        client.output("p", "stdout", |text| text == "good");
    }

    fn a_child_that_does_not_read_holds_up_nobody_else(client) {
        client.start(Start::child("deaf", &["sleep"]).pipe_stdin());
        let megabyte = patterned(1 << 20);
        for number in 0..3 {
            client.ask("process/write", params("deaf", json!({"chunk": encode(&megabyte), "writeId": number.to_string()})));
        }
        client.start(Start::child("cat", &["cat"]).pipe_stdin());
        client.write("cat", b"alive", "1");
        client.output("cat", "stdout", |text| text == "alive");
        assert_eq!(client.ok("process/terminate", params("deaf", json!({}))), json!({"running": true}));
        assert_eq!(client.closed("deaf").code, 137);
    }

    fn a_large_write_arrives_whole_before_the_end(client) {
        client.start(Start::child("p", &["drain"]).pipe_stdin());
        let bytes = patterned(8 << 20);
        assert_eq!(client.write("p", &bytes, "1"), "accepted");
        close_stdin(client, "p");
        assert_eq!(client.closed("p").stdout, format!("{}\n", 8 << 20));
    }

    fn large_writes_arrive_whole_and_in_order_behind_a_full_pipe_too(client) {
        let text = |number: usize| format!("{number:06}\n").repeat(10_000 - number);
        // Stopped, it reads nothing: the pipe is full, and the rest waits.
        client.start(Start::child("p", &["cat"]).pipe_stdin());
        client.ok("process/signal", params("p", json!({"signal": "STOP"})));
        let mut asked = Vec::new();
        let mut expected = String::new();
        for number in 0..40 {
            let text = text(number);
            let chunk = encode(text.as_bytes());
            asked.push(client.ask("process/write", params("p", json!({"chunk": chunk, "writeId": number.to_string()}))));
            expected += &text;
        }
        asked.push(client.ask("process/closeStdin", params("p", json!({}))));
        client.ok("process/signal", params("p", json!({"signal": "CONT"})));
        for id in asked {
            client.answer(id).unwrap();
        }
        assert!(client.closed("p").stdout == expected);
    }

    fn a_large_write_whose_id_was_seen_is_judged_by_all_its_bytes(client) {
        client.start(Start::child("p", &["drain"]).pipe_stdin());
        let mut bytes = patterned(200_000);
        assert_eq!(client.write("p", &bytes, "same"), "accepted");
        assert_eq!(client.write("p", &bytes, "same"), "accepted");
        bytes[123_456] ^= 1;
        client.err("process/write", params("p", json!({"chunk": encode(&bytes), "writeId": "same"})));
        close_stdin(client, "p");
        assert_eq!(client.closed("p").stdout, "200000\n");
    }

    fn a_process_whose_large_input_waits_is_terminated_at_once(client) {
        client.start(Start::child("deaf", &["sleep"]).pipe_stdin());
        let chunk = encode(&patterned(1 << 20));
        let write = client.ask("process/write", params("deaf", json!({"chunk": chunk})));
        assert_eq!(client.ok("process/terminate", params("deaf", json!({}))), json!({"running": true}));
        assert_eq!(client.answer(write).unwrap()["status"], "stdinClosed");
        assert_eq!(client.closed("deaf").code, 137);
    }
}
