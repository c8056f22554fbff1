//! Limits given at start: time and the system's resources.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Client, Server, Start, encode, scratch};

over_both! {
    fn a_process_past_its_time_gets_term(client) {
        let outcome = client.run(Start::child("p", &["sleep"]).with("timeoutMs", 200));
        assert_eq!((outcome.code, outcome.signal.as_deref(), outcome.timed_out), (143, Some("SIGTERM"), true));
        assert_eq!(client.read("p", json!({}))["timedOut"], true);
    }

    fn and_kill_two_seconds_later_if_it_will_not_go(client) {
        let begun = Instant::now();
        let outcome = client.run(Start::shell("p", "trap '' TERM; echo deaf; while :; do sleep 1; done").with("timeoutMs", 1000));
        assert_eq!((outcome.code, outcome.signal.as_deref(), outcome.timed_out), (137, Some("SIGKILL"), true));
        assert!(begun.elapsed() >= Duration::from_millis(2900), "{:?}", begun.elapsed());
        assert_eq!(outcome.stdout, "deaf\n");
    }

    fn a_process_that_uses_its_grace_says_its_own_code(client) {
        let script = "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.05; done";
        let outcome = client.run(Start::shell("p", script).with("timeoutMs", 2000));
        assert_eq!((outcome.code, outcome.timed_out), (5, true));
        assert_eq!(outcome.stdout, "ready\nbye\n");
    }

    fn a_process_in_time_is_not_timed_out(client) {
        let outcome = client.run(Start::child("p", &["exit", "3"]).with("timeoutMs", 60_000));
        assert_eq!((outcome.code, outcome.timed_out), (3, false));
        let unlimited = client.run(Start::child("q", &["exit", "3"]).with("timeoutMs", serde_json::Value::Null));
        assert_eq!((unlimited.code, unlimited.timed_out), (3, false));
    }

    fn resource_limits_are_those_given(client) {
        let limits = json!({"nofile": 64, "core": 0, "fsize": 1 << 20, "cpu": 100, "as": 4_u64 << 30, "stack": 1 << 20, "memlock": 0, "data": 2_u64 << 30, "nproc": 4000});
        let outcome = client.run(Start::child("p", &["limits"]).with("rlimits", limits));
        for (name, value) in [
            ("Max open files", "64"),
            ("Max core file size", "0"),
            ("Max file size", "1048576"),
            ("Max cpu time", "100"),
            ("Max address space", "4294967296"),
            ("Max stack size", "1048576"),
            ("Max locked memory", "0"),
            ("Max data size", "2147483648"),
            ("Max processes", "4000"),
        ] {
            let line = outcome.stdout.lines().find(|line| line.starts_with(name)).unwrap();
            assert_eq!(line[name.len()..].split_whitespace().next(), Some(value), "{line}");
        }
    }

    fn an_unknown_resource_is_refused(client) {
        let error = client.err("process/start", Start::child("p", &["true"]).with("rlimits", json!({"happiness": 1})).0);
        assert_eq!(error.code, -32602);
        let error = client.err("process/start", Start::child("p", &["true"]).with("rlimits", json!({"nofile": -1})).0);
        assert_eq!(error.code, -32602);
    }
}

#[test]
fn a_limit_on_file_sizes_costs_a_request_and_not_the_server() {
    let scratch = scratch();
    let server = Server::command();
    let program = server.get_program().to_str().unwrap();
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args([
        "-c",
        &format!("ulimit -f 100; exec '{program}' --listen stdio"),
    ]);
    let mut client = Client::stdio_command(shell);
    let data = encode(&vec![0; 1 << 20]);
    let write = json!({"path": scratch.path("large"), "dataBase64": data});
    let refused = client.err("fs/writeFile", write);
    assert!(refused.message.contains("File too large"), "{refused:?}");
    let outcome = client.run(Start::shell("p", "kill -XFSZ $$; echo survived"));
    assert_eq!(outcome.signal.as_deref(), Some("SIGXFSZ"), "{outcome:?}");
}
