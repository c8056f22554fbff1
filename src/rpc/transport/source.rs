//! Bytes from a stream, with a limit on the wait.

use std::fs::File;
use std::io::{self, Read};
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::sys::poll::{self, PollFd, READABLE};

/// Where a reader gets its bytes. Owned by one thread.
pub trait Source {
    /// Reads some bytes; 0 at the end. `WouldBlock` when `timeout` has passed.
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize>;
}

/// A TCP connection. Its reader sleeps in the read itself, so a message
/// costs one system call; shutting the socket down wakes it.
#[derive(Debug)]
pub struct SocketSource {
    socket: Arc<TcpStream>,
    timeout: Duration,
}

impl SocketSource {
    /// Reads from `socket`, which its writer shares.
    pub fn new(socket: Arc<TcpStream>) -> Self {
        Self {
            socket,
            timeout: Duration::ZERO,
        }
    }
}

impl Source for SocketSource {
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        if timeout != self.timeout {
            // Zero would mean "for ever" to the kernel.
            self.socket
                .set_read_timeout(Some(timeout.max(Duration::from_millis(1))))?;
            self.timeout = timeout;
        }
        (&*self.socket).read(buffer)
    }
}

/// Any other stream, such as standard input.
#[derive(Debug)]
pub struct StreamSource(File);

impl StreamSource {
    /// Reads from `stream` until it ends.
    pub fn new(stream: OwnedFd) -> Self {
        Self(File::from(stream))
    }
}

impl Source for StreamSource {
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        let mut fds = [PollFd::new(self.0.as_fd(), READABLE)];
        poll::wait(&mut fds, Some(timeout))?;
        if !fds[0].is_ready() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.read(buffer)
    }
}
