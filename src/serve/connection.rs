//! One connection's thread: lets the client in, then reads and answers.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;

use super::dispatch::Dispatch;
use super::entry::{HANDSHAKE, LAST_WORDS, let_in};
use super::notify::Notifications;
use super::server::Server;
use super::upgrade::UpgradePolicy;
use crate::log;
use crate::rpc::error::RpcError;
use crate::rpc::transport::{
    Framing, Goodbye, Outbound, Reader, Received, Role, Socket, WebSocketReader,
};

/// A peer that lets so many pings go unanswered is gone.
const LOST_PINGS: u32 = 3;

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Peer {
    /// A websocket client at this address.
    WebSocket(SocketAddr),
    /// A websocket client on a Unix socket.
    Unix,
    /// Who started us.
    Stdio,
}

impl Peer {
    /// How errors name where a message came from; the reference's words.
    pub(super) fn message_origin(&self) -> String {
        match self {
            Self::WebSocket(address) => {
                format!("websocket JSON-RPC message from exec-server websocket {address}")
            }
            Self::Unix => "websocket JSON-RPC message from exec-server websocket unix".to_owned(),
            Self::Stdio => "JSON-RPC message from exec-server stdio".to_owned(),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WebSocket(address) => write!(f, "{address}"),
            Self::Unix => f.write_str("unix"),
            Self::Stdio => f.write_str("stdio"),
        }
    }
}

/// Serves one accepted connection to its end.
pub(super) fn serve_socket(
    server: &Arc<Server>,
    socket: Socket,
    tls: Option<Arc<ServerConfig>>,
    peer: Peer,
    number: u64,
    policy: &UpgradePolicy,
) {
    let entry = match let_in(server, socket, tls, policy) {
        Ok(Some(entry)) => entry,
        Ok(None) => return,
        Err(error) => {
            log::info!("{peer}: no websocket: {error}");
            return;
        }
    };
    let outbound = Arc::new(Outbound::new(entry.sink, Framing::WebSocket(Role::Server)));
    server.register(number, &outbound);
    let mut reader = WebSocketReader::new(entry.source, entry.buffer, Arc::clone(&outbound));
    serve_messages(server, &mut reader, &outbound, number, peer);
    server.unregister(number);
    hang_up(&mut reader, &outbound);
}

/// After the last message: sends what is left and takes what still comes, for a moment.
fn hang_up(reader: &mut dyn Reader, outbound: &Arc<Outbound>) {
    let deadline = Instant::now() + LAST_WORDS;
    if outbound.drain(deadline) {
        outbound.stop_sending();
        while Instant::now() < deadline && matches!(reader.receive(LAST_WORDS), Received::Message) {
        }
    }
    outbound.kill();
}

/// Reads messages and answers them until the connection ends.
pub(super) fn serve_messages(
    server: &Arc<Server>,
    reader: &mut dyn Reader,
    outbound: &Arc<Outbound>,
    number: u64,
    peer: Peer,
) {
    let subscriber = Arc::new(Notifications(Arc::clone(outbound)));
    let mut dispatch = Dispatch::new(
        Arc::clone(server),
        Arc::clone(outbound),
        subscriber,
        number,
        peer,
    );
    let mut pinged = Instant::now();
    let introduction = pinged + HANDSHAKE;
    let ping = server.ping_interval();
    let silence = ping.saturating_mul(LOST_PINGS);
    loop {
        let received = reader.receive(patience(&dispatch, peer, introduction, ping));
        match received {
            Received::Message => {
                if let Some(payload) = dispatch.handle(reader.message()) {
                    reader.expect(payload);
                }
            }
            Received::Payload(payload) => dispatch.handle_payload(payload),
            Received::Refused(refusal) => dispatch.refuse(refusal),
            Received::Idle => outbound.relax(),
            Received::Closed(why) => {
                log::info!("{peer}: disconnected: {why}");
                break;
            }
        }
        if outbound.is_dead() {
            log::info!("{peer}: takes no more messages");
            break;
        }
        if !outbound.wait_for_room(silence) {
            log::info!("{peer}: does not take its answers");
            break;
        }
        if matches!(peer, Peer::Stdio) {
            continue;
        }
        let now = Instant::now();
        if !dispatch.is_initialized() && now >= introduction {
            let message = format!("no initialize within {HANDSHAKE:?}; connect again");
            dispatch.reject(&RpcError::invalid_request(message));
            outbound.say_goodbye(Goodbye::Protocol);
            log::info!("{peer}: did not introduce itself");
            break;
        }
        if now.saturating_duration_since(reader.last_heard()) >= silence {
            log::info!("{peer}: silent for {silence:?}");
            outbound.kill();
            break;
        }
        if now.saturating_duration_since(pinged) >= ping {
            pinged = now;
            outbound.ping();
        }
    }
    dispatch.end();
}

/// How long to wait for the next message.
fn patience(dispatch: &Dispatch, peer: Peer, introduction: Instant, ping: Duration) -> Duration {
    if dispatch.is_initialized() || matches!(peer, Peer::Stdio) {
        return ping;
    }
    let left = introduction.saturating_duration_since(Instant::now());
    left.min(ping).max(Duration::from_millis(1))
}
