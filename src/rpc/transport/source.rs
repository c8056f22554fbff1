//! Bytes from a stream, with a limit on the wait.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use super::socket::Socket;
use crate::sys::poll::{self, PollFd, READABLE};
use crate::sys::socket::peek;

/// Where a reader gets its bytes. Owned by one thread.
pub trait Source {
    /// Reads some bytes; 0 at the end. `WouldBlock` when `timeout` has passed.
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize>;
}

impl<S: Source + ?Sized> Source for Box<S> {
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        (**self).read(buffer, timeout)
    }
}

/// A socket. Its reader sleeps in the read itself, so a message
/// costs one system call; shutting the socket down wakes it.
#[derive(Debug)]
pub struct SocketSource {
    socket: Arc<Socket>,
    timeout: Duration,
}

impl SocketSource {
    /// Reads from `socket`, which its writer shares.
    pub fn new(socket: Arc<Socket>) -> Self {
        Self {
            socket,
            timeout: Duration::ZERO,
        }
    }
}

impl SocketSource {
    /// The first byte that is to be read, which stays there; none at the end.
    /// `WouldBlock` when `timeout` has passed.
    pub fn peek(&mut self, timeout: Duration) -> io::Result<Option<u8>> {
        self.sleep_at_most(timeout)?;
        let mut first = [0];
        let count = peek(self.socket.as_fd(), &mut first)?;
        Ok((count > 0).then_some(first[0]))
    }

    fn sleep_at_most(&mut self, timeout: Duration) -> io::Result<()> {
        if timeout != self.timeout {
            self.socket.set_read_timeout(timeout)?;
            self.timeout = timeout;
        }
        Ok(())
    }
}

impl Source for SocketSource {
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        self.sleep_at_most(timeout)?;
        self.socket.read(buffer)
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
