//! Order: file requests among themselves, and beside everything else.

use serde_json::json;

use super::make_fifo;
use crate::support::{Client, Start, encode, params, scratch};

over_both! {
    fn requests_sent_without_waiting_take_effect_in_their_order(client) {
        let scratch = scratch();
        let path = scratch.path("f");
        let mut asked = Vec::new();
        for round in 0..300 {
            let text = format!("round {round}");
            client.ask("fs/writeFile", json!({"path": path, "dataBase64": encode(text.as_bytes())}));
            asked.push((client.ask("fs/readFile", json!({"path": path})), text));
            client.ask("fs/remove", json!({"path": path}));
            let gone = client.ask("fs/getMetadata", json!({"path": path}));
            if round % 100 == 0 {
                assert_eq!(client.answer(gone).unwrap_err().code, -32004);
            }
        }
        for (id, text) in asked {
            assert_eq!(client.answer(id).unwrap(), json!({"dataBase64": encode(text.as_bytes())}));
        }
    }

    fn thousands_of_requests_that_wait_are_all_answered(client) {
        let ids: Vec<i64> = (0..5000).map(|_| client.ask("fs/getMetadata", json!({"path": "/"}))).collect();
        for id in ids {
            assert_eq!(client.answer(id).unwrap()["isDirectory"], true);
        }
    }

    fn slow_files_hold_up_no_process(client) {
        let scratch = scratch();
        // Work for the disk and for the queue: trees that are copied one after the other.
        for number in 0..300 {
            std::fs::create_dir_all(scratch.path(&format!("t/{number}"))).unwrap();
            std::fs::write(scratch.path(&format!("t/{number}/f")), vec![0; 10_000]).unwrap();
        }
        make_fifo(&scratch.path("fifo"));
        let copies: Vec<i64> = (0..6)
            .map(|number| {
                let to = scratch.path(&format!("to-{number}"));
                client.ask("fs/readFile", json!({"path": scratch.path("fifo")}));
                client.ask("fs/copy", json!({"sourcePath": scratch.path("t"), "destinationPath": to, "recursive": true}))
            })
            .collect();
        client.start(Start::child("p", &["sleep"]));
        assert_eq!(client.ok("process/terminate", params("p", json!({}))), json!({"running": true}));
        let last = *copies.last().unwrap();
        assert!(!client.has_answer(last), "the process had to wait for the files");
        for id in copies {
            client.answer(id).unwrap();
        }
    }

    fn an_idle_connection_keeps_no_thread(client) {
        client.ok("fs/getMetadata", json!({"path": "/"}));
        let pid = client.server_pid();
        let most = crate::support::threads(pid);
        crate::support::within(crate::support::PATIENCE, "the thread ends", || {
            crate::support::threads(pid) < most
        });
        client.ok("fs/getMetadata", json!({"path": "/"}));
    }
}

#[test]
fn what_was_asked_before_the_end_of_input_is_still_done_and_answered() {
    let scratch = scratch();
    let path = scratch.path("f");
    let mut client = Client::stdio();
    let ids: Vec<i64> = (0..200)
        .map(|number| {
            let path = format!("{path}{number}");
            client.ask("fs/writeFile", json!({"path": path, "dataBase64": "aGk="}))
        })
        .collect();
    client.end_of_input();
    for id in ids {
        client.answer(id).unwrap();
    }
    assert_eq!(std::fs::read_dir(scratch.dir()).unwrap().count(), 200);
}
