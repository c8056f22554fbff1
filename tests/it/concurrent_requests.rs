//! `--concurrent-requests`: no more are at work at once, the others wait in order, and what ends a process never does.

use serde_json::{Value, json};

use crate::support::{Client, PATIENCE, Start, Web, names, params, scratch, within};

/// A client of a server with a limit, and a process that says nothing until it is told to end.
fn limited(limit: &str) -> Client {
    let mut client = Client::websocket_with(&["--concurrent-requests", limit]);
    client.start(Start::child("p", &["cat"]).pipe_stdin());
    client
}

/// Asks for output that does not come.
fn long_poll(client: &mut Client) -> i64 {
    client.ask("process/read", params("p", json!({"waitMs": 600_000})))
}

/// The ids of the answers in the order in which they came.
fn order(client: &Client) -> Vec<i64> {
    let answers = client
        .recorded()
        .iter()
        .filter_map(|said| said["id"].as_i64());
    answers.collect()
}

#[test]
fn what_is_beyond_the_limit_waits_for_an_answer_and_keeps_its_order() {
    let mut client = limited("1");
    client.record();
    let poll = long_poll(&mut client);
    let waiting: Vec<i64> = (0..20)
        .map(|_| client.ask("fs/getMetadata", json!({"path": "/"})))
        .collect();
    let terminate = client.ask("process/terminate", params("p", json!({})));
    for id in &waiting {
        client.answer(*id).unwrap();
    }
    client.answer(terminate).unwrap();
    client.answer(poll).unwrap();
    let order = order(&client);
    let place = |id: &i64| order.iter().position(|it| it == id).unwrap();
    assert!(place(&poll) < place(&waiting[0]), "{order:?}");
    assert!(waiting.is_sorted_by_key(place), "{order:?}");
}

#[test]
fn as_many_as_were_asked_for_are_at_work() {
    let mut client = limited("3");
    let polls = [long_poll(&mut client), long_poll(&mut client)];
    // The third place is free, again and again.
    for _ in 0..3 {
        client.ok("fs/getMetadata", json!({"path": "/"}));
    }
    client.ok("process/terminate", params("p", json!({})));
    for poll in polls {
        client.answer(poll).unwrap();
    }
}

#[test]
fn what_ends_or_asks_about_a_process_never_waits() {
    let mut client = limited("1");
    let poll = long_poll(&mut client);
    let waiting = client.ask("fs/getMetadata", json!({"path": "/"}));
    client.ok("environment/status", Value::Null);
    client.ok("environment/info", Value::Null);
    let error = client.err("nonsense", json!({}));
    assert_eq!(error.code, -32601);
    client.ok("process/signal", params("p", json!({"signal": "TERM"})));
    client.answer(poll).unwrap();
    client.answer(waiting).unwrap();
    assert_eq!(client.closed("p").code, 143);
}

#[test]
fn too_many_that_wait_are_refused_by_their_own_id_and_terminate_is_not() {
    let mut client = limited("1");
    let poll = long_poll(&mut client);
    let ids: Vec<i64> = (0..16_390)
        .map(|_| client.ask("fs/getMetadata", json!({"path": "/"})))
        .collect();
    let (kept, refused) = ids.split_at(16_384);
    for id in refused {
        let error = client.answer(*id).unwrap_err();
        assert_eq!(error.code, -32000);
        assert!(error.message.contains("--concurrent-requests"), "{error:?}");
    }
    client.ok("process/terminate", params("p", json!({})));
    client.answer(poll).unwrap();
    for id in kept {
        client.answer(*id).unwrap();
    }
}

#[test]
fn raw_blocks_keep_their_place_among_what_waits() {
    let mut client = limited("1");
    let dir = scratch();
    let path = dir.path("f");
    client.ok(
        "fs/open",
        json!({"handleId": "h", "path": path, "mode": "replace"}),
    );
    let poll = long_poll(&mut client);
    let removed = client.ask("fs/createDirectory", json!({"path": dir.path("d")}));
    let id = client.ask(
        "fs/writeBlock",
        json!({"handleId": "h", "offset": 0, "rawBytes": 4}),
    );
    client.send_binary(b"four");
    let closed = client.ask("fs/close", json!({"handleId": "h"}));
    client.ok("process/terminate", params("p", json!({})));
    for id in [poll, removed, id, closed] {
        client.answer(id).unwrap();
    }
    assert_eq!(std::fs::read(path).unwrap(), b"four");
    assert_eq!(names(&dir.dir()), ["d", "f"]);
}

#[test]
fn what_waits_when_standard_input_ends_is_still_answered() {
    let mut client = Client::stdio_with(&["--concurrent-requests", "1"]);
    let ids: Vec<i64> = (0..50)
        .map(|_| client.ask("fs/getMetadata", json!({"path": "/"})))
        .collect();
    client.end_of_input();
    for id in ids {
        client.answer(id).unwrap();
    }
}

#[test]
fn what_waits_for_a_client_that_is_gone_is_not_begun() {
    let mut client = limited("1");
    let dir = scratch();
    let session = client.session.clone();
    long_poll(&mut client);
    client.ask(
        "fs/writeFile",
        json!({"path": dir.path("f"), "dataBase64": ""}),
    );
    for (method, id) in [("process/start", "started"), ("process/run", "run")] {
        let start = Start::shell(id, &format!(": >{}", dir.path(id)));
        client.ask(method, start.0);
    }
    // An answer to what does not wait: everything before it has arrived.
    client.ok("environment/status", Value::Null);
    let server = client.server.take().unwrap();
    drop(client);
    let mut again = server.connect_silent();
    within(PATIENCE, "the session can be resumed", || {
        again.try_resume(&session).is_ok()
    });
    again.skip_to("p", 0);
    again.ok("process/terminate", params("p", json!({})));
    again.ok("fs/getMetadata", json!({"path": dir.dir()}));
    // A process that is started now has its turn behind any that would have begun.
    again.run(Start::shell("last", ":"));
    let begun =
        ["started", "run"].map(|id| again.request("process/terminate", params(id, json!({}))));
    assert!(
        begun
            .iter()
            .all(|it| matches!(it, Ok(answer) if answer["running"] == false) || it.is_err()),
        "{begun:?}"
    );
    assert!(names(&dir.dir()).is_empty());
}

#[test]
fn every_answer_of_process_run_makes_room() {
    let mut client = limited("2");
    for number in 0..3 {
        let run = |argv: &[&str]| Start::command(&format!("{argv:?} {number}"), argv);
        client.ok("process/run", run(&["true"]).0);
        let slow = run(&["sleep", "600"]).with("timeoutMs", 20);
        assert_eq!(client.ok("process/run", slow.0)["timedOut"], true);
        client.err("process/run", run(&["/nonexistent"]).0);
        client.err("process/run", run(&[]).0);
    }
    let running = client.ok("process/list", json!({}));
    assert_eq!(
        running["processes"].as_array().unwrap().len(),
        7,
        "{running}"
    );
}

#[test]
fn every_answer_that_comes_later_makes_room() {
    let mut client = limited("1");
    let dir = scratch();
    std::fs::write(dir.path("f"), "four").unwrap();
    let web = Web::serve(|asked, wire| {
        wire.raw(b"HTTP/1.1 200 OK\r\n\r\nabc");
        if asked.path() == "/open" {
            wire.await_end();
        }
    });
    let http = |path: &str, id: &str, stream: bool| {
        let url = web.url(path);
        json!({"method": "GET", "url": url, "requestId": id, "streamResponse": stream})
    };
    client.ok("fs/open", json!({"handleId": "h", "path": dir.path("f")}));
    for round in 0..2 {
        let name = format!("n{round}");
        client.start(Start::command(&name, &["true"]));
        let later = [
            ("process/read", params("p", json!({"waitMs": 1}))),
            ("process/write", params("p", json!({"chunk": "YQ=="}))),
            ("fs/readFile", json!({"path": dir.path("f")})),
            (
                "fs/readBlock",
                json!({"handleId": "h", "offset": 0, "len": 2}),
            ),
            ("fs/watch", json!({"watchId": name, "path": dir.dir()})),
            ("fs/unwatch", json!({"watchId": name})),
            (
                "fs/watchMissing",
                json!({"watchId": round, "missing": [dir.path("gone")]}),
            ),
            ("http/request", http("/", "whole", false)),
            ("http/request", http("/open", &name, true)),
            ("capabilities/discoverV2", json!({"cwd": dir.dir()})),
        ];
        for (method, params) in later {
            client.ok(method, params);
        }
        client.err("fs/readFile", json!({"path": dir.path("gone")}));
        client.err("process/start", Start::command("q", &["/nonexistent"]).0);
    }
}

/// Asks for a process that waits for its turn, and that says so in a file should it ever run.
fn waiting_start(client: &mut Client, method: &str, made: &str) -> (i64, i64) {
    let poll = long_poll(client);
    let start = Start::command("q", &["sh", "-c", "echo x >$0; exec sleep 600", made]);
    (poll, client.ask(method, start.0))
}

#[test]
fn a_start_that_waits_is_given_up_for_what_ends_its_process() {
    let ends = [
        ("process/terminate", json!({}), json!({"running": true})),
        (
            "process/terminate",
            json!({"graceMs": 600_000}),
            json!({"running": true}),
        ),
        ("process/signal", json!({"signal": "KILL"}), json!({})),
        ("process/signal", json!({"signal": "SIGTERM"}), json!({})),
    ];
    let mut client = limited("1");
    let dir = scratch();
    for start in ["process/start", "process/run"] {
        for (end, more, answer) in &ends {
            let (poll, id) = waiting_start(&mut client, start, &dir.path("made"));
            let write = client.ask("process/write", params("q", json!({"chunk": "YQ=="})));
            assert_eq!(&client.ok(end, params("q", more.clone())), answer);
            let error = client.answer(id).unwrap_err();
            assert_eq!(error.code, -32603);
            assert!(error.message.contains("told to end"), "{error:?}");
            // Nothing of it was ever there, and nothing else was given up.
            client.ok("process/signal", params("p", json!({"signal": "STOP"})));
            assert_eq!(
                client.ok("process/terminate", params("q", json!({})))["running"],
                false
            );
            assert!(!client.has_answer(poll) && !client.has_answer(write));
            client.ok("process/terminate", params("p", json!({})));
            client.answer(poll).unwrap();
            assert_eq!(client.answer(write).unwrap()["status"], "unknownProcess");
            client.closed("p");
            client = limited("1");
        }
    }
    assert!(names(&dir.dir()).is_empty());
}

#[test]
fn what_else_is_about_a_process_waits_behind_its_start() {
    let mut client = limited("1");
    let poll = long_poll(&mut client);
    let start = client.ask("process/start", Start::child("q", &["cat"]).pipe_stdin().0);
    let acknowledge = client.ask("process/acknowledge", params("q", json!({"seq": 0})));
    let signal = client.ask("process/signal", params("q", json!({"signal": "WINCH"})));
    // Of another process it does not.
    client.ok("process/acknowledge", params("p", json!({"seq": 0})));
    for id in [start, acknowledge, signal] {
        assert!(!client.has_answer(id));
    }
    client.ok("process/terminate", params("p", json!({})));
    for id in [poll, start, acknowledge, signal] {
        client.answer(id).unwrap();
    }
    assert_eq!(
        client.ok("process/terminate", params("q", json!({})))["running"],
        true
    );
    client.closed("q");
}
