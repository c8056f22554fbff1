//! Where requests do not go.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::{fetch, get};
use crate::support::{Client, Need, Server, Web, scratch};

const METADATA: [&str; 18] = [
    "169.254.169.254",
    "0xA9FEA9FE",
    "2852039166",
    "169.254.43518",
    "[::ffff:169.254.169.254]",
    "[::ffff:0:169.254.169.254]",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "[fd00:ec2::23]",
    "[fd00:c1::a9fe:a9fe]",
    "[fd00:42::42]",
    "[64:ff9b::169.254.169.254]",
    "[64:ff9b:1:a9fe:a9:fe00::]",
    "[64:ff9b:1::169.254.169.254]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:5db8:d822:0:1234:5601:5601]",
    "[2001:db8::5efe:169.254.169.254]",
    "[::ffff:100.100.100.200]",
];

over_both! {
    fn link_local_addresses_are_refused(client) {
        for host in METADATA {
            for scheme in ["http", "https"] {
                let url = format!("{scheme}://{host}/latest/meta-data");
                let error = client.err("http/request", get(&url, json!({"timeoutMs": 5000})));
                assert_eq!(error.code, -32600, "{}", error.message);
                assert!(error.message.contains("--allow-link-local"), "{}", error.message);
            }
        }
    }

    fn a_redirect_does_not_lead_there_either(client) {
        let web = Web::serve(|asked, wire| {
            let target = asked.path().trim_start_matches('/');
            wire.reply(&format!("302 Found\r\nlocation: //{target}/"), b"");
        });
        for host in METADATA {
            let url = web.url(&format!("/{host}"));
            let error = client.err("http/request", get(&url, json!({"timeoutMs": 5000})));
            assert_eq!(error.code, -32600, "{}", error.message);
        }
    }
}

/// A proxy that is every server itself.
fn proxy() -> Web {
    Web::serve(|asked, wire| {
        assert!(asked.line.starts_with("CONNECT "), "{}", asked.line);
        wire.raw(b"HTTP/1.1 200 OK\r\n\r\n");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if !matches!(wire.read(&mut byte), Ok(1)) {
                return;
            }
            request.extend(byte);
        }
        wire.reply("200 OK", b"by proxy");
    })
}

#[test]
fn the_proxy_of_the_environment_is_used_but_not_for_this_machine() {
    let (proxy, web) = (
        proxy(),
        Web::serve(|_, wire| wire.reply("200 OK", b"direct")),
    );
    let mut command = Server::command();
    command.args(["--listen", "stdio"]);
    command.env("http_proxy", proxy.url("")).env("no_proxy", "");
    let mut client = Client::stdio_command(command);
    let (_, body) = fetch(&mut client, get("http://name.invalid:81/x", json!({})));
    assert_eq!(body, b"by proxy");
    assert_eq!(proxy.asked()[0].line, "CONNECT name.invalid:81 HTTP/1.1");
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
    let mut command = Server::command();
    command.args(["--listen", "stdio"]);
    command
        .env("http_proxy", plain.url(""))
        .env("https_proxy", encrypted.url(""))
        .env("no_proxy", "");
    let mut client = Client::stdio_command(command);
    let (_, body) = fetch(&mut client, get("http://name.invalid:81/x", json!({})));
    assert_eq!(body, b"by proxy");
    // There is no TLS behind the other.
    let url = "https://name.invalid:82/x";
    client.err("http/request", get(url, json!({"timeoutMs": 500})));
    let lines = |proxy: &Web| -> Vec<String> {
        let asked = proxy.asked();
        asked.iter().map(|asked| asked.line.clone()).collect()
    };
    assert_eq!(lines(&plain), ["CONNECT name.invalid:81 HTTP/1.1"]);
    assert_eq!(lines(&encrypted), ["CONNECT name.invalid:82 HTTP/1.1"]);
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
        let mut command = Server::command();
        command.args(["--listen", "stdio"]);
        command.env(variable, value).env("no_proxy", "");
        let mut client = Client::stdio_command(command);
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

#[test]
fn a_name_does_not_lead_there_either() {
    needs!(Need::Namespaces);
    let dir = scratch();
    let hosts = dir.path("hosts");
    let names = "fd00:ec2::23 one.test\n64:ff9b:1::a9fe:a9fe two.test\n\
                 fd00:ec2::23 both.test\n127.0.0.1 both.test\n";
    fs::write(&hosts, names).unwrap();
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
        .args(["mount --bind \"$0\" /etc/hosts && exec \"$@\"", &hosts])
        .arg(Server::command().get_program());
    command.args(["--listen", "stdio"]);
    let mut client = Client::stdio_command(command);
    for name in ["one.test", "two.test"] {
        let url = format!("http://{name}/");
        let error = client.err("http/request", get(&url, json!({"timeoutMs": 5000})));
        assert_eq!(error.code, -32600, "{}", error.message);
    }
    // Of several addresses only those are tried that may be.
    let web = Web::serve(|_, wire| wire.reply("200 OK", b"here"));
    let url = web.url("/").replace("127.0.0.1", "both.test");
    assert_eq!(fetch(&mut client, get(&url, json!({}))).1, b"here");
}
