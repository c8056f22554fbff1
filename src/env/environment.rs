//! A place where processes run and files live: this machine, or one behind a transport.
//!
//! Everything goes through one client, which connects on first use. All that uses an environment at
//! the same time shares one attempt to connect; one that has failed is made anew on the next use. An
//! error names the environment, the stage that failed and what to do; nothing is ever done elsewhere
//! instead.

use std::env::VarError;
use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::config::{ConfigError, Definition, Origin, Problem, Token, Transport};
use super::{LOCAL, UnknownEnvironment};
use crate::net::upgrade::is_header_value;
use crate::net::{Dial, Target, Trust};
use crate::rpc::client::{
    self, ClientError, ClientOptions, ExecServerClient, Process, StdioCommand,
};
pub use crate::rpc::client::{
    Command, Confined, ConnectionState, EnvironmentFacts, Exit, FileBlock, FileKind, FileMetadata,
    HttpRequest, HttpResponse, Links, Listing, Names, NewMetadata, OpenFor, PolicyFacts,
    ProcessEvent, SandboxFacts, Stream, TerminalSize,
};
pub use crate::rpc::error::DenyingRule;
pub use crate::rpc::methods::process::Denial;
use crate::sys::secret_file;

/// A place where processes run and files live.
pub struct Environment {
    id: String,
    /// Dropped before the server that it may be connected to.
    client: OnceLock<ExecServerClient>,
    reached: Reached,
}

/// How an environment is reached.
enum Reached {
    Defined(Definition),
    /// By a server in this program, which ends when the function is dropped.
    InProcess(Box<dyn Fn() -> io::Result<UnixStream> + Send + Sync>),
}

impl Environment {
    /// One that is reached as defined. Does not connect yet.
    pub fn new(definition: Definition) -> Self {
        Self {
            id: definition.id.clone(),
            client: OnceLock::new(),
            reached: Reached::Defined(definition),
        }
    }

    /// This machine: `connect` gives a connection to a server in this program, and what it holds is
    /// dropped with the environment.
    pub fn local(connect: impl Fn() -> io::Result<UnixStream> + Send + Sync + 'static) -> Self {
        Self {
            id: LOCAL.to_owned(),
            client: OnceLock::new(),
            reached: Reached::InProcess(Box::new(connect)),
        }
    }

    /// Its name in `environments.toml`; `local` is this machine.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether it has a transport.
    pub fn is_remote(&self) -> bool {
        matches!(self.reached, Reached::Defined(_))
    }

    /// How long connecting and the handshake may take together; none for this machine.
    pub fn patience(&self) -> Option<Duration> {
        let Reached::Defined(definition) = &self.reached else {
            return None;
        };
        let connecting = match definition.transport {
            // To start it takes no time that counts.
            Transport::Program { .. } => Duration::ZERO,
            _ => definition.connect_timeout,
        };
        Some(connecting.saturating_add(definition.initialize_timeout))
    }

    /// The client, for files, HTTP requests and all else. What it has to be reached by may be wrong,
    /// which is an error of each use until it is right.
    ///
    /// # Errors
    /// A variable or URL of its definition is wrong, or the system gives no sockets.
    pub fn client(&self) -> Result<&ExecServerClient, EnvironmentError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let options = self
            .options()
            .map_err(|why| self.error(ClientError::Connect(why)))?;
        Ok(self.client.get_or_init(|| ExecServerClient::new(options)))
    }

    /// The outcome of a call with this environment's name in its error.
    ///
    /// # Errors
    /// As the call.
    pub fn named<T>(&self, outcome: Result<T, ClientError>) -> Result<T, EnvironmentError> {
        outcome.map_err(|error| self.error(error))
    }

    /// The error of a call with this environment's name.
    pub fn error(&self, error: ClientError) -> EnvironmentError {
        let id = self.id.clone();
        EnvironmentError::Failed { id, error }
    }

    /// Whether there is a connection at the moment.
    pub fn state(&self) -> ConnectionState {
        match self.client.get() {
            Some(client) => client.state(),
            None => ConnectionState::Idle,
        }
    }

    /// What it tells about itself; connects if need be.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn facts(&self) -> Result<EnvironmentFacts, EnvironmentError> {
        self.named(self.client()?.facts())
    }

    /// The confinement that its programs get at best; none if it does not tell, as the reference.
    /// It may have to be found out first, which takes some seconds at most.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn sandbox(&self) -> Result<Option<SandboxFacts>, EnvironmentError> {
        self.named(self.client()?.sandbox())
    }

    /// Starts a program.
    ///
    /// # Errors
    /// It cannot be reached, or it refuses.
    pub fn start(&self, command: &Command) -> Result<Process, EnvironmentError> {
        self.named(self.client()?.start(command))
    }

    /// How it is reached, with its token, for who speaks to it without our client.
    ///
    /// # Errors
    /// As of [`Environment::client`].
    pub fn transport(&self) -> Result<client::Transport, EnvironmentError> {
        let options = self.options();
        let options = options.map_err(|why| self.error(ClientError::Connect(why)))?;
        Ok(options.transport)
    }

    fn options(&self) -> Result<ClientOptions, String> {
        let definition = match &self.reached {
            Reached::Defined(definition) => definition,
            Reached::InProcess(connect) => {
                let socket = connect().map_err(|error| error.to_string())?;
                let transport = client::Transport::Socket(Arc::new(socket));
                return Ok(ClientOptions::new(transport));
            }
        };
        let transport = transport(definition)
            .map_err(|why| format!("cannot connect to {}: {why}", definition.transport))?;
        let mut options = ClientOptions::new(transport);
        options.initialize_timeout = definition.initialize_timeout;
        Ok(options)
    }
}

/// The client's transport for what is defined.
fn transport(definition: &Definition) -> Result<client::Transport, String> {
    let (target, token, trust, allows_local_users) = match &definition.transport {
        Transport::Program {
            program,
            args,
            env,
            cwd,
        } => {
            return Ok(client::Transport::Command(StdioCommand {
                program: program.clone(),
                args: args.clone(),
                env: env.clone(),
                cwd: cwd.clone(),
            }));
        }
        Transport::WebSocket { url, token, trust } => {
            let target = Target::parse(url).map_err(|error| error.to_string())?;
            (target, token, trust, false)
        }
        Transport::Unix {
            path,
            token,
            allows_local_users,
        } => {
            let target = Target::Unix(path.clone());
            (target, token, &Trust::Usual, *allows_local_users)
        }
    };
    let mut dial = Dial::new(target);
    dial.timeout = definition.connect_timeout;
    dial.trust = trust.clone();
    dial.allows_local_users = allows_local_users;
    dial.bearer = match token {
        Some(token) => Some(found(token, &definition.origin)?),
        None => None,
    };
    Ok(client::Transport::WebSocket(dial))
}

/// The token itself; warns if it is in a file that other users can read.
fn found(token: &Token, origin: &Origin) -> Result<String, String> {
    let (token, place) = match token {
        Token::Text(token) => {
            if let Origin::File(position) = origin {
                secret_file::warn_if_exposed(&position.path);
            }
            return Ok(token.clone());
        }
        Token::Variable(variable) => {
            let place = match origin {
                Origin::File(_) => format!("bearer_token_env names {variable}, which"),
                _ => format!("the token is in the variable {variable}, which"),
            };
            let token = std::env::var(variable).map_err(|error| match error {
                VarError::NotPresent => format!("{place} is not set; put the token there"),
                VarError::NotUnicode(_) => format!("{place} is not UTF-8; put the token there"),
            })?;
            (token, place)
        }
        Token::File(path) => {
            let place = format!("bearer_token_file names {}: it", path.display());
            let bytes = secret_file::read_regular(path).map_err(|error| {
                let path = path.display();
                format!("bearer_token_file names {path}: {error}; put the token there")
            })?;
            secret_file::warn_if_exposed(path);
            let token = String::from_utf8(bytes)
                .map_err(|_| format!("{place} is not UTF-8; put the token there"))?;
            (token, place)
        }
    };
    match token.trim() {
        "" => Err(format!("{place} is empty; put the token there")),
        token if !is_header_value(token) => Err(format!(
            "{place} has a line end or another control character inside; put the token alone there"
        )),
        token => Ok(token.to_owned()),
    }
}

/// Why something could not be done in an environment. `Display` is for a person, and names
/// the environment where that helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvironmentError {
    /// The connection, or the server's answer.
    Failed {
        /// The environment's id.
        id: String,
        /// What happened.
        error: ClientError,
    },
    /// The files of environments, or their variables, are wrong.
    Config(ConfigError),
    /// There is no such environment.
    Unknown(UnknownEnvironment),
}

impl EnvironmentError {
    /// The JSON-RPC code, where the environment was reached.
    pub fn code(&self) -> Option<i64> {
        match self {
            Self::Failed { error, .. } => error.code(),
            _ => None,
        }
    }
}

impl fmt::Display for EnvironmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A server's own words, about what it was asked for, need no more; and who has asked
            // this machine has not asked a server.
            Self::Failed {
                id,
                error: ClientError::Rejected { message, .. },
            } if id == LOCAL => f.write_str(message),
            Self::Failed {
                error: error @ ClientError::Rejected { .. },
                ..
            } => error.fmt(f),
            Self::Failed { id, error } => write!(f, "environment `{id}`: {error}"),
            Self::Config(error) => error.fmt(f),
            Self::Unknown(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for EnvironmentError {}

impl From<ConfigError> for EnvironmentError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<Problem> for EnvironmentError {
    fn from(problem: Problem) -> Self {
        Self::Config(problem.into())
    }
}
