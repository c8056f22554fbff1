//! One connection's thread: lets the client in, then reads and answers.

use std::fmt;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dispatch::Dispatch;
use super::notify::Notifications;
use super::server::Server;
use super::upgrade::{self, Progress, UpgradePolicy};
use crate::log;
use crate::rpc::error::RpcError;
use crate::rpc::transport::{
    Framing, Goodbye, InBuffer, Outbound, Reader, Received, Sink, SocketSource, Source,
    WebSocketReader,
};

/// From the connection to the upgrade, and from there to `initialize`.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A peer that lets so many pings go unanswered is gone.
const LOST_PINGS: u32 = 3;
/// How long the last bytes to a client may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Peer {
    /// A websocket client at this address.
    WebSocket(SocketAddr),
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
            Self::Stdio => "JSON-RPC message from exec-server stdio".to_owned(),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WebSocket(address) => write!(f, "{address}"),
            Self::Stdio => f.write_str("stdio"),
        }
    }
}

/// Serves one accepted TCP connection to its end.
pub(super) fn serve_socket(
    server: &Arc<Server>,
    socket: TcpStream,
    address: SocketAddr,
    number: u64,
    policy: &UpgradePolicy,
) {
    let peer = Peer::WebSocket(address);
    let socket = Arc::new(socket);
    let mut source = SocketSource::new(Arc::clone(&socket));
    let buffer = match shake_hands(server, &mut source, &socket, policy) {
        Ok(Some(buffer)) => buffer,
        Ok(None) => return,
        Err(error) => {
            log::info!("{peer}: no websocket: {error}");
            return;
        }
    };
    let outbound = Arc::new(Outbound::new(
        Sink::Socket(Arc::clone(&socket)),
        Framing::WebSocket,
    ));
    server.register(number, &outbound);
    let mut reader = WebSocketReader::new(source, buffer, Arc::clone(&outbound));
    serve_messages(server, &mut reader, &outbound, number, peer);
    server.unregister(number);
    hang_up(&mut reader, &outbound);
}

/// Reads the HTTP request and answers it; the bytes after it, if it became a websocket.
fn shake_hands(
    server: &Server,
    source: &mut dyn Source,
    mut socket: &TcpStream,
    policy: &UpgradePolicy,
) -> io::Result<Option<InBuffer>> {
    let deadline = Instant::now() + HANDSHAKE;
    let mut buffer = InBuffer::default();
    socket.set_write_timeout(Some(HANDSHAKE))?;
    loop {
        match policy.examine(buffer.bytes(), server.is_draining()) {
            Progress::NeedMore => {}
            Progress::Respond(answer) => return refuse(socket, &answer).map(|()| None),
            Progress::Upgrade { response, head_len } => {
                socket.write_all(&response)?;
                buffer.consume(head_len);
                return Ok(Some(buffer));
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let filled = if left.is_zero() {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            buffer.fill(source, upgrade::MAX_HEAD, left)
        };
        match filled {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    return refuse(socket, &upgrade::timed_out()).map(|()| None);
                }
                _ => return Err(error),
            },
        }
    }
}

/// Sends an HTTP answer and closes so that the client can read it: what it
/// still sends is taken for a moment, since unread bytes would reset the connection.
pub(super) fn refuse(mut socket: &TcpStream, answer: &[u8]) -> io::Result<()> {
    socket.set_write_timeout(Some(LAST_WORDS))?;
    socket.write_all(answer)?;
    socket.shutdown(Shutdown::Write)?;
    let deadline = Instant::now() + LAST_WORDS;
    let mut rest = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        socket.set_read_timeout(Some(left))?;
        match io::Read::read(&mut socket, &mut rest) {
            Ok(0) | Err(_) => return Ok(()),
            Ok(_) => {}
        }
    }
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
            Received::Message => dispatch.handle(reader.message()),
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
