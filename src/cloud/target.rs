//! Ids and URLs, looked at before a token goes anywhere near them.

use std::fmt;
use std::net::IpAddr;

use crate::net::Target;
use crate::net::http::address::is_off_limits;
use crate::net::url::{Url, UrlError};

/// The longest id, in bytes.
const MAX_ID: usize = 256;

/// A text that is no usable id or URL. `Display` says why, without the text: it may hold a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unfit(&'static str);

const NO_HOST: Unfit = Unfit("has no host");
const OTHER_SCHEME: Unfit = Unfit("has another scheme");
const IN_CLEAR: Unfit = Unfit("is not encrypted");
const LEADS_HERE: Unfit = Unfit("leads to this machine or its link");

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// An id that can be a part of a path as it is; blanks around it are cut off.
pub(super) fn id(text: &str) -> Result<String, Unfit> {
    let id = text.trim();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(is_plain) {
        return Err(Unfit("must be 1 to 256 letters, digits, '-' or '_'"));
    }
    Ok(id.to_owned())
}

/// A URL to which a path can be appended; slashes at its end are cut off.
pub(super) fn base_url(text: &str) -> Result<String, Unfit> {
    let base = text.trim().trim_end_matches('/');
    if base.contains(['?', '#', '@']) {
        return Err(Unfit("must have no user, query or fragment"));
    }
    private(base, Url::parse).map_err(|unfit| match unfit {
        NO_HOST | OTHER_SCHEME | IN_CLEAR => {
            Unfit("must begin with https://, or http:// for this machine itself")
        }
        other => other,
    })?;
    Ok(base.to_owned())
}

/// A websocket that the control plane at `base` has given out. It is encrypted if the control plane
/// is, and on this machine only if the control plane is: somebody else could be at a port here.
pub(super) fn rendezvous(text: &str, base: &str) -> Result<Target, Unfit> {
    let url = private(text, Url::parse_websocket)?;
    // What cannot be read is a control plane elsewhere, of which the most is expected.
    let plane = Url::parse(base).ok();
    if !url.is_encrypted() && plane.as_ref().is_none_or(Url::is_encrypted) {
        return Err(IN_CLEAR);
    }
    if is_here(&url) && !plane.as_ref().is_some_and(Url::is_loopback) {
        return Err(LEADS_HERE);
    }
    Ok(Target::WebSocket(url))
}

/// Whether a host is this machine, or a service about it; of a name only DNS knows that.
fn is_here(url: &Url) -> bool {
    let literal: Option<IpAddr> = url.host().parse().ok();
    url.is_loopback()
        || literal.is_some_and(|address| {
            address.to_canonical().is_unspecified() || is_off_limits(address)
        })
}

/// A URL on whose way nobody can read along. What forgiving readers would read differently is
/// not forgiven.
fn private(text: &str, parse: impl FnOnce(&str) -> Result<Url, UrlError>) -> Result<Url, Unfit> {
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err(Unfit("has blanks or backslashes"));
    }
    let after_scheme = text.split_once("://").map(|(_, rest)| rest);
    if after_scheme.is_none_or(|rest| rest.starts_with('/')) {
        return Err(NO_HOST);
    }
    let url = parse(text).map_err(|error| match error {
        UrlError::Scheme(_) => OTHER_SCHEME,
        UrlError::Invalid(_) => Unfit("is malformed"),
    })?;
    if url.credentials.is_some() {
        return Err(Unfit("must have no user"));
    }
    if url.is_encrypted() || url.is_loopback() {
        Ok(url)
    } else {
        Err(IN_CLEAR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_part_of_a_path_and_no_more() {
        for good in ["a", "env_1-B", " x\n", &"y".repeat(256)] {
            assert_eq!(id(good).as_deref(), Ok(good.trim()));
        }
        for bad in [
            "",
            " ",
            "a b",
            "../c",
            "a/b",
            "a?x",
            "a%2f",
            "\u{e9}",
            &"y".repeat(257),
        ] {
            assert!(id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tokens_go_only_where_nobody_reads_along() {
        for (good, base) in [
            ("https://plane.example", "https://plane.example"),
            (" https://plane.example/x// ", "https://plane.example/x"),
            ("http://127.0.0.1:1", "http://127.0.0.1:1"),
            ("http://localhost/a", "http://localhost/a"),
            ("http://[::1]:5", "http://[::1]:5"),
        ] {
            assert_eq!(base_url(good).as_deref(), Ok(base));
        }
        for bad in [
            "",
            "plane.example",
            "http://plane.example",
            "http://127.0.0.1.plane.example",
            "http://localhost@plane.example",
            "http:///x",
            "https://",
            "https://plane.example?x",
            "https://plane.example#x",
            "https://u:p@plane.example",
            "https://a b",
            "ftp://plane.example",
        ] {
            assert!(base_url(bad).is_err(), "{bad}");
        }
        for (bad, why) in [
            ("https://plane.example:99999", "is malformed"),
            ("https://a b", "has blanks or backslashes"),
            (
                "http://plane.example",
                "must begin with https://, or http:// for this machine itself",
            ),
        ] {
            assert_eq!(base_url(bad), Err(Unfit(why)), "{bad}");
        }
    }

    /// A control plane in clear text, which can only be here, one in TLS here, and one elsewhere.
    const PLANES: [&str; 3] = [
        "http://127.0.0.1:1",
        "https://localhost:1/x",
        "https://plane.example",
    ];

    #[test]
    fn a_rendezvous_is_as_private_as_its_control_plane() {
        for (text, fits) in [
            ("wss://r.example/x?sig=1", [true, true, true]),
            ("wss://10.0.0.1/x", [true, true, true]),
            ("ws://127.0.0.1:5/x?role=executor", [true, false, false]),
            ("ws://localhost:5", [true, false, false]),
            ("wss://127.0.0.1:5/x", [true, true, false]),
            ("wss://[::ffff:127.0.0.1]:5/x", [true, true, false]),
            ("wss://x.localhost", [true, true, false]),
            ("wss://0.0.0.0:5", [true, true, false]),
            ("wss://[::]:5", [true, true, false]),
            ("wss://169.254.169.254", [true, true, false]),
            ("wss://[fe80::1]", [true, true, false]),
        ] {
            let found = PLANES.map(|base| rendezvous(text, base).is_ok());
            assert_eq!(found, fits, "{text}");
        }
        let fault = |text| rendezvous(text, PLANES[2]).unwrap_err();
        assert_eq!(fault("ws://127.0.0.1:5"), IN_CLEAR);
        assert_eq!(fault("wss://127.0.0.1:5"), LEADS_HERE);
        assert!(rendezvous("ws://127.0.0.1:5", "no URL").is_err());
    }

    #[test]
    fn other_texts_are_no_rendezvous() {
        for bad in [
            "ws://r.example/x",
            "ws://127.0.0.1@r.example/x",
            "ws://127.0.0.1\\@r.example/x",
            "https://r.example",
            "wss://",
            "wss://u:p@r.example/",
            "",
        ] {
            for base in PLANES {
                assert!(rendezvous(bad, base).is_err(), "{bad}");
            }
        }
    }
}
