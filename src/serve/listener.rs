//! The listening socket, and a thread for each connection that it brings.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::auth::Authenticator;
use super::connection;
use super::server::{Config, STACK_BYTES, STDIO_CONNECTION, ServeError, Server};
use super::upgrade::{UpgradePolicy, too_many_connections};
use crate::log;

/// Connections above the limit that may be told so at a time; others are just closed.
const MAX_REFUSALS: usize = 16;

/// The listening socket.
pub(super) struct Listener {
    socket: TcpListener,
    policy: Arc<UpgradePolicy>,
    max_connections: usize,
    /// Connections that have a thread.
    living: Arc<AtomicUsize>,
    next_number: u64,
}

impl Listener {
    /// Listens on `address`; `authenticator` asks clients who they are.
    pub(super) fn open(
        config: &Config,
        address: SocketAddr,
        authenticator: Option<Arc<Authenticator>>,
    ) -> Result<Self, ServeError> {
        if !config.listen.is_local() {
            if authenticator.is_none() {
                return Err(ServeError::Unprotected(address));
            }
            log::warn!(
                "{address}: tokens and all else cross the network in clear text; better listen on \
                 127.0.0.1 and come through ssh -L"
            );
        }
        let bind = |error| ServeError::Bind(address, error);
        let socket = TcpListener::bind(address).map_err(bind)?;
        socket.set_nonblocking(true).map_err(bind)?;
        Ok(Self {
            socket,
            policy: Arc::new(UpgradePolicy {
                loopback: config.listen.is_local(),
                allow_origins: config.allow_origins.clone(),
                allow_hosts: config.allow_hosts.clone(),
                authenticator,
            }),
            max_connections: config.max_connections,
            living: Arc::default(),
            next_number: STDIO_CONNECTION + 1,
        })
    }

    /// Reads again what is in files.
    pub(super) fn reload(&self) {
        if let Some(authenticator) = &self.policy.authenticator {
            authenticator.reload();
        }
    }

    /// Prints the address that was bound, the one line on standard output.
    pub(super) fn announce(&self) {
        let Ok(address) = self.socket.local_addr() else {
            return;
        };
        let mut stdout = io::stdout().lock();
        let written = writeln!(stdout, "ws://{address}").and_then(|()| stdout.flush());
        if let Err(error) = written {
            log::warn!("cannot print the address ws://{address}: {error}");
        }
    }

    /// Takes all connections that have arrived; each gets a thread.
    pub(super) fn accept(&mut self, server: &Arc<Server>) {
        loop {
            match self.socket.accept() {
                Ok((socket, address)) => self.take(server, socket, address),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return,
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ => {
                        // Mostly for want of descriptors: the connection stays in the
                        // queue, and without a pause we would spin on it.
                        log::warn!("cannot accept a connection: {error}");
                        thread::sleep(Duration::from_millis(20));
                        return;
                    }
                },
            }
        }
    }

    fn take(&mut self, server: &Arc<Server>, socket: TcpStream, address: SocketAddr) {
        let number = self.next_number;
        self.next_number += 1;
        let living = Living::one_more(&self.living);
        let is_refused = living.count > self.max_connections;
        if living.count > self.max_connections + MAX_REFUSALS {
            return;
        }
        // A response followed by an event would otherwise wait 40 ms for an acknowledgement.
        if let Err(error) = socket.set_nodelay(true) {
            log::info!("{address}: gone before it was served: {error}");
            return;
        }
        let server = Arc::clone(server);
        let policy = Arc::clone(&self.policy);
        let serve = move || {
            let _living = living;
            if is_refused {
                // Best effort: the connection ends either way.
                let _ = connection::refuse(&socket, &too_many_connections());
            } else {
                connection::serve_socket(&server, socket, address, number, &policy);
            }
        };
        let thread = thread::Builder::new()
            .name(format!("conn-{number}"))
            .stack_size(STACK_BYTES);
        if let Err(error) = thread.spawn(serve) {
            log::warn!("{address}: no thread to serve it: {error}");
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
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
