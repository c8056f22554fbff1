//! Heads of requests, upgrades, and frames of websockets as a server reads and writes them.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use tungstenite::handshake::derive_accept_key;

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A request that came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// In their order, names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub at: Instant,
}

impl Asked {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(its, _)| its == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The names of its headers, sorted.
    pub fn header_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }
}

/// Reads a request with its body, and not a byte more.
pub fn read_head(socket: &mut TcpStream) -> Option<Asked> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > 64 * 1024 || !matches!(socket.read(&mut byte), Ok(1)) {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut asked = Asked {
        method,
        path,
        headers,
        body: Vec::new(),
        at: Instant::now(),
    };
    let length = asked.header("content-length").map(str::parse::<usize>);
    asked.body = vec![0; length.map_or(Some(0), Result::ok)?];
    socket.read_exact(&mut asked.body).ok()?;
    Some(asked)
}

/// Answers an upgrade.
pub fn accept_websocket(socket: &mut TcpStream, asked: &Asked) -> bool {
    let Some(key) = asked.header("sec-websocket-key") else {
        return false;
    };
    let accept = derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {accept}\r\n\r\n"
    );
    socket.write_all(answer.as_bytes()).is_ok()
}

/// A frame, its mask taken off.
pub struct WireFrame {
    pub opcode: u8,
    pub is_final: bool,
    pub payload: Vec<u8>,
}

/// Reads a frame; those of a client, which both sides are here, must be masked.
pub fn read_frame(socket: &mut impl Read) -> io::Result<WireFrame> {
    let mut head = [0; 2];
    socket.read_exact(&mut head)?;
    if head[1] & 0x80 == 0 {
        return Err(io::Error::other("a client's frame is not masked"));
    }
    let length = match head[1] & 0x7f {
        126 => {
            let mut long = [0; 2];
            socket.read_exact(&mut long)?;
            u16::from_be_bytes(long).into()
        }
        127 => {
            let mut long = [0; 8];
            socket.read_exact(&mut long)?;
            u64::from_be_bytes(long)
        }
        short => short.into(),
    };
    let mut mask = [0; 4];
    socket.read_exact(&mut mask)?;
    if length > 64 << 20 {
        return Err(io::Error::other("a frame of more than 64 MiB"));
    }
    let mut payload = vec![0; length as usize];
    socket.read_exact(&mut payload)?;
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    Ok(WireFrame {
        opcode: head[0] & 0x0f,
        is_final: head[0] & 0x80 != 0,
        payload,
    })
}

/// Writes a frame as a server does.
pub fn write_frame(socket: &mut impl Write, frame: &WireFrame) -> io::Result<()> {
    let mut bytes = vec![frame.opcode | if frame.is_final { 0x80 } else { 0 }];
    match frame.payload.len() {
        short @ 0..=125 => bytes.push(short as u8),
        medium @ 126..=0xffff => {
            bytes.push(126);
            bytes.extend((medium as u16).to_be_bytes());
        }
        long => {
            bytes.push(127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&frame.payload);
    socket.write_all(&bytes)
}

/// A whole message.
pub fn message(opcode: u8, payload: Vec<u8>) -> WireFrame {
    WireFrame {
        opcode,
        is_final: true,
        payload,
    }
}
