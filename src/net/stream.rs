//! Both directions of a stream: where its bytes come from, with a limit on the wait, and where they
//! go, without a wait for room.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::tls::TlsSession;
use crate::sys::poll::{self, BROKEN, PollFd, READABLE, WRITABLE};
use crate::sys::retry;
use crate::sys::socket::{peek, send_now};

/// A connected stream socket, across a network or within this machine; it stays in blocking mode.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Reads some bytes; 0 at the end, `WouldBlock` when the read timeout has passed.
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => (&*socket).read(buffer),
            Self::Unix(socket) => (&*socket).read(buffer),
        }
    }

    /// Limits how long a read sleeps; the kernel's unit is about a millisecond.
    fn set_read_timeout(&self, limit: Duration) -> io::Result<()> {
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

    /// The first byte that is to be read, which stays there; none at the end.
    /// `WouldBlock` when `timeout` has passed.
    pub fn peek(&mut self, timeout: Duration) -> io::Result<Option<u8>> {
        self.sleep_at_most(timeout)?;
        let mut first = [0];
        let count = retry(|| peek(self.socket.as_fd(), &mut first))?;
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
        // Where there is a timeout, the kernel does not go on by itself behind a stop of this process.
        retry(|| self.socket.read(buffer))
    }
}

/// Any other stream, such as standard input.
#[derive(Debug)]
pub struct StreamSource {
    stream: File,
    /// Where the answers go.
    answers: File,
}

impl StreamSource {
    /// Reads from `stream` until it ends, or until nobody can read any more what is written to
    /// `answers`.
    pub fn new(stream: OwnedFd, answers: OwnedFd) -> Self {
        Self {
            stream: File::from(stream),
            answers: File::from(answers),
        }
    }
}

impl Source for StreamSource {
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        let mut fds = [
            PollFd::new(self.stream.as_fd(), READABLE),
            PollFd::new(self.answers.as_fd(), BROKEN),
        ];
        poll::wait(&mut fds, Some(timeout))?;
        if fds[0].is_ready() {
            return self.stream.read(buffer);
        }
        match fds[1].is_ready() {
            true => Err(io::ErrorKind::BrokenPipe.into()),
            false => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

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
    pub(crate) fn write_now(&self, data: &[u8]) -> io::Result<usize> {
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
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
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
    pub(crate) fn hang_up(&self) {
        match self {
            Self::Socket(socket) => socket.shut_down(Shutdown::Both),
            Self::Tls(session) => session.hang_up(),
            Self::Stream(_) => {}
        }
    }
}
