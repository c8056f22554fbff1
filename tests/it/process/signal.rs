//! `process/signal`: one signal, to the whole group.

use serde_json::json;

use crate::support::{PATIENCE, Start, alive, params, within};

over_both! {
    fn interrupt_reaches_the_whole_group(client) {
        // A shell ignores SIGINT for what it puts in the background, so the second is of its foreground.
        client.start(Start::shell("p", "sh -c 'echo $$; exec sleep 1000'; echo never"));
        let pid = client.number("p");
        assert_eq!(client.ok("process/signal", params("p", json!({"signal": "interrupt"}))), json!({}));
        let outcome = client.closed("p");
        assert_eq!((outcome.code, outcome.signal.as_deref()), (130, Some("SIGINT")));
        within(PATIENCE, "its child is gone", || !alive(pid));
    }

    fn interrupt_works_on_a_terminal(client) {
        client.start(Start::child("p", &["pid-then-sleep"]).tty());
        client.number("p");
        client.ok("process/signal", params("p", json!({"signal": "interrupt"})));
        assert_eq!(client.closed("p").code, 130);
    }

    fn any_signal_may_be_named(client) {
        for (name, code) in [("TERM", 143), ("SIGTERM", 143), ("term", 143), ("HUP", 129), ("SIGKILL", 137), ("QUIT", 131), ("usr1", 138), ("SIGUSR2", 140)] {
            client.start(Start::child(name, &["pid-then-sleep"]));
            client.number(name);
            client.ok("process/signal", params(name, json!({"signal": name})));
            assert_eq!(client.closed(name).code, code, "{name}");
        }
    }

    fn a_process_can_be_stopped_and_go_on(client) {
        client.start(Start::child("p", &["cat"]).pipe_stdin());
        client.write("p", b"1", "1");
        client.output("p", "stdout", |text| text == "1");
        client.ok("process/signal", params("p", json!({"signal": "STOP"})));
        client.write("p", b"2", "2");
        client.ok("process/signal", params("p", json!({"signal": "CONT"})));
        client.output("p", "stdout", |text| text == "12");
        assert!(client.observed("p").exited.is_none(), "a stop is no exit");
    }

    fn a_handler_of_the_process_runs(client) {
        client.start(Start::shell("p", "trap 'echo got it; exit 9' USR1; echo ready; while :; do sleep 0.05; done"));
        client.output("p", "stdout", |text| text == "ready\n");
        client.ok("process/signal", params("p", json!({"signal": "SIGUSR1"})));
        let outcome = client.closed("p");
        assert_eq!((outcome.code, outcome.stdout.as_str()), (9, "ready\ngot it\n"));
    }

    fn a_signal_to_nobody_is_no_error(client) {
        assert_eq!(client.ok("process/signal", params("nobody", json!({"signal": "interrupt"}))), json!({}));
        client.run(Start::child("p", &["true"]));
        assert_eq!(client.ok("process/signal", params("p", json!({"signal": "KILL"}))), json!({}));
    }

    fn an_unknown_signal_is_refused(client) {
        client.start(Start::child("p", &["sleep"]));
        for signal in [json!("zzz"), json!(""), json!("SIG"), json!(9), json!("SIGSIGTERM")] {
            assert_eq!(client.err("process/signal", params("p", json!({"signal": signal}))).code, -32602, "{signal}");
        }
        assert_eq!(client.err("process/signal", params("p", json!({}))).message, "missing field `signal`");
        assert!(client.observed("p").exited.is_none());
    }
}
