//! Being sent elsewhere.

use serde_json::json;

use super::{fetch, get};
use crate::support::{Client, Web, encode};

/// A server that sends `/STATUS/TARGET` to `TARGET`, and says ok to everything else.
fn redirecting() -> Web {
    Web::serve(|asked, wire| {
        let path = asked.path();
        let redirect = path.get(1..4).and_then(|code| code.parse::<u16>().ok());
        match redirect {
            Some(code) => {
                let target = &path[4..];
                wire.reply(&format!("{code} Elsewhere\r\nlocation: {target}"), b"moved");
            }
            None => wire.reply("200 OK", b"ok"),
        }
    })
}

over_both! {
    fn a_redirect_is_followed_as_a_browser_would(client) {
        for (method, status, arrives) in [
            ("GET", 301, "GET / HTTP/1.1 5"),
            ("POST", 301, "GET / HTTP/1.1 0"),
            ("POST", 302, "GET / HTTP/1.1 0"),
            ("POST", 303, "GET / HTTP/1.1 0"),
            ("PUT", 302, "PUT / HTTP/1.1 5"),
            ("PUT", 303, "GET / HTTP/1.1 0"),
            ("HEAD", 303, "HEAD / HTTP/1.1 5"),
            ("POST", 307, "POST / HTTP/1.1 5"),
            ("POST", 308, "POST / HTTP/1.1 5"),
        ] {
            let web = redirecting();
            let url = web.url(&format!("/{status}/"));
            let headers = json!([{"name": "content-type", "value": "t/t"}, {"name": "authorization", "value": "a"}]);
            let params = get(&url, json!({"method": method, "bodyBase64": encode(b"hello"), "headers": headers}));
            fetch(client, params);
            let asked = web.asked();
            assert_eq!(asked.len(), 2, "{method} {status}");
            assert_eq!(format!("{} {}", asked[1].line, asked[1].body.len()), arrives, "{method} {status}");
            assert_eq!(asked[1].header("content-type").is_some(), arrives.ends_with('5'));
            assert_eq!(asked[1].header("authorization"), Some("a"), "the same server");
        }
    }

    fn who_does_not_follow_gets_the_redirect(client) {
        let web = redirecting();
        let stop = json!({"redirectPolicy": "stop"});
        assert_eq!(fetch(client, get(&web.url("/302/x"), stop)), (302, b"moved".to_vec()));
        // Not a redirect that could be followed.
        for path in ["/300/x", "/304/x", "/305/x", "/302http://[bad"] {
            let status: i64 = path[1..4].parse().unwrap();
            assert_eq!(fetch(client, get(&web.url(path), json!({}))).0, status, "{path}");
        }
        assert!(web.asked().iter().all(|asked| asked.path() != "/x"));
        let follow = json!({"redirectPolicy": "follow"});
        assert_eq!(fetch(client, get(&web.url("/302/x"), follow)), (200, b"ok".to_vec()));
        let odd = client.err("http/request", get(&web.url("/"), json!({"redirectPolicy": "x"})));
        assert_eq!(odd.code, -32602);
    }

    fn going_in_circles_ends(client) {
        let web = Web::serve(|_, wire| wire.reply("302 Found\r\nlocation: ?again", b""));
        let error = client.err("http/request", get(&web.url("/loop"), json!({})));
        assert_eq!((error.code, error.message.as_str()), (-32603, "http/request failed: too many redirects"));
        assert_eq!(web.asked().len(), 11);
    }

    fn only_http_is_followed(client) {
        let web = Web::serve(|_, wire| wire.reply("302 Found\r\nlocation: file:///etc/passwd", b""));
        let error = client.err("http/request", get(&web.url("/"), json!({})));
        assert_eq!(error.code, -32603);
        assert!(error.message.ends_with("redirected to a URL of the scheme file"), "{}", error.message);
    }
}

#[test]
fn secrets_stay_with_the_server_they_are_for() {
    let mut command = crate::support::Server::command();
    command.args(["--listen", "stdio"]);
    command.env("WEB_TOKEN", "s3cret");
    let mut client = Client::stdio_command(command);
    let web = redirecting();
    let headers = json!([
        {"name": "Authorization", "value": "a"},
        {"name": "Cookie", "value": "c"},
        {"name": "Proxy-Authorization", "value": "p"},
        {"name": "X-Key", "value": "", "valueEnvVar": "WEB_TOKEN"},
        {"name": "x-plain", "value": "k"}
    ]);
    let elsewhere = web.url(&format!("/302{}", web.url_by_name("/x")));
    fetch(&mut client, get(&elsewhere, json!({"headers": headers})));
    let asked = web.asked();
    let names = |at: usize| -> Vec<&str> {
        let mut names: Vec<&str> = asked[at].headers.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(
        names(0),
        [
            "accept",
            "authorization",
            "cookie",
            "proxy-authorization",
            "x-key",
            "x-plain"
        ]
    );
    assert_eq!(names(1), ["accept", "x-plain"]);
}
