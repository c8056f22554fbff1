//! An HTTP/1.1 server on loopback, as small as its two uses allow: the scripted model, and what `http/request` asks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// A request, whole.
pub struct Request {
    pub method: String,
    pub target: String,
    /// Lines of the head, as they came.
    pub headers: Vec<String>,
    pub body: Vec<u8>,
    connection: TcpStream,
}

impl Request {
    /// Waits until who asks hangs up, `limit` at most.
    pub fn await_hang_up(mut self, limit: Duration) {
        // The end, and time that is up, are the same to who leaves it without an answer.
        let _ = self.connection.set_read_timeout(Some(limit));
        let _ = self.connection.read(&mut [0]);
    }
}

/// What to answer; the connection is closed behind it.
pub struct Reply {
    /// Status code and reason.
    pub status: &'static str,
    /// Whole header lines.
    pub headers: Vec<String>,
    /// Parts of the body, each sent as it comes.
    pub body: Box<dyn Iterator<Item = Vec<u8>>>,
    /// The length to announce; without one the end of the connection is the end of the body.
    pub length: Option<usize>,
}

impl Reply {
    /// A body that is there at once.
    pub fn whole(status: &'static str, headers: Vec<String>, body: Vec<u8>) -> Self {
        Self {
            status,
            headers,
            length: Some(body.len()),
            body: Box::new(std::iter::once(body)),
        }
    }
}

/// Starts a server for the rest of the program; `None` from the handler hangs up.
pub fn serve(handler: impl Fn(Request) -> Option<Reply> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    let handler = Arc::new(handler);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handler = Arc::clone(&handler);
            // A peer that hangs up has what it wanted.
            thread::spawn(move || answer(stream, &*handler));
        }
    });
    address
}

fn answer(stream: TcpStream, handler: &dyn Fn(Request) -> Option<Reply>) -> Option<()> {
    let request = read(stream.try_clone().ok()?)?;
    let reply = handler(request)?;
    let mut head = format!("HTTP/1.1 {}\r\nconnection: close\r\n", reply.status);
    for header in reply.headers {
        head += &header;
        head += "\r\n";
    }
    if let Some(length) = reply.length {
        head += &format!("content-length: {length}\r\n");
    }
    head += "\r\n";
    let mut stream = stream;
    stream.write_all(head.as_bytes()).ok()?;
    for part in reply.body {
        stream.write_all(&part).ok()?;
    }
    Some(())
}

fn read(connection: TcpStream) -> Option<Request> {
    let mut stream = BufReader::new(&connection);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_string()),
        }
    }
    let first = lines.first()?.clone();
    let (method, rest) = first.split_once(' ')?;
    let (target, _) = rest.split_once(' ')?;
    let headers = lines.split_off(1);
    let length = headers.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some(Request {
        method: method.to_string(),
        target: target.to_string(),
        headers,
        body,
        connection,
    })
}
