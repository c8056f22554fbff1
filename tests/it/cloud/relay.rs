//! Streams of a relay, spoken to frame by frame.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::bare::{Bare, initialize, start};
use super::{await_executors, client, environment};
use crate::support::plane::frames::Says;
use crate::support::plane::{Plane, Style};
use crate::support::{PATIENCE, Server, Start, resident, threads, within};

#[test]
fn many_clients_share_a_rendezvous_and_do_not_meet() {
    let plane = Plane::start(Style::Relay);
    let _server = Server::offered(environment(&plane, "relay"));
    let mut clients: Vec<_> = (0..20).map(|_| client(&plane)).collect();
    let sessions: BTreeSet<_> = clients
        .iter()
        .map(|client| client.session.clone())
        .collect();
    assert_eq!(sessions.len(), clients.len());
    for (number, client) in clients.iter_mut().enumerate() {
        client.start(Start::shell(
            "p",
            &format!("echo {number}; sleep 0.05; echo {number}"),
        ));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        client.closed("p");
        let wanted = format!("{number}\n{number}\n");
        assert_eq!(client.observed("p").bytes("stdout"), wanted.as_bytes());
    }
    assert_eq!(plane.executors(), 1);
}

#[test]
fn a_legacy_client_gets_whole_messages_with_numbers_from_zero() {
    let mut bare = Bare::start();
    bare.say("s", 0, &Says::Resume(0));
    // The first message may have line feeds, as any JSON may.
    let text = serde_json::to_vec_pretty(&initialize(1)).unwrap();
    bare.say("s", 0, &Says::Data(0, 0, 1, text));
    let (stream, ack, says) = bare.next();
    assert_eq!((stream.as_str(), ack), ("s", 0));
    let Says::Data(0, 0, 1, payload) = says else {
        panic!("{says:?}");
    };
    let answer: Value = serde_json::from_slice(&payload).unwrap();
    assert!(answer["result"]["sessionId"].is_string(), "{answer}");
    bare.message("s", 1, &json!({"method": "initialized", "params": {}}));
    bare.message(
        "s",
        2,
        &json!({"id": 2, "method": "environment/status", "params": {}}),
    );
    let (_, ack, says) = bare.next();
    assert!(
        ack == 0 && matches!(says, Says::Data(1, 0, 1, _)),
        "{says:?}"
    );
    bare.say("s", 0, &Says::Reset("over".into()));
    bare.say("s", 0, &Says::Resume(7));
    assert!(bare.reset("s").contains("no such stream"));
}

#[test]
fn acknowledgements_change_nothing_and_a_message_that_comes_twice_is_taken_once() {
    let mut bare = Bare::start();
    // It begins no stream either.
    bare.say("s", 0, &Says::Ack);
    bare.begin("s");
    for _ in 0..2 {
        bare.message(
            "s",
            2,
            &json!({"id": 2, "method": "environment/status", "params": {}}),
        );
    }
    bare.say("s", 1, &Says::Ack);
    bare.say("s", 0, &Says::Resume(0));
    bare.say("s", 1, &Says::Heartbeat);
    bare.message("s", 3, &start(3, "head -c 3000000 /dev/zero"));
    let mut answers = Vec::new();
    let mut bytes = 0;
    for next in 1.. {
        let (_, ack, says) = bare.next();
        let Says::Data(seq, 0, 1, payload) = says else {
            panic!("{says:?}");
        };
        assert_eq!((ack, seq), (0, next));
        let said: Value = serde_json::from_slice(&payload).unwrap();
        match said["method"].as_str() {
            Some("process/output") => {
                let chunk = said["params"]["chunk"].as_str().unwrap();
                bytes += crate::support::decode(chunk).len();
            }
            Some("process/closed") => break,
            Some(_) => {}
            None => answers.push(said["id"].clone()),
        }
    }
    assert_eq!(bytes, 3_000_000);
    assert_eq!(answers, [2, 3]);
}

#[test]
fn a_hostile_rendezvous_costs_bounded_memory_and_the_others_work_on() {
    let mut bare = Bare::start();
    bare.message("good", 0, &initialize(1));
    bare.answer("good");
    let before = (resident(bare.server.pid()), threads(bare.server.pid()));
    bare.say("giant", 0, &Says::Data(0, 0, u32::MAX, b"x".to_vec()));
    assert!(bare.reset("giant").contains("segments"));
    bare.begin("gap");
    bare.message(
        "gap",
        3,
        &json!({"id": 2, "method": "environment/status", "params": {}}),
    );
    assert!(bare.reset("gap").contains("missing"));
    bare.say("noise", 0, &Says::Handshake);
    assert!(bare.reset("noise").contains("not spoken"));
    bare.say("late", 0, &Says::Data(1000, 0, 1, b"x".to_vec()));
    assert!(bare.reset("late").contains("no such stream"));
    bare.raw(b"no frame at all".to_vec());
    bare.raw(vec![0xff; 1 << 20]);
    for number in 0..10_000 {
        bare.say(&format!("flood-{number}"), 0, &Says::Resume(0));
    }
    // A message of many segments that never ends, and blanks that never become a message, on
    // streams that were let in.
    for seq in 0..3000 {
        let segment = vec![b' '; 60_000];
        bare.say("flood-0", 0, &Says::Data(seq, seq, 4096, segment.clone()));
        bare.say("flood-1", 0, &Says::Data(seq, 0, 1, segment));
    }
    bare.message("good", 1, &json!({"method": "initialized", "params": {}}));
    bare.message(
        "good",
        2,
        &json!({"id": 9, "method": "environment/status", "params": {}}),
    );
    let mut refusals = 0;
    loop {
        match bare.next() {
            (stream, _, Says::Data(_, 0, 1, payload)) if stream == "good" => {
                let answer: Value = serde_json::from_slice(&payload).unwrap();
                assert_eq!(answer["id"], 9);
                break;
            }
            (_, _, Says::Reset(reason)) => {
                refusals += usize::from(reason.contains("streams are open"));
            }
            _ => {}
        }
    }
    assert!(refusals >= 9_000, "{refusals}");
    let during = (resident(bare.server.pid()), threads(bare.server.pid()));
    assert!(during.1 <= before.1 + 130, "{before:?} {during:?}");
    assert!(during.0 <= before.0 + 100 * 1024, "{before:?} {during:?}");
    // Who never introduces himself is gone after a while.
    within(PATIENCE, "the streams are gone", || {
        threads(bare.server.pid()) <= before.1 + 2
    });
}

#[test]
fn all_clients_are_told_when_the_server_ends() {
    let mut bare = Bare::start();
    for stream in ["a", "b"] {
        bare.message(stream, 0, &initialize(1));
        bare.answer(stream);
    }
    crate::support::signal(bare.server.pid(), "TERM");
    let told: BTreeSet<_> = [bare.next(), bare.next()]
        .into_iter()
        .map(|(stream, _, says)| {
            assert_eq!(says, Says::Reset("exec-server is shutting down".into()));
            stream
        })
        .collect();
    assert_eq!(told.len(), 2);
    assert_eq!(bare.server.ended(PATIENCE).code(), Some(0));
}

#[test]
fn a_relay_that_is_cut_ends_its_streams_and_no_session() {
    let plane = Plane::start(Style::Relay);
    let _server = Server::offered(environment(&plane, "relay"));
    let mut clients: Vec<_> = (0..5).map(|_| client(&plane)).collect();
    plane.cut();
    for client in &mut clients {
        client.hang_up();
    }
    await_executors(&plane, 1);
    for old in &clients {
        let mut next = crate::support::Client::dial(plane.address());
        within(PATIENCE, "the session is free", || {
            next.try_resume(&old.session).is_ok()
        });
    }
}
