//! The listening socket, and a thread for each connection that it brings.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::access::Access;
use super::caller::stranger;
use super::config::Config;
use super::connection::{self, Peer};
use super::entry::{Accepted, turn_away};
use super::error::ServeError;
use super::listen::ListenAddress;
use super::pending::PendingConnections;
use super::server::{STACK_BYTES, Server};
use super::unix::UnixSocket;
use super::upgrade::{UpgradePolicy, too_many_connections};
use crate::log::{self, Level};
use crate::net::Socket;

/// Connections that are accepted before the main thread looks at its other duties.
const ACCEPT_AT_ONCE: usize = 64;
/// Connections above the limit that may be told so at a time, and those of strangers; others are
/// just closed.
const MAX_REFUSALS: usize = 16;

/// The listening socket.
pub(super) struct Listener {
    port: Port,
    policy: Arc<UpgradePolicy>,
    access: Access,
    /// Without a token, only users who have the server's rights may come in.
    own_users_only: bool,
    max_connections: usize,
    /// Connections that have a thread, but for those of strangers.
    living: Arc<AtomicUsize>,
    /// Those of them that have not been let in yet.
    pending: Arc<PendingConnections>,
    /// Connections of users who may not come in.
    strangers: Arc<AtomicUsize>,
}

/// What is listened on.
enum Port {
    Tcp(TcpListener),
    Unix(UnixSocket),
}

impl Port {
    fn tcp(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok(Self::Tcp(socket))
    }

    /// The next connection.
    fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(socket) => {
                let (socket, address) = socket.accept()?;
                // A response followed by an event would otherwise wait 40 ms for an
                // acknowledgement. It fails on a peer that is gone, which its reader will see.
                let _ = socket.set_nodelay(true);
                Ok((Socket::Tcp(socket), Peer::WebSocket(address)))
            }
            Self::Unix(socket) => Ok((Socket::Unix(socket.accept()?), Peer::Unix)),
        }
    }
}

impl Listener {
    /// Listens where `config` says; none on stdio. `access` knows whom to let in.
    pub(super) fn open(config: &Config, access: Access) -> Result<Option<Self>, ServeError> {
        let port = match &config.listen {
            ListenAddress::Stdio => return Ok(None),
            ListenAddress::Unix(path) => UnixSocket::bind(path)
                .map(Port::Unix)
                .map_err(|error| ServeError::BindPath(path.clone(), error))?,
            ListenAddress::WebSocket(address) => {
                if !config.listen.is_local() {
                    if access.authenticator().is_none() {
                        return Err(ServeError::Unprotected(*address));
                    }
                    if !access.is_encrypted() {
                        log::warn!(
                            "{address}: tokens and all else cross the network in clear text; use \
                             --tls-cert and --tls-key, or listen on 127.0.0.1 and come through \
                             ssh -L"
                        );
                    }
                }
                Port::tcp(*address).map_err(|error| ServeError::Bind(*address, error))?
            }
        };
        let is_loopback = matches!(port, Port::Tcp(_)) && config.listen.is_local();
        Ok(Some(Self {
            port,
            policy: Arc::new(UpgradePolicy {
                loopback: is_loopback,
                allow_origins: config.options.allow_origins.clone(),
                allow_hosts: config.options.allow_hosts.clone(),
                authenticator: access.authenticator().cloned(),
            }),
            own_users_only: access.authenticator().is_none() && !config.options.allow_local_users,
            access,
            max_connections: config.options.max_connections,
            living: Arc::default(),
            pending: Arc::default(),
            strangers: Arc::default(),
        }))
    }

    /// Reads again what is in files.
    pub(super) fn reload(&self) {
        self.access.reload();
    }

    /// Where it listens on the network without asking for a token, if it does.
    pub(super) fn unprotected_url(&self) -> Option<String> {
        let is_open = self.access.authenticator().is_none() && matches!(self.port, Port::Tcp(_));
        self.url().filter(|_| is_open)
    }

    /// The address that was bound.
    fn url(&self) -> Option<String> {
        Some(match &self.port {
            Port::Tcp(socket) => {
                let scheme = if self.access.is_encrypted() {
                    "wss"
                } else {
                    "ws"
                };
                format!("{scheme}://{}", socket.local_addr().ok()?)
            }
            Port::Unix(socket) => ListenAddress::Unix(socket.path().to_owned()).to_string(),
        })
    }

    /// Prints the address that was bound, the one line on standard output.
    pub(super) fn announce(&self) {
        let Some(url) = self.url() else {
            log::warn!("cannot tell the address");
            return;
        };
        let mut stdout = io::stdout().lock();
        let written = writeln!(stdout, "{url}").and_then(|()| stdout.flush());
        if let Err(error) = written {
            log::warn!("cannot print the address {url}: {error}");
        }
    }

    /// Takes all connections that have arrived; each gets a thread.
    pub(super) fn accept(&mut self, server: &Arc<Server>) {
        for _ in 0..ACCEPT_AT_ONCE {
            match self.port.accept() {
                Ok((socket, peer)) => self.take(server, socket, peer),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return,
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ => {
                        // Mostly for want of descriptors: the connection stays in the
                        // queue, and without a pause we would spin on it.
                        let what = format_args!("cannot accept a connection: {error}");
                        log::OF_STRANGERS.write(Level::Warn, what);
                        thread::sleep(Duration::from_millis(20));
                        return;
                    }
                },
            }
        }
    }

    fn take(&mut self, server: &Arc<Server>, socket: Socket, peer: Peer) {
        let number = server.next_number();
        let living = Living::one_more(&self.living);
        if living.count > self.max_connections + MAX_REFUSALS {
            return;
        }
        let has_room = living.count <= self.max_connections || self.pending.close_oldest();
        let socket = Arc::new(socket);
        let pending = has_room.then(|| self.pending.add(number, &socket));
        let server = Arc::clone(server);
        let policy = Arc::clone(&self.policy);
        let tls = self.access.tls();
        let (own_users_only, strangers) = (self.own_users_only, Arc::clone(&self.strangers));
        let serve = move || {
            let stranger = own_users_only.then(|| stranger(&socket)).flatten();
            let _living = if stranger.is_some() {
                // They take no place of those who may come in.
                drop(living);
                let living = Living::one_more(&strangers);
                if living.count > MAX_REFUSALS {
                    return;
                }
                living
            } else {
                living
            };
            let Some(pending) = pending else {
                // Best effort: the connection ends either way.
                let _ = turn_away(socket, tls, &too_many_connections());
                return;
            };
            if stranger.is_some() {
                // To close it would make no room.
                pending.keep();
            }
            let accepted = Accepted {
                socket,
                tls,
                peer,
                pending,
            };
            connection::serve_socket(&server, accepted, number, stranger.as_ref(), &policy);
        };
        let thread = thread::Builder::new()
            .name(format!("conn-{number}"))
            .stack_size(STACK_BYTES);
        if let Err(error) = thread.spawn(serve) {
            let what = format_args!("{peer}: no thread to serve it: {error}");
            log::OF_STRANGERS.write(Level::Warn, what);
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.port {
            Port::Tcp(socket) => socket.as_fd(),
            Port::Unix(socket) => socket.as_fd(),
        }
    }
}

/// One connection in the count.
struct Living {
    all: Arc<AtomicUsize>,
    count: usize,
}

impl Living {
    fn one_more(all: &Arc<AtomicUsize>) -> Self {
        Self {
            all: Arc::clone(all),
            count: all.fetch_add(1, Ordering::Relaxed) + 1,
        }
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}
