//! Reaching servers as a client, through the crate's own dialling.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use exec_server::net::{Dial, DialError, Dialled, Stage, Target, Trust};
use exec_server::rpc::transport::{Framing, Outbound, Reader, Received, Role, WebSocketReader};

use crate::support::{Certificate, PATIENCE, Server, scratch};

fn to(url: &str) -> Dial {
    let mut dial = Dial::new(Target::parse(url).unwrap());
    dial.timeout = PATIENCE;
    dial
}

/// Why dialling fails.
fn failure(dial: &Dial) -> DialError {
    match dial.run() {
        Ok(_) => panic!("{dial:?} succeeds"),
        Err(error) => error,
    }
}

/// Says `initialize` and gives the answer.
fn greet(dialled: Dialled) -> String {
    let framing = Framing::WebSocket(Role::Client);
    let outbound = Arc::new(Outbound::new(dialled.sink, framing));
    let mut reader = WebSocketReader::new(dialled.source, dialled.buffer, Arc::clone(&outbound));
    outbound.send(|out| {
        out.extend_from_slice(br#"{"id":1,"method":"initialize","params":{"clientName":"test"}}"#);
    });
    match reader.receive(PATIENCE) {
        Received::Message => String::from_utf8_lossy(reader.message()).into_owned(),
        other => panic!("{other:?}"),
    }
}

/// Answers the first connection to a listener with `reply`, whose `ACCEPT` stands for the right one.
fn answer_once(reply: &'static str) -> (String, thread::JoinHandle<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let thread = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let key = head
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
            .unwrap();
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        let reply = reply.replace("ACCEPT", &accept);
        socket.write_all(reply.as_bytes()).unwrap();
        socket
    });
    (url, thread)
}

#[test]
fn a_token_and_further_headers_are_sent() {
    let dir = scratch();
    let file = dir.path("token");
    fs::write(&file, "my-token").unwrap();
    let server = Server::websocket(&["--ws-auth", "capability-token", "--ws-token-file", &file]);
    let mut dial = to(&format!(
        "ws://u:hidden@{}/?key=hidden#hidden",
        server.address()
    ));
    let error = failure(&dial);
    assert_eq!((error.stage, error.status()), (Stage::Upgrade, Some(401)));
    let text = error.to_string();
    assert!(text.contains("missing websocket bearer token"), "{text}");
    assert!(text.contains("give the bearer token"), "{text}");
    assert!(!text.contains("hidden"), "{text}");
    dial.bearer = Some("my-token".to_owned());
    dial.headers = vec![("X-Request-ID".to_owned(), "req_1".to_owned())];
    let answer = greet(dial.run().unwrap());
    assert!(answer.contains("sessionId"), "{answer}");
    assert!(!format!("{dial:?}").contains("my-token"));
}

#[test]
fn tls_is_spoken_with_who_is_trusted_and_nobody_else() {
    let dir = scratch();
    let certificate = Certificate::make(&dir, "own");
    let server = Server::websocket(&certificate.flags());
    let mut dial = to(&format!("wss://{}", server.address()));
    let error = failure(&dial);
    assert_eq!(error.stage, Stage::Tls);
    assert!(!error.is_temporary());
    assert!(error.to_string().contains("SSL_CERT_FILE"), "{error}");
    dial.trust = Trust::File(certificate.certificate.clone().into());
    let answer = greet(dial.run().unwrap());
    assert!(answer.contains("sessionId"), "{answer}");
    let plain = failure(&to(&format!("ws://{}", server.address())));
    assert_eq!(plain.stage, Stage::Upgrade, "{plain}");
}

#[test]
fn a_unix_socket_is_reached_by_its_path() {
    let dir = scratch();
    let url = format!("unix://{}", dir.path("socket"));
    let mut command = Server::command();
    command.args(["--listen", &url]);
    let server = Server::websocket_command(command);
    let answer = greet(to(&url).run().unwrap());
    assert!(answer.contains("sessionId"), "{answer}");
    drop(server);
    let error = failure(&to(&format!("unix://{}", dir.path("nothing"))));
    assert_eq!(error.stage, Stage::Connect);
    let text = error.to_string();
    assert!(
        text.contains("No such file") && text.contains("is exec-server running"),
        "{text}"
    );
}

#[test]
fn a_full_queue_of_a_unix_socket_costs_no_more_than_the_time_limit() {
    let dir = scratch();
    let path = dir.path("socket");
    let _listener = UnixListener::bind(&path).unwrap();
    let mut dial = to(&format!("unix://{path}"));
    dial.timeout = Duration::from_millis(100);
    // Whether in its queue or before it, nobody is ever answered.
    let begun = Instant::now();
    let errors: Vec<_> = (0..8).map(|_| failure(&dial)).collect();
    assert!(errors.iter().all(DialError::is_temporary), "{errors:?}");
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn a_refused_connection_names_the_address_and_the_remedy() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let error = failure(&to(&format!("ws://{address}/x?secret")));
    assert_eq!(error.stage, Stage::Connect);
    assert_eq!(
        error.to_string(),
        format!(
            "failed to connect to exec-server websocket `ws://{address}/x`: connecting: {address}: \
             Connection refused (os error 111); is exec-server running there, and is this where it \
             listens?"
        )
    );
}

#[test]
fn a_server_that_says_nothing_costs_no_more_than_the_time_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for scheme in ["ws", "wss"] {
        let mut dial = to(&format!("{scheme}://{}", listener.local_addr().unwrap()));
        dial.timeout = Duration::from_millis(200);
        let begun = Instant::now();
        let text = failure(&dial).to_string();
        assert!(begun.elapsed() >= dial.timeout);
        assert!(begun.elapsed() < PATIENCE);
        assert!(
            text.starts_with("timed out connecting to exec-server"),
            "{text}"
        );
        assert!(text.contains("after 200ms while the "), "{text}");
    }
}

#[test]
fn what_answers_is_looked_at() {
    for (reply, wanted) in [
        (
            "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
            "Sec-WebSocket-Accept does not answer our key",
        ),
        (
            "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n",
            "upgraded to no websocket",
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n", "the answer is no HTTP"),
        (
            "HTTP/1.1 503 Busy\r\n\r\n\x1b[31mlater\r\nmore",
            "HTTP status 503 ([31mlater)",
        ),
        (
            "HTTP/1.1 302 X\r\nLocation: /y\r\n\r\n",
            "redirects are not followed",
        ),
    ] {
        let (url, thread) = answer_once(reply);
        let text = failure(&to(&url)).to_string();
        assert!(text.contains(wanted), "{text}");
        drop(thread.join());
    }
}

#[test]
fn a_server_that_masks_its_frames_is_left() {
    // The frame comes right behind the answer, so it is in the buffer already.
    let (url, thread) = answer_once(
        "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
         Sec-WebSocket-Accept: ACCEPT\r\n\r\n\u{1}\u{0}",
    );
    let dialled = to(&url).run().unwrap();
    let mut socket = thread.join().unwrap();
    // The header so far is that of an empty first frame; here is a masked one behind it.
    socket.write_all(&[0x80, 0x80, 1, 2, 3, 4]).unwrap();
    let outbound = Arc::new(Outbound::new(
        dialled.sink,
        Framing::WebSocket(Role::Client),
    ));
    let mut reader = WebSocketReader::new(dialled.source, dialled.buffer, outbound);
    let received = reader.receive(PATIENCE);
    let Received::Closed(why) = received else {
        panic!("{received:?}")
    };
    assert_eq!(why, "a server's frame is masked");
    let mut close = [0; 8];
    socket.read_exact(&mut close).unwrap();
    let code = u16::from_be_bytes([close[6] ^ close[2], close[7] ^ close[3]]);
    assert_eq!((close[0], close[1], code), (0x88, 0x82, 1002));
}
