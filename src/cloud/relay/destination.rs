//! A server elsewhere behind the rendezvous, in place of our own (`forward`).
//!
//! ```text
//!   relay thread ── frames ── Stream ══ socket pair ══ forward thread ── websocket ─► server
//!                                               ◄═════ forward-back thread ◄─────────
//! ```
//!
//! Each client's stream becomes a connection to the server. What the server does not take waits in
//! the socket pair, and what the client does not take in the server's.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::log;
use crate::net::{Dial, Dialled, Socket, SocketSource};
use crate::rpc::transport::{
    Framing, Goodbye, LineReader, Outbound, Reader, Received, Role, WebSocketReader,
};
use crate::serve::connection::Keepalive;
use crate::workers::start_thread;

/// The stack of a thread, of which only the touched pages count.
const STACK_BYTES: usize = 512 * 1024;
/// How long the server may take the last messages of a client that has left.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The server.
pub(in crate::cloud) struct Destination {
    dial: Dial,
    ping_interval: Duration,
}

/// Why a stream has ended, once that is known.
pub(super) type EndReason = Arc<OnceLock<String>>;

impl Destination {
    pub(in crate::cloud) fn new(dial: Dial, ping_interval: Duration) -> Self {
        Self {
            dial,
            ping_interval,
        }
    }

    /// Connects a client, whose messages are lines on `connection`, on threads of their own.
    ///
    /// # Errors
    /// There is no thread.
    pub(super) fn serve(
        self: &Arc<Self>,
        connection: UnixStream,
        reason: EndReason,
    ) -> io::Result<()> {
        let destination = Arc::clone(self);
        start_thread("forward", STACK_BYTES, move || {
            let told = match destination.dial.run() {
                Ok(websocket) => destination.connect(&connection, websocket, &reason),
                Err(error) => {
                    format!("cannot connect to {}: {}", error.label, error.reason())
                }
            };
            log::info!("forward: {told}");
            // The first reason is the cause.
            let _ = reason.set(told);
            // Already disconnected is as good.
            let _ = connection.shutdown(Shutdown::Both);
        })
    }

    /// Passes messages on until either side ends; why it has.
    fn connect(&self, connection: &UnixStream, websocket: Dialled, reason: &EndReason) -> String {
        let outbound = Outbound::new(websocket.sink, Framing::WebSocket(Role::Client));
        let outbound = Arc::new(outbound);
        let (source, buffer) = (websocket.source, websocket.buffer);
        let mut server = WebSocketReader::new(source, buffer, Arc::clone(&outbound));
        let client = match connection.try_clone() {
            Ok(client) => client,
            Err(error) => return format!("no descriptor for the connection: {error}"),
        };
        let back = {
            let (connection, outbound) = (connection.try_clone(), Arc::clone(&outbound));
            let (ping, reason) = (self.ping_interval, Arc::clone(reason));
            let pass = move || match connection {
                Ok(connection) => {
                    let told = pass_back(&mut server, &connection, &outbound, ping);
                    // Before the relay sees the end.
                    let _ = reason.set(told.clone());
                    outbound.kill();
                    // Wakes the other thread.
                    let _ = connection.shutdown(Shutdown::Both);
                    told
                }
                Err(error) => format!("no descriptor for the connection: {error}"),
            };
            let named = thread::Builder::new().name("forward-back".into());
            match named.stack_size(STACK_BYTES).spawn(pass) {
                Ok(back) => back,
                Err(error) => return format!("no thread for the connection: {error}"),
            }
        };
        pass_on(
            client,
            &outbound,
            Keepalive::new(self.ping_interval).silence(),
        );
        outbound.say_goodbye(Goodbye::Away);
        outbound.drain(Instant::now() + LAST_WORDS);
        outbound.kill();
        back.join()
            .unwrap_or_else(|_| "the connection is lost".to_owned())
    }
}

/// Passes what the client says on to the server, which may take nothing for `patience`.
fn pass_on(client: UnixStream, outbound: &Arc<Outbound>, patience: Duration) {
    let source = SocketSource::new(Arc::new(Socket::Unix(client)));
    let mut reader = LineReader::new(source, Arc::clone(outbound));
    loop {
        match reader.receive(patience) {
            Received::Message => {
                outbound.add(|out| out.extend_from_slice(reader.message()));
                if outbound.is_dead() || !outbound.wait_for_room(patience) {
                    return;
                }
            }
            Received::Idle => outbound.shrink(),
            // None was asked for.
            Received::Payload(_) => {}
            // No frame is so large.
            Received::Refused(..) | Received::Closed(_) => return,
        }
    }
}

/// Passes what the server says back to the client, for which this waits; why it has ended.
fn pass_back(
    server: &mut dyn Reader,
    mut client: &UnixStream,
    outbound: &Arc<Outbound>,
    ping_interval: Duration,
) -> String {
    let mut keepalive = Keepalive::new(ping_interval);
    let mut line = Vec::new();
    loop {
        match server.receive(keepalive.interval()) {
            Received::Message => {
                let message = server.message();
                if !message.trim_ascii_start().starts_with(b"{") {
                    return "the server has sent bytes beside messages, which do not pass through \
                            a relay"
                        .to_owned();
                }
                line.clear();
                // Between the tokens of JSON a line feed is as good as a blank.
                let as_blank = |byte: &u8| if *byte == b'\n' { b' ' } else { *byte };
                line.extend(message.iter().map(as_blank));
                line.push(b'\n');
                if client.write_all(&line).is_err() {
                    return "the client has left".to_owned();
                }
                line.shrink_to(STACK_BYTES);
            }
            Received::Idle => outbound.shrink(),
            // None was asked for.
            Received::Payload(_) => {}
            Received::Refused(..) => return "the server has sent too large a message".to_owned(),
            Received::Closed(why) => return format!("the server has hung up: {why}"),
        }
        if !keepalive.check(server.last_heard(), outbound) {
            return format!("the server is silent for {:?}", keepalive.silence());
        }
    }
}
