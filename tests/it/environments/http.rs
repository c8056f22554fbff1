//! HTTP.

use std::time::Duration;

use exec_server::env::HttpRequest;

use super::over_all;
use crate::support::Web;

over_all! {
    fn a_request_is_made_and_answered(environment) {
        let web = Web::serve(|asked, wire| {
            let echo = format!("{} {}", asked.header("x-a").unwrap_or(""), asked.body.len());
            wire.reply("201 Created\r\nX-B: c", echo.as_bytes());
        });
        let reply = environment.client().unwrap().http(&HttpRequest {
            method: "POST".into(),
            url: web.url("/x"),
            headers: vec![("X-A".into(), "1".into())],
            body: vec![7; 100_000],
            timeout: Some(Duration::from_secs(20)),
            follows_redirects: false,
        }).unwrap();
        assert_eq!((reply.status, &*reply.body), (201, &b"1 100000"[..]));
        assert!(reply.headers.contains(&("x-b".into(), "c".into())), "{:?}", reply.headers);
    }

    fn a_redirect_is_followed_only_if_asked_for(environment) {
        let web = Web::serve(|asked, wire| match asked.path() {
            "/from" => wire.reply("302 Found\r\nLocation: /to", b""),
            _ => wire.reply("200 OK", b"there"),
        });
        for (follows_redirects, status) in [(true, 200), (false, 302)] {
            let reply = environment.client().unwrap().http(&HttpRequest {
                method: "GET".into(),
                url: web.url("/from"),
                follows_redirects,
                timeout: Some(Duration::from_secs(20)),
                ..HttpRequest::default()
            });
            assert_eq!(reply.unwrap().status, status);
        }
    }

    fn a_request_that_makes_no_sense_is_an_error(environment) {
        let error = environment.client().unwrap().http(&HttpRequest {
            method: "GET".into(),
            url: "ftp://127.0.0.1/".into(),
            ..HttpRequest::default()
        }).unwrap_err();
        assert_eq!(error.code(), Some(-32602), "{error}");
    }
}
