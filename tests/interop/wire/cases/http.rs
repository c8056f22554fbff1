//! `http/request`, and the web server it goes to.

use std::net::{SocketAddr, TcpListener};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::case::{Case, Step};
use crate::http_server::{Reply, Request, serve};
use crate::subject::Generation;

const REQUEST: &str = "http/request";

/// Where it listens; one for the whole run.
pub fn web() -> SocketAddr {
    static WEB: OnceLock<SocketAddr> = OnceLock::new();
    *WEB.get_or_init(|| serve(answer))
}

fn answer(request: Request) -> Option<Reply> {
    let ok = |body: &str| {
        Some(Reply::whole(
            "200 OK",
            vec!["x-test: yes".into()],
            body.into(),
        ))
    };
    let to = |status, target: &str| {
        Some(Reply::whole(
            status,
            vec![format!("location: {target}")],
            Vec::new(),
        ))
    };
    match request.target.as_str() {
        "/missing" => Some(Reply::whole("404 Not Found", Vec::new(), "not here".into())),
        "/empty" => Some(Reply::whole("204 No Content", Vec::new(), Vec::new())),
        "/headers" => {
            let headers = vec![
                "X-Twice: one".into(),
                "X-Twice: two".into(),
                "X-UPPER: Value".into(),
            ];
            Some(Reply::whole("200 OK", headers, Vec::new()))
        }
        "/once" => to("302 Found", "/echo"),
        "/loop" => to("302 Found", "/loop"),
        "/keeping" => to("307 Temporary Redirect", "/echo"),
        "/parts" => {
            let parts = ["one ", "two ", "three"].into_iter().map(|part| {
                // So that they arrive one by one; nobody tells when the other end has read one.
                thread::sleep(Duration::from_millis(30));
                part.into()
            });
            Some(Reply {
                status: "200 OK",
                headers: Vec::new(),
                length: None,
                body: Box::new(parts),
            })
        }
        "/short" => Some(Reply {
            length: Some(100),
            ..Reply::whole("200 OK", Vec::new(), "short".into())
        }),
        "/never" => {
            // Longer than any time limit that is asked for.
            request.await_hang_up(Duration::from_secs(5));
            None
        }
        "/big" => ok(&"z".repeat(300_000)),
        "/hang-up" => None,
        _ => {
            let mut told = vec![request.method, request.target];
            // What a client adds by itself is not the same in any two of them.
            let given = request
                .headers
                .into_iter()
                .filter(|line| line.to_ascii_lowercase().starts_with("x-"));
            told.extend(given);
            told.push(String::from_utf8_lossy(&request.body).into_owned());
            ok(&told.join("\n"))
        }
    }
}

fn request(more: Value) -> Value {
    let mut params = json!({"method": "GET", "url": "http://{HTTP}/echo", "requestId": "r"});
    for (member, value) in more.as_object().into_iter().flatten() {
        params[member] = value.clone();
    }
    params
}

fn ask(name: &'static str, more: Value) -> Case {
    Case::ask(REQUEST, name, request(more))
}

fn stream(name: &'static str, more: Value) -> Case {
    let mut params = request(more);
    params["streamResponse"] = true.into();
    Case::new(
        REQUEST,
        name,
        vec![
            Step::Ask(REQUEST, params),
            Step::Told("http/request/bodyDelta"),
        ],
    )
}

fn get(name: &'static str, path: &str) -> Case {
    ask(name, json!({"url": format!("http://{{HTTP}}{path}")}))
}

/// A port on which nobody listens.
fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    format!("http://{address}/")
}

pub fn cases() -> Vec<Case> {
    let only = Generation::V169;
    let without = |member: &str| {
        let mut params = request(json!({}));
        params.as_object_mut().map(|members| members.remove(member));
        params
    };
    vec![
        get("a get", "/echo?a=b%20c"),
        ask(
            "a post",
            json!({"method": "POST", "bodyBase64": "aGVsbG8="}),
        ),
        ask("another method", json!({"method": "PROPFIND"})),
        ask(
            "headers",
            json!({"headers": [{"name": "X-One", "value": "1"}, {"name": "X-Two", "value": "2"}, {"name": "X-One", "value": "3"}]}),
        ),
        get("an error status", "/missing"),
        get("no content", "/empty"),
        get("repeated headers", "/headers"),
        get("a redirect", "/once"),
        ask(
            "a redirected post",
            json!({"method": "POST", "bodyBase64": "aGVsbG8=", "url": "http://{HTTP}/once"}),
        ),
        ask(
            "a post redirected whole",
            json!({"method": "POST", "bodyBase64": "aGVsbG8=", "url": "http://{HTTP}/keeping"}),
        ),
        get("an endless redirect", "/loop"),
        ask(
            "a redirect not followed",
            json!({"url": "http://{HTTP}/once", "redirectPolicy": "stop"}),
        )
        .only(only),
        get("a body in parts", "/parts"),
        get("300 KB", "/big"),
        get("a body too short", "/short"),
        get("no answer", "/hang-up"),
        ask("nobody there", json!({"url": closed_port()})),
        ask(
            "a time limit",
            json!({"url": "http://{HTTP}/never", "timeoutMs": 200}),
        ),
        ask("no time at all", json!({"timeoutMs": 0})),
        ask("time enough", json!({"timeoutMs": 5000})),
        stream("streamed", json!({})),
        stream("streamed in parts", json!({"url": "http://{HTTP}/parts"})),
        stream("300 KB streamed", json!({"url": "http://{HTTP}/big"})),
        stream("nothing streamed", json!({"url": "http://{HTTP}/empty"})),
        stream("streamed too short", json!({"url": "http://{HTTP}/short"})),
        ask("ftp", json!({"url": "ftp://{HTTP}/"})),
        ask("no URL", json!({"url": "nonsense"})),
        ask("a bad method", json!({"method": "GE T"})),
        ask(
            "a bad header name",
            json!({"headers": [{"name": "a b", "value": "c"}]}),
        ),
        ask(
            "a bad header value",
            json!({"headers": [{"name": "x-a", "value": "c\nd"}]}),
        ),
        ask("a bad body", json!({"method": "POST", "bodyBase64": "a"})),
        ask(
            "a variable",
            json!({"headers": [{"name": "x-a", "value": "b-", "valueEnvVar": "INTEROP_PLAIN"}]}),
        )
        .only(only),
        ask(
            "a variable not set",
            json!({"headers": [{"name": "x-a", "value": "b-", "valueEnvVar": "INTEROP_NONE"}]}),
        )
        .only(only),
        Case::ask(REQUEST, "without a method", without("method")),
        Case::ask(REQUEST, "without a URL", without("url")),
        Case::ask(REQUEST, "without an id", without("requestId")),
        Case::ask(REQUEST, "too early", request(json!({}))).silent(),
    ]
}
