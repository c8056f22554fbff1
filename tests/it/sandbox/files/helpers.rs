//! The helpers: kept warm, thrown away, killed.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Stage, as_each_user, entry, everything, put, restricted};
use crate::support::{
    Client, PATIENCE, Server, Start, alive, descendants, params, signal, within, working_children,
};

/// How long one connection is listened to before the other.
const LOOK: Duration = Duration::from_millis(10);

/// The processes that do file requests for the server, as the server's own children.
pub fn of(stage: &Stage) -> Vec<u32> {
    working_children(stage.client.server_pid())
}

as_each_user! {
    fn a_helper_is_used_again_for_the_same_policy(stage) {
        let policy = stage.workspace();
        stage.write(&policy, &stage.path("proj/1"), "x");
        let first = of(stage);
        assert_eq!(first.len(), 1, "{first:?}");
        for number in 2..20 {
            stage.write(&policy, &stage.path(&format!("proj/{number}")), "x");
        }
        assert_eq!(of(stage), first);
        let other = stage.denying();
        stage.write(&other, &stage.path("proj/a"), "x");
        assert_eq!(of(stage).len(), 2);
    }

    fn no_more_than_eight_are_kept(stage) {
        for number in 0..9 {
            let root = stage.make(&format!("proj/{number}"));
            let policy = restricted(&[everything(), entry(&root, "write")]);
            stage.write(&policy, &format!("{root}/n"), "x");
        }
        within(PATIENCE, "eight helpers", || of(stage).len() == 8);
        let first = stage.path("proj/0");
        let policy = restricted(&[everything(), entry(&first, "write")]);
        stage.write(&policy, &format!("{first}/n"), "again");
        within(PATIENCE, "eight helpers", || of(stage).len() == 8);
    }

    fn a_helper_that_was_killed_while_it_waited_costs_no_error(stage) {
        let policy = stage.workspace();
        let path = stage.path("proj/n");
        for _ in 0..5 {
            stage.write(&policy, &path, "before");
            let killed: Vec<u32> = of(stage).into_iter().flat_map(descendants).collect();
            // The others die with it.
            signal(killed[0], "KILL");
            within(PATIENCE, "the helper is gone", || !killed.iter().any(|pid| alive(*pid)));
            stage.write(&policy, &path, "after");
            assert_eq!(std::fs::read(&path).unwrap(), b"after");
        }
    }

    fn helpers_die_with_the_server(stage) {
        let policy = stage.workspace();
        stage.write(&policy, &stage.path("proj/n"), "x");
        let helpers = of(stage);
        assert_eq!(helpers.len(), 1);
        stage.client.server.as_mut().unwrap().kill();
        for helper in helpers {
            within(PATIENCE, "the helper dies", || !alive(helper));
        }
    }

    fn helpers_end_when_the_server_does(stage) {
        let policy = stage.workspace();
        stage.write(&policy, &stage.path("proj/n"), "x");
        let helpers = of(stage);
        stage.end();
        assert!(!helpers.iter().any(|helper| alive(*helper)));
    }
}

#[test]
fn a_helper_ends_with_the_connection_that_it_works_for() {
    let stage = Stage::set(false);
    let server = Server::websocket(&[]);
    let path = stage.path("proj/src/a.txt");
    for (method, mut params, policy) in [
        ("fs/readFile", json!({"path": path}), stage.denying()),
        ("fs/writeFile", put(&path, "x"), stage.workspace()),
    ] {
        let before = working_children(server.pid());
        let helpers = || -> Vec<u32> {
            let all = working_children(server.pid()).into_iter();
            all.filter(|pid| !before.contains(pid)).collect()
        };
        let (mut one, two) = (server.connect(), server.connect());
        params["sandbox"] = policy;
        one.ok(method, params.clone());
        let hanging = helpers();
        assert_eq!(hanging.len(), 1, "{method}: {hanging:?}");
        // The launcher, and the first process inside: an orphan of the server's for a moment, when
        // the launcher has died before it.
        let processes = descendants(hanging[0]);
        for &pid in &processes {
            signal(pid, "STOP");
        }
        let (leaves, _, mut stays) = one_waits([one, two], method, &params);
        drop(leaves);
        within(PATIENCE, "the helper ends", || {
            !processes.iter().any(|pid| alive(*pid))
        });
        let left = helpers();
        assert_eq!(left.len(), 1, "{method}: {left:?}");
        stays.ok(method, params);
        assert_eq!(helpers(), left, "{method}: another's helper is used again");
    }
}

#[test]
fn a_helper_that_hangs_holds_up_its_own_connection_only() {
    let stage = Stage::set(false);
    let server = Server::websocket(&[]);
    let (mut one, two) = (server.connect(), server.connect());
    let mut write = put(&stage.path("proj/n"), "x");
    write["sandbox"] = stage.workspace();
    one.ok("fs/writeFile", write.clone());
    let helper = working_children(server.pid());
    // Stopped, it takes a request and does not answer.
    let inside = descendants(helper[0]);
    for pid in &inside {
        signal(*pid, "STOP");
    }
    let (mut held_up, waiting, _) = one_waits([one, two], "fs/writeFile", &write);
    let known = held_up.ok("environment/status", json!({}));
    assert_eq!(known["status"], "ready", "the connection is read on");
    assert!(!held_up.has_answer(waiting));
    for pid in &inside {
        signal(*pid, "CONT");
    }
    held_up.answer(waiting).unwrap();
}

/// Two clients ask for the same while the only helper is stopped. Which of them gets it is a matter of
/// their threads: that one, with its request, and the other, which a new helper has answered.
fn one_waits(clients: [Client; 2], method: &str, params: &Value) -> (Client, i64, Client) {
    let [mut one, mut two] = clients;
    let first = one.ask(method, params.clone());
    let second = two.ask(method, params.clone());
    within(PATIENCE, "another helper answers", || {
        one.settle(LOOK, |client| client.has_answer(first));
        two.settle(LOOK, |client| client.has_answer(second));
        one.has_answer(first) || two.has_answer(second)
    });
    match one.has_answer(first) {
        true => (two, second, one),
        false => (one, first, two),
    }
}

/// Files of a tree that takes a while to be copied.
const MANY: usize = 3000;

/// A server, a connection with a copy under a policy that has begun and does not end, and the
/// processes to let go on for it to end.
fn with_hanging_copy(stage: &Stage) -> (Server, Client, Vec<u32>) {
    let server = Server::websocket(&[]);
    let mut client = server.connect();
    let (from, to) = (stage.make("proj/many"), stage.path("proj/copied"));
    for number in 0..MANY {
        std::fs::write(format!("{from}/{number}"), "x").unwrap();
    }
    let mut copy = json!({"sourcePath": from, "destinationPath": to, "recursive": true});
    copy["sandbox"] = stage.workspace();
    client.ask("fs/copy", copy);
    // Stopped in the middle: what the host shows is the proof that it has begun.
    within(PATIENCE, "the copy has begun", || {
        std::path::Path::new(&to).exists()
    });
    let inside = descendants(working_children(server.pid())[0]);
    for pid in &inside {
        signal(*pid, "STOP");
    }
    let copied = std::fs::read_dir(&to).unwrap().count();
    assert!(copied < MANY, "the copy is not under way any more");
    (server, client, inside)
}

#[test]
fn no_file_request_of_a_lost_connection_takes_effect_behind_one_of_the_next() {
    for how in ["a cut", "a close", "a take-over"] {
        let stage = Stage::set(false);
        let path = stage.path("proj/n");
        let (server, mut lost, inside) = with_hanging_copy(&stage);
        let never: Vec<String> = (0..10)
            .map(|number| stage.path(&format!("never-{number}")))
            .collect();
        for to in &never {
            let from = stage.path("other");
            lost.ask(
                "fs/copy",
                json!({"sourcePath": from, "destinationPath": to, "recursive": true}),
            );
        }
        lost.ask("fs/writeFile", put(&path, "older"));
        lost.still_serves();
        let session = lost.session.clone();
        lost.ignore_pings();
        match how {
            "a cut" => drop(lost),
            "a close" => lost.send_close(1000),
            _ => {}
        }
        let mut next = server.connect_silent();
        within(PATIENCE, "the session is given", || {
            match next.try_resume(&session) {
                Ok(()) => true,
                Err(error) => {
                    assert_eq!(error.code, -32010, "{how}: {error:?}");
                    false
                }
            }
        });
        let new = next.ask("fs/writeFile", put(&path, "new"));
        next.still_serves();
        assert!(
            !next.has_answer(new),
            "{how}: one that has begun is still at work"
        );
        for pid in &inside {
            signal(*pid, "CONT");
        }
        next.answer(new).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new", "{how}");
        let done: Vec<_> = never
            .iter()
            .filter(|path| std::path::Path::new(path).exists())
            .collect();
        assert!(
            done.is_empty(),
            "{how}: {done:?} had not begun when the connection was lost"
        );
    }
}

#[test]
fn a_full_queue_refuses_file_requests_and_nothing_else() {
    let stage = Stage::set(false);
    let (_server, mut client, inside) = with_hanging_copy(&stage);
    client.start(Start::child("p", &["sleep"]));
    let asked: Vec<i64> = (0..16 * 1024 + 100)
        .map(|_| client.ask("fs/getMetadata", json!({"path": "/"})))
        .collect();
    let ended = client.ok("process/terminate", params("p", json!({})));
    assert_eq!(ended, json!({"running": true}));
    for pid in &inside {
        signal(*pid, "CONT");
    }
    let mut refused = 0;
    for id in asked {
        match client.answer(id) {
            Ok(found) => assert_eq!(found["isDirectory"], true),
            Err(error) => {
                assert_eq!(
                    (
                        error.code,
                        error
                            .message
                            .contains("file requests of this connection wait")
                    ),
                    (-32000, true),
                    "{error:?}"
                );
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 100);
}
