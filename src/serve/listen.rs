//! Where to listen, the listening socket, and a thread for each connection that it brings.
//!
//! A socket in the file system is for who shares that: a sidecar, or ssh that forwards it.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, fs, thread};

use super::access::handshake::{Accepted, Caller};
use super::access::upgrade::UpgradePolicy;
use super::access::{Access, Reloaded};
use super::caller::stranger;
use super::config::{MetricsPlace, Options, ServeError};
use super::connection::{self, Peer, PendingConnections, Places};
use super::refusal::Cause;
use super::server::Server;
use crate::log::{self, Event, Level};
use crate::net::Socket;
use crate::oneshot;
use crate::sys::socket::listen_unix;

/// What `--listen` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// Websocket connections on this address; port 0 lets the system choose one.
    WebSocket(SocketAddr),
    /// Websocket connections on a socket at this absolute path.
    Unix(PathBuf),
    /// One client on standard input and output.
    Stdio,
}

impl ListenAddress {
    /// Reads `ws://IP:PORT`, `unix:///PATH`, `stdio` or `stdio://`, and nothing that only
    /// resembles them; with `tls` also `wss://IP:PORT`, which is then the same as `ws`. The name
    /// `localhost` is the IP 127.0.0.1, which no resolver is asked for.
    ///
    /// # Errors
    /// The text is of another kind, or its address is not an IP and a port.
    pub fn parse(text: &str, tls: bool) -> Result<ListenAddress, ListenUrlError> {
        if matches!(text, "stdio" | "stdio://") {
            return Ok(ListenAddress::Stdio);
        }
        if let Some(path) = text.strip_prefix("unix://")
            && path.starts_with('/')
            && !path.ends_with('/')
        {
            return Ok(ListenAddress::Unix(PathBuf::from(path)));
        }
        let encrypted = text.strip_prefix("wss://").filter(|_| tls);
        match text.strip_prefix("ws://").or(encrypted).map(socket_address) {
            Some(Some(address)) => Ok(ListenAddress::WebSocket(address)),
            Some(None) => Err(ListenUrlError::NoAddress(text.to_owned())),
            None => Err(ListenUrlError::Unsupported(text.to_owned())),
        }
    }

    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            // An IPv4 address in IPv6 clothes is as local as it is without.
            ListenAddress::WebSocket(address) => address.ip().to_canonical().is_loopback(),
            ListenAddress::Unix(_) | ListenAddress::Stdio => true,
        }
    }
}

/// An address of the network.
fn socket_address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        // With the IP in front, the port is read as behind any other.
        Some(port) => format!("{}:{port}", Ipv4Addr::LOCALHOST).parse().ok(),
        None => text.parse().ok(),
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::WebSocket(address) => write!(f, "ws://{address}"),
            ListenAddress::Unix(path) => write!(f, "unix://{}", path.display()),
            ListenAddress::Stdio => f.write_str("stdio"),
        }
    }
}

/// A `--listen` URL that cannot be served; the field is its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenUrlError {
    /// Not a kind of listener.
    Unsupported(String),
    /// `ws://` without a good IP and port behind it.
    NoAddress(String),
}

impl fmt::Display for ListenUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenUrlError::Unsupported(url) => {
                write!(
                    f,
                    "unsupported --listen URL `{url}`; expected `ws://IP:PORT` or `stdio`"
                )?;
                // Below the reference's words, what it does not have.
                match url.split(':').next() {
                    Some("wss") => f.write_str("\nwss:// needs --tls-cert and --tls-key"),
                    Some("unix") => f.write_str("\na Unix socket is unix:// and its absolute path"),
                    _ => f.write_str(
                        "\nor `ws://localhost:PORT`, `unix:///PATH`, \
                         or with --tls-cert and --tls-key `wss://IP:PORT`",
                    ),
                }
            }
            ListenUrlError::NoAddress(url) => write!(
                f,
                "invalid websocket --listen URL `{url}`; expected `ws://IP:PORT`\n\
                 or `ws://localhost:PORT`; port 0 is any free one"
            ),
        }
    }
}

impl std::error::Error for ListenUrlError {}

/// Connections that are accepted before the main thread looks at its other duties.
const ACCEPT_AT_ONCE: usize = 64;
/// Connections that have not been let in yet, at a time. Those of clients do not count here, so who
/// only connects takes nothing from them; and this many have to come while a client asks to be let
/// in before it is closed for them.
const MAX_PENDING: usize = 256;
/// Strangers that may be told at a time that they are; others are just closed.
const MAX_STRANGERS: usize = 16;
/// Threads of connections that were closed for others and whose turn has not come yet to end.
const MAX_ENDING: usize = 256;

/// Whom a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serves {
    /// Clients, and who asks for health.
    All,
    /// Who asks for metrics or health.
    Metrics,
}

/// Who may ask for metrics at once, where they have a listener of their own.
const MAX_ASKING: usize = 16;

/// The listening socket.
pub(crate) struct Listener {
    port: Port,
    policy: Arc<UpgradePolicy>,
    access: Arc<Access>,
    /// Without a token, only users who have the server's rights may come in.
    own_users_only: bool,
    serves: Serves,
    /// Threads of connections, but for those of strangers.
    threads: Arc<Places>,
    /// Connections that have not been let in yet.
    pending: Arc<PendingConnections>,
    /// Those that have been.
    clients: Arc<Places>,
    /// Those of users who may not come in.
    strangers: Arc<Places>,
}

/// What is listened on.
enum Port {
    Tcp(TcpListener),
    Unix(UnixSocket),
}

impl Port {
    fn tcp(socket: TcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self::Tcp(socket))
    }

    /// The next connection.
    fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(socket) => {
                let (socket, address) = socket.accept()?;
                // A response followed by an event would otherwise wait 40 ms for an
                // acknowledgement. It fails on a peer that is gone, which its reader will see.
                let _ = socket.set_nodelay(true);
                Ok((Socket::Tcp(socket), Peer::WebSocket(address)))
            }
            Self::Unix(socket) => Ok((Socket::Unix(socket.accept()?), Peer::Unix)),
        }
    }
}

impl Listener {
    /// Listens at `address`, or takes the socket that does so already; none on stdio. `access` knows whom to let in.
    pub(crate) fn open(
        address: &ListenAddress,
        handed: Option<OwnedFd>,
        options: &Options,
        access: Arc<Access>,
        serves: Serves,
    ) -> Result<Option<Self>, ServeError> {
        let is_local = address.is_local();
        let port = match address {
            ListenAddress::Stdio => return Ok(None),
            ListenAddress::Unix(path) => handed
                .map_or_else(
                    || UnixSocket::bind(path),
                    |socket| UnixSocket::handed(socket, path),
                )
                .map(Port::Unix)
                .map_err(|error| ServeError::BindPath(path.clone(), error))?,
            ListenAddress::WebSocket(address) => {
                if !is_local {
                    if access.authenticator().is_none() {
                        return Err(ServeError::Unprotected(*address));
                    }
                    if !access.is_encrypted() {
                        log::warn!(
                            "{address}: tokens and all else cross the network in clear text; use \
                             --tls-cert and --tls-key, or listen on 127.0.0.1 and come through \
                             ssh -L"
                        );
                    }
                }
                let socket =
                    handed.map_or_else(|| TcpListener::bind(address), |socket| Ok(socket.into()));
                socket
                    .and_then(Port::tcp)
                    .map_err(|error| ServeError::Bind(*address, error))?
            }
        };
        let is_loopback = matches!(port, Port::Tcp(_)) && is_local;
        let is_for_all = serves == Serves::All;
        let (max_clients, max_pending) = match is_for_all {
            true => (options.max_connections, MAX_PENDING),
            false => (0, MAX_ASKING),
        };
        Ok(Some(Self {
            port,
            policy: Arc::new(UpgradePolicy {
                loopback: is_loopback,
                allow_origins: options.allow_origins.clone(),
                allow_hosts: options.allow_hosts.clone(),
                websocket: is_for_all,
                metrics: !is_for_all || options.metrics == Some(MetricsPlace::Listener),
                authenticator: access.authenticator().cloned(),
            }),
            own_users_only: access.authenticator().is_none() && !options.allow_local_users,
            serves,
            access,
            threads: Places::new(max_clients + max_pending + MAX_ENDING),
            pending: PendingConnections::new(max_pending),
            clients: Places::new(max_clients),
            strangers: Places::new(MAX_STRANGERS),
        }))
    }

    /// Reads again what is in files.
    pub(crate) fn reload(&self) -> Vec<Reloaded> {
        self.access.reload()
    }

    /// Where it listens on the network without asking for a token, if it does.
    pub(crate) fn unprotected_url(&self) -> Option<String> {
        let is_open = self.access.authenticator().is_none() && matches!(self.port, Port::Tcp(_));
        self.url().filter(|_| is_open)
    }

    /// The address that was bound.
    fn url(&self) -> Option<String> {
        Some(match &self.port {
            Port::Tcp(socket) => {
                let scheme = match (self.serves, self.access.is_encrypted()) {
                    (Serves::All, false) => "ws",
                    (Serves::All, true) => "wss",
                    (Serves::Metrics, false) => "http",
                    (Serves::Metrics, true) => "https",
                };
                format!("{scheme}://{}", socket.local_addr().ok()?)
            }
            Port::Unix(socket) => ListenAddress::Unix(socket.path().to_owned()).to_string(),
        })
    }

    /// Tells the operator the address that was bound.
    pub(crate) fn note(&self) {
        log::event(Level::Info, Event::Listening, &|line| {
            line.text("url", self.url().unwrap_or_default());
            if self.serves == Serves::Metrics {
                line.text("for", "metrics");
            }
        });
    }

    /// Prints the address that was bound, the one line on standard output.
    pub(crate) fn announce(&self) {
        let Some(url) = self.url() else {
            log::warn!("cannot tell the address");
            return;
        };
        self.note();
        let mut stdout = io::stdout().lock();
        let written = writeln!(stdout, "{url}").and_then(|()| stdout.flush());
        if let Err(error) = written {
            log::warn!("cannot print the address {url}: {error}");
        }
    }

    /// Takes all connections that have arrived; each gets a thread.
    pub(crate) fn accept(&mut self, server: &Arc<Server>) {
        for _ in 0..ACCEPT_AT_ONCE {
            match self.port.accept() {
                Ok((socket, peer)) => self.take(server, socket, peer),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return,
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ => {
                        // Mostly for want of descriptors: the connection stays in the
                        // queue, and without a pause we would spin on it.
                        log::event(Level::Warn, Event::ConnectionRefused, &|line| {
                            line.text("cause", Cause::Connections.name());
                            line.text("why", format_args!("cannot accept it: {error}"));
                        });
                        thread::sleep(Duration::from_millis(20));
                        return;
                    }
                },
            }
        }
    }

    fn take(&mut self, server: &Arc<Server>, socket: Socket, peer: Peer) {
        let number = server.next_number();
        let caller = Caller {
            connection: number,
            peer,
        };
        let lost = move |cause| caller.lost(cause, "too many are refused already".to_owned());
        let Some(thread) = self.threads.take() else {
            return lost(Cause::Connections);
        };
        let socket = Arc::new(socket);
        let pending = self.pending.add(number, &socket);
        let clients = Arc::clone(&self.clients);
        let server = Arc::clone(server);
        let policy = Arc::clone(&self.policy);
        let is_on_network = matches!(self.port, Port::Tcp(_));
        let tls = self.access.tls().filter(|_| is_on_network);
        let (own_users_only, strangers) = (self.own_users_only, Arc::clone(&self.strangers));
        let serve = move || {
            let stranger = own_users_only.then(|| stranger(&socket)).flatten();
            let place = if stranger.is_some() {
                // They take no place of those who may come in, and to close one would make none.
                drop(thread);
                pending.keep();
                let Some(place) = strangers.take() else {
                    return lost(Cause::User);
                };
                place
            } else {
                thread
            };
            let accepted = Accepted {
                socket,
                tls,
                caller,
                pending,
                clients,
            };
            connection::serve_socket(&server, accepted, stranger.as_ref(), &policy, place);
        };
        if let Err(error) = connection::spawn(number, serve) {
            let why = format!("no thread to serve it: {error}");
            caller.lost(Cause::Connections, why);
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.port {
            Port::Tcp(socket) => socket.as_fd(),
            Port::Unix(socket) => socket.as_fd(),
        }
    }
}

/// A server that is asked whether it lives may take so long to say it.
const PATIENCE: Duration = Duration::from_secs(1);

/// The socket, and the file that leads to it; the file goes with it.
#[derive(Debug)]
pub(crate) struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: after us, another server may have put its own file there. None if it is not ours to remove.
    file: Option<(u64, u64)>,
}

impl UnixSocket {
    /// Listens at `path`, in place of a socket that nobody listens on any more.
    ///
    /// # Errors
    /// Something else is there (`AddrInUse`), or the system says why.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        clear(path)?;
        // To change it afterwards would change whatever is at `path` by then.
        let listener = listen_unix(path, 0o600)?;
        listener.set_nonblocking(true)?;
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            file: Some((metadata.dev(), metadata.ino())),
        })
    }

    /// Takes a socket that listens at `path` already.
    fn handed(socket: OwnedFd, path: &Path) -> io::Result<Self> {
        let listener = UnixListener::from(socket);
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            file: None,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The next connection.
    pub(crate) fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().map(|(socket, _)| socket)
    }
}

impl AsFd for UnixSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| Some((metadata.dev(), metadata.ino())) == self.file);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            log::warn!("{} stays behind: {error}", self.path.display());
        }
    }
}

/// Removes what a server that was killed has left at `path`.
fn clear(path: &Path) -> io::Result<()> {
    let taken = |what| Err(io::Error::new(io::ErrorKind::AddrInUse, what));
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            taken("a file that is no socket is there")
        }
        Ok(_) if is_deserted(path) => fs::remove_file(path),
        Ok(_) => taken("another server listens there"),
    }
}

/// Whether a socket has no listener. One that takes no connections has, so it is asked on a thread
/// that may get stuck.
fn is_deserted(path: &Path) -> bool {
    let (sender, receiver) = oneshot::channel();
    let path = path.to_owned();
    thread::spawn(move || {
        let refused = UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        // Whoever asked may have lost patience.
        sender.send(refused);
    });
    receiver.wait(Some(PATIENCE)).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_urls_come_back_as_they_were() {
        for (text, shown, local) in [
            ("ws://127.0.0.1:45119", "ws://127.0.0.1:45119", true),
            ("ws://127.9.0.1:0", "ws://127.9.0.1:0", true),
            ("ws://localhost:8765", "ws://127.0.0.1:8765", true),
            ("ws://[::1]:1", "ws://[::1]:1", true),
            (
                "ws://[::ffff:127.0.0.1]:1",
                "ws://[::ffff:127.0.0.1]:1",
                true,
            ),
            ("ws://0.0.0.0:8765", "ws://0.0.0.0:8765", false),
            ("ws://[::]:8765", "ws://[::]:8765", false),
            ("stdio", "stdio", true),
            ("stdio://", "stdio", true),
            ("unix:///run/x", "unix:///run/x", true),
            ("unix:///a b%20", "unix:///a b%20", true),
        ] {
            let address = ListenAddress::parse(text, false).expect(text);
            assert_eq!(address.to_string(), shown);
            assert_eq!(address.is_local(), local, "{text}");
        }
    }

    #[test]
    fn other_kinds_are_unsupported() {
        for text in [
            "http://127.0.0.1:0",
            "127.0.0.1:0",
            "STDIO",
            "stdio:",
            "stdio://x",
            "WS://127.0.0.1:0",
            "",
            " ws://127.0.0.1:0",
            "ws",
        ] {
            assert_eq!(
                ListenAddress::parse(text, false)
                    .expect_err(text)
                    .to_string(),
                format!(
                    "unsupported --listen URL `{text}`; expected `ws://IP:PORT` or `stdio`\n\
                     or `ws://localhost:PORT`, `unix:///PATH`, \
                     or with --tls-cert and --tls-key `wss://IP:PORT`"
                )
            );
        }
    }

    #[test]
    fn what_needs_more_is_told_so() {
        for (text, tip) in [
            (
                "wss://127.0.0.1:0",
                "\nwss:// needs --tls-cert and --tls-key",
            ),
            (
                "unix://",
                "\na Unix socket is unix:// and its absolute path",
            ),
            (
                "unix://x",
                "\na Unix socket is unix:// and its absolute path",
            ),
            (
                "unix:///",
                "\na Unix socket is unix:// and its absolute path",
            ),
            (
                "unix:/x",
                "\na Unix socket is unix:// and its absolute path",
            ),
        ] {
            assert_eq!(
                ListenAddress::parse(text, false)
                    .expect_err(text)
                    .to_string(),
                format!(
                    "unsupported --listen URL `{text}`; expected `ws://IP:PORT` or `stdio`{tip}"
                )
            );
        }
        let encrypted = ListenAddress::parse("wss://127.0.0.1:1", true);
        assert_eq!(encrypted, ListenAddress::parse("ws://127.0.0.1:1", true));
        let named = ListenAddress::parse("wss://localhost:1", true);
        assert_eq!(named, encrypted);
    }

    #[test]
    fn bad_addresses_are_invalid() {
        for text in [
            "ws://",
            "ws://localhost",
            "ws://localhost:",
            "ws://localhost:99999",
            "ws://localhost:+5",
            "ws://localhost:0/",
            "ws://localhost.:0",
            "ws://LOCALHOST:0",
            "ws://localhost.localdomain:0",
            "ws://user@localhost:0",
            "ws://127.0.0.1",
            "ws://127.0.0.1:99999",
            "ws://127.0.0.1:+5",
            "ws://127.0.0.1:0/",
            "ws://127.0.0.1:0/path",
            "ws://127.0.0.1:0 ",
            "ws://::1:0",
        ] {
            assert_eq!(
                ListenAddress::parse(text, false)
                    .expect_err(text)
                    .to_string(),
                format!(
                    "invalid websocket --listen URL `{text}`; expected `ws://IP:PORT`\n\
                     or `ws://localhost:PORT`; port 0 is any free one"
                )
            );
        }
    }

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("exec-server-{}-{name}", std::process::id()));
        let _ = fs::remove_file(&path);
        path
    }

    #[test]
    fn a_file_is_for_us_alone_and_goes_with_the_socket() {
        let path = scratch("alone");
        let socket = UnixSocket::bind(&path).unwrap();
        let mode = fs::symlink_metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        let _client = UnixStream::connect(&path).unwrap();
        assert!(socket.accept().is_ok());
        assert!(socket.accept().is_err());
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn only_a_deserted_socket_is_replaced() {
        let path = scratch("deserted");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let first = UnixSocket::bind(&path).unwrap();
        let second = UnixSocket::bind(&path).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists());
        // What another has put in its place is not ours to remove.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        drop(first);
        let third = UnixSocket::bind(&path).unwrap_err();
        assert_eq!(third.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        fs::remove_file(&path).unwrap();
    }
}
