//! What a process leaves behind: children that hold its pipes, and children that do not.

use serde_json::json;

use crate::support::{
    PATIENCE, Start, alive, descriptors, params, scratch, signal, threads, within,
};

over_both! {
    fn output_goes_on_while_a_descendant_holds_the_pipe(client, "--drain-window", "15") {
        let scratch = scratch();
        let (cue, done) = (scratch.path("cue"), scratch.path("done"));
        client.start(Start::child("p", &["background", "when", &cue, "100000", &done]));
        assert_eq!(client.exited("p")["exitCode"], 0);
        assert!(!client.observed("p").closed);
        std::fs::write(&cue, "").unwrap();
        let pid_line = client.number("p").to_string().len() + 1;
        client.closed("p");
        assert_eq!(client.observed("p").bytes("stdout").len(), pid_line + 100_000);
    }

    fn the_window_ends_and_the_descendant_is_neither_blocked_nor_killed(client, "--drain-window", "1") {
        let scratch = scratch();
        let (cue, done) = (scratch.path("cue"), scratch.path("done"));
        client.start(Start::child("p", &["background", "when", &cue, "500000", &done]));
        client.exited("p");
        client.closed("p");
        let pid = client.number("p");
        assert!(alive(pid), "closed is no reason to kill");
        std::fs::write(&cue, "").unwrap();
        within(PATIENCE, "500 KB go into the pipe though nobody is told", || std::path::Path::new(&done).exists());
    }

    fn a_busy_descendant_does_not_keep_the_window_open(client, "--drain-window", "1") {
        client.start(Start::shell("p", "(while :; do echo more; sleep 0.05; done) & exit 4"));
        assert_eq!(client.exited("p")["exitCode"], 4);
        client.closed("p");
        client.ok("process/terminate", json!({"processId": "p"}));
    }

    fn terminate_reaches_the_group_after_its_leader_has_gone(client) {
        for behaviour in ["background", "background-silent"] {
            let id = behaviour;
            client.start(Start::child(id, &[behaviour, "sleep"]));
            client.exited(id);
            let pid = client.number(id);
            assert!(alive(pid));
            assert_eq!(client.ok("process/terminate", params(id, json!({}))), json!({"running": false}));
            within(PATIENCE, "the descendant is gone", || !alive(pid));
            client.closed(id);
        }
    }

    fn terminate_reaches_the_whole_group(client) {
        client.start(Start::shell("p", "sleep 1000 & echo $!; trap '' TERM; wait"));
        let pid = client.number("p");
        client.ok("process/terminate", json!({"processId": "p"}));
        within(PATIENCE, "the descendant is gone", || !alive(pid));
        assert_eq!(client.closed("p").code, 137);
    }

    fn the_window_of_a_descendant_in_another_group_ends_too(client, "--drain-window", "1") {
        client.start(Start::child("p", &["own-group", "sleep"]));
        let pid = client.number("p");
        client.closed("p");
        assert!(alive(pid));
        signal(pid, "KILL");
    }

    fn many_that_hold_pipes_cost_one_thread(client, "--max-processes", "2", "--drain-window", "0") {
        let server = client.server_pid();
        client.run(Start::child("first", &["true"]));
        let before = descriptors(server);
        for number in 0..20 {
            let id = number.to_string();
            client.run(Start::child(&id, &["background", "sleep"]));
        }
        within(PATIENCE, "the threads of the processes are gone", || threads(server) <= 4);
        for number in 0..20 {
            let id = number.to_string();
            let pid = client.number(&id);
            assert!(alive(pid));
            client.ok("process/terminate", params(&id, json!({})));
        }
        within(PATIENCE, "their streams are closed", || descriptors(server) <= before);
    }

    fn those_that_are_deaf_are_killed_when_the_grace_ends(client, "--drain-window", "0") {
        for held in ["", ">/dev/null 2>&1"] {
            let script = format!("(trap '' TERM; exec sleep 1000) {held} & echo $!; wait");
            let id = format!("p{held}");
            client.start(Start::shell(&id, &script));
            let pid = client.number(&id);
            // The shell in the background is deaf once it has become the other program.
            within(PATIENCE, "it sleeps", || {
                std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n")
            });
            client.ok("process/terminate", params(&id, json!({"graceMs": 1500})));
            assert_eq!(client.closed(&id).code, 143);
            assert!(alive(pid), "it has its grace though its leader has gone");
            within(PATIENCE, "it is killed", || !alive(pid));
        }
    }
}
