//! A relay whose rendezvous or clients do not keep up, and its end.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::bare::{Bare, start};
use crate::support::plane::frames::Says;
use crate::support::plane::wire;
use crate::support::{PATIENCE, comes_true, cpu_ticks, scratch, signal, within};

/// Goes on for ever.
const FLOOD: &str = "exec cat /dev/zero";
/// More than fits into a socket.
const LARGE: usize = 5 << 20;
/// What the server says to each stream last.
const ENDING: &str = "exec-server is shutting down";

fn status(id: u32) -> Value {
    json!({"id": id, "method": "environment/status", "params": {}})
}

#[test]
fn messages_that_come_behind_a_large_one_are_not_too_many() {
    let mut bare = Bare::start();
    bare.begin("s");
    let mut large = status(2);
    large["params"]["pad"] = "x".repeat(8 << 20).into();
    bare.message("s", 2, &large);
    bare.message("s", 3, &status(3));
    bare.message("s", 4, &status(4));
    for id in 2..5 {
        assert_eq!(bare.answer("s")["id"], id);
    }
}

#[test]
fn a_rendezvous_that_takes_nothing_costs_no_processor_time() {
    let mut bare = Bare::start();
    bare.begin("other");
    bare.begin("flood");
    bare.message("flood", 2, &start(2, FLOOD));
    while bare.answer("flood")["method"] != "process/output" {}
    bare.stop_listening();
    // This is to be answered, and there is no room for it.
    bare.message("other", 2, &status(2));
    let before = cpu_ticks(bare.server.pid());
    // The time that the processor time is taken over; nothing is waited for.
    std::thread::sleep(Duration::from_secs(3));
    let ticks = cpu_ticks(bare.server.pid()) - before;
    assert!(ticks <= 30, "{ticks}");
}

#[test]
fn a_rendezvous_that_speaks_and_takes_nothing_is_left() {
    let mut bare = Bare::start_with(&["--ping-interval", "0.2"]);
    bare.begin("flood");
    bare.message("flood", 2, &start(2, FLOOD));
    while bare.answer("flood")["method"] != "process/output" {}
    bare.stop_listening();
    within(PATIENCE, "it comes again", || {
        let ping = wire::message(wire::PING, Vec::new());
        // Once it has left, the socket is closed.
        let _ = wire::write_frame(&mut bare.socket, &ping);
        bare.is_called_again()
    });
}

#[test]
fn a_client_with_endless_output_costs_the_others_no_farewell() {
    let mut bare = Bare::start();
    bare.begin("good");
    bare.begin("flood");
    bare.message("flood", 2, &start(2, FLOOD));
    while bare.answer("flood")["method"] != "process/output" {}
    signal(bare.server.pid(), "TERM");
    assert_eq!(bare.reset("good"), ENDING);
    assert_eq!(bare.server.ended(PATIENCE).code(), Some(0));
}

/// Takes nothing of a large answer before the server ends, and all of it from then on. None if
/// this test was too late for that: the server does not wait for long.
fn listen_at_the_end() -> Option<usize> {
    let mut bare = Bare::start();
    bare.begin("s");
    let scratch = scratch();
    let path = scratch.path("large");
    std::fs::write(&path, vec![0; LARGE]).unwrap();
    let params = json!({"path": format!("file://{path}")});
    bare.stop_listening();
    bare.message("s", 2, &status(2));
    assert_eq!(bare.answer("s")["id"], 2);
    let read = json!({"id": 3, "method": "fs/readFile", "params": params});
    bare.message("s", 3, &read);
    let mut beginning = vec![0; 64 * 1024];
    within(PATIENCE, "the answer begins", || {
        let arrived = bare.socket.peek(&mut beginning).unwrap();
        arrived == beginning.len()
    });
    let begun = Instant::now();
    signal(bare.server.pid(), "TERM");
    within(PATIENCE, "it ends", || {
        bare.server.stderr().contains(" ending of=")
    });
    bare.listen_again();
    let mut bytes = 0;
    while let Ok((_, _, says)) = bare.frames.recv_timeout(PATIENCE) {
        match says {
            Says::Data(_, 0, 1, payload) => bytes += payload.len(),
            Says::Reset(reason) => {
                assert_eq!(reason, ENDING);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    // Later than this the server has used up its time, and so may have given up in the middle.
    let is_prompt = begun.elapsed() < Duration::from_millis(200);
    (bytes > LARGE || is_prompt).then_some(bytes)
}

#[test]
fn an_answer_that_is_on_its_way_when_the_server_ends_arrives_before_the_farewell() {
    let mut bytes = None;
    assert!(
        comes_true(PATIENCE, || {
            bytes = listen_at_the_end();
            bytes.is_some()
        }),
        "the machine is too slow to tell"
    );
    assert!(bytes > Some(LARGE), "{bytes:?}");
}
