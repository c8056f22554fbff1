//! Reaching a server: from a URL to a websocket, in the client's role.
//!
//! [`Dial::run`] blocks its caller for at most one time limit over all stages: the name is looked
//! up, each address is tried in turn, a proxy is asked for a way through, TLS is agreed on, and
//! HTTP is upgraded. What comes out is what a listener gets of a client it has let in: something
//! to read from, something to send to, and what has arrived already.
//!
//! Loopback addresses are never given to a proxy. Messages show a URL without its credentials and
//! its query.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::inbuffer::InBuffer;
use super::local_user::other_user;
use super::stream::{Sink, Socket, SocketSource, Source};
use super::tls::{TlsSession, TlsSource};
use super::trust::{Fingerprint, Trust, WrongPin, config_for};
use super::upgrade::{Failure, Upgrade};
use super::url::{Url, UrlError};
use super::{lookup, proxy};
use crate::deadline;
use crate::log;
use crate::sys::process::user_id;
use crate::sys::socket::{connect_unix, peer_user};

/// The reference's limit on connecting.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a token is not sent to a server elsewhere without TLS; the reference's words.
pub const PLAINTEXT: &str =
    "exec-server WebSocket headers require wss:// or a loopback destination";

/// Why a certificate cannot be asked for.
pub const NOT_ENCRYPTED: &str = "a certificate can be believed, or pinned, with wss:// only";

/// Whom to reach, and how.
#[derive(Clone)]
pub struct Dial {
    /// Whom.
    pub target: Target,
    /// Sent as `Authorization: Bearer`; not in clear text to another machine.
    pub bearer: Option<String>,
    /// Further headers of the upgrade, in order.
    pub headers: Vec<(String, String)>,
    /// For everything; 10 s unless set.
    pub timeout: Duration,
    /// Whose certificate is believed, where there is TLS; all but the usual asks for it.
    pub trust: Trust,
    /// Whether a Unix socket may be any user's of this machine, not only ours or root's.
    pub allows_local_users: bool,
}

/// Both directions of an open websocket, on which we are the client.
pub struct Dialled {
    /// Where its frames come from.
    pub source: Box<dyn Source + Send>,
    /// Where ours go.
    pub sink: Sink,
    /// What came behind the answer to the upgrade.
    pub buffer: InBuffer,
}

/// The same before the upgrade.
struct Stream {
    source: Box<dyn Source + Send>,
    sink: Sink,
    /// Whom it leads to, for messages.
    peer: String,
}

impl Dial {
    /// Without token and further headers, within 10 s.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            bearer: None,
            headers: Vec::new(),
            timeout: TIMEOUT,
            trust: Trust::Usual,
            allows_local_users: false,
        }
    }

    /// Whether the token would go to another machine in clear text.
    pub fn would_tell_token(&self) -> bool {
        match &self.target {
            Target::WebSocket(url) => {
                self.bearer.is_some() && !url.is_encrypted() && !url.is_this_machine()
            }
            Target::Unix(_) => false,
        }
    }

    /// Connects and upgrades.
    ///
    /// # Errors
    /// Any stage failed, or time is up.
    pub fn run(&self) -> Result<Dialled, DialError> {
        let attempt = Attempt {
            label: self.target.label(),
            limit: self.timeout,
            deadline: deadline::after(self.timeout),
        };
        let (stream, authority, path) = match &self.target {
            Target::Unix(path) => {
                let stream = attempt.connect_unix(path, self.allows_local_users)?;
                (stream, "localhost".to_owned(), "/".to_owned())
            }
            Target::WebSocket(url) => {
                if self.would_tell_token() {
                    return Err(attempt.error(Stage::Address, DialCause::Plaintext));
                }
                let stream = attempt.connect(url, &self.trust)?;
                (stream, url.authority(), url.request_target())
            }
        };
        let Stream {
            mut source,
            sink,
            peer,
        } = stream;
        let mut buffer = InBuffer::default();
        let request = Upgrade::new(&authority, &path, self.bearer.as_deref())
            .and_then(|upgrade| upgrade.with_headers(&self.headers))
            .map_err(|text| attempt.error(Stage::Address, DialCause::Invalid(text)))?;
        request
            .run(&mut *source, &sink, &mut buffer, attempt.deadline)
            .map_err(|failure| attempt.exchange_failed(Stage::Upgrade, &peer, failure))?;
        Ok(Dialled {
            source,
            sink,
            buffer,
        })
    }
}

/// The token is nobody's business.
impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dial")
            .field("target", &self.target.label())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Where a server is.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// At a URL of `ws` or `wss`.
    WebSocket(Url),
    /// At a Unix socket of this absolute path.
    Unix(PathBuf),
}

impl Target {
    /// Reads `ws://HOST[:PORT][/PATH]`, `wss://…` or `unix:///PATH`.
    ///
    /// # Errors
    /// It is none of these.
    pub fn parse(text: &str) -> Result<Self, DialError> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("unix://") {
            if path.starts_with('/') && !path.ends_with('/') {
                return Ok(Self::Unix(PathBuf::from(path)));
            }
            return Err(invalid(
                "unix://…",
                "the path must be absolute, and a file's",
            ));
        }
        // Some read it as a slash, and some as a part of the host or of a user's name.
        if text.contains('\\') {
            return Err(invalid("…", "a URL has no backslash"));
        }
        Url::parse_websocket(text)
            .map(Self::WebSocket)
            .map_err(|error| match error {
                UrlError::Scheme(scheme) => {
                    invalid(&format!("{scheme}:…"), &format!("unknown scheme {scheme}"))
                }
                UrlError::Invalid(why) => invalid("…", why),
            })
    }

    /// For messages: without credentials and query, of which either may be a secret.
    pub fn label(&self) -> String {
        match self {
            Self::WebSocket(url) => url.redacted(),
            Self::Unix(path) => format!("unix://{}", path.display()),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label())
    }
}

/// A step on the way to a websocket, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading the URL and what goes with it.
    Address,
    /// Looking the name up.
    Lookup,
    /// Connecting to the server, or to the proxy before it.
    Connect,
    /// Asking the proxy for a way through.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// The HTTP upgrade.
    Upgrade,
}

/// What went wrong in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialCause {
    /// It is badly said; how.
    Invalid(String),
    /// A token would be sent in clear text to another machine.
    Plaintext,
    /// The server has another certificate than the one that is pinned: that of this fingerprint.
    WrongPin(Fingerprint),
    /// Neither our user nor root listens on a Unix socket; who does instead, and where.
    OtherUser(String),
    /// The time for all stages is up.
    TimedOut(Duration),
    /// The system or the peer failed; the text names the address that was spoken to.
    Failed {
        /// Address and cause.
        text: String,
        /// The system's word for it, where it has one.
        kind: Option<io::ErrorKind>,
    },
    /// An HTTP answer that is not the one wanted.
    Refused {
        /// The status, such as 401.
        status: u16,
        /// The first line of its body, shortened; may be empty.
        line: String,
    },
}

/// Why a websocket did not come about. `Display` says where to, what and what to do, and shows no
/// credentials and no query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialError {
    /// The URL without what may be secret.
    pub label: String,
    /// Where it failed.
    pub stage: Stage,
    /// Why.
    pub cause: DialCause,
}

impl DialError {
    /// The status of the answer that refused the upgrade.
    pub fn status(&self) -> Option<u16> {
        match self.cause {
            DialCause::Refused { status, .. } if self.stage == Stage::Upgrade => Some(status),
            _ => None,
        }
    }

    /// Whether another attempt may fare better: all but a bad address, a certificate that is not
    /// trusted, and an answer that says the fault is ours.
    pub fn is_temporary(&self) -> bool {
        match &self.cause {
            DialCause::Invalid(_)
            | DialCause::Plaintext
            | DialCause::WrongPin(_)
            | DialCause::OtherUser(_) => false,
            DialCause::TimedOut(_) => true,
            DialCause::Failed { kind, .. } => *kind != Some(io::ErrorKind::InvalidData),
            DialCause::Refused { status, .. } => *status >= 500 || matches!(status, 408 | 429),
        }
    }

    /// What failed and why, for who knows where to and did not choose that. The advice is what can
    /// be done whoever is there.
    pub fn reason(&self) -> String {
        let advice = match self.stage {
            Stage::Lookup | Stage::Proxy | Stage::Tls => self.advice(),
            Stage::Address | Stage::Connect | Stage::Upgrade => "",
        };
        format!("{}{advice}", Reason(self))
    }

    fn advice(&self) -> &'static str {
        match (self.stage, &self.cause) {
            (Stage::Address, DialCause::Plaintext) => {
                "; give the server --tls-cert and reach it by wss://, or through a tunnel such as ssh -L"
            }
            (Stage::Address, _) => "; write it as ws://HOST:PORT, wss://HOST:PORT or unix:///PATH",
            (Stage::Lookup, _) => "; check the host's name and this machine's name service",
            (Stage::Connect, DialCause::Failed { kind, .. }) => match kind {
                Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
                    "; is exec-server running there, and is this where it listens?"
                }
                Some(io::ErrorKind::PermissionDenied) => "; the socket is another user's",
                _ => "; check the address, and the network on the way to it",
            },
            (Stage::Connect, DialCause::OtherUser(_)) => {
                "; if that user may have what you send there, its environment in exec-server.toml says \
                 so with allow_local_users = true"
            }
            (Stage::Connect, _) => "; check the address, and firewalls on the way to it",
            (Stage::Proxy, _) => proxy::ADVICE,
            (Stage::Tls, DialCause::Invalid(_)) => "",
            (Stage::Tls, DialCause::WrongPin(_)) => {
                "; if the server has a new one, compare what `openssl x509 -noout -fingerprint -sha256 \
                 -in cert.pem` prints there before you pin that"
            }
            (Stage::Tls, DialCause::Failed { kind, .. })
                if *kind == Some(io::ErrorKind::InvalidData) =>
            {
                "; a root or certificate of its own goes into a file that SSL_CERT_FILE names, or is \
                 pinned by its fingerprint; a server without TLS is ws://"
            }
            (Stage::Upgrade, DialCause::Refused { status, .. }) => match status {
                401 => "; give the bearer token that the server was started with",
                403 => "; the server does not let this client in",
                300..=399 => "; redirects are not followed, give the final address",
                _ => "; is it an exec-server that listens there?",
            },
            (Stage::Tls | Stage::Upgrade, _) => {
                "; is it an exec-server that listens there, and with the scheme of this URL?"
            }
        }
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = &self.label;
        match &self.cause {
            DialCause::TimedOut(limit) => write!(
                f,
                "timed out connecting to exec-server websocket `{label}` after {limit:?} while {}",
                self.stage
            )?,
            _ => write!(
                f,
                "failed to connect to exec-server websocket `{label}`: {}",
                Reason(self)
            )?,
        }
        f.write_str(self.advice())
    }
}

/// The stage and the cause.
struct Reason<'a>(&'a DialError);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DialError { stage, cause, .. } = self.0;
        write!(f, "{stage}: ")?;
        match cause {
            DialCause::Invalid(text)
            | DialCause::OtherUser(text)
            | DialCause::Failed { text, .. } => f.write_str(text),
            DialCause::Plaintext => f.write_str(PLAINTEXT),
            DialCause::WrongPin(seen) => WrongPin(*seen).fmt(f),
            DialCause::TimedOut(limit) => write!(f, "timed out after {limit:?}"),
            DialCause::Refused { status, line } => {
                write!(f, "HTTP status {status}")?;
                if !line.is_empty() {
                    write!(f, " ({line})")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for DialError {}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "reading the address",
            Self::Lookup => "looking its name up",
            Self::Connect => "connecting",
            Self::Proxy => "passing through the proxy",
            Self::Tls => "the TLS handshake",
            Self::Upgrade => "the HTTP upgrade",
        })
    }
}

/// One run, and what its errors need.
struct Attempt {
    label: String,
    limit: Duration,
    deadline: Instant,
}

impl Attempt {
    fn connect_unix(&self, path: &Path, allows_local_users: bool) -> Result<Stream, DialError> {
        let peer = path.display().to_string();
        let left = self.left(Stage::Connect)?;
        let failed = |error: &io::Error| self.failed(Stage::Connect, &peer, error);
        let socket = connect_unix(path, left).map_err(|error| failed(&error))?;
        if !allows_local_users {
            // Who listened there: anybody may have made a socket where a server's was.
            let user = peer_user(socket.as_fd()).map_err(|error| failed(&error))?;
            if let Some(other) = other_user(user) {
                let text = format!(
                    "{peer}: {other} listens there, and this is user {}",
                    user_id()
                );
                return Err(self.error(Stage::Connect, DialCause::OtherUser(text)));
            }
        }
        Ok(plain(Arc::new(Socket::Unix(socket)), peer))
    }

    fn connect(&self, url: &Url, trust: &Trust) -> Result<Stream, DialError> {
        let invalid = |text| self.error(Stage::Tls, DialCause::Invalid(text));
        let tls = match url.is_encrypted() {
            true => Some(config_for(trust).map_err(|error| invalid(error.to_string()))?),
            false if *trust == Trust::Usual => None,
            false => return Err(invalid(NOT_ENCRYPTED.to_owned())),
        };
        let proxy = proxy::choose(url, false)
            .map_err(|text| self.error(Stage::Proxy, DialCause::Invalid(text)))?;
        match &proxy {
            Some(proxy) => log::debug!("{}: by the proxy {}", self.label, proxy.authority()),
            None => log::debug!("{}: without a proxy", self.label),
        }
        let (host, port) = match &proxy {
            Some(proxy) => (proxy.host(), proxy.port()),
            None => (url.host(), url.port()),
        };
        let (socket, address) = self.connect_tcp(host, port)?;
        log::debug!("{}: connected to {address}", self.label);
        let socket = Arc::new(Socket::Tcp(socket));
        let mut stream = plain(Arc::clone(&socket), address.to_string());
        if let Some(proxy) = &proxy {
            stream.peer = format!("proxy {address}");
            proxy::tunnel(proxy, url, &mut *stream.source, &stream.sink, self.deadline)
                .map_err(|failure| self.exchange_failed(Stage::Proxy, &stream.peer, failure))?;
            stream.peer = format!("{} by proxy {address}", url.authority());
        }
        match tls {
            Some(tls) => self.encrypt(socket, url.host(), tls, stream.peer),
            None => Ok(stream),
        }
    }

    /// Tries every address, each with its share of the time that is left.
    fn connect_tcp(&self, host: &str, port: u16) -> Result<(TcpStream, SocketAddr), DialError> {
        let left = self.left(Stage::Lookup)?;
        let addresses = lookup::addresses(host, port, left)
            .map_err(|error| self.failed(Stage::Lookup, host, &error))?
            .ok_or_else(|| self.timed_out(Stage::Lookup))?;
        let mut last = None;
        for (tried, address) in addresses.iter().enumerate() {
            let share = (addresses.len() - tried).try_into().unwrap_or(u32::MAX);
            let left = self.left(Stage::Connect)? / share;
            // The library takes no limit of zero.
            let connected = TcpStream::connect_timeout(address, left.max(Duration::from_millis(1)))
                .and_then(|socket| socket.set_nodelay(true).map(|()| socket));
            match connected {
                Ok(socket) => return Ok((socket, *address)),
                Err(error) => {
                    last = Some(self.failed(Stage::Connect, &address.to_string(), &error));
                }
            }
        }
        let none = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        Err(last.unwrap_or_else(|| self.failed(Stage::Lookup, host, &none)))
    }

    fn encrypt(
        &self,
        socket: Arc<Socket>,
        host: &str,
        config: Arc<ClientConfig>,
        peer: String,
    ) -> Result<Stream, DialError> {
        let failed = |error: &io::Error| self.failed(Stage::Tls, &peer, error);
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| failed(&io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let session = TlsSession::connect(Arc::clone(&socket), config, name)
            .map_err(|error| failed(&io::Error::other(error)))?;
        let session = Arc::new(session);
        let mut source = TlsSource::new(SocketSource::new(socket), Arc::clone(&session));
        source
            .shake_hands(self.left(Stage::Tls)?)
            .map_err(|error| match WrongPin::in_error(&error) {
                Some(wrong) => self.error(Stage::Tls, DialCause::WrongPin(wrong.0)),
                None => failed(&error),
            })?;
        log::debug!(
            "{}: TLS with {host}, whose certificate is trusted",
            self.label
        );
        Ok(Stream {
            source: Box::new(source),
            sink: Sink::Tls(session),
            peer,
        })
    }

    fn left(&self, stage: Stage) -> Result<Duration, DialError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.timed_out(stage));
        }
        Ok(left)
    }

    fn timed_out(&self, stage: Stage) -> DialError {
        self.error(stage, DialCause::TimedOut(self.limit))
    }

    fn failed(&self, stage: Stage, peer: &str, error: &io::Error) -> DialError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => self.timed_out(stage),
            kind => self.error(
                stage,
                DialCause::Failed {
                    text: format!("{peer}: {error}"),
                    kind: Some(kind),
                },
            ),
        }
    }

    fn exchange_failed(&self, stage: Stage, peer: &str, failure: Failure) -> DialError {
        match failure {
            Failure::Io(error) => self.failed(stage, peer, &error),
            Failure::Nonsense(why) => self.error(
                stage,
                DialCause::Failed {
                    text: format!("{peer}: {why}"),
                    kind: None,
                },
            ),
            Failure::Refused { status, line } => {
                self.error(stage, DialCause::Refused { status, line })
            }
        }
    }

    fn error(&self, stage: Stage, cause: DialCause) -> DialError {
        DialError {
            label: self.label.clone(),
            stage,
            cause,
        }
    }
}

fn plain(socket: Arc<Socket>, peer: String) -> Stream {
    Stream {
        source: Box::new(SocketSource::new(Arc::clone(&socket))),
        sink: Sink::Socket(socket),
        peer,
    }
}

/// The text itself may hold a secret, so it is not repeated.
fn invalid(label: &str, why: &str) -> DialError {
    DialError {
        label: label.to_owned(),
        stage: Stage::Address,
        cause: DialCause::Invalid(why.to_owned()),
    }
}
