//! What a client is to reach, and how patient it is.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::net::Dial;

/// How a server is reached.
#[derive(Clone, Debug)]
pub enum Transport {
    /// By a websocket, over TCP, TLS or a Unix socket.
    WebSocket(Dial),
    /// By the standard input and output of a command.
    Command(StdioCommand),
    /// By a socket whose other end is served, for one connection.
    Socket(Arc<UnixStream>),
}

/// A command that speaks the protocol on standard input and output: the server itself, or
/// something that leads to one, as `ssh` does. Its text never passes through a shell.
#[derive(Clone, Default)]
pub struct StdioCommand {
    /// A path, or a name to be found on PATH.
    pub program: String,
    /// What comes behind it.
    pub args: Vec<String>,
    /// Laid over our own environment, without our secrets.
    pub env: BTreeMap<String, String>,
    /// Where it starts; where we are if there is none.
    pub cwd: Option<PathBuf>,
}

/// Arguments and variables may be secrets.
impl std::fmt::Debug for StdioCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StdioCommand")
    }
}

/// Whom to reach, and how patiently.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// How.
    pub transport: Transport,
    /// What the server logs us as.
    pub client_name: String,
    /// From the connection to the end of the handshake; 10 s unless set. The limit on connecting
    /// is the [`Dial`]'s.
    pub initialize_timeout: Duration,
    /// For the answer to a call that has no limit of its own; 60 s unless set.
    pub call_timeout: Duration,
    /// For how long a lost websocket is tried to be had again; 45 s unless set, which is below
    /// the 80 s or more that servers keep a session.
    pub recovery_window: Duration,
    /// How often a websocket is pinged; 30 s unless set. A server that is silent for three
    /// intervals is gone.
    pub ping_interval: Duration,
}

impl ClientOptions {
    /// The defaults.
    pub fn new(transport: Transport) -> Self {
        Self {
            transport,
            client_name: "exec-server".to_owned(),
            initialize_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(60),
            recovery_window: Duration::from_secs(45),
            ping_interval: Duration::from_secs(30),
        }
    }
}
