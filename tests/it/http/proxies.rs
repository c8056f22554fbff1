//! Through a proxy.

use std::io::Read;

use rustls::{ServerConnection, Stream};
use serde_json::json;

use super::addresses::METADATA;
use super::{fetch, get};
use crate::support::{
    Certificate, Client, PATIENCE, ROOT, Server, Web, Wire, encode, scratch, threads, within,
};

/// A proxy that is every server itself, unless TLS is spoken.
fn proxy() -> Web {
    Web::serve(|asked, wire| {
        if asked.line.starts_with("CONNECT ") {
            wire.raw(b"HTTP/1.1 200 OK\r\n\r\n");
            return wire.await_end();
        }
        wire.reply("200 OK", b"by proxy");
    })
}

fn client(variables: &[(&str, &str)]) -> Client {
    let mut command = Server::command();
    command.args(["--listen", "stdio"]);
    for name in ["no_proxy", "NO_PROXY", "SSL_CERT_FILE"] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied());
    Client::stdio_command(command)
}

/// The URL of a proxy, with user and password.
fn with_password(proxy: &Web) -> String {
    proxy.url("").replace("://", "://u:p@")
}

fn lines(web: &Web) -> Vec<String> {
    web.asked().into_iter().map(|asked| asked.line).collect()
}

#[test]
fn the_proxy_of_the_environment_is_used_but_not_for_this_machine() {
    let (proxy, web) = (
        proxy(),
        Web::serve(|_, wire| wire.reply("200 OK", b"direct")),
    );
    let mut client = client(&[("http_proxy", &proxy.url(""))]);
    let (_, body) = fetch(&mut client, get("http://name.invalid:81/x", json!({})));
    assert_eq!(body, b"by proxy");
    assert_eq!(lines(&proxy), ["GET http://name.invalid:81/x HTTP/1.1"]);
    for url in [web.url("/"), web.url_by_name("/")] {
        assert_eq!(fetch(&mut client, get(&url, json!({}))).1, b"direct");
    }
    for host in METADATA {
        let url = format!("http://{host}/");
        assert_eq!(
            client.err("http/request", get(&url, json!({}))).code,
            -32600
        );
    }
    assert_eq!(proxy.asked().len(), 1);
}

#[test]
fn each_scheme_has_its_own_proxy() {
    let (plain, encrypted) = (proxy(), proxy());
    let mut client = client(&[
        ("http_proxy", &plain.url("")),
        ("https_proxy", &encrypted.url("")),
    ]);
    let (_, body) = fetch(&mut client, get("http://name.invalid:81/x", json!({})));
    assert_eq!(body, b"by proxy");
    // There is no TLS behind the other.
    let url = "https://name.invalid:82/x";
    client.err("http/request", get(url, json!({"timeoutMs": 500})));
    assert_eq!(lines(&plain), ["GET http://name.invalid:81/x HTTP/1.1"]);
    assert_eq!(lines(&encrypted), ["CONNECT name.invalid:82 HTTP/1.1"]);
}

#[test]
fn a_plain_request_reaches_its_proxy_whole() {
    let proxy = Web::serve(|_, wire| wire.reply("203 So\r\nx-a: b", b"by proxy"));
    let mut client = client(&[("http_proxy", &with_password(&proxy))]);
    let more = json!({
        "method": "POST",
        "bodyBase64": encode(b"hello"),
        "headers": [
            {"name": "host", "value": "elsewhere.invalid"},
            {"name": "proxy-authorization", "value": "mine"},
            {"name": "x-plain", "value": "k"},
        ],
    });
    for url in [
        "http://me:pw@name.invalid/x/y?a=http://z",
        "http://[2001:db8::7]:81/?b",
    ] {
        assert_eq!(
            fetch(&mut client, get(url, more.clone())),
            (203, b"by proxy".to_vec())
        );
    }
    let asked = proxy.asked();
    let (name, address) = (&asked[0], &asked[1]);
    assert_eq!(
        name.line,
        "POST http://name.invalid/x/y?a=http://z HTTP/1.1"
    );
    assert_eq!(address.line, "POST http://[2001:db8::7]:81/?b HTTP/1.1");
    // A proxy that goes by the header is led nowhere else.
    assert_eq!(name.host, "name.invalid");
    assert_eq!(address.host, "[2001:db8::7]:81");
    assert_eq!(name.header("authorization"), Some("Basic bWU6cHc="));
    assert_eq!(address.header("authorization"), None);
    for asked in [name, address] {
        let of_proxy = |(name, _): &&(String, String)| name == "proxy-authorization";
        let found: Vec<_> = asked.headers.iter().filter(of_proxy).collect();
        assert_eq!(found.len(), 1, "{asked:?}");
        assert_eq!(found[0].1, "Basic dTpw");
        assert_eq!(asked.header("x-plain"), Some("k"));
        assert_eq!(asked.body, b"hello");
    }
}

#[test]
fn a_proxy_in_tls_gets_plain_requests_too() {
    let proxy = Web::serve_tls(|_, wire| wire.reply("200 OK", b"by proxy"));
    let mut client = client(&[("http_proxy", &proxy.url("")), ("SSL_CERT_FILE", ROOT)]);
    let (_, body) = fetch(&mut client, get("http://name.invalid/x", json!({})));
    assert_eq!(body, b"by proxy");
    assert_eq!(lines(&proxy), ["GET http://name.invalid/x HTTP/1.1"]);
}

#[test]
fn each_redirect_chooses_its_proxy_anew_and_takes_no_password_to_a_server() {
    let direct = Web::serve(|_, wire| {
        wire.reply("307 There\r\nlocation: http://two.invalid/c", b"");
    });
    let target = direct.url("/b");
    let proxy = Web::serve(move |asked, wire| match asked.path() {
        "http://one.invalid/a" => {
            wire.reply(&format!("307 There\r\nlocation: {target}"), b"");
        }
        _ => wire.reply("200 OK", b"by proxy"),
    });
    let mut client = client(&[("http_proxy", &with_password(&proxy))]);
    let more = json!({"method": "POST", "bodyBase64": encode(b"hello")});
    let (_, body) = fetch(&mut client, get("http://one.invalid/a", more));
    assert_eq!(body, b"by proxy");
    assert_eq!(
        lines(&proxy),
        [
            "POST http://one.invalid/a HTTP/1.1",
            "POST http://two.invalid/c HTTP/1.1"
        ]
    );
    assert_eq!(lines(&direct), ["POST /b HTTP/1.1"]);
    assert_eq!(direct.asked()[0].header("proxy-authorization"), None);
    let host = direct.url("").replace("http://", "");
    assert_eq!(direct.asked()[0].host, host);
    for asked in proxy.asked() {
        assert_eq!(asked.header("proxy-authorization"), Some("Basic dTpw"));
    }
    for asked in proxy.asked().iter().chain(&direct.asked()) {
        assert_eq!(asked.body, b"hello");
    }
}

#[test]
fn the_password_of_the_proxy_stays_outside_a_tunnel() {
    const HOST: &str = "origin.invalid";
    let dir = scratch();
    let certificate = Certificate::make_for(&dir, "origin", HOST);
    let config = certificate.server_config();
    // The origin says what it was asked.
    let proxy = Web::serve(move |_, mut wire| {
        wire.raw(b"HTTP/1.1 200 OK\r\n\r\n");
        let mut connection = ServerConnection::new(config.clone()).unwrap();
        let mut inside = Stream::new(&mut connection, &mut wire);
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && matches!(inside.read(&mut byte), Ok(1)) {
            request.extend(byte);
        }
        inside.reply("200 OK", &request);
    });
    let mut client = client(&[
        ("https_proxy", &with_password(&proxy)),
        ("SSL_CERT_FILE", &certificate.certificate),
    ]);
    let (_, request) = fetch(
        &mut client,
        get(&format!("https://{HOST}/x"), json!({"timeoutMs": 20_000})),
    );
    let request = String::from_utf8(request).unwrap().to_ascii_lowercase();
    assert!(request.starts_with("get /x http/1.1\r\n"), "{request}");
    assert!(!request.contains("proxy-authorization"), "{request}");
    let asked = &proxy.asked()[0];
    assert_eq!(asked.line, format!("CONNECT {HOST}:443 HTTP/1.1"));
    assert_eq!(asked.header("Proxy-Authorization"), Some("Basic dTpw"));
}

#[test]
fn what_a_proxy_answers_itself_is_the_answer() {
    let proxy = Web::serve(|_, wire| wire.reply("407 Who\r\nproxy-authenticate: x", b"log in"));
    let mut client = client(&[("http_proxy", &proxy.url(""))]);
    assert_eq!(
        fetch(&mut client, get("http://name.invalid/", json!({}))),
        (407, b"log in".to_vec())
    );
}

#[test]
fn time_runs_out_at_a_proxy_and_a_lost_client_leaves_it() {
    let proxy = Web::serve(|asked, wire| {
        if asked.path().ends_with("/body") {
            wire.raw(b"HTTP/1.1 200 OK\r\n\r\nabc");
        }
        wire.await_end();
    });
    let mut command = Server::command();
    command.args(["--listen", "ws://127.0.0.1:0"]);
    command.env_remove("no_proxy").env_remove("NO_PROXY");
    command.env("http_proxy", proxy.url(""));
    let server = Server::websocket_command(command);
    let mut other = server.connect();
    let before = threads(server.pid());
    let (silence, body) = ("http://name.invalid/", "http://name.invalid/body");
    for (url, message) in [
        (silence, "http/request failed: timed out after 300 ms"),
        (
            body,
            "failed to read http/request response body: error decoding response body: \
             timed out after 300 ms",
        ),
    ] {
        let error = other.err("http/request", get(url, json!({"timeoutMs": 300})));
        assert_eq!((error.code, &*error.message), (-32603, message));
    }
    within(PATIENCE, "both are over", || proxy.open() == 0);
    let mut client = server.connect();
    for (id, url) in [("a", silence), ("b", body)] {
        client.ask("http/request", get(url, json!({"requestId": id})));
    }
    within(PATIENCE, "both have come", || proxy.asked().len() == 4);
    drop(client);
    within(PATIENCE, "both are cancelled", || proxy.open() == 0);
    within(PATIENCE, "their threads are gone", || {
        threads(server.pid()) <= before
    });
}

#[test]
fn a_url_as_long_as_may_be_reaches_its_proxy_and_a_longer_one_is_an_error() {
    let proxy = proxy();
    let mut client = client(&[("http_proxy", &proxy.url(""))]);
    let host = format!("{}.invalid", "a".repeat(60_000));
    let value = "v".repeat(65_000);
    let more = json!({"headers": [{"name": "a", "value": value}]});
    let (_, body) = fetch(&mut client, get(&format!("http://{host}/"), more.clone()));
    assert_eq!(body, b"by proxy");
    let url = format!("http://{}:@{host}/", "u".repeat(45_000));
    let error = client.err("http/request", get(&url, more));
    assert_eq!(error.code, -32602);
    assert!(
        error.message.ends_with("it has more than 65536 bytes"),
        "{error:?}"
    );
    assert_eq!(proxy.asked().len(), 1);
}

#[test]
fn a_proxy_on_the_link_is_not_connected_to() {
    let mut client = client(&[("ALL_PROXY", "http://169.254.1.1:3128")]);
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://name.invalid/");
        let error = client.err("http/request", get(&url, json!({"timeoutMs": 5000})));
        assert_eq!(error.code, -32600, "{}", error.message);
        assert!(
            error.message.contains("--allow-link-local"),
            "{}",
            error.message
        );
    }
}

#[test]
fn a_proxy_that_cannot_be_used_is_an_error_and_no_request_goes_without() {
    for (variable, value, why) in [
        (
            "ALL_PROXY",
            "socks5h://u:secret@127.0.0.1:1",
            "of the scheme socks5h",
        ),
        ("http_proxy", "http://u:secret@[h", "is no URL"),
    ] {
        let mut client = client(&[(variable, value)]);
        let url = "http://192.0.2.1:81/x";
        let error = client.err("http/request", get(url, json!({"timeoutMs": 20_000})));
        assert_eq!(error.code, -32603, "{}", error.message);
        for part in [variable, why, "NO_PROXY"] {
            assert!(error.message.contains(part), "{}", error.message);
        }
        assert!(!error.message.contains("secret"), "{}", error.message);
        // This machine is not reached through it.
        let web = Web::serve(|_, wire| wire.reply("200 OK", b"direct"));
        assert_eq!(
            fetch(&mut client, get(&web.url("/"), json!({}))).1,
            b"direct"
        );
    }
}
