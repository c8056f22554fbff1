//! Sends every websocket message back as it came, through the transport of the server: what the suites of
//! `make conformance` speak to. Prints its address, `IP:PORT`, and serves until it is killed.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use exec_server::net::{InBuffer, Sink, Socket, SocketSource};
use exec_server::rpc::transport::{Framing, Outbound, Reader, Received, Role, WebSocketReader};
use tungstenite::handshake::derive_accept_key;

/// How long a peer may be silent, and how long it may take nothing.
const PATIENCE: Duration = Duration::from_secs(60);
/// For the last words after a close.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Enough for any head of a request that a suite sends.
const HEAD: usize = 16 * 1024;

fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    println!("{}", listener.local_addr().expect("its address"));
    for socket in listener.incoming().flatten() {
        thread::spawn(move || serve(socket));
    }
}

/// Echoes until the peer goes.
fn serve(socket: TcpStream) {
    // A frame behind another would otherwise wait for an acknowledgement.
    let _ = socket.set_nodelay(true);
    let socket = Arc::new(Socket::Tcp(socket));
    let sink = Sink::Socket(Arc::clone(&socket));
    let mut source = SocketSource::new(socket);
    let mut buffer = InBuffer::default();
    let (key, head) = loop {
        if let Some(found) = key(buffer.bytes()) {
            break found;
        }
        match buffer.fill(&mut source, HEAD, PATIENCE) {
            Ok(count) if count > 0 && buffer.bytes().len() < HEAD => {}
            _ => return,
        }
    };
    buffer.consume(head);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    );
    let begun = sink.write_all(answer.as_bytes(), Instant::now() + PATIENCE);
    if begun.is_err() {
        return;
    }
    let outbound = Arc::new(Outbound::new(sink, Framing::WebSocket(Role::Server)));
    let mut reader = WebSocketReader::new(source, buffer, Arc::clone(&outbound));
    loop {
        match reader.receive(PATIENCE) {
            Received::Message if reader.is_text() => {
                outbound.add(|out| out.extend_from_slice(reader.message()));
            }
            Received::Message => outbound.add_binary(reader.message()),
            Received::Payload(_) | Received::Refused(..) => {}
            Received::Idle | Received::Closed(_) => break,
        }
        if !outbound.wait_for_room(PATIENCE) {
            break;
        }
    }
    let deadline = Instant::now() + LAST_WORDS;
    if outbound.drain(deadline) {
        outbound.stop_sending();
        while Instant::now() < deadline && matches!(reader.receive(LAST_WORDS), Received::Message) {
        }
    }
    outbound.kill();
}

/// The key in the head of a request to upgrade, and the length of that, once all of it is here.
fn key(bytes: &[u8]) -> Option<(String, usize)> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(&bytes[..head]);
    let key = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key")
            .then(|| value.trim().to_owned())
    });
    Some((key.unwrap_or_default(), head + 4))
}
