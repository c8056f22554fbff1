//! `fs/watchMissing`: being told when a file comes.

use serde_json::{Value, json};

use crate::support::{Client, PATIENCE, Server, scratch, threads, within};

fn watching(client: &mut Client, id: u64, missing: &[String], present: Value) -> bool {
    let params = json!({"watchId": id, "missing": missing, "present": present});
    let answer = client.ok("fs/watchMissing", params);
    answer["watching"].as_bool().unwrap()
}

over_both! {
    fn a_file_that_comes_is_reported_once(client) {
        let scratch = scratch();
        let uri = format!("file://{}", scratch.path("a%20b"));
        assert!(watching(client, 1, &[uri], json!(scratch.path(""))));
        std::fs::write(scratch.path("other"), "").unwrap();
        std::fs::write(scratch.path("a b"), "").unwrap();
        std::fs::remove_file(scratch.path("a b")).unwrap();
        std::fs::write(scratch.path("a b"), "").unwrap();
        assert_eq!(client.notice("fs/missingChanged"), json!({"watchId": 1}));
        // Both come from the thread that watches, so a second report would be before this answer.
        assert!(!watching(client, 2, &[], Value::Null));
        assert!(client.unclaimed_notices().is_empty());
    }

    fn the_first_step_on_the_way_is_reported(client) {
        let scratch = scratch();
        let deep = [scratch.path("x/y/z"), scratch.path("never")];
        for (id, step) in [(1, "x"), (2, "x/y"), (3, "x/y/z")] {
            assert!(watching(client, id, &deep, Value::Null));
            std::fs::create_dir(scratch.path(step)).unwrap();
            assert_eq!(client.notice("fs/missingChanged"), json!({"watchId": id}));
        }
        assert!(!watching(client, 4, &deep, Value::Null), "it is there now");
    }

    fn a_newer_watch_replaces_the_older(client) {
        let scratch = scratch();
        assert!(watching(client, 5, &[scratch.path("old")], Value::Null));
        assert!(watching(client, 6, &[scratch.path("new")], Value::Null));
        assert!(!watching(client, 6, &[scratch.path("old")], Value::Null), "ids must grow");
        assert!(!watching(client, 4, &[scratch.path("old")], Value::Null), "ids must grow");
        std::fs::write(scratch.path("old"), "").unwrap();
        std::fs::write(scratch.path("new"), "").unwrap();
        assert_eq!(client.notice("fs/missingChanged"), json!({"watchId": 6}));
    }

    fn what_cannot_be_watched_is_no_error(client) {
        let scratch = scratch();
        let (file, missing) = (scratch.path("f"), scratch.path("m"));
        std::fs::write(&file, "").unwrap();
        assert!(!watching(client, 1, std::slice::from_ref(&file), Value::Null));
        assert!(!watching(client, 2, &[format!("{file}/below")], Value::Null));
        assert!(!watching(client, 3, std::slice::from_ref(&missing), json!(missing)));
        assert!(watching(client, 4, &[missing], json!(file)));
        let hiding = json!({
            "permissions": {"type": "managed", "network": "restricted", "file_system": {"type": "restricted", "entries": []}},
            "windowsSandboxLevel": "disabled",
        });
        let hidden = json!({"watchId": 5, "missing": [scratch.path("m")], "sandbox": hiding});
        assert_eq!(client.ok("fs/watchMissing", hidden), json!({"watching": false}));
        let bad = json!({"watchId": 9, "missing": ["relative"]});
        assert_eq!(client.err("fs/watchMissing", bad).code, -32602);
    }
}

#[test]
fn a_watch_ends_with_its_connection() {
    let server = Server::websocket(&[]);
    let scratch = scratch();
    let mut other = server.connect();
    assert!(watching(
        &mut other,
        1,
        &[scratch.path("shared")],
        Value::Null
    ));
    let before = threads(server.pid());
    for _ in 0..20 {
        let mut client = server.connect();
        assert!(watching(
            &mut client,
            1,
            &[scratch.path("shared")],
            Value::Null
        ));
    }
    within(PATIENCE, "the connections are gone", || {
        threads(server.pid()) <= before
    });
    std::fs::write(scratch.path("shared"), "").unwrap();
    other.notice("fs/missingChanged");
    other.still_serves();
}
