//! How much at once.

use serde_json::json;

use super::{get, rest_of_stream};
use crate::support::{Client, PATIENCE, Server, Web, threads, within};

#[test]
fn sixty_four_run_at_once_and_end_with_their_connection() {
    let web = Web::serve(|asked, wire| {
        if asked.path() == "/quick" {
            return wire.reply("200 OK", b"");
        }
        wire.raw(b"HTTP/1.1 200 OK\r\n\r\nabc");
        wire.await_end();
    });
    let server = Server::websocket(&[]);
    let mut other = server.connect();
    let before = threads(server.pid());
    let mut client = server.connect();
    for number in 0..64 {
        let stream = json!({"requestId": number.to_string(), "streamResponse": number % 2 == 0});
        client.ask("http/request", get(&web.url("/hang"), stream));
    }
    within(PATIENCE, "all are under way", || web.open() == 64);
    let error = other.err("http/request", get(&web.url("/quick"), json!({})));
    assert_eq!(error.code, -32000);
    assert!(
        error.message.contains("64 HTTP requests"),
        "{}",
        error.message
    );
    drop(client);
    within(PATIENCE, "all are cancelled", || web.open() == 0);
    within(PATIENCE, "their threads are gone", || {
        threads(server.pid()) <= before
    });
    other.ok("http/request", get(&web.url("/quick"), json!({})));
}

#[test]
fn an_answer_frees_its_place_before_it_is_sent() {
    let web = Web::serve(|_, wire| wire.reply("200 OK", b"x"));
    let mut client = Client::stdio();
    for _ in 0..3 {
        let asked: Vec<i64> = (0..64)
            .map(|_| client.ask("http/request", get(&web.url("/"), json!({}))))
            .collect();
        for id in asked {
            client.answer(id).unwrap();
        }
    }
}

#[test]
fn a_body_that_fits_no_message_is_an_error() {
    const SIZE: usize = 48 << 20;
    let web = Web::serve(|asked, wire| {
        match asked.path() {
            "/told" => {
                wire.raw(format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n").as_bytes())
            }
            _ => wire.raw(b"HTTP/1.1 200 OK\r\n\r\n"),
        }
        let piece = vec![0; 1 << 20];
        for _ in 0..SIZE >> 20 {
            wire.raw(&piece);
        }
    });
    let mut client = Client::websocket();
    for path in ["/told", "/found"] {
        let error = client.err("http/request", get(&web.url(path), json!({})));
        assert_eq!(error.code, -32603);
        assert!(
            error.message.contains("streamResponse: true"),
            "{}",
            error.message
        );
    }
    client.ok(
        "http/request",
        get(&web.url("/found"), json!({"streamResponse": true})),
    );
    assert_eq!(rest_of_stream(&mut client, "r").0.len(), SIZE);
}

#[test]
fn the_largest_body_fits_one_message() {
    const SIZE: usize = 63 * 1024 * 1024 / 4 * 3;
    let web = Web::serve(|_, wire| wire.reply("200 OK", &vec![7; SIZE]));
    let mut client = Client::websocket();
    let (status, body) = super::fetch(&mut client, get(&web.url("/"), json!({})));
    assert_eq!((status, body.len()), (200, SIZE));
}
