//! The service manager that started the server, such as systemd: it is told when the server is ready and when it ends,
//! may want signs of life, and may hand over the socket to listen on.
//!
//! It says all of that in variables, which are taken from the environment: they are for no child.

use std::ffi::OsString;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::log;
use crate::serve::ServeError;
use crate::serve::listen::ListenAddress;
use crate::sys::initial_environment::take_variable;
use crate::sys::{handed, process};

/// How to reach the manager, and how often it wants to hear that the server lives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceManager {
    /// A path, or `@` and an abstract name.
    socket: Option<OsString>,
    watchdog: Option<Duration>,
}

/// A socket that the manager listens on for the server.
#[derive(Debug)]
pub struct HandedSocket {
    pub(crate) socket: OwnedFd,
    pub(crate) address: ListenAddress,
}

impl ServiceManager {
    /// The one that the variables name, if any. For the beginning of `main`.
    pub fn find() -> Self {
        let socket = take_variable("NOTIFY_SOCKET");
        let interval = number("WATCHDOG_USEC").map(Duration::from_micros);
        Self {
            socket,
            // Half of it, as a thread may run late.
            watchdog: interval
                .filter(|_| is_for_us("WATCHDOG_PID"))
                .map(|interval| (interval / 2).max(Duration::from_millis(1))),
        }
    }

    /// Tells it a state, such as `READY=1`. A manager that does not listen changes nothing for clients.
    pub(crate) fn tell(&self, state: &str) {
        let Some(name) = &self.socket else { return };
        let sent = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => SocketAddr::from_pathname(name),
        }
        .and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            socket.send_to_addr(state.as_bytes(), &address)
        });
        if let Err(error) = sent {
            log::warn!("the service manager cannot be told {state}: {error}");
        }
    }

    /// How long until it wants the next sign of life, the last one having been then; forever without a watchdog.
    pub(crate) fn until_sign(&self, last: Instant) -> Option<Duration> {
        let interval = self.watchdog?;
        Some((last + interval).saturating_duration_since(Instant::now()))
    }
}

/// The socket that the manager has handed over, if any. For the beginning of `main`, and once.
///
/// # Errors
/// There is more than one, or it is none that clients can connect to.
pub fn handed_socket() -> Result<Option<HandedSocket>, ServeError> {
    let is_for_us = is_for_us("LISTEN_PID");
    let count = number("LISTEN_FDS").unwrap_or(0);
    take_variable("LISTEN_FDNAMES");
    match count {
        _ if !is_for_us => return Ok(None),
        0 => return Ok(None),
        1 => {}
        _ => {
            return Err(ServeError::Handed(format!(
                "{count} sockets, and one can be served"
            )));
        }
    }
    let wrong = |error| ServeError::Handed(format!("what clients cannot connect to: {error}"));
    let socket = handed::listener().map_err(wrong)?;
    let copy = socket.try_clone().map_err(wrong)?;
    let address = match TcpListener::from(copy).local_addr() {
        Ok(address) => ListenAddress::WebSocket(address),
        Err(_) => {
            let copy = socket.try_clone().map_err(wrong)?;
            let address = UnixListener::from(copy).local_addr().map_err(wrong)?;
            let name = address.as_abstract_name().map(String::from_utf8_lossy);
            let name = name.map(|name| PathBuf::from(format!("@{name}")));
            let path = address.as_pathname().map(|path| path.to_owned());
            ListenAddress::Unix(path.or(name).unwrap_or_default())
        }
    };
    Ok(Some(HandedSocket { socket, address }))
}

/// The number in a variable.
fn number(name: &str) -> Option<u64> {
    take_variable(name)?.to_str()?.parse().ok()
}

/// Whether the variable names this process, or nobody in particular: a program between the manager and us may have
/// left it to us unread.
fn is_for_us(name: &str) -> bool {
    match take_variable(name) {
        None => name != "LISTEN_PID",
        Some(pid) => pid.to_str() == Some(&process::own_pid().to_string()),
    }
}
