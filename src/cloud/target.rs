//! Ids and URLs, looked at before a token goes anywhere near them.

use std::fmt;

use crate::env::local::http::{Url, is_loopback_host};

/// The longest id, in bytes.
const MAX_ID: usize = 256;

/// A text that is no usable id or URL. `Display` says why, without the text: it may hold a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unfit(&'static str);

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
    secure(base, "https://", "http://")
        .map_err(|_| Unfit("must begin with https://, or http:// for this machine itself"))?;
    Ok(base.to_owned())
}

/// The URL of a websocket that a control plane has given out.
pub(super) fn rendezvous_url(text: &str) -> Result<String, Unfit> {
    secure(text, "wss://", "ws://")?;
    Ok(text.to_owned())
}

/// Who a URL leads to, for a log: its query may be a signature.
pub(super) fn shown(url: &str) -> &str {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    &url[..end]
}

/// Whether nobody on the way can read along.
fn secure(url: &str, encrypted: &str, plain: &str) -> Result<(), Unfit> {
    if url.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err(Unfit("has blanks or backslashes"));
    }
    let parsed = |rest: &str| {
        // The same rules for both kinds of URLs.
        let url = Url::parse(&format!("http://{rest}")).map_err(|_| Unfit("is malformed"))?;
        match url.credentials {
            None => Ok(url),
            Some(_) => Err(Unfit("must have no user")),
        }
    };
    if let Some(rest) = url.strip_prefix(encrypted) {
        return parsed(rest).map(drop);
    }
    let rest = url.strip_prefix(plain).ok_or(Unfit("has another scheme"))?;
    if is_loopback_host(parsed(rest)?.host()) {
        Ok(())
    } else {
        Err(Unfit("is not encrypted"))
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
    }

    #[test]
    fn a_rendezvous_is_encrypted_unless_it_is_here() {
        for good in [
            "wss://r.example/x?sig=1",
            "ws://127.0.0.1:5/x?role=executor",
            "ws://localhost:5",
        ] {
            assert!(rendezvous_url(good).is_ok(), "{good}");
        }
        for bad in [
            "ws://r.example/x",
            "ws://127.0.0.1@r.example/x",
            "ws://127.0.0.1\\@r.example/x",
            "WSS://r.example",
            "https://r.example",
            "wss://",
            "wss://u:p@r.example/",
            "",
        ] {
            assert!(rendezvous_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_shown_has_no_query() {
        assert_eq!(shown("wss://r/x?sig=secret"), "wss://r/x");
        assert_eq!(shown("wss://r/x#frag?"), "wss://r/x");
        assert_eq!(shown("wss://r"), "wss://r");
    }
}
