//! One connection's thread: lets the client in, then reads and answers.
//!
//! What belongs to it, not to its session, ends with it ([`ConnectionState`]). A ping tells whether
//! the peer of a websocket is still there ([`Keepalive`]). Anybody can open a connection, and needs
//! no token to keep it open for a while; so those have places of their own ([`PendingConnections`]),
//! and where there are too many of them, the oldest makes room for the next.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::access::handshake::{Accepted, HANDSHAKE, LAST_WORDS, let_in};
use super::access::upgrade::UpgradePolicy;
use super::caller::Stranger;
use super::dispatch::Dispatch;
use super::methods::http::HttpRequests;
use super::metrics::METRICS;
use super::notify::Notifications;
use super::refusal::Cause;
use super::request_limit::Requests;
use super::server::{SWEEP, Server};
use crate::env::local::Watches;
use crate::log::{self, Event, Level};
use crate::net::Socket;
use crate::rpc::error::RpcError;
use crate::rpc::transport::{Framing, Goodbye, Outbound, Reader, Received, Role, WebSocketReader};
use crate::sys::sync::Mutex;

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
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
    pub(crate) fn message_origin(&self) -> String {
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

    /// Whether its connection's thread forgets what has expired: its program runs no main thread of
    /// a server.
    fn has_sweeps(self) -> bool {
        matches!(self, Self::InProcess)
    }

    /// Whether nothing but messages can pass between us.
    pub(crate) fn has_only_messages(self) -> bool {
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

/// How long the last requests may wait, each, when standard input has ended.
const LAST_REQUESTS: Duration = Duration::from_secs(10);

/// Serves one accepted connection to its end.
pub(crate) fn serve_socket(
    server: &Arc<Server>,
    accepted: Accepted,
    stranger: Option<&Stranger>,
    policy: &UpgradePolicy,
) {
    let caller = accepted.caller;
    let entry = match let_in(server, accepted, stranger, policy) {
        Ok(Some(entry)) => entry,
        Ok(None) => return,
        Err(error) => return caller.lost(Cause::Transport, error.to_string()),
    };
    let outbound = Arc::new(Outbound::new(entry.sink, Framing::WebSocket(Role::Server)));
    let mut reader = WebSocketReader::new(entry.source, entry.buffer, Arc::clone(&outbound));
    let (number, peer) = (caller.connection, caller.peer);
    serve_connection(
        server,
        &mut reader,
        &outbound,
        number,
        peer,
        Some(entry.place),
    );
}

/// Serves an open connection to its end; whether a message has come. Its place, if it has one, is free
/// as soon as its client is gone.
pub(crate) fn serve_connection(
    server: &Arc<Server>,
    reader: &mut dyn Reader,
    outbound: &Arc<Outbound>,
    number: u64,
    peer: Peer,
    place: Option<Place>,
) -> bool {
    server.register(number, outbound);
    let has_heard = serve_messages(server, reader, outbound, number, peer, place);
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
pub(crate) fn serve_messages(
    server: &Arc<Server>,
    reader: &mut dyn Reader,
    outbound: &Arc<Outbound>,
    number: u64,
    peer: Peer,
    place: Option<Place>,
) -> bool {
    METRICS.connections.add(1);
    log::event(Level::Info, Event::ConnectionOpened, &|line| {
        line.value("connection", number);
        line.text("peer", peer);
    });
    let subscriber = Arc::new(Notifications(Arc::clone(outbound)));
    let dispatch = Dispatch::new(
        Arc::clone(server),
        Arc::clone(outbound),
        subscriber,
        number,
        peer,
    );
    let workers = &server.services.request_workers;
    let requests = Requests::new(dispatch, server.concurrent_requests, outbound, workers);
    let introduction = Instant::now() + HANDSHAKE;
    let ping = server.ping_interval;
    let mut swept_at = Instant::now();
    let mut keepalive = Keepalive::new(ping);
    let mut has_heard = false;
    let why = loop {
        let received = reader.receive(patience(&requests, peer, introduction, ping));
        match received {
            Received::Message => {
                has_heard = true;
                if let Some(payload) = requests.take(reader.message()) {
                    reader.expect(payload);
                }
            }
            Received::Payload(payload) => requests.take_payload(payload),
            Received::Refused(refusal, id) => {
                requests.with(|dispatch| dispatch.refuse(refusal, id.as_ref()));
            }
            Received::Idle => outbound.shrink(),
            Received::Closed(why) => break why,
        }
        if peer.has_sweeps() && server.sweep(&mut swept_at) {
            server.services.host.reap();
        }
        if outbound.is_dead() {
            break "it takes no more messages".to_owned();
        }
        if !outbound.wait_for_room(keepalive.silence()) {
            break "it does not take its answers".to_owned();
        }
        if peer.must_hurry() && !requests.is_initialized() && Instant::now() >= introduction {
            let message = format!("no initialize within {HANDSHAKE:?}; connect again");
            requests.with(|dispatch| dispatch.reject(&RpcError::invalid_request(message)));
            outbound.say_goodbye(Goodbye::Protocol);
            break "it did not introduce itself".to_owned();
        }
        if peer.has_pings() && !keepalive.check(reader.last_heard(), outbound) {
            break format!("it is silent for {:?}", keepalive.silence());
        }
    };
    // What its requests still do, on a file system that hangs perhaps, keeps no other client out.
    drop(place);
    // Who ends our input may still read our output.
    let patience = matches!(peer, Peer::Stdio).then_some(LAST_REQUESTS);
    requests.end(patience);
    let session = requests.with(|dispatch| dispatch.session().map(|session| session.tag()));
    log::event(Level::Info, Event::ConnectionClosed, &|line| {
        line.value("connection", number);
        line.text("peer", peer);
        if let Some(session) = session {
            line.text("session", session);
        }
        line.text("why", &why);
    });
    has_heard
}

/// How long to wait for the next message.
fn patience(requests: &Requests, peer: Peer, introduction: Instant, ping: Duration) -> Duration {
    if peer.has_sweeps() {
        return SWEEP;
    }
    if requests.is_initialized() || !peer.must_hurry() {
        return ping;
    }
    let left = introduction.saturating_duration_since(Instant::now());
    left.min(ping).max(Duration::from_millis(1))
}

/// The belongings of one connection.
pub(crate) struct ConnectionState {
    /// The connection's number.
    pub(crate) connection: u64,
    /// One more than the last id of a `fs/watchMissing`.
    next_watch: AtomicU64,
    pub(crate) http: Arc<HttpRequests>,
}

impl ConnectionState {
    pub(crate) fn new(connection: u64) -> Self {
        Self {
            connection,
            next_watch: AtomicU64::new(0),
            http: Arc::default(),
        }
    }

    /// Whether a watch of this id is newer than all before it, as ids must be.
    pub(crate) fn is_new_watch(&self, id: u64) -> bool {
        let next = id.saturating_add(1);
        self.next_watch.fetch_max(next, Ordering::Relaxed) < next
    }

    /// The connection is over.
    pub(crate) fn release(&self, watches: &Watches) {
        self.http.cancel_all();
        watches.forget(self.connection);
    }
}

/// A peer that lets so many pings go unanswered is gone.
const LOST_PINGS: u32 = 3;

/// Pings a peer, and notes when it shows no sign of life.
#[derive(Debug)]
pub struct Keepalive {
    interval: Duration,
    pinged: Instant,
}

impl Keepalive {
    /// Pings every `interval`, for the first time when that has passed.
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            pinged: Instant::now(),
        }
    }

    /// The time between pings.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// How long a peer may be silent.
    pub fn silence(&self) -> Duration {
        self.interval.saturating_mul(LOST_PINGS)
    }

    /// Pings if it is time to. False, and the end of the connection, when the peer was last heard
    /// of too long ago.
    pub fn check(&mut self, last_heard: Instant, outbound: &Arc<Outbound>) -> bool {
        let now = Instant::now();
        if now.saturating_duration_since(last_heard) >= self.silence() {
            outbound.kill();
            return false;
        }
        if now.saturating_duration_since(self.pinged) >= self.interval {
            self.pinged = now;
            outbound.ping();
        }
        true
    }
}

/// Places for connections of a kind.
pub(crate) struct Places {
    most: usize,
    taken: AtomicUsize,
}

/// One of them, until it is dropped.
pub(crate) struct Place(Arc<Places>);

impl Places {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        let taken = AtomicUsize::new(0);
        Arc::new(Self { most, taken })
    }

    /// Takes one; none if all are taken.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Place> {
        let one_more = |taken| (taken < self.most).then_some(taken + 1);
        let updated = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        updated.ok().map(|_| Place(Arc::clone(self)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Connections that have not been let in yet, by their numbers: the lowest is the oldest.
pub(crate) struct PendingConnections {
    most: usize,
    sockets: Mutex<BTreeMap<u64, Arc<Socket>>>,
}

/// One of them, until it is let in, closed or dropped.
pub(crate) struct Pending {
    all: Arc<PendingConnections>,
    number: u64,
}

impl PendingConnections {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        let sockets = Mutex::default();
        Arc::new(Self { most, sockets })
    }

    /// Adds a connection, which must be the newest. If there are too many then, the oldest is
    /// closed, which wakes its thread.
    pub(crate) fn add(self: &Arc<Self>, number: u64, socket: &Arc<Socket>) -> Pending {
        let mut sockets = self.sockets.lock();
        sockets.insert(number, Arc::clone(socket));
        if sockets.len() > self.most
            && let Some((_, oldest)) = sockets.pop_first()
        {
            oldest.shut_down(Shutdown::Both);
        }
        Pending {
            all: Arc::clone(self),
            number,
        }
    }
}

impl Pending {
    /// From now on it is not closed for another. False if it has been.
    pub(crate) fn keep(&self) -> bool {
        self.all.sockets.lock().remove(&self.number).is_some()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.keep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_watches_only_grow() {
        let connection_state = ConnectionState::new(1);
        let news = [0, 0, 1, 5, 4, 5, 6, u64::MAX, u64::MAX, 7]
            .map(|id| connection_state.is_new_watch(id));
        assert_eq!(
            news,
            [
                true, false, true, true, false, false, true, true, false, false
            ]
        );
    }
}
