use super::*;

#[test]
fn urls_are_normalized() {
    for (text, expected) in [
        (
            " HTTP://Example.COM:80/a/../b c?q=ü'#frag ",
            "http://example.com/b%20c?q=%C3%BC%27",
        ),
        ("https://h:443", "https://h/"),
        ("http:h\\x?a\\b", "http://h/x?a\\b"),
        ("http:///h/./%2e%2E/y/.", "http://h/y/"),
        ("http://u:p@h:81/", "http://h:81/"),
        ("http://[0:0::1]:8080/?", "http://[::1]:8080/?"),
        ("http://127.1/", "http://127.0.0.1/"),
        ("http://0xA9FEA9FE/", "http://169.254.169.254/"),
        ("http://0251.254.43518/", "http://169.254.169.254/"),
        ("http://2852039166/", "http://169.254.169.254/"),
        ("http://a.b.c1/", "http://a.b.c1/"),
    ] {
        assert_eq!(Url::parse(text).unwrap().to_string(), expected, "{text}");
    }
    let url = Url::parse("http://us%65r:p%3Aw@h/").unwrap();
    assert_eq!(url.credentials, Some((b"user".to_vec(), b"p:w".to_vec())));
}

#[test]
fn what_is_no_url_is_refused() {
    for (text, why) in [
        ("x", "relative URL without a base"),
        ("", "relative URL without a base"),
        ("/x", "relative URL without a base"),
        ("http://", "empty host"),
        ("http://[::1", "invalid IPv6 address"),
        ("http://a b/", "invalid international domain name"),
        ("http://h:99999/", "invalid port number"),
        ("http://h:+1/", "invalid port number"),
        ("http://1.2.3.256/", "invalid IPv4 address"),
        ("http://1.2.3.4.5/", "invalid IPv4 address"),
        ("http://4294967296/", "invalid IPv4 address"),
    ] {
        assert_eq!(Url::parse(text), Err(UrlError::Invalid(why)), "{text}");
    }
    for (text, scheme) in [("ftp://x/", "ftp"), ("FILE:///x", "file")] {
        assert_eq!(Url::parse(text), Err(UrlError::Scheme(scheme.to_owned())));
    }
}

#[test]
fn references_are_joined() {
    let base = Url::parse("http://h/a/b?q").unwrap();
    for (reference, expected) in [
        ("/x", "http://h/x"),
        ("x?y", "http://h/a/x?y"),
        ("../x", "http://h/x"),
        ("../../../x/.", "http://h/x/"),
        ("?z", "http://h/a/b?z"),
        ("", "http://h/a/b?q"),
        ("#frag", "http://h/a/b?q"),
        ("//other:1/x", "http://other:1/x"),
        ("https://other", "https://other/"),
    ] {
        assert_eq!(base.join(reference).unwrap().to_string(), expected);
    }
    assert!(base.join("ftp://x/").is_err() && base.join("http://[bad").is_err());
}

#[test]
fn a_websocket_is_a_family_of_its_own_and_shows_no_secrets() {
    for (text, redacted, target, authority, port) in [
        ("ws://h", "ws://h/", "/", "h", 80),
        (
            "wss://u:p@H:8443/a?role=x&t=secret#f",
            "wss://h:8443/a",
            "/a?role=x&t=secret",
            "h:8443",
            8443,
        ),
        ("wss://[::1]/", "wss://[::1]/", "/", "[::1]", 443),
    ] {
        let url = Url::parse_websocket(text).unwrap();
        assert_eq!(url.redacted(), redacted, "{text}");
        assert_eq!(url.request_target(), target, "{text}");
        assert_eq!(url.authority(), authority, "{text}");
        assert_eq!(url.port(), port, "{text}");
    }
    let scheme = |name: &str| Err(UrlError::Scheme(name.to_owned()));
    assert_eq!(Url::parse_websocket("http://h/"), scheme("http"));
    assert_eq!(Url::parse("ws://h/"), scheme("ws"));
    assert_eq!(
        Url::parse("http://h/").unwrap().join("wss://h/"),
        scheme("wss")
    );
}

#[test]
fn a_server_is_its_scheme_name_and_port() {
    let same = |a: &str, b: &str| {
        Url::parse(a)
            .unwrap()
            .is_same_server(&Url::parse(b).unwrap())
    };
    assert!(same("http://h/a", "http://H:80/b"));
    for other in ["http://h:81/", "https://h/", "http://g/"] {
        assert!(!same("http://h/", other));
    }
}
