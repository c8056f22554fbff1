//! `http/request`, against servers that do what they should not.

mod addresses;
mod errors;
mod limits;
mod proxies;
mod redirects;
mod requests;
mod streams;
mod tls;

use serde_json::{Value, json};

use crate::support::{Client, decode};

/// Params of a `GET` with more members.
fn get(url: &str, more: Value) -> Value {
    let mut params = json!({"method": "GET", "url": url, "requestId": "r"});
    for (member, value) in more.as_object().into_iter().flatten() {
        params[member] = value.clone();
    }
    params
}

/// Asks, and gives status and body.
#[track_caller]
fn fetch(client: &mut Client, params: Value) -> (i64, Vec<u8>) {
    let answer = client.ok("http/request", params);
    let body = decode(answer["bodyBase64"].as_str().unwrap());
    (answer["status"].as_i64().unwrap(), body)
}

/// All that a stream brings: its bytes, and the error of its end. Checks order and shape.
#[track_caller]
fn rest_of_stream(client: &mut Client, id: &str) -> (Vec<u8>, Option<String>) {
    let mut bytes = Vec::new();
    for seq in 1.. {
        let delta = client.notice("http/request/bodyDelta");
        assert_eq!(
            (&delta["requestId"], &delta["seq"]),
            (&json!(id), &json!(seq))
        );
        let piece = decode(delta["deltaBase64"].as_str().unwrap());
        assert!(piece.len() <= 1 << 20);
        bytes.extend(&piece);
        if delta["done"] == true {
            assert!(piece.is_empty());
            return (bytes, delta["error"].as_str().map(str::to_owned));
        }
        assert_eq!(
            (&delta["error"], &delta["done"]),
            (&Value::Null, &json!(false))
        );
        assert!(!piece.is_empty());
    }
    unreachable!()
}
