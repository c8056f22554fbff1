//! The HTTP side of the websocket port, byte by byte.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::PATIENCE;

/// RFC 6455's own example pair, so that no test needs SHA-1.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// An answer, whole.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// What came behind the head.
    rest: Vec<u8>,
}

impl Reply {
    /// The body of an answer that is no upgrade.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.rest).into_owned()
    }

    /// The first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(its, _)| its == name)
            .map(|(_, value)| value.as_str())
    }
}

/// The head of a good upgrade, with `extra` lines (each ended by CRLF) and `host` as given.
pub fn upgrade_head(target: &str, host: Option<&str>, extra: &str) -> String {
    let host = host
        .map(|host| format!("Host: {host}\r\n"))
        .unwrap_or_default();
    format!(
        "GET {target} HTTP/1.1\r\n{host}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {KEY}\r\n{extra}\r\n"
    )
}

/// Upgrades a connection with `extra` header lines; gives it back with what came right behind the answer.
pub fn upgrade(mut stream: TcpStream, extra: &str) -> (TcpStream, Vec<u8>) {
    // A Unix socket has no address to show.
    let host = stream
        .peer_addr()
        .map_or("localhost".to_owned(), |address| address.to_string());
    let reply = exchange(
        &mut stream,
        upgrade_head("/", Some(&host), extra).as_bytes(),
    );
    assert_eq!(reply.status, 101, "{reply:?}");
    assert_eq!(
        reply.header("sec-websocket-accept"),
        Some(ACCEPT),
        "{reply:?}"
    );
    assert_eq!(
        reply.header("sec-websocket-extensions"),
        None,
        "none was offered"
    );
    assert_eq!(
        reply.header("sec-websocket-protocol"),
        None,
        "none was offered"
    );
    stream.set_read_timeout(None).unwrap();
    (stream, reply.rest)
}

/// Sends bytes and reads one answer.
pub fn exchange(stream: &mut TcpStream, request: &[u8]) -> Reply {
    // The server may answer and hang up before it has read everything; its answer is still there to read.
    let _ = stream.write_all(request);
    answer(stream, PATIENCE).unwrap_or_else(|error| panic!("{error}"))
}

/// What the server says to bytes it should refuse: an answer, or nothing but a closed connection.
pub fn refused_or_silent(stream: &mut TcpStream, request: &[u8]) -> Result<Reply, String> {
    let _ = stream.write_all(request);
    answer(stream, PATIENCE)
}

fn answer(stream: &mut TcpStream, limit: Duration) -> Result<Reply, String> {
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let deadline = Instant::now() + limit;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(reply) = parse(&bytes, false)? {
            return Ok(reply);
        }
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if Instant::now() > deadline {
                    return Err(format!(
                        "no answer; so far {:?}",
                        String::from_utf8_lossy(&bytes)
                    ));
                }
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => return Err(format!("reading the answer: {error}")),
        }
    }
    parse(&bytes, true)?
        .ok_or_else(|| format!("hung up after {:?}", String::from_utf8_lossy(&bytes)))
}

/// A reply once it is whole: by its content-length, or at the end of the connection.
fn parse(bytes: &[u8], ended: bool) -> Result<Option<Reply>, String> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "a head that is not text")?;
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or_else(|| format!("status line {first:?}"))?;
    let headers: Vec<(String, String)> = lines
        .map(|line| {
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| format!("header line {line:?}"))?;
            Ok((name.to_ascii_lowercase(), value.trim().to_string()))
        })
        .collect::<Result<_, String>>()?;
    let rest = &bytes[end + 4..];
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse::<usize>().ok());
    let whole = status == 101 || ended || length.is_some_and(|length| rest.len() >= length);
    Ok(whole.then(|| Reply {
        status,
        headers,
        rest: rest.to_vec(),
    }))
}
