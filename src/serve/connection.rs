//! One connection's thread: lets the client in, then reads and answers.
//!
//! What belongs to it, not to its session, ends with it ([`ConnectionState`]). A ping tells whether
//! the peer of a websocket is still there ([`Keepalive`]). Anybody can open a connection, and needs
//! no token to keep it open for a while; so those have places of their own ([`PendingConnections`]),
//! and where there are too many of them, the oldest makes room for the next.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::access::handshake::{Accepted, HANDSHAKE, LAST_WORDS, let_in};
use super::access::upgrade::UpgradePolicy;
use super::caller::Stranger;
use super::dispatch::Dispatch;
use super::file_queue::OwnRequest;
use super::methods::http::HttpRequests;
use super::metrics::METRICS;
use super::notify::Notifications;
use super::refusal::Cause;
use super::request_limit::Requests;
use super::server::{STACK_BYTES, STDIO_CONNECTION, SWEEP, Server};
use crate::env::local::Watches;
use crate::log::{self, Event, Level};
use crate::net::Socket;
use crate::rpc::error::RpcError;
use crate::rpc::transport::{Framing, Goodbye, Outbound, Reader, Received, Role, WebSocketReader};
use crate::sys::sync::Mutex;
use crate::sys::{pages, schedule};
use crate::workers::start_thread;

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

/// A connection that has been silent for so long gives back what it needs for messages only.
const REST_AFTER: Duration = Duration::from_secs(1);
/// How long the last requests may wait, each, when standard input has ended.
const LAST_REQUESTS: Duration = Duration::from_secs(10);

/// Serves one accepted connection to its end; `place` is free then.
pub(crate) fn serve_socket(
    server: &Arc<Server>,
    accepted: Accepted,
    stranger: Option<&Stranger>,
    policy: &UpgradePolicy,
    place: Place,
) {
    let caller = accepted.caller;
    let entry = match let_in(server, accepted, stranger, policy) {
        Ok(Some(entry)) => entry,
        Ok(None) => return,
        Err(error) => return caller.lost(Cause::Transport, error.to_string()),
    };
    let outbound = Arc::new(Outbound::new(entry.sink, Framing::WebSocket(Role::Server)));
    let reader = WebSocketReader::new(entry.source, entry.buffer, Arc::clone(&outbound));
    let (number, peer) = (caller.connection, caller.peer);
    let mut connection = Connection::new(server, Box::new(reader), outbound, number, peer);
    connection.client = Some(entry.place);
    connection.place = Some(place);
    connection.run();
}

/// Runs `work` as the thread of a connection of this number.
pub(crate) fn spawn(number: u64, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let work = || {
        schedule::shorten_slices();
        work();
    };
    match number {
        STDIO_CONNECTION => start_thread("conn-stdio", STACK_BYTES, work),
        _ => start_thread(format!("conn-{number}"), STACK_BYTES, work),
    }
}

/// A connection whose client has been let in. One thread at a time reads its messages and answers.
pub(crate) struct Connection {
    server: Arc<Server>,
    reader: Box<dyn Reader + Send>,
    outbound: Arc<Outbound>,
    requests: Requests,
    number: u64,
    peer: Peer,
    /// When the client must have introduced itself.
    introduction: Instant,
    keepalive: Keepalive,
    swept_at: Instant,
    has_heard: bool,
    /// Among those of clients; free as soon as the client is gone.
    client: Option<Place>,
    /// Among those of all connections; free at the end.
    place: Option<Place>,
    /// Told at the end whether a message has come.
    ended: Option<mpsc::Sender<bool>>,
}

impl Connection {
    pub(crate) fn new(
        server: &Arc<Server>,
        reader: Box<dyn Reader + Send>,
        outbound: Arc<Outbound>,
        number: u64,
        peer: Peer,
    ) -> Box<Self> {
        server.register(number, &outbound);
        METRICS.connections.add(1);
        log::event(Level::Info, Event::ConnectionOpened, &|line| {
            line.value("connection", number);
            line.text("peer", peer);
        });
        let dispatch = Dispatch::new(
            Arc::clone(server),
            Arc::clone(&outbound),
            Arc::new(Notifications(Arc::clone(&outbound))),
            number,
            peer,
        );
        let workers = &server.services.request_workers;
        let requests = Requests::new(dispatch, server.concurrent_requests, &outbound, workers);
        Box::new(Self {
            server: Arc::clone(server),
            reader,
            outbound,
            requests,
            number,
            peer,
            introduction: Instant::now() + HANDSHAKE,
            keepalive: Keepalive::new(server.ping_interval),
            swept_at: Instant::now(),
            has_heard: false,
            client: None,
            place: None,
            ended: None,
        })
    }

    /// Reads messages and answers them until the connection ends, perhaps on another thread. Whether
    /// a message has come.
    pub(crate) fn run_to_the_end(mut self: Box<Self>) -> bool {
        let (ended, end) = mpsc::channel();
        self.ended = Some(ended);
        self.run();
        // Whatever becomes of the connection, it is told.
        end.recv().unwrap_or(false)
    }

    /// Goes on on a thread of its own; the connection where there is none.
    pub(crate) fn run_on(self: Box<Self>) -> Result<(), Box<Self>> {
        let number = self.number;
        let kept = Arc::new(Mutex::new(Some(self)));
        let taken = Arc::clone(&kept);
        let run = move || {
            let connection = taken.lock().take();
            if let Some(connection) = connection {
                connection.run();
            }
        };
        match spawn(number, run) {
            Ok(()) => Ok(()),
            Err(_) => kept.lock().take().map_or(Ok(()), Err),
        }
    }

    /// Reads messages and answers them until the connection ends, or another thread does so.
    pub(crate) fn run(mut self: Box<Self>) {
        let mut is_resting = false;
        let why = loop {
            let patience = match is_resting {
                true => self.patience(),
                false => self.patience().min(REST_AFTER),
            };
            match self.reader.receive(patience) {
                Received::Message => {
                    self.has_heard = true;
                    is_resting = false;
                    let is_last = !self.reader.has_more();
                    let next = self.requests.take(self.reader.message(), is_last);
                    if let Some(payload) = next.payload {
                        self.reader.expect(payload);
                    }
                    if let Some(request) = next.own_request {
                        let Some(connection) = self.carry_out(request) else {
                            return;
                        };
                        self = connection;
                    }
                }
                Received::Payload(payload) => self.requests.take_payload(payload),
                Received::Refused(refusal, id) => {
                    let refuse = |dispatch: &mut Dispatch| dispatch.refuse(refusal, id.as_ref());
                    self.requests.with(refuse);
                }
                Received::Idle => {
                    self.outbound.shrink();
                    if !std::mem::replace(&mut is_resting, true) {
                        pages::rest();
                    }
                }
                Received::Closed(why) => break why,
            }
            if let Some(why) = self.look_after() {
                break why;
            }
        };
        self.end(&why);
    }

    /// Carries out a file request. If that takes long, another thread reads on, and this one is not
    /// the connection's any more. Inlined, its locals would be on the stack of a thread that waits.
    #[inline(never)]
    fn carry_out(self: Box<Self>, request: OwnRequest) -> Option<Box<Self>> {
        let server = Arc::clone(&self.server);
        let handover = &server.services.handover;
        match handover.lend(self) {
            Ok(number) => request.carry_out(|| handover.take_back(number)),
            Err(connection) => {
                request.put_back();
                Some(connection)
            }
        }
    }

    /// What is to be done from time to time. The reason when the connection has to end.
    fn look_after(&mut self) -> Option<String> {
        let (server, peer, outbound) = (&self.server, self.peer, &self.outbound);
        if peer.has_sweeps() && server.sweep(&mut self.swept_at) {
            server.services.host.reap();
        }
        if outbound.is_dead() {
            return Some("it takes no more messages".to_owned());
        }
        let silence = self.keepalive.silence();
        if !outbound.wait_for_room(silence) {
            return Some("it does not take its answers".to_owned());
        }
        if peer.must_hurry()
            && !self.requests.is_initialized()
            && Instant::now() >= self.introduction
        {
            let message = format!("no initialize within {HANDSHAKE:?}; connect again");
            let error = RpcError::invalid_request(message);
            self.requests.with(|dispatch| dispatch.reject(&error));
            outbound.say_goodbye(Goodbye::Protocol);
            return Some("it did not introduce itself".to_owned());
        }
        if peer.has_pings() && !self.keepalive.check(self.reader.last_heard(), outbound) {
            return Some(format!("it is silent for {silence:?}"));
        }
        None
    }

    /// How long to wait for the next message.
    fn patience(&self) -> Duration {
        let ping = self.server.ping_interval;
        if self.peer.has_sweeps() {
            return SWEEP;
        }
        if self.requests.is_initialized() || !self.peer.must_hurry() {
            return ping;
        }
        let left = self.introduction.saturating_duration_since(Instant::now());
        left.min(ping).max(Duration::from_millis(1))
    }

    #[inline(never)]
    fn end(mut self: Box<Self>, why: &str) {
        // What its requests still do, on a file system that hangs perhaps, keeps no other client out.
        drop(self.client.take());
        // Who ends our input may still read our output.
        let patience = matches!(self.peer, Peer::Stdio).then_some(LAST_REQUESTS);
        self.requests.end(patience);
        let session = self
            .requests
            .with(|dispatch| dispatch.session().map(|session| session.tag()));
        log::event(Level::Info, Event::ConnectionClosed, &|line| {
            line.value("connection", self.number);
            line.text("peer", self.peer);
            if let Some(session) = session {
                line.text("session", session);
            }
            line.text("why", why);
        });
        if matches!(self.peer, Peer::Stdio) {
            self.server.end();
        } else {
            self.server.unregister(self.number);
            self.hang_up();
        }
        if let Some(ended) = self.ended.take() {
            // Who waits is gone only with the program.
            let _ = ended.send(self.has_heard);
        }
    }

    /// After the last message: sends what is left and takes what still comes, for a moment.
    fn hang_up(&mut self) {
        let deadline = Instant::now() + LAST_WORDS;
        if self.outbound.drain(deadline) {
            self.outbound.stop_sending();
            while Instant::now() < deadline
                && matches!(self.reader.receive(LAST_WORDS), Received::Message)
            {}
        }
        self.outbound.kill();
    }
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
