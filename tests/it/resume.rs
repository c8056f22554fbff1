//! Sessions that outlast a connection.

use serde_json::json;

use crate::support::{
    Client, PATIENCE, Server, Start, alive, decode, params, patterned, patterned_from, scratch,
    within,
};

/// A client resumes as soon as the server has seen that the old connection is gone.
fn resume(server: &Server, session: &str) -> Client {
    let mut client = None;
    within(PATIENCE, "the session can be resumed", || {
        let mut next = server.connect_silent();
        match next.try_resume(session) {
            Ok(()) => client = Some(next),
            Err(error) => assert_eq!(error.code, -32010, "{error:?}"),
        }
        client.is_some()
    });
    client.unwrap()
}

/// Everything a read tells after `seq`, and the number of its last chunk.
fn catch_up(client: &mut Client, process: &str, seq: u64) -> (Vec<u8>, u64) {
    let read = client.read(process, json!({"afterSeq": seq}));
    let chunks = read["chunks"].as_array().unwrap();
    let mut last = seq;
    let mut bytes = Vec::new();
    for chunk in chunks {
        let its = chunk["seq"].as_u64().unwrap();
        assert_eq!(its, last + 1, "no gap within what is kept");
        last = its;
        bytes.extend(decode(chunk["chunk"].as_str().unwrap()));
    }
    (bytes, last)
}

/// Resumes, and takes what `p` has said behind what was seen last.
fn go_on(server: &Server, session: &str, bytes: &mut Vec<u8>, last: &mut u64) -> Client {
    let mut client = resume(server, session);
    let (missed, upto) = catch_up(&mut client, "p", *last);
    bytes.extend(missed);
    // The end of the process may have come as notifications before the answer.
    let seen = client.observed("p").last_seq;
    if seen.is_none_or(|seen| seen <= upto) {
        client.skip_to("p", upto);
    }
    *last = upto;
    client
}

#[test]
fn nothing_is_lost_or_doubled_over_a_lost_connection() {
    let server = Server::websocket(&[]);
    let mut client = server.connect();
    client.start(Start::child("p", &["steps", "1000"]).pipe_stdin());
    let session = client.session.clone();
    let mut bytes = Vec::new();
    let mut last = 0;
    let mut writes = 0;
    for round in 0..10 {
        // Some output that the client reads, and some that goes out as the connection is lost.
        for step in 0..20 {
            writes += 1;
            let write = params("p", json!({"chunk": "Z28K", "writeId": writes.to_string()}));
            if step < 10 {
                client.ok("process/write", write);
            } else {
                client.ask("process/write", write);
            }
        }
        client.wait("the last answer", |client| {
            (!client.observed("p").bytes("stdout").is_empty()).then_some(())
        });
        // What was seen by notification on this connection counts; a client knows its last number.
        let seen = client.observed("p");
        bytes.extend(seen.bytes("stdout"));
        last = seen.last_seq.unwrap();
        drop(client);
        client = go_on(&server, &session, &mut bytes, &mut last);
        let expected = patterned(bytes.len());
        assert!(
            bytes == expected,
            "round {round}: wrong bytes among the first {}",
            bytes.len()
        );
    }
    // Requests that were under way when a connection was lost may or may not have arrived; these do.
    client.write("p", b"end\n", "end");
    client.closed("p");
    bytes.extend(client.observed("p").bytes("stdout"));
    let expected = patterned(bytes.len());
    assert!(bytes == expected, "wrong bytes in the end");
    assert!(last > 0 && bytes.len() >= 10 * 10 * 1000);
}

#[test]
fn what_was_missed_may_be_read_in_pages_while_more_is_written() {
    let server = Server::websocket(&["--retained-output", "327680"]);
    let mut client = server.connect();
    client.start(Start::child("p", &["steps", "10000"]).pipe_stdin());
    client.write("p", "go\n".repeat(24).as_bytes(), "1");
    client.wait("24 steps", |client| {
        (client.observed("p").bytes("stdout").len() == 240_000).then_some(())
    });
    let session = client.session.clone();
    let seen = client.observed("p").last_seq.unwrap();
    drop(client);
    let mut client = resume(&server, &session);
    client.skip_to("p", seen);
    let mut last = 0;
    let mut bytes = Vec::new();
    while bytes.len() < 240_000 {
        let read = client.read(
            "p",
            json!({"afterSeq": last, "maxBytes": 10_000, "waitMs": 10_000}),
        );
        for chunk in read["chunks"].as_array().unwrap() {
            assert_eq!(
                chunk["seq"],
                last + 1,
                "no page was pushed out: {}",
                bytes.len()
            );
            last += 1;
            bytes.extend(decode(chunk["chunk"].as_str().unwrap()));
        }
        if last == 1 {
            client.write("p", "go\n".repeat(100).as_bytes(), "2");
            client.wait("more output", |client| {
                (!client.observed("p").bytes("stdout").is_empty()).then_some(())
            });
            // As much time as the process may want for the rest.
            client.run(Start::shell(
                "q",
                "for i in 1 2 3 4 5 6 7 8 9; do /bin/true; done",
            ));
        }
    }
    let expected = patterned(bytes.len());
    assert!(bytes == expected);
}

#[test]
fn output_while_nobody_is_attached_is_kept_as_far_as_it_fits() {
    let server = Server::websocket(&[]);
    let scratch = scratch();
    let (cue, done) = (scratch.path("cue"), scratch.path("done"));
    for (count, fits) in [(1_000_000_usize, true), (5_000_000, false)] {
        let mut client = server.connect();
        client.start(Start::child(
            "p",
            &["when", &cue, &count.to_string(), &done],
        ));
        let session = client.session.clone();
        drop(client);
        std::fs::write(&cue, "").unwrap();
        within(
            PATIENCE,
            "the child is not held back though nobody listens",
            || std::path::Path::new(&done).exists(),
        );
        let mut client = resume(&server, &session);
        client.wait("the end", |client| {
            client.read("p", json!({"maxBytes": 0}))["closed"]
                .as_bool()
                .filter(|&closed| closed)
        });
        let read = client.read("p", json!({}));
        let chunks = read["chunks"].as_array().unwrap();
        let bytes: Vec<u8> = chunks
            .iter()
            .flat_map(|chunk| decode(chunk["chunk"].as_str().unwrap()))
            .collect();
        assert_eq!(read["firstRetainedSeq"], chunks[0]["seq"]);
        assert_eq!(chunks[0]["seq"] == 1, fits, "{count}: {}", chunks[0]["seq"]);
        assert_eq!(bytes.len() == count, fits);
        let expected = patterned_from((count - bytes.len()) as u64, bytes.len());
        assert!(bytes == expected);
        assert_eq!(read["exitCode"], 0);
        std::fs::remove_file(&cue).unwrap();
        std::fs::remove_file(&done).unwrap();
    }
}

#[test]
fn notifications_go_on_with_the_next_number() {
    let server = Server::websocket(&[]);
    let mut client = server.connect();
    client.start(Start::child("p", &["cat"]).pipe_stdin());
    client.write("p", b"one", "1");
    client.output("p", "stdout", |text| text == "one");
    let session = client.session.clone();
    drop(client);
    let mut client = resume(&server, &session);
    client.skip_to("p", 1);
    client.write("p", b"two", "2");
    client.output("p", "stdout", |text| text == "two");
    // A write that was done before the connection was lost is known to be done.
    assert_eq!(client.write("p", b"one", "1"), "accepted");
    client.ok("process/closeStdin", params("p", json!({})));
    assert_eq!(client.closed("p").stdout, "two");
}

#[test]
fn an_attached_session_is_not_given_away() {
    let server = Server::websocket(&[]);
    let mut client = server.connect();
    let mut second = server.connect_silent();
    second.finds_attached(&client.session);
    client.still_serves();
    second.initialize();
    assert_ne!(second.session, client.session);
}

#[test]
fn a_wait_on_the_old_connection_does_not_hold_the_session() {
    let server = Server::websocket(&[]);
    let mut client = server.connect();
    client.start(Start::child("p", &["sleep"]));
    client.ask("process/read", params("p", json!({"waitMs": 3_600_000})));
    client.still_serves();
    let session = client.session.clone();
    drop(client);
    resume(&server, &session).ok("process/terminate", params("p", json!({})));
}

#[test]
fn a_session_ends_after_its_retention() {
    let server = Server::websocket(&["--session-retention", "1"]);
    let mut client = server.connect();
    let session = client.session.clone();
    client.start(Start::child("p", &["pid-then-sleep"]));
    let pid = client.number("p");
    drop(client);
    // With the session its processes end. A question before that would take it up again.
    within(PATIENCE, "the session is over", || !alive(pid));
    let mut late = server.connect_silent();
    within(PATIENCE, "it is forgotten", || {
        late.try_resume(&session).is_err_and(|error| {
            let expected = format!(
                "unknown session id {session}: forgotten 0 s ago, after it was kept for 1s"
            );
            (error.code, error.message) == (-32600, expected)
        })
    });
}

#[test]
fn ended_processes_are_kept_as_long_as_sessions() {
    let server = Server::websocket(&["--session-retention", "2"]);
    let mut client = server.connect();
    client.run(Start::shell("p", "echo kept; exit 3"));
    let session = client.session.clone();
    drop(client);
    let mut client = resume(&server, &session);
    let read = client.read("p", json!({}));
    assert_eq!(
        (&read["exitCode"], &read["chunks"][0]["chunk"]),
        (&json!(3), &json!("a2VwdAo="))
    );
    let error = is_forgotten(&mut client, "p");
    assert_eq!(
        error,
        "unknown process id p: forgotten 0 s ago, after it was kept for 2s"
    );
    // Its id is free.
    client.start(Start::child("p", &["true"]));
    client.closed("p");
}

/// Waits until the server has forgotten the process, and says so; in which words.
fn is_forgotten(client: &mut Client, id: &str) -> String {
    let mut error = None;
    within(PATIENCE, "the process is forgotten", || {
        error = client.request("process/read", params(id, json!({}))).err();
        error.is_some()
    });
    let error = error.unwrap();
    assert_eq!(error.code, -32600);
    error.message
}

#[test]
fn an_end_that_is_not_acknowledged_is_kept_while_the_client_is_there() {
    let server = Server::websocket(&["--session-retention", "1"]);
    let mut client = server.connect();
    let acknowledges = |id| Start::shell(id, "echo kept; exit 3").with("acknowledges", true);
    for id in ["late", "never"] {
        client.start(acknowledges(id));
        client.closed(id);
    }
    // Its end is not acknowledged: that of another, which began to count later, is over before.
    client.ok("process/acknowledge", params("late", json!({"seq": 1})));
    client.run(Start::shell("marker", "true"));
    is_forgotten(&mut client, "marker");
    for id in ["late", "never"] {
        let read = client.read(id, json!({}));
        assert_eq!(read["exitCode"], 3, "{id}");
        assert_eq!(read["chunks"][0]["chunk"], "a2VwdAo=", "{id}");
    }
    // From now on its time runs.
    client.ok("process/acknowledge", params("late", json!({"seq": 3})));
    is_forgotten(&mut client, "late");
    client.read("never", json!({}));
}

#[test]
fn what_ended_before_a_silent_cut_is_there_when_its_client_comes_back() {
    let server = Server::websocket(&["--session-retention", "1"]);
    let mut client = server.connect();
    let start = |id| Start::shell(id, "echo kept; exit 3");
    client.start(start("p").with("acknowledges", true));
    client.start(start("q"));
    client.closed("p");
    client.closed("q");
    // From here on it hears and says nothing. It has to be silent for 2 s to lose its session.
    client.ignore_pings();
    let session = client.session.clone();
    let mut back = resume(&server, &session);
    for id in ["p", "q"] {
        let read = back.read(id, json!({}));
        assert_eq!(read["exitCode"], 3, "{id}");
        assert_eq!(read["chunks"][0]["chunk"], "a2VwdAo=", "{id}");
    }
}

#[test]
fn sessions_know_nothing_of_each_other() {
    let server = Server::websocket(&[]);
    let mut first = server.connect();
    let mut second = server.connect();
    first.start(Start::child("p", &["sleep"]));
    assert_eq!(
        second.err("process/read", params("p", json!({}))).message,
        "unknown process id p"
    );
    assert_eq!(second.write("p", b"x", "1"), "unknownProcess");
    assert_eq!(
        second.ok("process/terminate", params("p", json!({}))),
        json!({"running": false})
    );
    assert_eq!(second.ok("process/list", json!({}))["processes"], json!([]));
    assert_eq!(
        first.ok("process/terminate", params("p", json!({}))),
        json!({"running": true})
    );
}

#[test]
fn what_is_not_acknowledged_is_kept_while_nobody_is_attached() {
    const COUNT: usize = 12_000_000;
    let server = Server::websocket(&["--retained-output", "65536"]);
    let mut client = server.connect();
    let start = Start::child("p", &["write", &COUNT.to_string()]);
    client.start(start.with("acknowledges", true));
    let session = client.session.clone();
    let mut bytes = Vec::new();
    let mut last = 0;
    // Each connection takes what is kept, and makes room for what is written when it is lost.
    while bytes.len() < COUNT {
        drop(client);
        client = go_on(&server, &session, &mut bytes, &mut last);
        client.ok("process/acknowledge", params("p", json!({"seq": last})));
    }
    let expected = patterned(COUNT);
    assert!(bytes == expected, "wrong bytes");
    let error = client.err("process/acknowledge", params("nobody", json!({"seq": 1})));
    assert_eq!(
        (error.code, &*error.message),
        (-32600, "unknown process id nobody")
    );
}
