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

    fn a_soft_limit_may_be_below_the_hard_one(client) {
        for (id, sandbox) in [("p", json!(null)), ("q", crate::sandbox::read_only())] {
            let limits = json!({"nofile": {"soft": 64, "hard": 128}, "core": 0});
            let start = Start::child(id, &["limits"]).with("rlimits", limits).with("sandbox", sandbox);
            let outcome = client.run(start);
            let line = outcome.stdout.lines().find(|line| line.starts_with("Max open files")).unwrap();
            let values: Vec<_> = line.split_whitespace().skip(3).collect();
            assert_eq!(values, ["64", "128", "files"], "{}", outcome.stdout);
        }
        let limits = json!({"nofile": {"soft": 65, "hard": 64}});
        let error = client.err("process/start", Start::child("r", &["true"]).with("rlimits", limits).0);
        assert_eq!((error.code, error.message.contains("must not be above")), (-32602, true), "{error:?}");
    }

    fn a_limit_of_descriptors_is_for_the_program_alone(client) {
        for limit in 0..5 {
            for (kind, sandbox) in [("plain", json!(null)), ("confined", crate::sandbox::read_only())] {
                let start = Start::child(&format!("{kind} {limit}"), &["exit", "7"]);
                let start = start.with("rlimits", json!({"nofile": limit})).with("sandbox", sandbox);
                let outcome = client.run(start);
                assert_eq!(outcome.code, 7, "{kind} {limit}: {outcome:?}");
            }
        }
    }

    fn no_limit_is_raised_above_the_servers_for_root_neither(client) {
        let own = client.run(Start::shell("own", "ulimit -Hn")).stdout;
        let own: u64 = own.trim().parse().unwrap();
        let start = |id: &str, limit: u64| Start::shell(id, "ulimit -Hn").with("rlimits", json!({"nofile": limit}));
        let error = client.err("process/start", start("p", own + 1).0);
        assert_eq!(error.code, -32603);
        assert!(error.message.contains("nofile") && error.message.ends_with("; it can be lowered only"), "{error:?}");
        assert_eq!(client.run(start("q", own)).stdout.trim(), own.to_string());
    }

    fn the_limit_by_which_descendants_are_known_is_refused_with_the_reason(client) {
        let limits = json!({"locks": 5});
        let error = client.err("process/start", Start::child("p", &["true"]).with("rlimits", limits).0);
        assert_eq!(error.code, -32602);
        assert!(error.message.contains("descendants"), "{error:?}");
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
