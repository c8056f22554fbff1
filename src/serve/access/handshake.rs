//! From an accepted socket to a websocket: TLS where it is asked for, then the HTTP request.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;

use super::upgrade::{self, Progress, Refused, Response, UpgradePolicy};
use crate::log::{self, Event, Level};
use crate::net::{InBuffer, Sink, Socket, SocketSource, Source, TlsSession, TlsSource};
use crate::serve::caller::Stranger;
use crate::serve::connection::{Peer, Pending, Place, Places};
use crate::serve::metrics::{self, METRICS};
use crate::serve::refusal::Cause;
use crate::serve::server::Server;

/// From the connection to the upgrade, and from there to `initialize`.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the last bytes to a client may take.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(1);
/// The first byte of every TLS connection, and of no HTTP request.
const TLS_HANDSHAKE: u8 = 0x16;

/// A connection that has just come.
pub(crate) struct Accepted {
    pub(crate) socket: Arc<Socket>,
    /// Where TLS is asked for.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) caller: Caller,
    pub(crate) pending: Pending,
    /// The places of clients.
    pub(crate) clients: Arc<Places>,
}

/// Whom refusals name.
#[derive(Clone, Copy)]
pub(crate) struct Caller {
    /// The connection's number.
    pub(crate) connection: u64,
    pub(crate) peer: Peer,
}

impl Caller {
    /// Tells the operator.
    pub(crate) fn refused(self, refused: &Refused) {
        METRICS.refused(refused.cause);
        let level = match refused.cause.is_warning() {
            true => Level::Warn,
            false => Level::Info,
        };
        log::event(level, Event::ConnectionRefused, &|line| {
            line.value("connection", self.connection);
            line.text("peer", self.peer);
            line.text("cause", refused.cause.name());
            if !refused.status.is_empty() {
                line.value("status", refused.status);
            }
            if let Some((name, value)) = &refused.about {
                line.text(name, value);
            }
            line.text("why", refused.why.trim_end());
        });
    }

    /// The same where nothing could be answered.
    pub(crate) fn lost(self, cause: Cause, why: String) {
        self.refused(&Refused {
            cause,
            status: "",
            why: why.into(),
            about: None,
        });
    }
}

/// A client that has been let in.
pub(crate) struct Entry {
    pub(crate) source: Box<dyn Source + Send>,
    pub(crate) sink: Sink,
    /// What came behind the request.
    pub(crate) buffer: InBuffer,
    pub(crate) place: Place,
}

/// Reads the HTTP request and answers it; none if it did not become a websocket. A stranger gets
/// every answer but that one. Inlined, its locals would stay on the stack of the connection's thread.
#[inline(never)]
pub(crate) fn let_in(
    server: &Server,
    accepted: Accepted,
    stranger: Option<&Stranger>,
    policy: &UpgradePolicy,
) -> io::Result<Option<Entry>> {
    let Accepted {
        socket,
        tls,
        caller,
        pending,
        clients,
    } = accepted;
    let deadline = Instant::now() + HANDSHAKE;
    let Some((mut source, sink)) = halves(socket, tls, caller)? else {
        return Ok(None);
    };
    let refuse = |source: &mut dyn Source, response: &Response| {
        response.refused.iter().for_each(|it| caller.refused(it));
        respond(source, &sink, &response.bytes).map(|()| None)
    };
    let mut buffer = InBuffer::default();
    loop {
        match policy.examine(buffer.bytes(), server.services.is_draining()) {
            Progress::NeedMore => {}
            Progress::Respond(response) => return refuse(&mut *source, &response),
            Progress::Metrics { with_text } => {
                let response = match stranger {
                    Some(stranger) => upgrade::not_for(stranger),
                    None => upgrade::metrics(metrics::page(server), with_text),
                };
                return refuse(&mut *source, &response);
            }
            Progress::Upgrade { response, head_len } => {
                if let Some(stranger) = stranger {
                    return refuse(&mut *source, &upgrade::not_for(stranger));
                }
                let Some(place) = clients.take() else {
                    return refuse(&mut *source, &upgrade::too_many_connections());
                };
                if !pending.keep() {
                    // It was closed to make room for another.
                    return Ok(None);
                }
                sink.write_all(&response, deadline)?;
                buffer.consume(head_len);
                return Ok(Some(Entry {
                    source,
                    sink,
                    buffer,
                    place,
                }));
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let filled = if left.is_zero() {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            buffer.fill(&mut *source, upgrade::MAX_HEAD, left)
        };
        match filled {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    return refuse(&mut *source, &upgrade::timed_out());
                }
                _ => return Err(error),
            },
        }
    }
}

/// Both directions of a socket. None for a client that speaks no TLS where it must: it has been
/// told so.
fn halves(
    socket: Arc<Socket>,
    tls: Option<Arc<ServerConfig>>,
    caller: Caller,
) -> io::Result<Option<(Box<dyn Source + Send>, Sink)>> {
    let mut source = SocketSource::new(Arc::clone(&socket));
    let Some(config) = tls else {
        return Ok(Some((Box::new(source), Sink::Socket(socket))));
    };
    match source.peek(HANDSHAKE)? {
        Some(TLS_HANDSHAKE) => {}
        None => return Ok(None),
        Some(_) => {
            let response = upgrade::wants_tls();
            response.refused.iter().for_each(|it| caller.refused(it));
            let sink = Sink::Socket(socket);
            return respond(&mut source, &sink, &response.bytes).map(|()| None);
        }
    }
    let session = TlsSession::accept(socket, config).map_err(io::Error::other)?;
    let session = Arc::new(session);
    let source = TlsSource::new(source, Arc::clone(&session));
    Ok(Some((Box::new(source), Sink::Tls(session))))
}

/// Sends an HTTP answer and closes so that the client can read it: what it
/// still sends is taken for a moment, since unread bytes would reset the connection.
fn respond(source: &mut dyn Source, sink: &Sink, answer: &[u8]) -> io::Result<()> {
    let deadline = Instant::now() + LAST_WORDS;
    sink.write_all(answer, deadline)?;
    sink.stop_sending();
    let mut rest = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        match source.read(&mut rest, left) {
            Ok(0) | Err(_) => return Ok(()),
            Ok(_) => {}
        }
    }
}
