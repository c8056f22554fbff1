//! What goes out and what comes back.

use serde_json::{Value, json};

use super::{fetch, get};
use crate::support::{Client, Web, encode};

over_both! {
    fn a_request_says_what_it_was_told_and_accept(client) {
        let web = Web::serve(|_, wire| wire.reply("200 OK", b"body"));
        let headers = json!([{"name": "X-A", "value": "1"}, {"name": "b", "value": "2"}, {"name": "x-a", "value": "3"}]);
        assert_eq!(fetch(client, get(&web.url("/p q?x=y#f"), json!({"headers": headers}))), (200, b"body".to_vec()));
        let asked = &web.asked()[0];
        assert_eq!(asked.line, "GET /p%20q?x=y HTTP/1.1");
        let mut headers = asked.headers.clone();
        headers.sort();
        let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(headers, [of("accept", "*/*"), of("b", "2"), of("x-a", "1"), of("x-a", "3")]);
    }

    fn headers_come_back_in_lower_case_with_repeats(client) {
        let web = Web::serve(|_, wire| {
            wire.raw(b"HTTP/1.1 200 OK\r\nX-A: 1\r\nServer: s\r\nX-A: 2\r\nX-Bad: \xff\xfe\r\nContent-Length: 0\r\n\r\n");
        });
        let answer = client.ok("http/request", get(&web.url("/"), json!({})));
        let mut headers = answer["headers"].as_array().unwrap().clone();
        headers.sort_by_key(Value::to_string);
        let of = |name: &str, value: &str| json!({"name": name, "value": value});
        assert_eq!(
            headers,
            [of("content-length", "0"), of("server", "s"), of("x-a", "1"), of("x-a", "2")]
        );
    }

    fn no_status_is_an_error_and_no_body_is_touched(client) {
        let web = Web::serve(|asked, wire| match asked.path() {
            "/404" => wire.reply("404 Not Found", b"none"),
            "/500" => wire.reply("500 Oh", b""),
            "/204" => wire.raw(b"HTTP/1.1 204 No Content\r\n\r\n"),
            "/304" => wire.raw(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n"),
            "/gzip" => wire.reply("200 OK\r\ncontent-encoding: gzip\r\ncontent-type: text/plain; charset=latin1", b"\x1f\x8b\xff\0"),
            "/chunked" => wire.raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
            "/until-close" => wire.raw(b"HTTP/1.0 200 OK\r\n\r\nto the end"),
            other => panic!("{other}"),
        });
        for (path, status, body) in [
            ("/404", 404, &b"none"[..]),
            ("/500", 500, b""),
            ("/204", 204, b""),
            ("/304", 304, b""),
            ("/gzip", 200, b"\x1f\x8b\xff\0"),
            ("/chunked", 200, b"abcde"),
            ("/until-close", 200, b"to the end"),
        ] {
            assert_eq!(fetch(client, get(&web.url(path), json!({}))), (status, body.to_vec()), "{path}");
        }
    }

    fn bodies_and_methods_are_sent_as_given(client) {
        let web = Web::serve(|asked, wire| {
            let length = asked.header("content-length").unwrap_or("none");
            let answer = format!("{} {length} {:?}", asked.line, asked.header("transfer-encoding"));
            match asked.line.split(' ').next() {
                Some("HEAD") => wire.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n"),
                _ => wire.reply("200 OK", answer.as_bytes()),
            }
        });
        for (method, body, expected) in [
            ("GET", None, "GET / HTTP/1.1 none None"),
            ("GET", Some("hello"), "GET / HTTP/1.1 5 None"),
            ("POST", None, "POST / HTTP/1.1 0 None"),
            ("POST", Some("hello"), "POST / HTTP/1.1 5 None"),
            ("DELETE", None, "DELETE / HTTP/1.1 none None"),
            ("DELETE", Some("x"), "DELETE / HTTP/1.1 1 None"),
            ("get", None, "get / HTTP/1.1 none None"),
            ("PROPFIND", Some("x"), "PROPFIND / HTTP/1.1 1 None"),
            ("HEAD", None, ""),
        ] {
            let body = body.map(|body| encode(body.as_bytes()));
            // What frames the body is not the client's to say.
            let headers = json!([{"name": "content-length", "value": "77"}, {"name": "Transfer-Encoding", "value": "chunked"}]);
            let params = get(&web.url("/"), json!({"method": method, "bodyBase64": body, "headers": headers}));
            assert_eq!(fetch(client, params), (200, expected.as_bytes().to_vec()), "{method}");
        }
        let large: Vec<u8> = (0..3_000_000_u32).map(|at| at as u8).collect();
        fetch(client, get(&web.url("/"), json!({"method": "PUT", "bodyBase64": encode(&large)})));
        assert!(web.asked().last().unwrap().body == large);
    }

    fn credentials_in_the_url_become_a_header(client) {
        let web = Web::serve(|_, wire| wire.reply("200 OK", b""));
        let url = web.url("/").replace("http://", "http://us%65r:p:w@");
        fetch(client, get(&url, json!({})));
        assert_eq!(web.asked()[0].header("authorization"), Some("Basic dXNlcjpwOnc="));
    }

    fn a_long_head_goes_through(client) {
        let web = Web::serve(|asked, wire| wire.reply("200 OK", asked.header("x-long").unwrap().len().to_string().as_bytes()));
        let long = "v".repeat(60_000);
        let headers = json!([{"name": "x-long", "value": long}]);
        let url = web.url(&format!("/{}", "p".repeat(30_000)));
        assert_eq!(fetch(client, get(&url, json!({"headers": headers}))), (200, b"60000".to_vec()));
    }
}

#[test]
fn a_header_may_be_made_of_a_variable_of_the_server() {
    let web = Web::serve(|_, wire| wire.reply("200 OK", b""));
    let mut command = crate::support::Server::command();
    command.args(["--listen", "stdio"]);
    command.env("WEB_TOKEN", "s3cret");
    command.env("EXEC_SERVER_TOKEN", "key to the server");
    let mut client = Client::stdio_command(command);
    let params = |variable: &str| {
        let header = json!({"name": "X-E", "value": "Bearer ", "valueEnvVar": variable});
        get(&web.url("/"), json!({"headers": [header]}))
    };
    fetch(&mut client, params("WEB_TOKEN"));
    assert_eq!(web.asked()[0].header("x-e"), Some("Bearer s3cret"));
    for variable in ["NOPE_X", "EXEC_SERVER_TOKEN", ""] {
        let error = client.err("http/request", params(variable));
        assert_eq!(error.code, -32602);
        assert_eq!(
            error.message,
            format!("http/request header X-E requires executor environment variable {variable}")
        );
    }
    assert_eq!(web.asked().len(), 1);
    let info = client.ok("environment/info", Value::Null);
    assert_eq!(info["capabilities"]["httpHeaderEnvVars"], true);
}
