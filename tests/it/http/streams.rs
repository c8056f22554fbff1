//! Bodies in pieces.

use serde_json::json;

use super::{fetch, get, rest_of_stream};
use crate::support::{Client, Web, pattern, patterned, resident, settled};

/// Sends `total` bytes of the pattern, chunked by its own measure.
fn big(total: usize) -> Web {
    Web::serve(move |_, wire| {
        wire.raw(format!("HTTP/1.1 200 OK\r\ncontent-length: {total}\r\n\r\n").as_bytes());
        let mut piece = vec![0; 1 << 20];
        let mut sent = 0;
        while sent < total {
            let count = piece.len().min(total - sent);
            pattern::fill(sent as u64, &mut piece[..count]);
            wire.raw(&piece[..count]);
            sent += count;
        }
    })
}

fn streamed(url: &str, id: &str) -> serde_json::Value {
    get(url, json!({"streamResponse": true, "requestId": id}))
}

over_both! {
    fn a_stream_brings_every_byte_after_the_answer(client) {
        let total = 5_000_001;
        let web = big(total);
        client.record();
        let answer = client.ok("http/request", streamed(&web.url("/"), "S"));
        assert_eq!((&answer["status"], &answer["bodyBase64"]), (&json!(200), &json!("")));
        let (bytes, error) = rest_of_stream(client, "S");
        let expected = patterned(total);
        assert!(bytes == expected && error.is_none());
        assert!(client.record()[0]["result"].is_object(), "the answer comes first");
    }

    fn an_empty_body_is_a_stream_too(client) {
        let web = Web::serve(|_, wire| wire.reply("200 OK", b""));
        client.ok("http/request", streamed(&web.url("/"), ""));
        assert_eq!(rest_of_stream(client, ""), (vec![], None));
    }

    fn an_id_is_taken_until_the_stream_ends(client) {
        let web = Web::serve(|asked, wire| {
            wire.raw(b"HTTP/1.1 200 OK\r\n\r\nabc");
            if asked.path() == "/open" {
                wire.await_end();
            }
        });
        for _ in 0..20 {
            client.ok("http/request", streamed(&web.url("/"), "again"));
            assert_eq!(rest_of_stream(client, "again"), (b"abc".to_vec(), None));
        }
        let params = streamed(&web.url("/open"), "S");
        client.ok("http/request", params.clone());
        let error = client.err("http/request", params);
        assert_eq!(error.code, -32602);
        assert_eq!(error.message, "http/request streamResponse requestId `S` is already active");
        let whole = get(&web.url("/"), json!({"requestId": "S"}));
        assert_eq!(fetch(client, whole), (200, b"abc".to_vec()), "one in a piece may share it");
        client.ok("http/request", streamed(&web.url("/"), "T"));
    }

    fn a_hanging_request_holds_nobody_up(client) {
        let web = Web::serve(|_, wire| wire.await_end());
        client.ask("http/request", get(&web.url("/"), json!({})));
        client.still_serves();
    }
}

#[test]
fn a_client_that_does_not_read_slows_the_server_down() {
    let total = 64 << 20;
    let web = big(total);
    let mut client = Client::websocket();
    let pid = client.server.as_ref().unwrap().pid();
    client.ok("http/request", streamed(&web.url("/"), "S"));
    // What the kernel and the test hold is full after a while, and then the web server waits.
    settled(|| resident(pid));
    assert!(resident(pid) < 48 << 20, "{} bytes", resident(pid));
    assert_eq!(web.open(), 1);
    let (bytes, error) = rest_of_stream(&mut client, "S");
    assert!(bytes.len() == total && error.is_none());
}
