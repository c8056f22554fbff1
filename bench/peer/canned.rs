//! The least possible websocket server: it finds where frames end, unmasks nothing, parses nothing,
//! and sends bytes that were made before. What our client sees of it is the most that any server
//! could show through the same client.

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};

use base64_simd::STANDARD;

use crate::frame;
use crate::inbox::Inbox;

/// The one request that the canned answer fits, and its id.
pub const REQUEST: &[u8] =
    br#"{"id":1000001,"method":"process/terminate","params":{"processId":"none"}}"#;
pub const ID: u64 = 1_000_001;
/// What it is answered.
pub const ANSWER: &[u8] = br#"{"id":1000001,"result":{"running":false}}"#;

/// The largest chunk that a server of ours sends.
const CHUNK: usize = 64 * 1024;

/// Answers every frame with [`ANSWER`]; those that were read together, in one write.
pub fn answers() -> io::Result<()> {
    let (mut stream, mut inbox) = accept()?;
    let mut one = Vec::new();
    frame::plain(&mut one, frame::TEXT, ANSWER);
    let mut out = Vec::new();
    loop {
        out.clear();
        while let Some(head) = frame::first(inbox.unread()) {
            inbox.take(head.header, head.payload);
            out.extend_from_slice(&one);
        }
        stream.write_all(&out)?;
        inbox.fill(&mut stream)?;
    }
}

/// Takes the first frame as `process/start` and sends so many bytes of output.
pub fn output(bytes: u64) -> io::Result<()> {
    let (mut stream, mut inbox) = accept()?;
    while frame::first(inbox.unread()).is_none() {
        inbox.fill(&mut stream)?;
    }
    let mut left = bytes;
    let mut chunk = notification(CHUNK);
    let mut size = CHUNK as u64;
    while left > 0 {
        if left < size {
            size = left;
            chunk = notification(left as usize);
        }
        stream.write_all(&chunk)?;
        left -= size;
    }
    let mut end = Vec::new();
    for text in [
        r#"{"method":"process/exited","params":{"processId":"p","seq":2,"exitCode":0}}"#,
        r#"{"method":"process/closed","params":{"processId":"p","seq":3}}"#,
    ] {
        frame::plain(&mut end, frame::TEXT, text.as_bytes());
    }
    stream.write_all(&end)?;
    // The client hangs up when it has read its fill; hanging up first could cost it the end.
    inbox.fill(&mut stream)
}

fn notification(bytes: usize) -> Vec<u8> {
    let base64 = STANDARD.encode_to_string(vec![0; bytes]);
    let text = format!(
        r#"{{"method":"process/output","params":{{"processId":"p","seq":1,"stream":"stdout","chunk":"{base64}"}}}}"#
    );
    let mut frame = Vec::new();
    frame::plain(&mut frame, frame::TEXT, text.as_bytes());
    frame
}

fn accept() -> io::Result<(TcpStream, Inbox)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("ws://{}", listener.local_addr()?);
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut inbox = Inbox::new();
    frame::http_head(&mut inbox, &mut stream)?;
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        frame::ACCEPT
    );
    stream.write_all(answer.as_bytes())?;
    Ok((stream, inbox))
}
