//! One connection's thread: lets the client in, then reads and answers.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::caller::Stranger;
use super::dispatch::Dispatch;
use super::entry::{Accepted, HANDSHAKE, LAST_WORDS, let_in};
use super::keepalive::Keepalive;
use super::notify::Notifications;
use super::server::Server;
use super::upgrade::UpgradePolicy;
use crate::log::{self, Level};
use crate::rpc::error::RpcError;
use crate::rpc::transport::{Framing, Goodbye, Outbound, Reader, Received, Role, WebSocketReader};

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Peer {
    /// A websocket client at this address.
    WebSocket(SocketAddr),
    /// A websocket client on a Unix socket.
    Unix,
    /// Who started us.
    Stdio,
    /// Who comes through a rendezvous, which messages call so.
    Rendezvous(&'static str),
    /// Who shares a rendezvous with others.
    Relay,
    /// This program itself.
    InProcess,
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
            Self::Rendezvous(name) => format!("websocket JSON-RPC message from {name}"),
            Self::Relay => "JSON-RPC message from exec-server relay stream".to_owned(),
            Self::InProcess => "JSON-RPC message from this program".to_owned(),
        }
    }

    /// Whether its connection can be asked for a sign of life, and must give one.
    fn has_pings(self) -> bool {
        match self {
            Self::WebSocket(_) | Self::Unix | Self::Rendezvous(_) => true,
            Self::Stdio | Self::Relay | Self::InProcess => false,
        }
    }

    /// Whether nothing but messages can pass between us.
    pub(super) fn has_only_messages(self) -> bool {
        matches!(self, Self::Relay)
    }

    /// Whether it must introduce itself soon. At a rendezvous we are the first, and a client may
    /// come hours later.
    fn must_hurry(self) -> bool {
        match self {
            Self::WebSocket(_) | Self::Unix | Self::Relay => true,
            Self::Stdio | Self::Rendezvous(_) | Self::InProcess => false,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WebSocket(address) => write!(f, "{address}"),
            Self::Unix => f.write_str("unix"),
            Self::Stdio => f.write_str("stdio"),
            Self::Rendezvous(name) => f.write_str(name),
            Self::Relay => f.write_str("relay stream"),
            Self::InProcess => f.write_str("this program"),
        }
    }
}

/// Serves one accepted connection to its end.
pub(super) fn serve_socket(
    server: &Arc<Server>,
    accepted: Accepted,
    number: u64,
    stranger: Option<&Stranger>,
    policy: &UpgradePolicy,
) {
    let peer = accepted.peer;
    let entry = match let_in(server, accepted, stranger, policy) {
        Ok(Some(entry)) => entry,
        Ok(None) => return,
        Err(error) => {
            log::OF_STRANGERS.write(Level::Info, format_args!("{peer}: no websocket: {error}"));
            return;
        }
    };
    let outbound = Arc::new(Outbound::new(entry.sink, Framing::WebSocket(Role::Server)));
    let mut reader = WebSocketReader::new(entry.source, entry.buffer, Arc::clone(&outbound));
    serve_connection(server, &mut reader, &outbound, number, peer);
}

/// Serves an open connection to its end; whether a message has come.
pub(super) fn serve_connection(
    server: &Arc<Server>,
    reader: &mut dyn Reader,
    outbound: &Arc<Outbound>,
    number: u64,
    peer: Peer,
) -> bool {
    server.register(number, outbound);
    let has_heard = serve_messages(server, reader, outbound, number, peer);
    server.unregister(number);
    hang_up(reader, outbound);
    has_heard
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

/// Reads messages and answers them until the connection ends; whether one has come.
pub(super) fn serve_messages(
    server: &Arc<Server>,
    reader: &mut dyn Reader,
    outbound: &Arc<Outbound>,
    number: u64,
    peer: Peer,
) -> bool {
    let subscriber = Arc::new(Notifications(Arc::clone(outbound)));
    let mut dispatch = Dispatch::new(
        Arc::clone(server),
        Arc::clone(outbound),
        subscriber,
        number,
        peer,
    );
    let introduction = Instant::now() + HANDSHAKE;
    let ping = server.ping_interval;
    let mut keepalive = Keepalive::new(ping);
    let mut has_heard = false;
    loop {
        let received = reader.receive(patience(&dispatch, peer, introduction, ping));
        match received {
            Received::Message => {
                has_heard = true;
                if let Some(payload) = dispatch.handle(reader.message()) {
                    reader.expect(payload);
                }
            }
            Received::Payload(payload) => dispatch.handle_payload(payload),
            Received::Refused(refusal) => dispatch.refuse(refusal),
            Received::Idle => outbound.shrink(),
            Received::Closed(why) => {
                log::info!("{peer}: disconnected: {why}");
                break;
            }
        }
        if outbound.is_dead() {
            log::info!("{peer}: takes no more messages");
            break;
        }
        if !outbound.wait_for_room(keepalive.silence()) {
            log::info!("{peer}: does not take its answers");
            break;
        }
        if peer.must_hurry() && !dispatch.is_initialized() && Instant::now() >= introduction {
            let message = format!("no initialize within {HANDSHAKE:?}; connect again");
            dispatch.reject(&RpcError::invalid_request(message));
            outbound.say_goodbye(Goodbye::Protocol);
            log::info!("{peer}: did not introduce itself");
            break;
        }
        if peer.has_pings() && !keepalive.check(reader.last_heard(), outbound) {
            log::info!("{peer}: silent for {:?}", keepalive.silence());
            break;
        }
    }
    dispatch.end();
    has_heard
}

/// How long to wait for the next message.
fn patience(dispatch: &Dispatch, peer: Peer, introduction: Instant, ping: Duration) -> Duration {
    if dispatch.is_initialized() || !peer.must_hurry() {
        return ping;
    }
    let left = introduction.saturating_duration_since(Instant::now());
    left.min(ping).max(Duration::from_millis(1))
}
