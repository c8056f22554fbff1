//! One HTTP request of a client and the head of its answer: the upgrade, and a proxy's `CONNECT`.

use std::io;
use std::time::{Duration, Instant};

use base64_simd::STANDARD;
use httparse::{EMPTY_HEADER, Response, Status};
use tungstenite::handshake::derive_accept_key;

use super::inbuffer::InBuffer;
use super::redact::without_queries;
use super::stream::{Sink, Source};
use crate::sys::random;

/// The longest head of an answer.
const MAX_HEAD: usize = 64 * 1024;
/// The most headers of one.
const MAX_HEADERS: usize = 128;
/// How much of a refusal's body is waited for, and shown.
const MAX_LINE: usize = 200;
/// For how long.
const LINE_PATIENCE: Duration = Duration::from_millis(500);

/// Why an exchange did not end as wanted.
#[derive(Debug)]
pub(super) enum Failure {
    /// Sending or receiving failed, or time was up.
    Io(io::Error),
    /// The answer makes no sense; why.
    Nonsense(String),
    /// The answer is a refusal.
    Refused { status: u16, line: String },
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The request for a websocket.
pub(super) struct Upgrade {
    head: String,
    accept: String,
}

impl Upgrade {
    /// A request to `authority` for `target`. The error says what cannot be sent.
    pub(super) fn new(authority: &str, target: &str, bearer: Option<&str>) -> Result<Self, String> {
        let mut nonce = [0; 16];
        random::fill(&mut nonce).map_err(|error| format!("no random bytes: {error}"))?;
        let key = STANDARD.encode_to_string(nonce);
        let mut upgrade = Self {
            accept: derive_accept_key(key.as_bytes()),
            head: format!(
                "GET {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\n\
                 Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            ),
        };
        if let Some(token) = bearer {
            upgrade.add("Authorization", &format!("Bearer {token}"))?;
        }
        Ok(upgrade)
    }

    pub(super) fn with_headers(mut self, headers: &[(String, String)]) -> Result<Self, String> {
        for (name, value) in headers {
            self.add(name, value)?;
        }
        Ok(self)
    }

    /// The value is not repeated in an error: it may be a secret.
    fn add(&mut self, name: &str, value: &str) -> Result<(), String> {
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(format!("{name:?} is no name of a header"));
        }
        if !is_header_value(value) {
            return Err(format!(
                "the value of the header {name} has control characters"
            ));
        }
        self.head.push_str(&format!("{name}: {value}\r\n"));
        Ok(())
    }

    /// Asks, and checks the answer. What comes behind it stays in `buffer`.
    pub(super) fn run(
        self,
        source: &mut dyn Source,
        sink: &Sink,
        buffer: &mut InBuffer,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let answer = ask(&(self.head + "\r\n"), source, sink, buffer, deadline)?;
        if answer.status != 101 {
            return Err(answer.refusal(source, buffer, deadline));
        }
        let has = |name: &str, wanted: &str| {
            answer
                .values(name)
                .flat_map(|value| value.split(','))
                .any(|value| value.trim().eq_ignore_ascii_case(wanted))
        };
        if !has("upgrade", "websocket") || !has("connection", "upgrade") {
            return Err(Failure::Nonsense("upgraded to no websocket".to_owned()));
        }
        let mut accepts = answer.values("sec-websocket-accept");
        if accepts.next() != Some(&*self.accept) || accepts.next().is_some() {
            let why = "Sec-WebSocket-Accept does not answer our key; something between answers for \
                       the server";
            return Err(Failure::Nonsense(why.to_owned()));
        }
        if answer.values("sec-websocket-extensions").next().is_some() {
            let why = "the server uses websocket extensions that nobody asked for";
            return Err(Failure::Nonsense(why.to_owned()));
        }
        Ok(())
    }
}

/// Whether a text can be the value of a header.
pub(crate) fn is_header_value(text: &str) -> bool {
    let is_control = |byte: u8| byte.is_ascii_control() && byte != b'\t';
    !text.bytes().any(is_control)
}

/// The head of an answer.
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
}

impl Answer {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |header| header.0.eq_ignore_ascii_case(name))
            .map(|header| header.1.trim())
    }

    /// What it is where something else was wanted, with the beginning of its text.
    pub(super) fn refusal(
        &self,
        source: &mut dyn Source,
        buffer: &mut InBuffer,
        deadline: Instant,
    ) -> Failure {
        let is_chunk = |coding: &str| coding.eq_ignore_ascii_case("chunked");
        // The first line is then the length of a chunk.
        let skipped = usize::from(self.values("transfer-encoding").any(is_chunk));
        let text = beginning(source, buffer, deadline, skipped + 1);
        Failure::Refused {
            status: self.status,
            line: shown(text.lines().skip(skipped)),
        }
    }
}

/// Sends a request and reads the head of its answer, which is taken out of `buffer`.
pub(super) fn ask(
    request: &str,
    source: &mut dyn Source,
    sink: &Sink,
    buffer: &mut InBuffer,
    deadline: Instant,
) -> Result<Answer, Failure> {
    sink.write_all(request.as_bytes(), deadline)?;
    loop {
        if let Some((answer, len)) = parse(buffer.bytes())? {
            buffer.consume(len);
            return Ok(answer);
        }
        if buffer.bytes().len() >= MAX_HEAD {
            return Err(Failure::Nonsense("the answer's head has no end".to_owned()));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::Io(io::ErrorKind::TimedOut.into()));
        }
        match buffer.fill(source, MAX_HEAD, left) {
            Ok(0) if buffer.bytes().is_empty() => {
                return Err(Failure::Nonsense("hung up without an answer".to_owned()));
            }
            Ok(0) => {
                return Err(Failure::Nonsense(
                    "hung up in the middle of its answer".to_owned(),
                ));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The answer and its length, once all of it is here.
fn parse(received: &[u8]) -> Result<Option<(Answer, usize)>, Failure> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut response = Response::new(&mut headers);
    let parsed = response
        .parse(received)
        .map_err(|error| Failure::Nonsense(format!("the answer is no HTTP: {error}")))?;
    let (Status::Complete(len), Some(status)) = (parsed, response.code) else {
        return Ok(None);
    };
    let text = |header: &httparse::Header<'_>| {
        let value = String::from_utf8_lossy(header.value).into_owned();
        (header.name.to_owned(), value)
    };
    let headers = response.headers.iter().map(text).collect();
    Ok(Some((Answer { status, headers }, len)))
}

/// The beginning of a refusal's body, if possible so many lines of it.
fn beginning(
    source: &mut dyn Source,
    buffer: &mut InBuffer,
    deadline: Instant,
    lines: usize,
) -> String {
    let deadline = deadline.min(Instant::now() + LINE_PATIENCE);
    let has = |text: &[u8]| text.iter().filter(|byte| **byte == b'\n').count() >= lines;
    while !has(buffer.bytes()) && buffer.bytes().len() < MAX_LINE {
        let left = deadline.saturating_duration_since(Instant::now());
        // Whatever ends the body, there is no more of it to show.
        if left.is_zero() || !matches!(buffer.fill(source, MAX_LINE, left), Ok(1..)) {
            break;
        }
    }
    let text = buffer.bytes();
    String::from_utf8_lossy(&text[..text.len().min(MAX_LINE)]).into_owned()
}

/// The first line that is not blank, without what would disturb a terminal, and without queries:
/// servers like to repeat what they were asked for, and ours may be a secret.
fn shown<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let mut lines = lines.into_iter().map(str::trim);
    let line = lines.find(|line| !line.is_empty()).unwrap_or_default();
    let line = without_queries(line);
    line.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_would_be_two_is_refused_and_not_repeated() {
        let upgrade = |name: &str, value: &str| {
            Upgrade::new("h", "/", None)
                .and_then(|upgrade| upgrade.with_headers(&[(name.to_owned(), value.to_owned())]))
        };
        assert!(upgrade("X-Request-ID", "req_1").is_ok());
        assert!(upgrade("a b", "x").is_err() && upgrade("", "x").is_err());
        let error = upgrade("X", "secret\r\nY: z").err().unwrap();
        assert!(!error.contains("secret"), "{error}");
        assert!(Upgrade::new("h", "/", Some("a\nb")).is_err());
    }

    #[test]
    fn an_answer_is_parsed_when_it_is_whole() {
        let text = b"HTTP/1.1 101 OK\r\nA: b\r\na:c\r\n\r\nrest";
        for end in 0..text.len() - 4 {
            assert!(matches!(parse(&text[..end]), Ok(None)), "{end}");
        }
        let (answer, len) = parse(text).unwrap().unwrap();
        assert_eq!((answer.status, &text[len..]), (101, &b"rest"[..]));
        assert_eq!(answer.values("A").collect::<Vec<_>>(), ["b", "c"]);
        assert!(parse(b"SSH-2.0-OpenSSH\r\n").is_err());
    }
}
