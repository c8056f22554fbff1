//! What cannot be asked, and what is not answered.

use serde_json::json;

use super::{get, rest_of_stream};
use crate::support::{Client, Web};

over_both! {
    fn what_makes_no_sense_is_refused(client) {
        let good = "http://127.0.0.1:1/";
        for (params, message) in [
            (json!({"method": "GET", "url": good}), "missing field `requestId`"),
            (get(good, json!({"method": "b m"})), "http/request method is invalid: invalid HTTP method"),
            (get(good, json!({"method": ""})), "http/request method is invalid: invalid HTTP method"),
            (get("x", json!({})), "http/request url is invalid: relative URL without a base"),
            (get("http://", json!({})), "http/request url is invalid: empty host"),
            (get("http://h:99999/", json!({})), "http/request url is invalid: invalid port number"),
            (get("ftp://x/", json!({})), "http/request only supports http and https URLs, got ftp"),
            (get("file:///etc/passwd", json!({})), "http/request only supports http and https URLs, got file"),
            (
                get(good, json!({"headers": [{"name": "a b", "value": ""}]})),
                "http/request header name is invalid: invalid HTTP header name",
            ),
            (
                get(good, json!({"headers": [{"name": "a", "value": "x\ny"}]})),
                "http/request header value is invalid for a: failed to parse header value",
            ),
            (get(good, json!({"headers": [{"name": "a"}]})), "missing field `value`"),
            (get(good, json!({"bodyBase64": "!!"})), "Invalid symbol 33, offset 0."),
        ] {
            let error = client.err("http/request", params);
            assert_eq!((error.code, error.message.as_str()), (-32602, message));
        }
    }

    fn who_is_not_there_is_named(client) {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for url in [format!("http://user:pass@{closed}/a?b"), format!("https://{closed}/")] {
            let error = client.err("http/request", get(&url, json!({})));
            let named = url.replace("user:pass@", "");
            let expected = format!("http/request failed: error sending request for url ({named}): ");
            assert_eq!(error.code, -32603);
            assert!(error.message.starts_with(&expected), "{}", error.message);
        }
    }

    fn an_answer_that_is_no_http_is_an_error(client) {
        for junk in [&b"junk\r\n\r\n"[..], b"", b"HTTP/1.1 200 OK\r\nx", b"HTTP/1.1 99999 X\r\n\r\n"] {
            let web = Web::serve(move |_, wire| wire.raw(junk));
            let error = client.err("http/request", get(&web.url("/"), json!({})));
            assert_eq!(error.code, -32603, "{}", error.message);
        }
        let endless = Web::serve(|_, wire| {
            wire.raw(b"HTTP/1.1 200 OK\r\n");
            for _ in 0..1000 {
                wire.raw(&[&b"x-filler: "[..], &[b'x'; 1000], b"\r\n"].concat());
            }
        });
        assert_eq!(client.err("http/request", get(&endless.url("/"), json!({}))).code, -32603);
        client.still_serves();
    }

    fn a_body_that_ends_early_is_an_error(client) {
        for head in ["content-length: 10\r\n\r\nabc", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n5\r\nd"] {
            let head = format!("HTTP/1.1 200 OK\r\n{head}");
            let web = Web::serve(move |_, wire| wire.raw(head.as_bytes()));
            let error = client.err("http/request", get(&web.url("/"), json!({})));
            assert_eq!(error.code, -32603);
            let expected = "failed to read http/request response body: error decoding response body";
            assert!(error.message.starts_with(expected), "{}", error.message);

            client.ok("http/request", get(&web.url("/"), json!({"streamResponse": true})));
            let (bytes, error) = rest_of_stream(client, "r");
            assert!(bytes.starts_with(b"abc"));
            let error = error.expect("the stream ends with an error");
            assert!(error.starts_with("error decoding response body"), "{error}");
        }
    }

    fn time_runs_out_wherever_the_server_dawdles(client) {
        let web = Web::serve(|asked, wire| {
            match asked.path() {
                "/head" => wire.raw(b"HTTP/1.1 200 OK\r\nx: "),
                "/body" => wire.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"),
                "/redirect" => return wire.reply("302 Found\r\nlocation: /body", b""),
                _ => {}
            }
            wire.await_end();
        });
        for (path, timeout) in [("/silence", 0), ("/silence", 300), ("/head", 300)] {
            let error = client.err("http/request", get(&web.url(path), json!({"timeoutMs": timeout})));
            assert_eq!(error.code, -32603);
            assert_eq!(error.message, format!("http/request failed: timed out after {timeout} ms"));
        }
        for path in ["/body", "/redirect"] {
            let error = client.err("http/request", get(&web.url(path), json!({"timeoutMs": 300})));
            assert_eq!(
                error.message,
                "failed to read http/request response body: error decoding response body: timed out after 300 ms"
            );
        }
        client.ok("http/request", get(&web.url("/body"), json!({"timeoutMs": 300, "streamResponse": true})));
        let (bytes, error) = rest_of_stream(client, "r");
        assert_eq!(bytes, b"abc");
        assert_eq!(error.unwrap(), "error decoding response body: timed out after 300 ms");
    }
}

#[test]
fn the_handshake_comes_first() {
    let mut client = Client::stdio_silent(&[]);
    let error = client.err("http/request", get("http://127.0.0.1:1/", json!({})));
    assert_eq!(
        error.message,
        "client must call initialize before using http methods"
    );
}

#[test]
fn it_can_be_turned_off() {
    let mut client = Client::stdio_with(&["--no-http"]);
    let error = client.err("http/request", get("http://127.0.0.1:1/", json!({})));
    assert_eq!(error.code, -32600);
    assert_eq!(
        error.message,
        "http/request is turned off on this exec-server (--no-http)"
    );
    let info = client.ok("environment/info", serde_json::Value::Null);
    assert_eq!(info["capabilities"]["httpHeaderEnvVars"], false);
}
