//! Content of every size passes through a helper as it is.

use std::fs;

use serde_json::json;

use super::{DENIED, as_each_user};
use crate::support::{encode, patterned};

as_each_user! {
    fn content_of_every_size_is_the_same_on_both_sides(stage) {
        let policy = stage.denying();
        let path = stage.path("proj/src/n");
        for size in [0, 1, 2, 3, 1000, 65_536, 786_431, 786_432, 786_433, 1_000_000, 11 << 20] {
            let bytes = patterned(size);
            stage.ok(&policy, "writeFile", json!({"path": path, "dataBase64": encode(&bytes)}));
            assert!(fs::read(&path).unwrap() == bytes, "{size} written");
            assert!(stage.read(&policy, &path) == bytes, "{size} read");
        }
    }

    fn a_limit_on_the_message_counts_the_same(stage) {
        let policy = stage.denying();
        let path = stage.path("proj/src/n");
        fs::write(&path, vec![b'x'; 3000]).unwrap();
        let params = json!({"path": path, "maxMessageBytes": 4000});
        stage.refused(&policy, "readFile", params, (-32600, "exceed a message of 4000 bytes"));
    }

    fn requests_keep_their_order_confined_or_not(stage) {
        let policy = stage.denying();
        let path = stage.path("proj/src/n");
        let mut reads = Vec::new();
        for number in 0..100 {
            let mut write = json!({"path": path, "dataBase64": encode(format!("{number}").as_bytes())});
            let mut read = json!({"path": path});
            if number % 3 > 0 {
                write["sandbox"] = policy.clone();
            }
            if number % 2 > 0 {
                read["sandbox"] = policy.clone();
            }
            stage.client.ask("fs/writeFile", write);
            reads.push(stage.client.ask("fs/readFile", read));
        }
        for (number, id) in reads.into_iter().enumerate() {
            let read = stage.client.answer(id).unwrap();
            assert_eq!(read["dataBase64"], encode(format!("{number}").as_bytes()));
        }
    }

    fn an_id_of_any_kind_is_echoed(stage) {
        let params = json!({"path": stage.path("proj/sub/s"), "sandbox": stage.denying()});
        for id in [json!(-7), json!("a \"quoted\" id"), json!("\u{e9}")] {
            let request = json!({"id": id, "method": "fs/readFile", "params": params});
            // With line feeds between its parts, as any JSON may have.
            stage.client.send(&request.to_string().replace("\"params\":", " \t\"params\": \t"));
            let error = stage.client.answer(id).unwrap_err();
            assert_eq!(error.code, DENIED.0, "{error:?}");
        }
    }
}
