//! Clients that come through a rendezvous, and connections to it that go wrong.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Home, await_executors, await_registrations, client, cloud, environment, executor};
use crate::support::plane::{Answer, Plane, Seat, Style};
use crate::support::{
    Client, PATIENCE, Server, Start, alive, decode, descriptors, patterned, signal, threads, within,
};

/// Every form, with what a client needs of its plane.
fn each_form(test: impl Fn(&Plane, Command)) {
    let home = Home::with_account();
    let plane = Plane::start(Style::Plain);
    test(&plane, cloud(&plane, &home));
    let plane = Plane::start(Style::Plain);
    test(&plane, executor(&plane));
    let plane = Plane::start(Style::Plain);
    test(&plane, environment(&plane, "direct"));
    let plane = Plane::start(Style::Relay);
    test(&plane, environment(&plane, "relay"));
}

/// Comes back to a session as soon as that is possible.
fn resume(plane: &Plane, session: &str) -> Client {
    let mut client = None;
    within(PATIENCE, "the session can be resumed", || {
        let mut next = Client::dial(plane.address());
        match next.try_resume(session) {
            Ok(()) => client = Some(next),
            Err(error) => assert_eq!(error.code, -32010, "{error:?}"),
        }
        client.is_some()
    });
    client.unwrap()
}

#[test]
fn a_client_works_through_a_rendezvous_as_through_a_listener() {
    each_form(|plane, command| {
        let _server = Server::offered(command);
        let mut client = client(plane);
        let outcome = client.run(Start::shell("p", "echo out; echo err >&2; exit 3"));
        assert_eq!(outcome.code, 3);
        assert_eq!(client.observed("p").bytes("stdout"), b"out\n");
        client.run(Start::child("q", &["write", "2000000"]));
        let bytes = client.observed("q").bytes("stdout");
        let expected = patterned(2_000_000);
        assert!(bytes == expected, "{} bytes", bytes.len());
    });
}

#[test]
fn a_lost_rendezvous_costs_no_work() {
    each_form(|plane, command| {
        let _server = Server::offered(command);
        let mut first = client(plane);
        first.start(Start::child("p", &["steps", "1000"]).pipe_stdin());
        first.write("p", b"go\n", "1");
        first.wait("a step", |client| {
            (client.observed("p").bytes("stdout").len() == 1000).then_some(())
        });
        let session = first.session.clone();
        plane.cut();
        first.hang_up();
        let mut second = resume(plane, &session);
        second.write("p", b"go\nend\n", "2");
        within(PATIENCE, "the process is over", || {
            second.read("p", json!({"waitMs": 100}))["closed"] == true
        });
        let read = second.read("p", json!({"afterSeq": 0}));
        let chunks = read["chunks"].as_array().unwrap();
        let bytes: Vec<u8> = chunks
            .iter()
            .flat_map(|chunk| decode(chunk["chunk"].as_str().unwrap()))
            .collect();
        let expected = patterned(bytes.len());
        assert!(
            bytes == expected && bytes.len() >= 2000,
            "{} bytes",
            bytes.len()
        );
    });
}

#[test]
fn two_hundred_reconnects_leave_nothing_behind() {
    for (style, transport) in [(Style::Plain, "direct"), (Style::Relay, "relay")] {
        let plane = Plane::start(style);
        let server = Server::offered(environment(&plane, transport));
        let mut session: Option<String> = None;
        let mut before = (0, 0);
        for round in 0..200 {
            let mut client = match &session {
                None => client(&plane),
                Some(session) => resume(&plane, session),
            };
            if round == 0 {
                client.start(Start::child("p", &["steps", "10"]).pipe_stdin());
                session = Some(client.session.clone());
            }
            if round == 20 {
                before = (threads(server.pid()), descriptors(server.pid()));
            }
            plane.cut();
            client.hang_up();
        }
        let session = session.unwrap();
        let mut client = resume(&plane, &session);
        client.write("p", b"go\nend\n", "1");
        within(PATIENCE, "the process is over", || {
            client.read("p", json!({"waitMs": 100}))["closed"] == true
        });
        within(PATIENCE, "threads and descriptors are as before", || {
            let now = (threads(server.pid()), descriptors(server.pid()));
            now.0 <= before.0 + 1 && now.1 <= before.1 + 1
        });
        assert!(plane.upgrades().len() > 200);
        // The URL is good for more than one connection.
        assert_eq!(plane.registrations().len(), 1);
    }
}

#[test]
fn a_rendezvous_that_misbehaves_is_left_and_tried_again() {
    each_form(|plane, mut command| {
        command.args(["--ping-interval", "0.2"]);
        plane.seat([
            Seat::Close,
            Seat::HalfClose,
            Seat::Stall,
            Seat::Refuse(503),
            Seat::Refuse(404),
        ]);
        let _server = Server::offered(command);
        client(plane).still_serves();
        assert_eq!(plane.upgrades().len(), 6);
    });
}

#[test]
fn an_upgrade_that_is_never_answered_is_given_up() {
    let plane = Plane::start(Style::Plain);
    plane.seat([Seat::Hang]);
    let _server = Server::offered(executor(&plane));
    let begun = Instant::now();
    await_executors(&plane, 1);
    assert!(begun.elapsed() >= Duration::from_secs(9));
    assert_eq!(plane.registrations().len(), 2);
}

#[test]
fn a_refused_connection_is_registered_anew_or_the_end() {
    let plane = Plane::start(Style::Relay);
    plane.seat([Seat::Refuse(403)]);
    let _server = Server::offered(environment(&plane, "relay"));
    await_executors(&plane, 1);
    assert_eq!(plane.registrations().len(), 2);
    let plane = Plane::start(Style::Plain);
    plane.seat([Seat::Refuse(403)]);
    let mut server = Server::offered(environment(&plane, "direct"));
    assert_eq!(server.ended(PATIENCE).code(), Some(1));
    within(PATIENCE, "the last words", || {
        let words = "Error: environment registry rendezvous refused the connection with status 403";
        server.stderr().contains(words)
    });
}

#[test]
fn the_end_of_the_server_is_told_and_takes_everything_along() {
    each_form(|plane, command| {
        let mut server = Server::offered(command);
        let mut client = client(plane);
        client.start(Start::child("p", &["pid-then-sleep"]));
        let pid = client.number("p");
        signal(server.pid(), "TERM");
        assert_eq!(server.ended(PATIENCE).code(), Some(0));
        within(PATIENCE, "the process is gone", || !alive(pid));
        // What the processes said last has come through.
        client.exited("p");
        assert!(!client.hang_up().is_empty(), "the client is told");
    });
}

#[test]
fn the_end_is_as_quick_without_a_rendezvous() {
    let plane = Plane::start(Style::Plain);
    plane.answer([Answer::Hang]);
    let mut server = Server::offered(executor(&plane));
    await_registrations(&plane, 1);
    let begun = Instant::now();
    signal(server.pid(), "TERM");
    assert_eq!(server.ended(PATIENCE).code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(3));
}
