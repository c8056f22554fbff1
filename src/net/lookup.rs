//! Looking names up within a time limit.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use crate::oneshot::{self, RecvError};

/// The stack of a lookup's thread: the C library keeps its packets there.
const STACK: usize = 256 * 1024;

/// The addresses of a host; none when `timeout` has passed.
pub(super) fn addresses(
    host: &str,
    port: u16,
    timeout: Duration,
) -> io::Result<Option<Vec<SocketAddr>>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(Some(vec![SocketAddr::new(address, port)]));
    }
    let host = host.to_owned();
    let found = in_time(timeout, move || {
        (&*host, port).to_socket_addrs().map(Iterator::collect)
    })?;
    found.transpose()
}

/// Does what cannot be cancelled, as a lookup, on a thread that may outlive the wait. None when
/// `timeout` has passed.
///
/// # Errors
/// The system has no more threads.
pub(super) fn in_time<T: Send + 'static>(
    timeout: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Option<T>> {
    let (sender, receiver) = oneshot::channel();
    let thread = thread::Builder::new()
        .name("lookup".into())
        .stack_size(STACK);
    thread.spawn(move || {
        // Whoever asked may have lost patience.
        sender.send(work());
    })?;
    match receiver.wait(Some(timeout)) {
        Ok(done) => Ok(Some(done)),
        Err(RecvError::TimedOut) => Ok(None),
        Err(RecvError::Gone) => Err(io::Error::other("the lookup's thread ended")),
    }
}
