//! `process/terminate`: the end of a process and its group, at once or with grace.

use serde_json::json;

use crate::support::{Start, params, patterned};

over_both! {
    fn a_running_process_is_killed(client) {
        for tty in [false, true] {
            let id = tty.to_string();
            client.start(Start::child(&id, &["pid-then-sleep"]).with("tty", tty));
            client.number(&id);
            assert_eq!(client.ok("process/terminate", params(&id, json!({}))), json!({"running": true}));
            let outcome = client.closed(&id);
            assert_eq!((outcome.code, outcome.signal.as_deref()), (137, Some("SIGKILL")));
        }
    }

    fn the_answer_comes_before_the_news(client) {
        for number in 0..20 {
            let id = number.to_string();
            client.start(Start::child(&id, &["sleep"]));
            let ask = client.ask("process/terminate", params(&id, json!({})));
            let answered_first = client.wait("answer or news", |client| {
                (client.has_answer(ask) || client.observed(&id).exited.is_some()).then(|| client.has_answer(ask))
            });
            assert!(answered_first, "{number}");
            client.answer(ask).unwrap();
        }
    }

    fn a_process_that_is_not_running_is_no_error(client) {
        assert_eq!(client.ok("process/terminate", params("nobody", json!({}))), json!({"running": false}));
        client.run(Start::child("p", &["true"]));
        assert_eq!(client.ok("process/terminate", params("p", json!({}))), json!({"running": false}));
        assert_eq!(client.ok("process/terminate", params("p", json!({}))), json!({"running": false}));
    }

    fn a_process_that_ignores_term_is_killed_all_the_same(client) {
        client.start(Start::shell("p", "trap '' TERM INT HUP; echo deaf; while :; do sleep 1; done"));
        client.output("p", "stdout", |text| text == "deaf\n");
        client.ok("process/terminate", params("p", json!({})));
        assert_eq!(client.closed("p").code, 137);
    }

    fn with_grace_a_process_may_say_goodbye(client) {
        client.start(Start::shell("p", "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.05; done"));
        client.output("p", "stdout", |text| text == "ready\n");
        let answer = client.ok("process/terminate", params("p", json!({"graceMs": 20_000})));
        assert_eq!(answer, json!({"running": true}));
        let outcome = client.closed("p");
        assert_eq!((outcome.code, outcome.stdout.as_str()), (5, "ready\nbye\n"));
    }

    fn the_grace_ends(client) {
        client.start(Start::shell("p", "trap 'echo no' TERM; echo ready; while :; do sleep 0.05; done"));
        client.output("p", "stdout", |text| text == "ready\n");
        client.ok("process/terminate", params("p", json!({"graceMs": 500})));
        let outcome = client.closed("p");
        assert_eq!((outcome.code, outcome.stdout.as_str()), (137, "ready\nno\n"));
    }

    fn a_second_terminate_cuts_the_grace_short(client) {
        client.start(Start::shell("p", "trap '' TERM; echo ready; while :; do sleep 1; done"));
        client.output("p", "stdout", |text| text == "ready\n");
        client.ok("process/terminate", params("p", json!({"graceMs": 3_600_000})));
        client.ok("process/terminate", params("p", json!({})));
        assert_eq!(client.closed("p").code, 137);
    }

    fn output_before_the_end_is_kept(client) {
        client.start(Start::child("p", &["write", "5000000"]));
        client.wait("some output", |client| (!client.observed("p").bytes("stdout").is_empty()).then_some(()));
        client.ok("process/terminate", params("p", json!({})));
        client.closed("p");
        let bytes = client.observed("p").bytes("stdout").to_vec();
        let expected = patterned(bytes.len());
        assert!(bytes == expected, "what came is a beginning of what was written");
    }
}
