//! A socket whose bytes are encrypted.
//!
//! The state of TLS belongs to both halves of a connection, so it is behind a lock; but nobody
//! sleeps with the lock in hand. The reader sleeps on the socket and takes the lock for what it has
//! got; who sends encrypts a piece and sends what the socket takes. What it does not take stays
//! encrypted and counts as unsent: the piece is reported when all of it is gone, so a sender's
//! accounts are the same as without TLS, and at most one piece is ever held here.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

use super::stream::{Socket, SocketSource, Source};
use crate::deadline;
use crate::sys::poll::{self, PollFd, WRITABLE};
use crate::sys::socket::{send_now, send_vectored_now};
use crate::sys::sync::Mutex;

/// How much is encrypted at a time: four records, and one system call.
const PIECE: usize = 64 * 1024;
/// What rustls may hold for the socket: a piece, its overhead, and an alert or a handshake beside
/// it.
const HELD: usize = 2 * PIECE;
/// An idle connection's buffer for what arrives encrypted.
const SMALL: usize = 2 * 1024;
/// A busy one's: two whole records.
const LARGE: usize = 34 * 1024;

/// What both halves of an encrypted connection share.
pub struct TlsSession {
    socket: Arc<Socket>,
    state: Mutex<State>,
}

struct State {
    connection: Connection,
    /// Bytes of the sender that are encrypted and not yet reported as sent.
    sealed: usize,
}

impl State {
    /// Sends what is encrypted.
    fn flush(&mut self, socket: &Socket) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut SendNow(socket))?;
        }
        Ok(())
    }
}

/// What came of the bytes received.
enum Opened {
    /// So many bytes for the reader.
    Plain(usize),
    /// The peer has said that nothing more comes.
    End,
    /// Nothing yet.
    NeedMore,
    /// Nothing before the peer has our part of the handshake, for which the socket has no room.
    NeedRoom,
}

impl TlsSession {
    /// A session that waits for the peer's handshake.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn accept(socket: Arc<Socket>, config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self::new(socket, ServerConnection::new(config)?.into()))
    }

    /// A session that begins the handshake, with a server that must be `name`.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn connect(
        socket: Arc<Socket>,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        Ok(Self::new(
            socket,
            ClientConnection::new(config, name)?.into(),
        ))
    }

    fn new(socket: Arc<Socket>, mut connection: Connection) -> Self {
        connection.set_buffer_limit(Some(HELD));
        Self {
            socket,
            state: Mutex::new(State {
                connection,
                sealed: 0,
            }),
        }
    }

    /// Sends the beginning of `data`, as [`Sink::write_now`](super::stream::Sink) does.
    pub(crate) fn send_now(&self, data: &[u8]) -> io::Result<usize> {
        let mut state = self.state.lock();
        if state.connection.is_handshaking() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if state.sealed == 0 {
            // Makes room first, so that there is some.
            state.flush(&self.socket)?;
            let piece = &data[..data.len().min(PIECE)];
            state.sealed = state.connection.writer().write(piece)?;
        }
        state.flush(&self.socket)?;
        Ok(std::mem::take(&mut state.sealed))
    }

    /// Says that nothing more will come.
    pub(crate) fn stop_sending(&self) {
        let mut state = self.state.lock();
        state.connection.send_close_notify();
        // A peer that takes nothing any more has to do without.
        let _ = state.flush(&self.socket);
        self.socket.shut_down(Shutdown::Write);
    }

    pub(crate) fn hang_up(&self) {
        self.socket.shut_down(Shutdown::Both);
    }

    /// Decrypts from `cipher` until there is something for `plain`; what the protocol itself has
    /// to answer goes out on the way.
    fn open(&self, cipher: &mut Cipher, plain: &mut [u8]) -> io::Result<Opened> {
        let mut state = self.state.lock();
        loop {
            match state.connection.reader().read(plain) {
                Ok(0) => return Ok(Opened::End),
                Ok(count) => return Ok(Opened::Plain(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if let Some(opened) = self.feed(&mut state, cipher)? {
                return Ok(opened);
            }
        }
    }

    /// Gets on with the handshake; nothing for the reader once it is done.
    fn shake_hands(&self, cipher: &mut Cipher) -> io::Result<Opened> {
        let mut state = self.state.lock();
        while state.connection.is_handshaking() {
            if let Some(opened) = self.feed(&mut state, cipher)? {
                return Ok(opened);
            }
        }
        Ok(Opened::Plain(0))
    }

    /// Hands over what has arrived encrypted, and sends what is to be said to it. None when that
    /// may have brought something; else why nothing can come.
    fn feed(&self, state: &mut State, cipher: &mut Cipher) -> io::Result<Option<Opened>> {
        if cipher.bytes().is_empty() {
            let is_stuck = state.connection.is_handshaking() && state.connection.wants_write();
            return Ok(Some(if is_stuck {
                Opened::NeedRoom
            } else {
                Opened::NeedMore
            }));
        }
        match state.connection.read_tls(&mut cipher.bytes())? {
            0 => return Ok(Some(Opened::End)),
            count => cipher.consume(count),
        }
        let processed = state.connection.process_new_packets();
        match state.flush(&self.socket) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            // What did not go out goes with what is sent next.
            _ => {}
        }
        processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(None)
    }

    fn flush(&self) -> io::Result<()> {
        self.state.lock().flush(&self.socket)
    }
}

impl AsFd for TlsSession {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for TlsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSession")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

/// Takes what the socket takes now.
struct SendNow<'a>(&'a Socket);

impl Write for SendNow<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        send_now(self.0.as_fd(), data)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        send_vectored_now(self.0.as_fd(), pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The reading side of an encrypted connection. Its first read does the handshake too.
#[derive(Debug)]
pub struct TlsSource {
    session: Arc<TlsSession>,
    socket: SocketSource,
    cipher: Cipher,
}

impl TlsSource {
    /// Reads from `socket` what `session` decrypts.
    pub fn new(socket: SocketSource, session: Arc<TlsSession>) -> Self {
        Self {
            session,
            socket,
            cipher: Cipher::default(),
        }
    }

    /// Does the handshake alone, before there is anything to read. `WouldBlock` when `timeout`
    /// has passed, `UnexpectedEof` when the peer hangs up, `InvalidData` when it is not trusted.
    pub fn shake_hands(&mut self, timeout: Duration) -> io::Result<()> {
        match self.wait_for(timeout, TlsSession::shake_hands)? {
            Some(_) => Ok(()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Waits for the socket until `step` has opened something; none at the end.
    fn wait_for(
        &mut self,
        timeout: Duration,
        mut step: impl FnMut(&TlsSession, &mut Cipher) -> io::Result<Opened>,
    ) -> io::Result<Option<usize>> {
        let deadline = deadline::after(timeout);
        let mut left = timeout;
        loop {
            match step(&self.session, &mut self.cipher)? {
                Opened::Plain(count) => return Ok(Some(count)),
                Opened::End => return Ok(None),
                Opened::NeedMore => {
                    if self.cipher.fill(&mut self.socket, left)? == 0 {
                        return Ok(None);
                    }
                }
                Opened::NeedRoom => {
                    poll::wait(
                        &mut [PollFd::new(self.session.as_fd(), WRITABLE)],
                        Some(left),
                    )?;
                    match self.session.flush() {
                        Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                            return Err(error);
                        }
                        _ => {}
                    }
                }
            }
            // A peer that sends a record byte by byte gets no more time for it.
            left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() && self.cipher.bytes().is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
    }
}

impl Source for TlsSource {
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        let count = self.wait_for(timeout, |session, cipher| session.open(cipher, buffer))?;
        Ok(count.unwrap_or(0))
    }
}

/// What has arrived encrypted.
#[derive(Debug, Default)]
struct Cipher {
    data: Vec<u8>,
    start: usize,
    end: usize,
}

impl Cipher {
    fn bytes(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    /// Reads once, when everything is used up.
    fn fill(&mut self, socket: &mut SocketSource, timeout: Duration) -> io::Result<usize> {
        let was_full = self.end == self.data.len();
        if was_full && self.data.len() < LARGE {
            let size = if self.data.is_empty() { SMALL } else { LARGE };
            self.data.resize(size, 0);
        }
        (self.start, self.end) = (0, 0);
        let filled = socket.read(&mut self.data, timeout);
        match &filled {
            Ok(count) => self.end = *count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.data = Vec::new();
            }
            Err(_) => {}
        }
        filled
    }
}
