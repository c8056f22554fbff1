//! Where to listen.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What `--listen` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// Websocket connections on this address; port 0 lets the system choose one.
    WebSocket(SocketAddr),
    /// Websocket connections on a socket at this absolute path.
    Unix(PathBuf),
    /// One client on standard input and output.
    Stdio,
}

impl ListenAddress {
    /// Reads `ws://IP:PORT`, `unix:///PATH`, `stdio` or `stdio://`, and nothing that only
    /// resembles them; with `tls` also `wss://IP:PORT`, which is then the same as `ws`.
    ///
    /// # Errors
    /// The text is of another kind, or its address is not an IP and a port.
    pub fn parse(text: &str, tls: bool) -> Result<ListenAddress, ListenUrlError> {
        if matches!(text, "stdio" | "stdio://") {
            return Ok(ListenAddress::Stdio);
        }
        if let Some(path) = text.strip_prefix("unix://")
            && path.starts_with('/')
            && !path.ends_with('/')
        {
            return Ok(ListenAddress::Unix(PathBuf::from(path)));
        }
        let encrypted = text.strip_prefix("wss://").filter(|_| tls);
        match text.strip_prefix("ws://").or(encrypted).map(str::parse) {
            Some(Ok(address)) => Ok(ListenAddress::WebSocket(address)),
            Some(Err(_)) => Err(ListenUrlError::NoAddress(text.to_owned())),
            None => Err(ListenUrlError::Unsupported(text.to_owned())),
        }
    }

    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            // An IPv4 address in IPv6 clothes is as local as it is without.
            ListenAddress::WebSocket(address) => address.ip().to_canonical().is_loopback(),
            ListenAddress::Unix(_) | ListenAddress::Stdio => true,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::WebSocket(address) => write!(f, "ws://{address}"),
            ListenAddress::Unix(path) => write!(f, "unix://{}", path.display()),
            ListenAddress::Stdio => f.write_str("stdio"),
        }
    }
}

/// A `--listen` URL that cannot be served; the field is its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenUrlError {
    /// Not a kind of listener.
    Unsupported(String),
    /// `ws://` without a good IP and port behind it.
    NoAddress(String),
}

impl fmt::Display for ListenUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenUrlError::Unsupported(url) => {
                write!(
                    f,
                    "unsupported --listen URL `{url}`; expected `ws://IP:PORT` or `stdio`"
                )?;
                // Below the reference's words, what it does not have.
                match url.split(':').next() {
                    Some("wss") => f.write_str("\nwss:// needs --tls-cert and --tls-key"),
                    Some("unix") => f.write_str("\na Unix socket is unix:// and its absolute path"),
                    _ => Ok(()),
                }
            }
            ListenUrlError::NoAddress(url) => write!(
                f,
                "invalid websocket --listen URL `{url}`; expected `ws://IP:PORT`"
            ),
        }
    }
}

impl std::error::Error for ListenUrlError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_urls_come_back_as_they_were() {
        for (text, shown, local) in [
            ("ws://127.0.0.1:45119", "ws://127.0.0.1:45119", true),
            ("ws://127.9.0.1:0", "ws://127.9.0.1:0", true),
            ("ws://[::1]:1", "ws://[::1]:1", true),
            (
                "ws://[::ffff:127.0.0.1]:1",
                "ws://[::ffff:127.0.0.1]:1",
                true,
            ),
            ("ws://0.0.0.0:8765", "ws://0.0.0.0:8765", false),
            ("ws://[::]:8765", "ws://[::]:8765", false),
            ("stdio", "stdio", true),
            ("stdio://", "stdio", true),
            ("unix:///run/x", "unix:///run/x", true),
            ("unix:///a b%20", "unix:///a b%20", true),
        ] {
            let address = ListenAddress::parse(text, false).expect(text);
            assert_eq!(address.to_string(), shown);
            assert_eq!(address.is_local(), local, "{text}");
        }
    }

    #[test]
    fn other_kinds_are_unsupported() {
        for text in [
            "http://127.0.0.1:0",
            "127.0.0.1:0",
            "STDIO",
            "stdio:",
            "stdio://x",
            "WS://127.0.0.1:0",
            "",
            " ws://127.0.0.1:0",
            "ws",
        ] {
            assert_eq!(
                ListenAddress::parse(text, false)
                    .expect_err(text)
                    .to_string(),
                format!("unsupported --listen URL `{text}`; expected `ws://IP:PORT` or `stdio`")
            );
        }
    }

    #[test]
    fn what_needs_more_is_told_so() {
        for (text, tip) in [
            (
                "wss://127.0.0.1:0",
                "\nwss:// needs --tls-cert and --tls-key",
            ),
            (
                "unix://",
                "\na Unix socket is unix:// and its absolute path",
            ),
            (
                "unix://x",
                "\na Unix socket is unix:// and its absolute path",
            ),
            (
                "unix:///",
                "\na Unix socket is unix:// and its absolute path",
            ),
            (
                "unix:/x",
                "\na Unix socket is unix:// and its absolute path",
            ),
        ] {
            assert_eq!(
                ListenAddress::parse(text, false)
                    .expect_err(text)
                    .to_string(),
                format!(
                    "unsupported --listen URL `{text}`; expected `ws://IP:PORT` or `stdio`{tip}"
                )
            );
        }
        let encrypted = ListenAddress::parse("wss://127.0.0.1:1", true);
        assert_eq!(encrypted, ListenAddress::parse("ws://127.0.0.1:1", true));
        assert!(ListenAddress::parse("wss://localhost:1", true).is_err());
    }

    #[test]
    fn bad_addresses_are_invalid() {
        for text in [
            "ws://",
            "ws://localhost:0",
            "ws://127.0.0.1",
            "ws://127.0.0.1:99999",
            "ws://127.0.0.1:+5",
            "ws://127.0.0.1:0/",
            "ws://127.0.0.1:0/path",
            "ws://127.0.0.1:0 ",
            "ws://::1:0",
        ] {
            assert_eq!(
                ListenAddress::parse(text, false)
                    .expect_err(text)
                    .to_string(),
                format!("invalid websocket --listen URL `{text}`; expected `ws://IP:PORT`")
            );
        }
    }
}
