//! `process/run`: a process in one call.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::sandbox::read_only;
use crate::support::{
    Client, PATIENCE, Server, Start, alive, encode, params, peak_resident, scratch, within,
};

/// What a stream of a result has.
fn text(result: &Value, stream: &str) -> String {
    let data = result[stream]["dataBase64"].as_str().unwrap();
    String::from_utf8(crate::support::decode(data)).unwrap()
}

fn both(result: &Value) -> (String, String) {
    (text(result, "stdout"), text(result, "stderr"))
}

over_both! {
    fn the_answer_has_all_and_nothing_else_is_told(client) {
        let script = "echo out; echo err >&2; exit 3";
        let result = client.ok("process/run", Start::shell("p", script).0);
        assert_eq!(both(&result), ("out\n".into(), "err\n".into()), "{result}");
        assert_eq!((&result["processId"], &result["exitCode"]), (&json!("p"), &json!(3)), "{result}");
        assert_eq!((&result["timedOut"], &result["sandboxDenied"]), (&json!(false), &json!(false)));
        assert_eq!((&result["stdout"]["totalBytes"], result["stdout"].get("missing")), (&json!(4), None));
        assert!(result["durationMs"].is_u64() && result.get("signal").is_none(), "{result}");
        client.still_serves();
        assert_eq!(client.observed("p").events, []);
    }

    fn a_command_alone_is_enough(client) {
        let first = client.ok("process/run", json!({"argv": ["echo", "hi"]}));
        let second = client.ok("process/run", json!([["echo"]]));
        assert_eq!(text(&first, "stdout"), "hi\n");
        assert_eq!(text(&second, "stdout"), "\n");
        assert_ne!(first["processId"], second["processId"]);
    }

    fn input_is_written_and_ended(client) {
        let input = vec![b'x'; 20 << 20];
        let start = Start::shell("p", "wc -c").with("stdin", encode(&input));
        assert_eq!(text(&client.ok("process/run", start.0), "stdout").trim(), "20971520");
        let unread = Start::shell("q", "exit 4").with("stdin", encode(&input));
        assert_eq!(client.ok("process/run", unread.0)["exitCode"], 4);
        let without = client.ok("process/run", Start::shell("r", "wc -c").0);
        assert_eq!(text(&without, "stdout").trim(), "0");
        let typed = Start::shell("s", "read line; echo got $line; cat").tty().with("stdin", encode(b"it\n"));
        assert!(text(&client.ok("process/run", typed.0), "stdout").contains("got it\r\n"));
    }

    fn time_that_is_up_ends_the_group_and_tells_what_was_written(client) {
        let begun = Instant::now();
        let script = "echo begun; sleep 1000 & echo $!; wait";
        let result = client.ok("process/run", Start::shell("p", script).with("timeoutMs", 200).0);
        assert_eq!((&result["timedOut"], &result["exitCode"]), (&json!(true), &json!(143)), "{result}");
        assert_eq!(result["signal"], "SIGTERM");
        let (first, pid) = text(&result, "stdout").split_once('\n').map(|(a, b)| (a.to_owned(), b.trim().to_owned())).unwrap();
        assert_eq!(first, "begun");
        let pid = pid.parse().unwrap();
        within(PATIENCE, "the group is gone", || !alive(pid));
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert!(result["durationMs"].as_u64().unwrap() >= 200, "{result}");
    }

    fn of_much_output_the_first_and_the_last_are_kept(client) {
        let script = "printf 0123456789; printf abc >&2";
        let result = client.ok("process/run", Start::shell("p", script).with("maxOutputBytes", 5).0);
        assert_eq!(both(&result), ("01789".into(), "abc".into()), "{result}");
        assert_eq!(result["stdout"]["totalBytes"], 10);
        assert_eq!(result["stdout"]["missing"], json!({"offset": 2, "bytes": 5}));
    }

    fn it_is_listed_and_signalled_like_any_process(client) {
        let scratch = scratch();
        let cue = scratch.path("cue");
        let script = format!("trap 'exit 9' USR1; echo >{cue}; while :; do sleep 0.02; done");
        let asked = client.ask("process/run", Start::shell("p", &script).0);
        within(PATIENCE, "it runs", || std::path::Path::new(&cue).exists());
        let list = client.ok("process/list", json!({}));
        assert_eq!((&list["processes"][0]["processId"], &list["processes"][0]["exited"]), (&json!("p"), &json!(false)));
        let taken = client.err("process/start", Start::child("p", &["true"]).0);
        assert_eq!(taken.message, "process p already exists");
        for method in ["process/read", "process/acknowledge"] {
            let error = client.err(method, params("p", json!({"seq": 0})));
            assert_eq!(error.code, -32600, "{error:?}");
            assert!(error.message.contains("process/run"), "{error:?}");
        }
        client.ok("process/signal", params("p", json!({"signal": "USR1"})));
        assert_eq!(client.answer(asked).unwrap()["exitCode"], 9);
        let asked = client.ask("process/run", Start::child("q", &["sleep"]).0);
        assert_eq!(client.ok("process/terminate", params("q", json!({})))["running"], true);
        assert_eq!(client.answer(asked).unwrap()["signal"], "SIGKILL");
    }

    fn input_may_be_written_where_none_was_given(client) {
        let asked = client.ask("process/run", Start::shell("p", "cat").pipe_stdin().0);
        assert_eq!(client.write("p", b"later", "1"), "accepted");
        client.ok("process/closeStdin", params("p", json!({})));
        assert_eq!(text(&client.answer(asked).unwrap(), "stdout"), "later");
    }

    fn what_cannot_be_run_is_the_same_error_as_of_a_start(client) {
        for start in [
            Start::command("p", &["/no/such/program"]),
            Start::child("p", &["true"]).cwd("/no/such/dir"),
            Start::child("p", &["true"]).with("rlimits", json!({"nope": 1})),
            Start::command::<&str>("p", &[]),
        ] {
            let expected = client.err("process/start", start.0.clone());
            assert_eq!(client.err("process/run", start.0), expected);
        }
        assert_eq!(client.err("process/run", json!({})).message, "missing field `argv`");
        for (member, value) in [("maxOutputBytes", json!((16 << 20) + 1)), ("stdin", json!("?"))] {
            let start = Start::child("p", &["true"]).with(member, value);
            assert_eq!(client.err("process/run", start.0).code, -32602, "{member}");
        }
        // The name is free.
        assert_eq!(client.ok("process/run", Start::child("p", &["true"]).0)["exitCode"], 0);
    }

    fn a_policy_holds_and_its_denial_is_told(client) {
        let scratch = scratch();
        let made = scratch.path("made");
        let start = Start::shell("p", &format!("echo >{made}")).with("sandbox", read_only());
        let result = client.ok("process/run", start.0);
        assert_eq!((&result["sandboxType"], &result["sandboxDenied"]), (&json!("linuxSeccomp"), &json!(true)), "{result}");
        assert!(result["sandboxLevel"]["launcher"].is_string() && result["sandboxDenial"]["kind"].is_string(), "{result}");
        assert!(!std::path::Path::new(&made).exists());
    }

    fn the_output_of_so_many_is_kept_and_no_more(client) {
        let most = 16 << 20;
        let runs: Vec<_> = (0..16)
            .map(|number| {
                let start = Start::child(&format!("p{number}"), &["sleep"]);
                client.ask("process/run", start.with("maxOutputBytes", most).0)
            })
            .collect();
        let one_more = Start::child("more", &["true"]);
        assert_eq!(client.err("process/run", one_more.clone().0).code, -32000);
        client.ok("process/terminate", params("p0", json!({})));
        assert_eq!(client.answer(runs[0]).unwrap()["exitCode"], 137);
        assert_eq!(client.ok("process/run", one_more.0)["exitCode"], 0);
    }
}

#[test]
fn a_child_that_writes_without_end_costs_what_is_answered_of_it() {
    let mut client = Client::websocket();
    client.ok(
        "process/run",
        Start::shell("warm", "head -c 4000000 /dev/zero").0,
    );
    let before = peak_resident(client.server_pid());
    let script = "head -c 300000000 /dev/zero; head -c 300000000 /dev/zero >&2";
    let result = client.ok("process/run", Start::shell("p", script).0);
    let more = peak_resident(client.server_pid()) - before;
    assert!(more < 12 << 10, "{more} KiB");
    for stream in ["stdout", "stderr"] {
        let output = &result[stream];
        assert_eq!(output["totalBytes"], 300_000_000);
        assert_eq!(
            output["missing"],
            json!({"offset": 1 << 19, "bytes": 300_000_000 - (1 << 20)})
        );
        assert_eq!(text(&result, stream).len(), 1 << 20);
    }
}

#[test]
fn a_descendant_that_holds_the_pipe_delays_the_answer_by_the_window() {
    let mut client = Client::websocket_with(&["--drain-window", "0.2"]);
    let begun = Instant::now();
    let result = client.ok(
        "process/run",
        Start::shell("p", "sleep 1000 & echo started").0,
    );
    assert_eq!(text(&result, "stdout"), "started\n");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn it_ends_with_its_connection() {
    let server = Server::websocket(&[]);
    let scratch = scratch();
    let file = scratch.path("pid");
    let mut client = server.connect();
    let script = format!("echo $$ >{file}.new; mv {file}.new {file}; exec sleep 1000");
    client.ask("process/run", Start::shell("p", &script).0);
    client.start(Start::child("other", &["sleep"]));
    let mut pid = None;
    within(PATIENCE, "it runs", || {
        pid = std::fs::read_to_string(&file)
            .ok()
            .map(|it| it.trim().parse().unwrap());
        pid.is_some()
    });
    let session = client.session.clone();
    let begun = Instant::now();
    drop(client);
    within(PATIENCE, "it is gone", || !alive(pid.unwrap()));
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    // What was started lives on, and what was run is told of to nobody.
    let mut again = server.connect_silent();
    again.try_resume(&session).unwrap();
    let list = again.ok("process/list", json!({}));
    let exited = |id: &str| {
        let processes = list["processes"].as_array().unwrap();
        let found = processes.iter().find(|process| process["processId"] == id);
        found.unwrap()["exited"].clone()
    };
    assert_eq!(
        (exited("other"), exited("p")),
        (json!(false), json!(true)),
        "{list}"
    );
    again.still_serves();
    assert_eq!(again.observed("p").events, []);
}

#[test]
fn it_is_answered_when_the_server_ends_it() {
    let mut client = Client::websocket();
    let scratch = scratch();
    let cue = scratch.path("cue");
    let script = format!("echo begun; echo >{cue}; exec sleep 1000");
    let asked = client.ask("process/run", Start::shell("p", &script).0);
    within(PATIENCE, "it runs", || std::path::Path::new(&cue).exists());
    crate::support::signal(client.server_pid(), "TERM");
    let result = client.answer(asked).unwrap();
    assert_eq!(
        (text(&result, "stdout"), &result["exitCode"]),
        ("begun\n".into(), &json!(143))
    );
}
