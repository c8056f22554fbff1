//! Pings, and the end of who does not answer them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::{PATIENCE, Server, frame, peak_resident, upgrade, within};

const TEXT: u8 = 1;
const PING: u8 = 9;
const INITIALIZE: &str = r#"{"id":1,"method":"initialize","params":{"clientName":"k"}}"#;

/// A client that has introduced itself and from then on only listens.
fn mute(server: &Server) -> TcpStream {
    let (mut socket, early) = upgrade(server.dial(), "");
    assert!(early.is_empty());
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
        .write_all(&frame(TEXT, true, INITIALIZE.as_bytes()))
        .unwrap();
    socket
}

/// The opcodes of the frames until the end of the connection, at most `limit`.
fn opcodes(socket: &mut TcpStream, limit: usize) -> Vec<u8> {
    let mut opcodes = Vec::new();
    while opcodes.len() < limit {
        let mut head = [0; 2];
        if socket.read_exact(&mut head).is_err() {
            break;
        }
        let len = match head[1] {
            126 => {
                let mut len = [0; 2];
                socket.read_exact(&mut len).unwrap();
                usize::from(u16::from_be_bytes(len))
            }
            len => usize::from(len),
        };
        let mut payload = vec![0; len];
        socket.read_exact(&mut payload).unwrap();
        opcodes.push(head[0] & 0x0f);
    }
    opcodes
}

#[test]
fn a_client_is_pinged() {
    let server = Server::websocket(&["--ping-interval", "0.1"]);
    let mut socket = mute(&server);
    assert_eq!(opcodes(&mut socket, 2), [TEXT, PING]);
}

#[test]
fn a_client_that_answers_no_ping_is_gone_and_its_session_free() {
    let server = Server::websocket(&["--ping-interval", "0.1"]);
    let mut socket = mute(&server);
    let seen = opcodes(&mut socket, usize::MAX);
    assert_eq!(seen.first(), Some(&TEXT));
    assert!(
        seen[1..].iter().filter(|opcode| **opcode == PING).count() >= 2,
        "{seen:?}"
    );
}

#[test]
fn a_client_that_only_answers_pings_stays() {
    let server = Server::websocket(&["--ping-interval", "0.05"]);
    let mut client = server.connect();
    let mut quiet = 0;
    within(PATIENCE, "many pings have passed", || {
        client.settle(Duration::from_millis(50), |_| false);
        quiet += 1;
        quiet >= 20
    });
    client.ok("environment/status", serde_json::json!({}));
}

#[test]
fn answers_to_pings_that_nobody_reads_do_not_pile_up() {
    let server = Server::websocket(&[]);
    let mut socket = mute(&server);
    let before = peak_resident(server.pid());
    let pings = frame(PING, true, &[b'x'; 125]).repeat(8000);
    let mut sent = 0;
    while sent < 100 << 20 {
        socket.write_all(&pings).unwrap();
        sent += pings.len();
    }
    let more = peak_resident(server.pid()) - before;
    assert!(
        more < 8 << 10,
        "{more} KiB for the answers to {sent} bytes of pings"
    );
    server.connect().still_serves();
}
