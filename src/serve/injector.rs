//! How clients get in that did not come to a listener: through connections that we made ourselves.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connection::{self, Connection, Peer};
use super::server::Server;
use crate::net::Dialled;
use crate::net::{Sink, Socket, SocketSource};
use crate::rpc::transport::{Framing, LineReader, Outbound, Role, WebSocketReader};

/// What has something to say when the server ends, after all connections have.
pub trait ShutdownHook: Send + Sync {
    /// Says it, by `deadline`.
    fn say(&self, deadline: Instant);
}

/// A way into the server; all are the same.
#[derive(Clone)]
pub struct Injector(Arc<Server>);

impl Injector {
    pub(super) fn new(server: Arc<Server>) -> Self {
        Self(server)
    }

    /// Serves the one client behind a websocket, on this thread until it is gone. Messages call
    /// the websocket `name`. Whether the client has said anything.
    pub fn serve_websocket(&self, websocket: Dialled, name: &'static str) -> bool {
        let outbound = Outbound::new(websocket.sink, Framing::WebSocket(Role::Client));
        let outbound = Arc::new(outbound);
        let (source, buffer) = (websocket.source, websocket.buffer);
        let reader = WebSocketReader::new(source, buffer, Arc::clone(&outbound));
        let (number, peer) = (self.0.next_number(), Peer::Rendezvous(name));
        Connection::new(&self.0, Box::new(reader), outbound, number, peer).run_to_the_end()
    }

    /// Serves a client whose messages are lines on `socket`, on a thread of its own.
    ///
    /// # Errors
    /// There is no thread.
    pub fn serve_lines(&self, socket: UnixStream) -> io::Result<()> {
        serve_lines(&self.0, socket, Peer::Relay)
    }

    /// Calls `shutdown_hook` last at the end of the server from now on, or nothing.
    pub fn set_shutdown_hook(&self, shutdown_hook: Option<Arc<dyn ShutdownHook>>) {
        self.0.set_shutdown_hook(shutdown_hook);
    }

    /// Time between pings.
    pub fn ping_interval(&self) -> Duration {
        self.0.ping_interval
    }

    /// Whether the server is about to end.
    pub fn is_draining(&self) -> bool {
        self.0.services.is_draining()
    }

    /// Ends the server: there are no more clients.
    pub fn close(&self) {
        self.0.end();
    }
}

/// Serves `peer`, whose messages are lines on `socket`, on a thread of its own.
pub(super) fn serve_lines(server: &Arc<Server>, socket: UnixStream, peer: Peer) -> io::Result<()> {
    let server = Arc::clone(server);
    let number = server.next_number();
    let serve = move || {
        let socket = Arc::new(Socket::Unix(socket));
        let sink = Sink::Socket(Arc::clone(&socket));
        let outbound = Arc::new(Outbound::new(sink, Framing::Lines));
        let reader = LineReader::new(SocketSource::new(socket), Arc::clone(&outbound));
        Connection::new(&server, Box::new(reader), outbound, number, peer).run();
    };
    connection::spawn(number, serve)
}
