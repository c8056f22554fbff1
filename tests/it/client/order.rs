//! What a client makes of what a server says in whatever order.

use std::path::Path;
use std::time::{Duration, Instant};

use exec_server::rpc::client::{
    ClientError, ConnectionState, ExecServerClient, HttpRequest, Links, OpenFor, ProcessEvent,
};
use serde_json::{Value, json};

use super::scripted::{Line, Scripted};
use super::{SOON, client, command, finish, next, options};
use crate::support::{PATIENCE, encode, within};

#[test]
fn the_handshake_is_the_references_and_paths_are_native_for_a_silent_server() {
    let server = Scripted::new(|_, line| {
        let params = line.greet();
        assert_eq!(
            params,
            json!({ "clientName": "exec-server", "resumeSessionId": null })
        );
        let request = line.await_request("fs/canonicalize");
        assert_eq!(request["id"], 3);
        assert_eq!(request["params"]["path"], "/a b");
        line.answer(&request, json!({ "path": "/c d" }));
        line.hear();
    });
    let client = client(server.url());
    assert_eq!(client.canonicalize("/a b").unwrap(), Path::new("/c d"));
    let error = client.rename("/a", "/b", Links::Follow).unwrap_err();
    assert_eq!(error, ClientError::Unsupported("fs/rename".to_owned()));
    drop(client);
    server.await_end();
}

/// A client whose server tells about itself by `greet` speaks in URIs.
fn gets_uris(greet: impl Fn(&mut Line, Value) + Send + Sync + 'static) {
    let server = Scripted::new(move |_, line| {
        greet(
            line,
            json!({ "shell": { "name": "sh", "path": "/bin/sh" }, "cwd": "file:///w%20d" }),
        );
        let request = line.await_request("fs/canonicalize");
        assert_eq!(request["params"]["path"], "file:///a%20b");
        line.answer(&request, json!({ "path": "file:///c%20d" }));
        line.hear();
    });
    let client = client(server.url());
    assert_eq!(client.canonicalize("/a b").unwrap(), Path::new("/c d"));
    assert_eq!(client.facts().unwrap().cwd.as_deref(), Some("/w d"));
}

#[test]
fn a_server_that_tells_about_itself_gets_uris() {
    gets_uris(|line, info| line.greet_with(&info));
}

#[test]
fn a_server_that_tells_about_itself_when_asked_gets_uris() {
    gets_uris(|line, info| {
        let request = line.await_request("initialize");
        line.answer(&request, json!({ "sessionId": "s" }));
        line.await_request("initialized");
        let request = line.await_request("environment/info");
        line.answer(&request, info);
    });
}

#[test]
fn a_block_whose_bytes_never_come_fails_with_its_connection() {
    let server = Scripted::new(|number, line| {
        if number > 0 {
            return;
        }
        let capabilities = json!({ "execServer": { "extensions": ["fs/readBlock.raw"] } });
        let info = json!({ "shell": { "name": "sh", "path": "/bin/sh" },
            "capabilities": capabilities });
        line.greet_with(&info);
        let request = line.await_request("fs/open");
        line.answer(&request, json!({}));
        let request = line.await_request("fs/readBlock");
        line.answer(&request, json!({ "rawBytes": 5, "eof": true }));
    });
    let client = client(server.url());
    let file = client.open("/f", OpenFor::Reading, Links::Follow).unwrap();
    let error = file.read_block(0, 5).unwrap_err();
    assert!(matches!(error, ClientError::Disconnected(_)), "{error:?}");
}

#[test]
fn events_are_told_in_order_and_once() {
    let server = Scripted::new(|_, line| {
        line.greet();
        let id = line.start();
        line.closed(&id, 4);
        line.output(&id, 2, "two");
        line.output(&id, 1, "one ");
        line.output(&id, 1, "one ");
        line.say(json!({ "method": "later/thing", "params": {} }));
        line.exited(&id, 3, 7);
        line.output(&id, 5, "late");
        line.hear();
    });
    let client = client(server.url());
    let process = client.start(&command(&["x"])).unwrap();
    assert_eq!(finish(&process), (b"one two".to_vec(), 7));
    let after = process.next_event(PATIENCE).unwrap();
    assert_eq!(after, None);
}

#[test]
fn a_gap_is_filled_by_reading_and_what_is_lost_is_told() {
    let server = Scripted::new(|_, line| {
        line.greet();
        let id = line.start();
        line.output(&id, 1, "a");
        line.output(&id, 5, "e");
        let request = line.await_request("process/read");
        assert_eq!(request["params"]["afterSeq"], 1);
        let chunk = |seq: u64, text: &str| json!({ "seq": seq, "stream": "stdout", "chunk": encode(text.as_bytes()) });
        line.answer(
            &request,
            json!({ "chunks": [chunk(4, "d"), chunk(5, "e")], "nextSeq": 8, "exited": true,
                "exitCode": 9, "closed": true, "failure": null, "firstRetainedSeq": 4 }),
        );
        line.hear();
    });
    let client = client(server.url());
    let process = client.start(&command(&["x"])).unwrap();
    let events = process.collect(PATIENCE).unwrap();
    let text = |event: &ProcessEvent| match event {
        ProcessEvent::Output { data, .. } => String::from_utf8(data.clone()).unwrap(),
        ProcessEvent::Gap { first, last } => format!("{first}-{last}"),
        ProcessEvent::Exited(exit) => exit.code.to_string(),
        ProcessEvent::Closed => "closed".to_owned(),
    };
    let told: Vec<_> = events.iter().map(text).collect();
    assert_eq!(told, ["a", "2-3", "d", "e", "9", "closed"]);
}

#[test]
fn an_answer_before_the_end_counts_and_a_call_after_it_connects_afresh() {
    let server = Scripted::new(|number, line| {
        if number > 0 {
            line.session = "another";
        }
        line.greet();
        let request = line.await_request("fs/canonicalize");
        line.answer(&request, json!({ "path": "/x" }));
    });
    let mut options = options(server.url());
    options.recovery_window = Duration::ZERO;
    let client = ExecServerClient::new(options);
    for _ in 0..5 {
        assert_eq!(client.canonicalize("/a").unwrap(), Path::new("/x"));
        server.await_end();
        within(PATIENCE, "the end is noticed", || {
            matches!(client.state(), ConnectionState::Failed(_))
        });
    }
}

#[test]
fn a_call_in_flight_fails_and_is_not_made_again() {
    let server = Scripted::new(|number, line| {
        let params = line.greet();
        if number == 0 {
            line.await_request("fs/remove");
            return;
        }
        assert_eq!(params["resumeSessionId"], "session-1");
        let request = line.hear();
        assert_eq!(request["method"], "fs/canonicalize");
        line.answer(&request, json!({ "path": "/x" }));
        line.hear();
    });
    let client = client(server.url());
    let error = client.remove("/a").unwrap_err();
    assert!(matches!(error, ClientError::Disconnected(_)), "{error:?}");
    assert_eq!(client.canonicalize("/a").unwrap(), Path::new("/x"));
}

#[test]
fn what_is_no_message_ends_the_connection_and_is_shown() {
    let server = Scripted::new(|_, line| {
        line.greet();
        line.await_request("fs/canonicalize");
        line.say_raw("Segmentation\x1b[0m fault");
        line.hear();
    });
    let mut options = options(server.url());
    options.recovery_window = Duration::ZERO;
    let client = ExecServerClient::new(options);
    let error = client.canonicalize("/a").unwrap_err().to_string();
    assert!(error.contains("`Segmentation[0m fault`"), "{error}");
}

#[test]
fn a_server_that_never_answers_costs_no_more_than_the_time_limits() {
    let server = Scripted::new(|number, line| {
        if number == 0 {
            line.await_request("initialize");
        } else {
            line.greet();
        }
        while !line.hear().is_null() {}
    });
    let mut options = options(server.url());
    options.initialize_timeout = Duration::from_millis(300);
    options.call_timeout = Duration::from_millis(300);
    let client = ExecServerClient::new(options);
    let begun = Instant::now();
    let error = client.facts().unwrap_err().to_string();
    assert!(
        error.contains("timed out waiting for exec-server initialize handshake after 300ms"),
        "{error}"
    );
    let late = client.canonicalize("/a").unwrap_err();
    assert!(matches!(late, ClientError::TimedOut(_)), "{late:?}");
    assert!(begun.elapsed() < SOON);
}

#[test]
fn a_silent_peer_is_found_out() {
    let server = Scripted::new(|number, line| {
        line.greet();
        if number == 0 {
            let _ = line.start();
            // Reads nothing, so pings are not answered either.
            std::thread::park_timeout(SOON);
        } else {
            line.await_request("process/read");
        }
        while !line.hear().is_null() {}
    });
    let mut options = options(server.url());
    options.ping_interval = Duration::from_millis(100);
    options.recovery_window = Duration::from_millis(200);
    let client = ExecServerClient::new(options);
    let process = client.start(&command(&["x"])).unwrap();
    let lost = process.next_event(SOON).unwrap_err().to_string();
    assert!(lost.contains("no sign of life for 300ms"), "{lost}");
    assert!(lost.contains("recovery timed out after 200ms"), "{lost}");
}

#[test]
fn a_process_that_the_server_has_forgotten_fails_alone() {
    let server = Scripted::new(|number, line| {
        line.greet();
        if number == 0 {
            let _ = line.start();
            return;
        }
        let request = line.await_request("process/read");
        line.say(json!({ "id": request["id"],
            "error": { "code": -32600, "message": "unknown process id 1" } }));
        let id = line.start();
        line.output(&id, 1, "x");
        line.hear();
    });
    let client = client(server.url());
    let lost = client.start(&command(&["x"])).unwrap();
    let error = lost.next_event(PATIENCE).unwrap_err().to_string();
    assert!(error.contains("failed to recover process 1"), "{error}");
    let other = client.start(&command(&["x"])).unwrap();
    assert!(matches!(next(&other), ProcessEvent::Output { .. }));
}

#[test]
fn a_block_longer_than_asked_for_is_refused() {
    let server = Scripted::new(|_, line| {
        line.greet();
        let request = line.await_request("fs/open");
        line.answer(
            &request,
            json!({ "handleId": request["params"]["handleId"] }),
        );
        let request = line.await_request("fs/readBlock");
        line.answer(
            &request,
            json!({ "chunk": encode(&[b'x'; 10]), "eof": false }),
        );
        line.hear();
    });
    let client = client(server.url());
    let file = client.open("/f", OpenFor::Reading, Links::Follow).unwrap();
    let error = file.read_block(0, 4).unwrap_err();
    assert!(matches!(error, ClientError::Protocol(_)), "{error:?}");
}

#[test]
fn a_body_without_end_is_not_held() {
    let server = Scripted::new(|_, line| {
        line.greet();
        let request = line.await_request("http/request");
        line.answer(&request, json!({ "status": 200, "headers": [] }));
        let (id, piece) = (&request["params"]["requestId"], encode(&[b'x'; 1 << 20]));
        for seq in 1..=50 {
            line.say(json!({ "method": "http/request/bodyDelta", "params":
                { "requestId": id, "seq": seq, "deltaBase64": piece, "done": false } }));
        }
        line.hear();
    });
    let client = client(server.url());
    let request = HttpRequest {
        method: "GET".into(),
        url: "http://x/".into(),
        timeout: Some(PATIENCE),
        ..HttpRequest::default()
    };
    let error = client.http(&request).unwrap_err();
    assert!(error.to_string().contains("more than 49545216"), "{error}");
}

#[test]
fn the_largest_numbers_do_no_harm() {
    let server = Scripted::new(|_, line| {
        line.greet();
        let id = line.start();
        line.output(&id, u64::MAX, "far");
        line.exited("nobody", u64::MAX, i32::MIN);
        line.output(&id, 1, "near");
        // Asked for what is missing, it says that there is nothing, up to the end of numbers.
        let request = line.await_request("process/read");
        line.answer(
            &request,
            json!({ "chunks": [], "nextSeq": u64::MAX, "exited": false,
            "exitCode": null, "closed": false, "failure": null }),
        );
        line.hear();
    });
    let client = client(server.url());
    let process = client.start(&command(&["true"])).unwrap();
    assert!(matches!(next(&process), ProcessEvent::Output { data, .. } if data == b"near"));
    let gap = ProcessEvent::Gap {
        first: 2,
        last: u64::MAX - 1,
    };
    assert_eq!(next(&process), gap);
    assert!(matches!(next(&process), ProcessEvent::Output { data, .. } if data == b"far"));
    assert!(
        process
            .next_event(Duration::from_millis(50))
            .unwrap()
            .is_none()
    );
}
