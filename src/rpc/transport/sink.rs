//! Where a connection's bytes go, without waiting for room.

use std::fs::File;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use super::socket::Socket;
use super::tls::TlsSession;
use crate::sys::poll::{self, PollFd, WRITABLE};
use crate::sys::socket::send_now;

/// The sending side of a stream.
#[derive(Debug)]
pub enum Sink {
    /// A socket as it is.
    Socket(Arc<Socket>),
    /// A socket whose bytes are encrypted.
    Tls(Arc<TlsSession>),
    /// A stream in non-blocking mode, or a file or terminal, where a write may wait.
    Stream(File),
}

impl Sink {
    /// Sends the beginning of `data` and tells how much; `WouldBlock` when there is no room.
    /// After that the next call must begin with the same bytes, of which some may be on their way.
    pub(super) fn write_now(&self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => send_now(socket.as_fd(), data),
            Self::Tls(session) => session.send_now(data),
            Self::Stream(file) => (&*file).write(data),
        }
    }

    /// Sends all of `data`, waiting for room until `deadline`.
    pub fn write_all(&self, mut data: &[u8], deadline: Instant) -> io::Result<()> {
        while !data.is_empty() {
            match self.write_now(data) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => data = &data[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    poll::wait(&mut [PollFd::new(self.fd(), WRITABLE)], Some(left))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What to poll for room.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Socket(socket) => socket.as_fd(),
            Self::Tls(session) => session.as_fd(),
            Self::Stream(file) => file.as_fd(),
        }
    }

    /// Tells the peer that nothing more will come, so that it can hang up.
    pub fn stop_sending(&self) {
        match self {
            Self::Socket(socket) => socket.shut_down(Shutdown::Write),
            Self::Tls(session) => session.stop_sending(),
            Self::Stream(_) => {}
        }
    }

    /// Ends both directions; a reader that sleeps wakes up. Nothing where there is no such thing.
    pub(super) fn hang_up(&self) {
        match self {
            Self::Socket(socket) => socket.shut_down(Shutdown::Both),
            Self::Tls(session) => session.hang_up(),
            Self::Stream(_) => {}
        }
    }
}
