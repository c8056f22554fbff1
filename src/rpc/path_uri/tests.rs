use super::*;
use std::ffi::OsStr;

#[test]
fn both_styles_lead_to_the_same_clean_path() {
    let cases: &[(&str, &[u8])] = &[
        ("/", b"/"),
        ("/root", b"/root"),
        ("//root", b"/root"),
        ("/etc/passwd/", b"/etc/passwd"),
        ("/a/./b//c", b"/a/b/c"),
        ("/a/nope/../b", b"/a/b"),
        ("/../../a", b"/a"),
        ("/a/..", b"/"),
        ("/C:/x", b"/C:/x"),
        ("/a%20b\\c?#", b"/a%20b\\c?#"),
        ("file:///root", b"/root"),
        ("file:/root", b"/root"),
        ("file:root", b"/root"),
        ("FILE:///root", b"/root"),
        ("  file:///root \n", b"/root"),
        ("\u{1}fi\tle:///ro\not", b"/root"),
        ("file:\\\\\\root\\x", b"/root/x"),
        ("file://localhost/root", b"/root"),
        ("file://LOCALHOST/root", b"/root"),
        ("file://%6cocal\thost/root", b"/root"),
        ("file:", b"/"),
        ("file://", b"/"),
        ("file:////root//", b"/root"),
        ("file:////host/x", b"/host/x"),
        ("file:///root/%2E%2e/a/.%2e/%2e/b", b"/b"),
        ("file:///a/nope%2F../b%2f", b"/a/b"),
        ("file:///../../a", b"/a"),
        ("file:///C:foo", b"/C:foo"),
        ("file:///CC:/x", b"/CC:/x"),
        ("file:///a/C:/x", b"/a/C:/x"),
        ("file:///c|/x", b"/c|/x"),
        ("file:///d%7C/x", b"/d|/x"),
        ("file:///a%5Cb", b"/a\\b"),
        ("file:///%zz%4", b"/%zz%4"),
        ("file:///a%2520%FF%c3%bc", b"/a%20\xff\xc3\xbc"),
        ("file:///a b\"\u{fc}", b"/a b\"\xc3\xbc"),
    ];
    for (text, path) in cases {
        let parsed = WirePath::parse(text).map(|parsed| parsed.path);
        assert_eq!(
            parsed.as_deref(),
            Ok(Path::new(OsStr::from_bytes(path))),
            "{text:?}"
        );
    }
}

#[test]
fn refusals_say_what_the_reference_says() {
    const RELATIVE: &str = "invalid URI: relative URL without a base";
    const NO_NAME: &str = "invalid URI: invalid international domain name";
    let cases: &[(&str, bool, &str)] = &[
        ("", true, RELATIVE),
        ("root", true, RELATIVE),
        (" /root", true, RELATIVE),
        ("./x", true, RELATIVE),
        ("~/x", true, RELATIVE),
        ("\\root", true, RELATIVE),
        ("1abc:def", true, RELATIVE),
        ("://x", true, RELATIVE),
        ("\u{e9}:x", true, RELATIVE),
        ("HTTP://x?q", true, "unsupported path URI scheme `http`"),
        ("C:\\x", true, "unsupported path URI scheme `c`"),
        ("file://localhost:80/x", true, NO_NAME),
        ("file://user@localhost/x", true, NO_NAME),
        ("file://a b/x", true, NO_NAME),
        ("file://exa%mple/x", true, NO_NAME),
        ("file://%ff/x", true, NO_NAME),
        ("file://[::1/x", true, "invalid URI: invalid IPv6 address"),
        (
            "file:///a?",
            true,
            "query parameters are not allowed in path URIs",
        ),
        (
            "file://h/%00?a#b",
            true,
            "query parameters are not allowed in path URIs",
        ),
        (
            "file:///a#b?c",
            true,
            "fragments are not allowed in path URIs",
        ),
        ("/ro\0ot", true, "'file:///ro%00ot' is invalid on 'linux'"),
        (
            "file:///ro\0ot",
            true,
            "'file:///ro%00ot' is invalid on 'linux'",
        ),
        (
            "file:///C:/%00",
            true,
            "'file:///C:/%00' is invalid on 'linux'",
        ),
        (
            "file://Host/x",
            false,
            "'file://host/x' is invalid on 'linux'",
        ),
        (
            "file://127.0.0.1/x",
            false,
            "'file://127.0.0.1/x' is invalid on 'linux'",
        ),
        (
            "file://[0::1]/x",
            false,
            "'file://[::1]/x' is invalid on 'linux'",
        ),
        (
            "file:/\\root",
            false,
            "'file://root/' is invalid on 'linux'",
        ),
        (
            "file:///C:/x",
            false,
            "'file:///C:/x' is invalid on 'linux'",
        ),
        ("file://C:/x", false, "'file:///C:/x' is invalid on 'linux'"),
        ("file:C:/x", false, "'file:///C:/x' is invalid on 'linux'"),
        (
            "file:///C:/../x",
            false,
            "'file:///C:/../x' is invalid on 'linux'",
        ),
        (
            "file:///D%3A/\u{fc}",
            false,
            "'file:///D%3A/%C3%BC' is invalid on 'linux'",
        ),
    ];
    for (text, invalid_params, message) in cases {
        let error = WirePath::parse(text).expect_err(text);
        assert_eq!(error.to_string(), *message, "{text:?}");
        assert_eq!(error.is_invalid_params(), *invalid_params, "{text:?}");
    }
}

#[test]
fn a_foreign_cwd_names_the_member() {
    let error = WirePath::parse("file://host/x").unwrap_err();
    assert_eq!(
        error.cwd_message(),
        "cwd URI `file://host/x` is not valid on this exec-server host: \
         'file://host/x' is invalid on 'linux'"
    );
}

#[test]
fn every_byte_survives_the_way_out_and_back() {
    for byte in (1..=255).filter(|&byte| byte != b'/') {
        let path = PathBuf::from(OsString::from_vec(vec![b'/', b'n', byte, b'n']));
        let uri = to_uri(&path);
        assert!(uri.is_ascii());
        assert_eq!(WirePath::parse(&uri).map(|parsed| parsed.path), Ok(path));
    }
}

#[test]
fn encoding_matches_the_reference() {
    let plain = "/!$&'()*+,-.09:;=@AZ[]^_az|~";
    assert_eq!(to_uri(Path::new(plain)), format!("file://{plain}"));
    assert_eq!(
        to_uri(Path::new("/\u{1} \"#%<>?\\`{}\u{7f}\u{fc}")),
        "file:///%01%20%22%23%25%3C%3E%3F%5C%60%7B%7D%7F%C3%BC"
    );
}

#[test]
fn answers_come_in_the_style_of_the_question() {
    let path = Path::new("/a b");
    assert_eq!(PathStyle::Native.render(path), "/a b");
    assert_eq!(PathStyle::Uri.render(path), "file:///a%20b");
    let odd = Path::new(OsStr::from_bytes(b"/\xff"));
    assert_eq!(PathStyle::Native.render(odd), "file:///%FF");
}
