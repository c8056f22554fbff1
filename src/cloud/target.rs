//! Ids and URLs, looked at before a token goes anywhere near them.

use std::fmt;

use crate::rpc::dial::Target;
use crate::rpc::url::{Url, UrlError};

/// The longest id, in bytes.
const MAX_ID: usize = 256;

/// A text that is no usable id or URL. `Display` says why, without the text: it may hold a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unfit(&'static str);

const NO_HOST: Unfit = Unfit("has no host");
const OTHER_SCHEME: Unfit = Unfit("has another scheme");
const IN_CLEAR: Unfit = Unfit("is not encrypted");

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

/// A websocket that a control plane has given out.
pub(super) fn rendezvous(text: &str) -> Result<Target, Unfit> {
    private(text, Url::parse_websocket).map(Target::WebSocket)
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

    #[test]
    fn a_rendezvous_is_encrypted_unless_it_is_here() {
        for good in [
            "wss://r.example/x?sig=1",
            "ws://127.0.0.1:5/x?role=executor",
            "ws://localhost:5",
        ] {
            assert!(rendezvous(good).is_ok(), "{good}");
        }
        for bad in [
            "ws://r.example/x",
            "ws://127.0.0.1@r.example/x",
            "ws://127.0.0.1\\@r.example/x",
            "https://r.example",
            "wss://",
            "wss://u:p@r.example/",
            "",
        ] {
            assert!(rendezvous(bad).is_err(), "{bad}");
        }
    }
}
