//! HTTPS.

use serde_json::json;

use super::{fetch, get, rest_of_stream};
use crate::support::{Client, ROOT, Server, Web};

fn client(root: Option<&str>) -> Client {
    let mut command = Server::command();
    command
        .args(["--listen", "stdio"])
        .env_remove("SSL_CERT_FILE");
    if let Some(root) = root {
        command.env("SSL_CERT_FILE", root);
    }
    Client::stdio_command(command)
}

#[test]
fn the_roots_of_ssl_cert_file_are_trusted() {
    let web = Web::serve_tls(|asked, wire| match asked.path() {
        "/redirect" => wire.reply("302 Found\r\nlocation: /", b""),
        _ => wire.reply("200 OK", &vec![b'x'; 200_000]),
    });
    let mut client = client(Some(ROOT));
    for url in [web.url("/"), web.url_by_name("/"), web.url("/redirect")] {
        let (status, body) = fetch(&mut client, get(&url, json!({"timeoutMs": 20_000})));
        assert_eq!((status, body.len()), (200, 200_000), "{url}");
    }
    client.ok(
        "http/request",
        get(&web.url("/"), json!({"streamResponse": true})),
    );
    assert_eq!(rest_of_stream(&mut client, "r").0.len(), 200_000);
}

#[test]
fn without_it_a_stranger_is_not() {
    let web = Web::serve_tls(|_, wire| wire.reply("200 OK", b""));
    for root in [None, Some("/nonexistent")] {
        let error = client(root).err("http/request", get(&web.url("/"), json!({})));
        assert_eq!(error.code, -32603);
        assert!(error.message.contains("certificate"), "{}", error.message);
    }
    assert!(web.asked().is_empty());
}

#[test]
fn plain_http_where_tls_is_spoken_fails_and_the_other_way_round() {
    let secure = Web::serve_tls(|_, wire| wire.reply("200 OK", b""));
    let plain = Web::serve(|_, wire| wire.reply("200 OK", b""));
    let mut client = client(Some(ROOT));
    for url in [
        secure.url("/").replace("https", "http"),
        plain.url("/").replace("http", "https"),
    ] {
        let error = client.err("http/request", get(&url, json!({"timeoutMs": 20_000})));
        assert_eq!(error.code, -32603, "{}", error.message);
    }
}
