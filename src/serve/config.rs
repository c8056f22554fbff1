//! How to serve.

use std::time::Duration;

use super::auth;
use super::listen::ListenAddress;
use super::tls::TlsFiles;
use crate::sandbox::launcher;

/// Where and how to serve.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: ListenAddress,
    /// How.
    pub options: Options,
}

/// What can be chosen besides the address.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// How clients prove who they are.
    pub auth: auth::Settings,
    /// How the listener proves itself; with these files it speaks TLS.
    pub tls: TlsFiles,
    /// Most websocket connections at once.
    pub max_connections: usize,
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
    /// Bytes of output kept for each process.
    pub retained_output: usize,
    /// Bytes of output kept for all processes.
    pub retained_total: usize,
    /// How long output goes on after a process ended, when a descendant holds its pipes.
    pub drain_window: Duration,
    /// Most processes at once.
    pub max_processes: usize,
    /// Let processes that have left their group outlive their session and the server.
    pub keeps_daemons: bool,
    /// Who confines programs.
    pub sandbox: launcher::Config,
    /// Make no HTTP requests for clients.
    pub no_http: bool,
    /// Let HTTP requests go to link-local and metadata addresses.
    pub allow_link_local: bool,
}
