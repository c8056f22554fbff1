//! Where the bytes go.

use std::fs::File;
use std::io::{self, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use crate::sys::socket;

/// Where the bytes go.
#[derive(Debug)]
pub enum Sink {
    /// A TCP connection.
    Socket(Arc<TcpStream>),
    /// A stream in non-blocking mode, or a file or terminal, where a write may wait.
    Stream(File),
}

impl Sink {
    /// Writes what the stream takes now.
    pub(super) fn write_now(&self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket::send_now(socket.as_fd(), data),
            Self::Stream(file) => (&*file).write(data),
        }
    }

    /// What to poll for room.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Socket(socket) => socket.as_fd(),
            Self::Stream(file) => file.as_fd(),
        }
    }
}
