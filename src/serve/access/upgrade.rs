//! The HTTP side of the websocket port: one request, answered or upgraded.
//!
//! Any page in a browser on this machine can reach a loopback port, so the rules that keep pages
//! out come first: no `Origin` that was not allowed, and no `Host` that a foreign DNS name could
//! have brought. Nothing here reads or writes; the caller feeds bytes and sends what it gets.
//!
//! The check of `Host` defeats DNS rebinding. A page may bring its own DNS name to point at
//! 127.0.0.1, and then it is of the same origin as this server and sends no `Origin`; but the name
//! is in `Host`. An IP address is nobody's name.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use httparse::{Header, Request, Status};
use tungstenite::handshake::derive_accept_key;

use super::auth::Authenticator;
use crate::net::url::split_port;
use crate::serve::caller::Stranger;
use crate::serve::metrics;
use crate::serve::refusal::Cause;

/// Longest head of a request, in bytes.
pub const MAX_HEAD: usize = 16 * 1024;
/// Most headers of a request.
pub const MAX_HEADERS: usize = 100;

/// Whom to let in.
#[derive(Clone, Debug, Default)]
pub struct UpgradePolicy {
    /// The listener is reachable from this machine only, so `Host` must be an IP or localhost.
    pub loopback: bool,
    /// Values of `Origin` to accept, compared exactly.
    pub allow_origins: Vec<String>,
    /// Names to accept in `Host` on a loopback listener, with or without a port.
    pub allow_hosts: Vec<String>,
    /// There is a websocket.
    pub websocket: bool,
    /// Metrics are told.
    pub metrics: bool,
    /// Who asks for a token, if anyone does.
    pub(crate) authenticator: Option<Arc<Authenticator>>,
}

/// What to do after the bytes received so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// The head is incomplete.
    NeedMore,
    /// Send this and close.
    Respond(Response),
    /// Tell metrics.
    Metrics {
        /// Not to a `HEAD`.
        with_text: bool,
    },
    /// Send the response; after `head_len` bytes of what was received the websocket begins.
    Upgrade {
        /// The `101` to send.
        response: Vec<u8>,
        /// Where the head ends.
        head_len: usize,
    },
}

/// What a good request asks for.
enum Wanted<'h> {
    /// A websocket, with this key.
    Websocket(&'h [u8]),
    Metrics,
}

/// What to send to who gets no websocket.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    /// The whole of it.
    pub bytes: Vec<u8>,
    /// None for who has got what was asked for.
    pub refused: Option<Refused>,
}

/// What the operator is told of a refusal.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub cause: Cause,
    /// The status of the answer, such as 403.
    pub status: &'static str,
    /// The text of the answer, which has nothing of the client's.
    pub why: Cow<'static, str>,
    /// What of the request is why, by its name in the log: anybody's text.
    pub about: Option<(&'static str, String)>,
}

/// A refusal, or the answer to a question about health.
struct Answer {
    status: &'static str,
    content_type: &'static str,
    /// Further header lines, each with its line end.
    headers: &'static str,
    text: Cow<'static, str>,
    /// Why it is a refusal; none if it is not.
    cause: Option<Cause>,
    about: Option<(&'static str, String)>,
}

impl Answer {
    const fn new(status: &'static str, text: &'static str) -> Answer {
        Answer::with(status, "", text)
    }

    const fn with(status: &'static str, headers: &'static str, text: &'static str) -> Answer {
        Answer {
            status,
            content_type: "text/plain; charset=utf-8",
            headers,
            text: Cow::Borrowed(text),
            cause: Some(Cause::Request),
            about: None,
        }
    }

    const fn because(mut self, cause: Cause) -> Answer {
        self.cause = Some(cause);
        self
    }

    /// It is no refusal.
    const fn granted(mut self) -> Answer {
        self.cause = None;
        self
    }

    /// With what of the request is why.
    fn about(mut self, name: &'static str, value: &[u8]) -> Answer {
        self.about = Some((name, String::from_utf8_lossy(value).into_owned()));
        self
    }

    fn response(self, with_text: bool) -> Response {
        let Answer {
            status,
            content_type,
            headers,
            text,
            cause,
            about,
        } = self;
        let length = text.len();
        let body = if with_text { &*text } else { "" };
        let bytes = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n\
             Content-Length: {length}\r\n{headers}Connection: close\r\n\r\n{body}"
        )
        .into_bytes();
        Response {
            bytes,
            refused: cause.map(|cause| Refused {
                cause,
                status: status.split(' ').next().unwrap_or_default(),
                why: text,
                about,
            }),
        }
    }
}

const BAD: &str = "400 Bad Request";
const FORBIDDEN: &str = "403 Forbidden";
const NOT_ALLOWED: &str = "405 Method Not Allowed";
const UNAVAILABLE: &str = "503 Service Unavailable";

impl UpgradePolicy {
    /// Looks at everything received since the connection began. `draining` means that the server
    /// is about to end: no new clients, and not ready.
    pub fn examine(&self, received: &[u8], draining: bool) -> Progress {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = Request::new(&mut headers);
        let parsed = request.parse(received);
        let head_len = match parsed {
            Ok(Status::Complete(length)) => length,
            _ => received.len(),
        };
        let outcome = if head_len > MAX_HEAD {
            Err(TOO_LARGE)
        } else {
            match parsed {
                Ok(Status::Complete(_)) => self.decide(&request, draining),
                Ok(Status::Partial) => return Progress::NeedMore,
                Err(error) => Err(malformed(error, received)),
            }
        };
        let with_text = request.method != Some("HEAD");
        match outcome {
            Ok(Wanted::Metrics) => Progress::Metrics { with_text },
            Ok(Wanted::Websocket(key)) => Progress::Upgrade {
                response: format!(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                     Upgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\r\n",
                    derive_accept_key(key)
                )
                .into_bytes(),
                head_len,
            },
            Err(answer) => Progress::Respond(answer.response(with_text)),
        }
    }

    /// What a request gets that is not answered at once.
    fn decide<'h>(&self, request: &Request<'_, 'h>, draining: bool) -> Result<Wanted<'h>, Answer> {
        self.check_origin(request.headers)?;
        self.check_host(request.headers)?;
        if request.version != Some(1) {
            return Err(WRONG_HTTP);
        }
        let target = request.path.unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        let method = request.method.unwrap_or_default();
        match (path, method) {
            ("/readyz", "GET" | "HEAD") if draining => Err(DRAINING),
            ("/readyz" | "/livez", "GET" | "HEAD") => Err(HEALTHY),
            ("/metrics", "GET" | "HEAD") if self.metrics => {
                self.check_token(request.headers)?;
                Ok(Wanted::Metrics)
            }
            ("/readyz" | "/livez", _) => Err(Answer::with(
                NOT_ALLOWED,
                "Allow: GET, HEAD\r\n",
                "Request method must be `GET` or `HEAD`\n",
            )),
            ("/", "GET") if draining => Err(DRAINING),
            ("/", "GET") if self.websocket => {
                // In this order, as the reference: what is no upgrade is told so without a token.
                let key = websocket_key(request.headers)?;
                self.check_token(request.headers)?;
                Ok(Wanted::Websocket(key))
            }
            ("/", _) if self.websocket => Err(Answer::with(
                NOT_ALLOWED,
                "Allow: GET\r\n",
                "Request method must be `GET`\nThe websocket is at / on this port.\n",
            )),
            _ if path.starts_with('/') && !self.websocket => Err(Answer::new(
                "404 Not Found",
                "Metrics are at /metrics on this port.\n",
            )),
            _ if path.starts_with('/') => Err(Answer::new(
                "404 Not Found",
                "The websocket is at / on this port; /readyz and /livez tell its health.\n",
            )
            .about("path", path.as_bytes())),
            _ => Err(Answer::new(
                BAD,
                "The request must name a path on this server, such as /.\n",
            )),
        }
    }

    fn check_origin(&self, headers: &[Header<'_>]) -> Result<(), Answer> {
        let mut origins = values(headers, "origin");
        let Some(origin) = origins.next() else {
            return Ok(());
        };
        let mut allowed = self.allow_origins.iter().map(String::as_bytes);
        if origins.next().is_none() && allowed.any(|allowed| allowed == origin) {
            return Ok(());
        }
        let answer = Answer::new(
            FORBIDDEN,
            "Web pages may not use this server, so no request may have an Origin header. A \
             program's library may send one by itself: of Python's websocket-client \
             suppress_origin=True stops that. To allow a page, start the server with \
             --allow-origin ORIGIN.\n",
        );
        Err(answer.because(Cause::Origin).about("origin", origin))
    }

    fn check_token(&self, headers: &[Header<'_>]) -> Result<(), Answer> {
        let Some(authenticator) = &self.authenticator else {
            return Ok(());
        };
        // The first one counts, as in the reference.
        let token = values(headers, "authorization").next();
        authenticator.check(token).map_err(|text| {
            let headers = "WWW-Authenticate: Bearer\r\n";
            Answer::with("401 Unauthorized", headers, text).because(Cause::Token)
        })
    }

    fn check_host(&self, headers: &[Header<'_>]) -> Result<(), Answer> {
        let mut hosts = values(headers, "host");
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(Answer::new(BAD, "Send exactly one `Host` header.\n"));
        };
        if !self.loopback || is_own_host(host, &self.allow_hosts) {
            Ok(())
        } else {
            let answer = Answer::new(
                FORBIDDEN,
                "`Host` must be an IP address or localhost; to allow another name, start the \
                 server with --allow-host NAME.\n",
            );
            Err(answer.because(Cause::Host).about("host", host))
        }
    }
}

/// The page of metrics.
pub(crate) fn metrics(page: String, with_text: bool) -> Response {
    Answer {
        content_type: metrics::CONTENT_TYPE,
        text: Cow::Owned(page),
        ..Answer::new("200 OK", "").granted()
    }
    .response(with_text)
}

/// For one connection too many.
pub fn too_many_connections() -> Response {
    Answer::with(
        UNAVAILABLE,
        "Retry-After: 5\r\n",
        "Too many connections; try again later, or start the server with a larger \
         --max-connections.\n",
    )
    .because(Cause::Connections)
    .response(true)
}

/// For a good request to upgrade from somebody who may not run commands as us.
pub(crate) fn not_for(stranger: &Stranger) -> Response {
    Answer {
        text: Cow::Owned(format!("{stranger}\n")),
        ..Answer::new(FORBIDDEN, "").because(Cause::User)
    }
    .response(true)
}

/// For a connection that sends no whole request in time.
pub fn timed_out() -> Response {
    Answer::new(
        "408 Request Timeout",
        "The request took too long; send it at once after connecting.\n",
    )
    .response(true)
}

/// For a client that speaks in clear text where TLS is spoken.
pub fn wants_tls() -> Response {
    Answer::new(
        BAD,
        "This port speaks TLS: connect with wss://, not ws://.\n",
    )
    .response(true)
}

const TOO_LARGE: Answer = Answer::new(
    "431 Request Header Fields Too Large",
    "At most 100 headers and 16 KiB in all are accepted.\n",
);
const WRONG_HTTP: Answer = Answer::new("400 Bad Request", "Only HTTP/1.1 is spoken here.\n");
const DRAINING: Answer = Answer::with(
    UNAVAILABLE,
    "Retry-After: 5\r\n",
    "The server is shutting down.\n",
)
.because(Cause::Ending);
const HEALTHY: Answer = Answer::new("200 OK", "ok\n").granted();

fn malformed(error: httparse::Error, received: &[u8]) -> Answer {
    match error {
        httparse::Error::TooManyHeaders => TOO_LARGE,
        httparse::Error::Version => WRONG_HTTP,
        // The first bytes of every TLS connection.
        _ if received.starts_with(b"\x16\x03") => Answer::new(
            BAD,
            "This port speaks no TLS: connect with ws://, not wss://.\n",
        ),
        _ => Answer::new(BAD, "This is no HTTP/1.1 request.\n"),
    }
}

/// The key of a good upgrade request.
fn websocket_key<'h>(headers: &[Header<'h>]) -> Result<&'h [u8], Answer> {
    let bad = |text| Err(Answer::new(BAD, text));
    if !lists(headers, "connection", "upgrade") {
        return bad("Connection header did not include 'upgrade'\n\
             Connect with a websocket client, or ask /readyz for health.\n");
    }
    if !lists(headers, "upgrade", "websocket") {
        return bad("`Upgrade` header did not include 'websocket'\n");
    }
    let mut versions = values(headers, "sec-websocket-version");
    match (versions.next(), versions.next()) {
        (Some(b"13"), None) => {}
        (_, Some(_)) => return bad("Send exactly one `Sec-WebSocket-Version` header.\n"),
        _ => {
            return Err(Answer::with(
                "426 Upgrade Required",
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
                "`Sec-WebSocket-Version` header did not include '13'\n",
            ));
        }
    }
    // What came behind the head would be taken for websocket frames.
    if values(headers, "transfer-encoding").next().is_some()
        || values(headers, "content-length").any(|length| length != b"0")
    {
        return bad("A request to upgrade has no body.\n");
    }
    let mut keys = values(headers, "sec-websocket-key");
    match (keys.next(), keys.next()) {
        (None, _) => bad("`Sec-WebSocket-Key` header missing\n"),
        (Some(key), None) if is_nonce(key) => Ok(key),
        _ => bad("`Sec-WebSocket-Key` must be 16 bytes in base64, sent once.\n"),
    }
}

fn is_nonce(key: &[u8]) -> bool {
    base64_simd::STANDARD
        .decode_to_vec(key)
        .is_ok_and(|nonce| nonce.len() == 16)
}

/// The values of all headers of that name (in lower case).
fn values<'h>(headers: &[Header<'h>], name: &str) -> impl Iterator<Item = &'h [u8]> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value)
}

/// Whether a header that is a comma-separated list has the token.
fn lists(headers: &[Header<'_>], name: &str, token: &str) -> bool {
    values(headers, name)
        .flat_map(|value| value.split(|byte| *byte == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Whether a `Host` value is an IP address, `localhost` or one of `allowed` (which may be given
/// with a port, and then wants that port). Any port will do: clients may come through a tunnel.
pub fn is_own_host(value: &[u8], allowed: &[String]) -> bool {
    let Ok(value) = str::from_utf8(value) else {
        return false;
    };
    let Ok((name, _)) = split_port(value) else {
        return false;
    };
    if allowed
        .iter()
        .any(|allowed| allowed.eq_ignore_ascii_case(value) || allowed.eq_ignore_ascii_case(name))
    {
        return true;
    }
    if let Some(literal) = name.strip_prefix('[') {
        return literal
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests;
