//! The client: typed, blocking calls on a server over any transport.
//!
//! [`ExecServerClient`] connects on first use and belongs to as many threads as like to call it.
//! A caller writes its request itself and sleeps until the answer is there. One thread a
//! connection (`client`) reads everything in one order: answers are handed to who waits for them,
//! events of processes are put in the order of their numbers and queued ([`events`]), the end fails
//! all that is left. So an answer that came before the end of the connection counts. [`throttle`]
//! tells when the reader must wait for a slow consumer.
//!
//! When a websocket is lost that thread makes the next one and takes the session up again
//! ([`connector`]); who calls meanwhile waits. A call that was on its way fails and is not made again,
//! except reading a process's events and what makes no difference when it is done twice. A stdio
//! command ([`command`]) is not recovered. After a failure the next use makes one fresh attempt,
//! with a new session; handles of the old one stay failed.
//!
//! Paths are native here. Servers that tell about themselves get URIs, 0.130 gets native paths.
//! Extensions are used only where they are announced.

mod command;
mod connection;
mod connector;
mod events;
mod files;
mod http;
mod liveness;
mod process;
mod session;
mod throttle;

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::de::IntoDeserializer;
use serde::de::value::Error as ValueError;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

pub use files::{
    FileBlock, FileKind, FileMetadata, Links, Listing, Names, NewMetadata, OpenFile, OpenFor,
};
pub use http::{HttpBody, HttpRequest, HttpResponse};
pub use process::{Captured, Command, Confined, Exit, Finished, Process, ProcessEvent};
pub use session::{EnvironmentFacts, PolicyFacts, SandboxFacts};

pub use super::methods::process::{
    MissingBytes, Rlimit, Size as TerminalSize, StreamName as Stream,
};

use self::connection::{Answer, Params};
use self::connector::Connector;
use self::session::Session;
use super::encode;
use super::error::{ErrorKind, Reason};
use super::methods::session::Info;
use super::methods::{Method, NoParams};
use crate::net::Dial;

/// A client of one server. Clones are the same client; when the last one and the last handle are
/// gone, the processes that it started and that still run are killed, the connection is closed,
/// and a stdio command has been ended.
#[derive(Clone)]
pub struct ExecServerClient(Arc<Owner>);

impl ExecServerClient {
    /// A client that connects on first use.
    pub fn new(options: ClientOptions) -> Self {
        Self(Arc::new(Owner(Arc::new(Connector::new(options)))))
    }

    /// Whether there is a connection at the moment.
    pub fn state(&self) -> ConnectionState {
        self.connector().describe()
    }

    /// Connects if need be, and gives what the server tells about itself.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn facts(&self) -> Result<EnvironmentFacts, ClientError> {
        Ok(self.session()?.facts.environment.clone())
    }

    /// The confinement that programs get there at best, which the server may have to find out
    /// first; none if it does not tell, as the reference.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn sandbox(&self) -> Result<Option<SandboxFacts>, ClientError> {
        if !self.session()?.facts.has("environment/info.sandbox") {
            return Ok(None);
        }
        let answer = self.call::<Info>(&NoParams {})?;
        session::sandbox_of(&answer.json)
            .map_err(|error| ClientError::Protocol(format!("{}: {error}", Info::NAME)))
    }

    fn connector(&self) -> &Arc<Connector> {
        &self.0.0
    }

    /// The session that there is, begun if need be.
    fn session(&self) -> Result<Arc<Session>, ClientError> {
        Ok(self.connector().ready()?.0)
    }

    /// Calls the method `M`.
    fn call<M: Method>(&self, params: &M::Params<'_>) -> Result<Answer, ClientError> {
        self.call_with(M::NAME, &|out| encode::json(out, params))
    }

    /// The same with parameters that the caller writes.
    fn call_with(&self, method: &str, params: Params<'_>) -> Result<Answer, ClientError> {
        let limit = Some(self.call_timeout());
        self.connector().call(method, params, limit)
    }

    fn call_timeout(&self) -> Duration {
        self.connector().options.call_timeout
    }
}

impl fmt::Debug for ExecServerClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ExecServerClient")
            .field(&self.state())
            .finish()
    }
}

/// Ends the client when nobody has it any more.
struct Owner(Arc<Connector>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.shut_down();
    }
}

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
    /// A server that is silent for a fifth of this is asked for a sign of life; 5 s unless set. One
    /// that is silent for three such intervals is gone: a command, whose connection cannot be had again,
    /// for as much longer as `recovery_window` says.
    pub ping_interval: Duration,
}

/// What clients call themselves where nothing else is said.
static NAME: OnceLock<String> = OnceLock::new();

/// What all clients of this program call themselves from now on, unless their options say
/// otherwise. The first call counts.
pub fn introduce_as(name: String) {
    let _ = NAME.set(name);
}

/// The recovery window unless another is set.
pub const RECOVERY_WINDOW: Duration = Duration::from_secs(45);

impl ClientOptions {
    /// The defaults.
    pub fn new(transport: Transport) -> Self {
        Self {
            transport,
            client_name: NAME.get().map_or("exec-server", |name| name).to_owned(),
            initialize_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(60),
            recovery_window: RECOVERY_WINDOW,
            ping_interval: Duration::from_secs(5),
        }
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
    /// There is a connection, and the server does not answer.
    Silent {
        /// For how long nothing has come from it.
        time: Duration,
        /// For how long that may be before the connection is given up.
        limit: Duration,
    },
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
            Self::Silent { time, .. } => {
                write!(f, "connected, and no answer for {} s", time.as_secs())
            }
            Self::Recovering(why) => write!(f, "reconnecting: {why}"),
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

/// Why a call on a server did not succeed. `Display` is for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// No connection came about: stage, cause, what to do.
    Connect(String),
    /// The connection is gone, and so is what was asked.
    Disconnected(String),
    /// The server answered with an error.
    Rejected {
        /// The JSON-RPC code.
        code: i64,
        /// The server's words.
        message: String,
        /// What the server says besides, for programs.
        data: RejectionData,
    },
    /// The server's answer makes no sense.
    Protocol(String),
    /// No answer within the time allowed.
    TimedOut(String),
    /// The process takes no more input.
    InputClosed(String),
    /// The server announces no such extension; nothing was sent.
    Unsupported(String),
    /// The server would not, or did not, confine what had to be; nothing runs.
    NotConfined(&'static str),
}

/// The `data` of a server's error. The reference's servers say nothing there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RejectionData {
    /// Why; none also where it is a reason that this client does not know.
    #[serde(rename = "kind", deserialize_with = "known")]
    pub reason: Option<Reason>,
    /// The step that failed.
    pub stage: Option<String>,
    /// The number of the system's error.
    pub errno: Option<i32>,
    /// What it was about.
    pub path: Option<String>,
}

impl RejectionData {
    /// What is understood of it: a server may put anything there.
    fn read(data: &RawValue) -> Self {
        serde_json::from_str(data.get()).unwrap_or_default()
    }
}

/// A reason, if it is a known one.
fn known<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Reason>, D::Error> {
    let name = Option::<String>::deserialize(from)?;
    let reason =
        |name: String| -> Result<_, ValueError> { Reason::deserialize(name.into_deserializer()) };
    Ok(name.and_then(|name| reason(name).ok()))
}

impl ClientError {
    /// The JSON-RPC code, where there was an answer.
    pub fn code(&self) -> Option<i64> {
        match self {
            Self::Rejected { code, .. } => Some(*code),
            // What the server would say if it were asked.
            Self::Unsupported(_) => Some(ErrorKind::UnknownMethod.code().into()),
            _ => None,
        }
    }

    /// The number of the system's error, where the server tells it.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Rejected { data, .. } => data.errno,
            _ => None,
        }
    }

    /// Whether the connection was lost on the way, so that what was asked for may have been done or
    /// not.
    pub fn is_disconnect(&self) -> bool {
        matches!(self, Self::Disconnected(_))
    }

    /// Whether the server has reached a limit, and has done nothing; later it may.
    pub fn is_busy(&self) -> bool {
        self.code() == Some(i64::from(ErrorKind::Busy.code()))
    }

    /// Whether the server said that there is no such file or handle.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(i64::from(ErrorKind::NotFound.code()))
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(why) | Self::TimedOut(why) | Self::InputClosed(why) => f.write_str(why),
            Self::Disconnected(why) if why.is_empty() => {
                f.write_str("exec-server transport disconnected")
            }
            Self::Disconnected(why) => write!(f, "exec-server transport disconnected: {why}"),
            Self::Rejected { code, message, .. } => {
                write!(f, "exec-server rejected request ({code}): {message}")
            }
            Self::Unsupported(what) => write!(
                f,
                "this server does not know {what}, an extension of exec-server's protocol; \
                 it takes an exec-server of this kind there"
            ),
            Self::NotConfined(what) => write!(
                f,
                "this server does not confine commands, {what}; \
                 it takes an exec-server that enforces `sandbox` there"
            ),
            Self::Protocol(why) => write!(f, "exec-server protocol error: {why}"),
        }
    }
}

impl std::error::Error for ClientError {}
