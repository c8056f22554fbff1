//! A connected stream socket, across a network or within this machine.

use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Either kind of socket; it stays in blocking mode.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix stream socket.
    Unix(UnixStream),
}

impl Socket {
    /// Reads some bytes; 0 at the end, `WouldBlock` when the read timeout has passed.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => (&*socket).read(buffer),
            Self::Unix(socket) => (&*socket).read(buffer),
        }
    }

    /// Limits how long a read sleeps; the kernel's unit is about a millisecond.
    pub(super) fn set_read_timeout(&self, limit: Duration) -> io::Result<()> {
        // Zero would mean "for ever" to the kernel.
        let limit = Some(limit.max(Duration::from_millis(1)));
        match self {
            Self::Tcp(socket) => socket.set_read_timeout(limit),
            Self::Unix(socket) => socket.set_read_timeout(limit),
        }
    }

    /// Ends one direction or both; a read that sleeps wakes up.
    pub fn shut_down(&self, how: Shutdown) {
        // Already disconnected is as good.
        let _ = match self {
            Self::Tcp(socket) => socket.shutdown(how),
            Self::Unix(socket) => socket.shutdown(how),
        };
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}
