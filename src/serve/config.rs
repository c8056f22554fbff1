//! How to serve, and why there is no server.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, io};

use super::access::auth::{self, AuthError};
use super::access::tls::{TlsError, TlsFiles};
use super::listen::ListenAddress;
use super::service_manager::ServiceManager;
use crate::env::local::{CgroupConfig, CgroupError, HostConfig};
use crate::sandbox::launcher;

/// Where and how to serve.
#[derive(Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: ListenAddress,
    /// The socket that listens there already.
    pub handed: Option<OwnedFd>,
    /// How.
    pub options: Options,
}

/// What can be chosen besides the address.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// How clients prove who they are.
    pub auth: auth::Settings,
    /// How the listener proves itself; with these files it speaks TLS.
    pub tls: TlsFiles,
    /// Most websocket connections at once.
    pub max_connections: usize,
    /// Most bytes that clients can make the server hold, if the machine does not say.
    pub memory_limit: Option<usize>,
    /// Most requests of a connection at work at once, if that is limited.
    pub concurrent_requests: Option<usize>,
    /// Values of `Origin` to accept.
    pub allow_origins: Vec<String>,
    /// Names to accept in `Host` on a loopback listener.
    pub allow_hosts: Vec<String>,
    /// Let users in who have not the server's rights, where nobody is asked for a token.
    pub allow_local_users: bool,
    /// Time between pings; a client silent for three of them is gone.
    pub ping_interval: Duration,
    /// How long a session without a connection, and an ended process, are kept.
    pub session_retention: Duration,
    /// The limits on processes.
    pub processes: HostConfig,
    /// The limits on sessions, and where cgroups are made.
    pub cgroups: CgroupConfig,
    /// Who confines programs.
    pub sandbox: launcher::Config,
    /// Make no HTTP requests for clients.
    pub no_http: bool,
    /// Let HTTP requests go to link-local and metadata addresses.
    pub allow_link_local: bool,
    /// Put the arguments of processes into the log, each shortened.
    pub log_argv: bool,
    /// Where to tell metrics.
    pub metrics: Option<MetricsPlace>,
    /// Who started the server and wants to be told how it is.
    pub manager: ServiceManager,
}

/// Where metrics are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricsPlace {
    /// Where clients connect.
    Listener,
    /// At an address of their own.
    Own(ListenAddress),
}

impl MetricsPlace {
    /// Reads `IP:PORT`, `localhost:PORT`, or the absolute path of a socket; nothing is the listener.
    ///
    /// # Errors
    /// The text is none of these.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = match text.strip_prefix("unix://").unwrap_or(text) {
            "" => return Ok(Self::Listener),
            path if path.starts_with('/') => format!("unix://{path}"),
            address => format!("ws://{address}"),
        };
        let address = ListenAddress::parse(&url, false).map(Self::Own);
        address.map_err(|_| "expected IP:PORT, or the absolute path of a Unix socket".to_owned())
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            auth: auth::Settings::default(),
            tls: TlsFiles::default(),
            max_connections: 1024,
            memory_limit: None,
            concurrent_requests: None,
            allow_origins: Vec::new(),
            allow_hosts: Vec::new(),
            allow_local_users: false,
            ping_interval: Duration::from_secs(30),
            session_retention: Duration::from_secs(90),
            processes: HostConfig::default(),
            cgroups: CgroupConfig::default(),
            sandbox: launcher::Config::default(),
            no_http: false,
            allow_link_local: false,
            log_argv: false,
            metrics: None,
            manager: ServiceManager::default(),
        }
    }
}

/// Why the server could not serve.
#[derive(Debug)]
pub enum ServeError {
    /// The address could be reached from elsewhere, and nothing would ask who comes.
    Unprotected(SocketAddr),
    /// Clients could not be asked who they are.
    Auth(AuthError),
    /// The listener could not prove itself.
    Tls(TlsError),
    /// The address cannot be listened on.
    Bind(SocketAddr, io::Error),
    /// The path cannot be listened on.
    BindPath(PathBuf, io::Error),
    /// What the service manager has handed over cannot be served.
    Handed(String),
    /// Processes cannot be limited as they are to be.
    Cgroup(CgroupError),
    /// The system refused something that every server needs.
    System(&'static str, io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unprotected(address) => write!(
                f,
                "refusing to listen on {address}: anyone who reaches it could run commands here; \
                 ask for a token with --ws-auth capability-token --ws-token-file FILE, or listen \
                 on 127.0.0.1 or [::1] and reach it through ssh -L"
            ),
            Self::Auth(error) => error.fmt(f),
            Self::Tls(error) => error.fmt(f),
            Self::BindPath(path, error) => write!(
                f,
                "{error}\ncannot listen on unix://{}; a path of at most 107 bytes in a directory \
                 of your own, such as under $XDG_RUNTIME_DIR, may do",
                path.display()
            ),
            // The reference's words come first: scripts look for them.
            Self::Bind(address, error) => write!(
                f,
                "{error}\ncannot listen on ws://{address}; another address, or port 0 for any \
                 free port, may do"
            ),
            Self::Handed(why) => write!(f, "the service manager has handed over {why}"),
            Self::Cgroup(error) => write!(f, "cannot limit processes by a cgroup: {error}"),
            Self::System(what, error) => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for ServeError {}
