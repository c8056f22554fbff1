//! Sessions whose connection the server believes in and the client has lost.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Client, PATIENCE, Server, Start, params, within};

/// Asks for a session every 100 ms or faster, as the real client does for 45 s.
fn insist(server: &Server, session: &str) -> Client {
    let mut client = server.connect_silent();
    within(PATIENCE, "the session is given", || {
        match client.try_resume(session) {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error.code, -32010, "{error:?}");
                false
            }
        }
    });
    client
}

#[test]
fn a_session_is_taken_from_a_peer_that_is_gone() {
    let server = Server::websocket(&[]);
    let mut lost = server.connect();
    lost.start(Start::child("p", &["cat"]).pipe_stdin());
    let poll = lost.ask("process/read", params("p", json!({"waitMs": 3_600_000})));
    lost.still_serves();
    lost.ignore_pings();
    let begun = Instant::now();
    let mut client = insist(&server, &lost.session);
    assert!(begun.elapsed() >= Duration::from_secs(1), "not on a whim");

    let told = lost.answer(-1).unwrap_err();
    assert_eq!(
        (told.code, told.message.as_str()),
        (-32600, "session has been resumed by another connection")
    );
    assert_eq!(lost.hang_up(), [1008]);
    assert!(!lost.has_answer(poll), "the wait ends without an answer");

    client.skip_to("p", 0);
    assert_eq!(client.write("p", b"on", "1"), "accepted");
    client.output("p", "stdout", |text| text == "on");
    client.ok("process/closeStdin", params("p", json!({})));
    client.closed("p");
}

#[test]
fn a_living_peer_keeps_its_session_however_often_another_asks() {
    let server = Server::websocket(&[]);
    let mut client = server.connect();
    let mut other = server.connect_silent();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        other.finds_attached(&client.session);
    }
    client.still_serves();
}

#[test]
fn a_second_question_long_after_the_first_is_enough() {
    let server = Server::websocket(&[]);
    let mut lost = server.connect();
    // Its `initialized` has been read: later it would be a sign of life.
    lost.still_serves();
    lost.ignore_pings();
    let mut client = server.connect_silent();
    assert_eq!(client.try_resume(&lost.session).unwrap_err().code, -32010);
    // The time itself is what is tested: nothing happens in it that could be waited for.
    std::thread::sleep(Duration::from_secs(3));
    client.try_resume(&lost.session).unwrap();
    client.still_serves();
}

#[test]
fn a_peer_that_takes_no_output_loses_its_session_too() {
    let server = Server::websocket(&[]);
    let mut lost = server.connect();
    lost.ignore_pings();
    lost.start(Start::child("p", &["write", "1000000000000"]));
    let session = lost.session.clone();
    let mut client = insist(&server, &session);
    assert_eq!(
        client.ok("process/terminate", params("p", json!({})))["running"],
        true
    );
}
