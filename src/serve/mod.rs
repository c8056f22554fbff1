//! Serving clients: where to listen and whom to let in.

pub mod host;
pub mod listen;
pub mod upgrade;

use std::fmt;
use std::time::Duration;

use listen::ListenAddress;

/// How to serve.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: ListenAddress,
    /// Most websocket connections at once.
    pub max_connections: usize,
    /// Values of `Origin` to accept.
    pub allow_origins: Vec<String>,
    /// Names to accept in `Host` on a loopback listener.
    pub allow_hosts: Vec<String>,
    /// How long a session without a connection is kept.
    pub session_retention: Duration,
    /// Bytes of output kept for each process.
    pub retained_output: usize,
    /// Bytes of output kept for all processes.
    pub retained_total: usize,
    /// How long output goes on after a process ended.
    pub drain_window: Duration,
    /// Most processes at once.
    pub max_processes: usize,
}

/// Why serving ended.
#[derive(Debug)]
pub enum ServeError {}

impl fmt::Display for ServeError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

/// Serves.
///
/// # Errors
/// None yet.
pub fn run(_config: Config) -> Result<(), ServeError> {
    Ok(())
}
