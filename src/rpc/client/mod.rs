//! The client: typed, blocking calls on a server over any transport.
//!
//! [`ExecServerClient`] connects on first use and belongs to as many threads as like to call it.
//! A caller writes its request itself and sleeps until the answer is there. One thread a
//! connection (`client`) reads everything in one order: answers are handed to who waits for them,
//! events of processes are put in the order of their numbers ([`sequence`]) and queued
//! ([`route`]), the end fails all that is left. So an answer that came before the end of the
//! connection counts. [`throttle`] tells when the reader must wait for a slow consumer.
//!
//! When a websocket is lost that thread makes the next one and takes the session up again
//! ([`link`]); who calls meanwhile waits. A call that was on its way fails and is not made again,
//! except reading a process's events and what makes no difference when it is done twice. A stdio
//! command ([`command`]) is not recovered. After a failure the next use makes one fresh attempt,
//! with a new session; handles of the old one stay failed.
//!
//! Paths are native here. Servers that tell about themselves get URIs, 0.130 gets native paths.
//! Extensions are used only where they are announced.

mod command;
mod connection;
mod error;
mod facts;
mod files;
mod handshake;
mod http;
mod http_body;
mod link;
mod names;
mod open_file;
mod options;
mod process;
mod route;
mod send_permit;
mod sequence;
mod session;
mod throttle;
pub mod types;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use error::ClientError;
pub use http::HttpBody;
pub use open_file::RemoteFile;
pub use options::{ClientOptions, StdioCommand, Transport};
pub use process::RemoteProcess;

use self::connection::{Answer, Params};
use self::link::Shared;
use self::types::{EnvironmentFacts, SandboxFacts};
use super::encode;
use super::methods::session::Info;
use super::methods::{Method, NoParams};

/// A client of one server. Clones are the same client; when the last one and the last handle are
/// gone, the processes that it started and that still run are killed, the connection is closed,
/// and a stdio command has been ended.
#[derive(Clone)]
pub struct ExecServerClient(Arc<Owner>);

/// Ends the client when nobody has it any more.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.shut_down();
    }
}

/// Whether there is a connection. `Display` is for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Nothing was asked for yet.
    Idle,
    /// The first connection, or one after a failure, is being made.
    Connecting,
    /// All is well.
    Connected,
    /// The connection was lost, for this reason, and is being made again.
    Recovering(String),
    /// There is none, for this reason; the next use tries again.
    Failed(String),
}

impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("not connected yet"),
            Self::Connecting => f.write_str("connecting"),
            Self::Connected => f.write_str("connected"),
            Self::Recovering(why) => write!(f, "reconnecting: {why}"),
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

impl ExecServerClient {
    /// A client that connects on first use.
    pub fn new(options: ClientOptions) -> Self {
        Self(Arc::new(Owner(Arc::new(Shared::new(options)))))
    }

    /// Whether there is a connection at the moment.
    pub fn state(&self) -> ConnectionState {
        self.shared().describe()
    }

    /// Connects if need be, and gives what the server tells about itself.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn facts(&self) -> Result<EnvironmentFacts, ClientError> {
        Ok(self.shared().ready()?.0.facts.facts.clone())
    }

    /// The confinement that programs get there at best, which the server may have to find out
    /// first; none if it does not tell, as the reference.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn sandbox(&self) -> Result<Option<SandboxFacts>, ClientError> {
        if !self
            .shared()
            .ready()?
            .0
            .facts
            .has("environment/info.sandbox")
        {
            return Ok(None);
        }
        let answer = self.call::<Info>(&NoParams {})?;
        facts::sandbox_of(&answer.json)
            .map_err(|error| ClientError::Protocol(format!("{}: {error}", Info::NAME)))
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }

    /// Calls the method `M`.
    fn call<M: Method>(&self, params: &M::Params<'_>) -> Result<Answer, ClientError> {
        self.call_with(M::NAME, &|out| encode::json(out, params))
    }

    /// The same with parameters that the caller writes.
    fn call_with(&self, method: &str, params: Params<'_>) -> Result<Answer, ClientError> {
        let limit = Some(self.call_timeout());
        self.shared().call(method, params, limit)
    }

    fn call_timeout(&self) -> Duration {
        self.shared().options.call_timeout
    }
}

impl fmt::Debug for ExecServerClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ExecServerClient")
            .field(&self.state())
            .finish()
    }
}
