//! Environments behind a transport: everything goes through one client, which connects on first use.
//!
//! All that uses an environment at the same time shares one attempt to connect; one that has
//! failed is made anew on the next use. An error names the environment, the stage that failed and
//! what to do; nothing is ever done elsewhere instead.

mod files;
mod process;

use std::sync::{Arc, OnceLock};

use self::process::RunningRemote;
use super::config::{Definition, Transport};
use super::{
    Command, Environment, EnvironmentError, EnvironmentFacts, FileSystem, HttpRequest,
    HttpResponse, RunningProcess, SandboxFacts,
};
use crate::rpc::client::{
    self, ClientError, ClientOptions, ConnectionState, ExecServerClient, StdioCommand,
};
use crate::rpc::dial::{Dial, Target};

/// An environment behind a transport.
pub struct RemoteEnvironment {
    definition: Definition,
    id: Arc<str>,
    client: OnceLock<ExecServerClient>,
}

impl RemoteEnvironment {
    /// One that is reached as defined. Does not connect yet.
    pub fn new(definition: Definition) -> Self {
        Self {
            id: definition.id.as_str().into(),
            definition,
            client: OnceLock::new(),
        }
    }

    /// The client; its options may be wrong, which is an error of each use until they are right.
    fn client(&self) -> Result<&ExecServerClient, EnvironmentError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let options = self.options().map_err(|why| {
            self.error(ClientError::Connect(format!(
                "cannot connect to {}: {why}",
                self.definition.transport
            )))
        })?;
        Ok(self.client.get_or_init(|| ExecServerClient::new(options)))
    }

    fn options(&self) -> Result<ClientOptions, String> {
        let (target, variable) = match &self.definition.transport {
            Transport::Program {
                program,
                args,
                env,
                cwd,
            } => {
                let command = StdioCommand {
                    program: program.clone(),
                    args: args.clone(),
                    env: env.clone(),
                    cwd: cwd.clone(),
                };
                return Ok(self.patient(client::Transport::Command(command)));
            }
            Transport::WebSocket {
                url,
                bearer_token_env,
            } => {
                let target = Target::parse(url).map_err(|error| error.to_string())?;
                (target, bearer_token_env)
            }
            Transport::Unix {
                path,
                bearer_token_env,
            } => (Target::Unix(path.clone()), bearer_token_env),
        };
        let mut dial = Dial::new(target);
        dial.timeout = self.definition.connect_timeout;
        dial.bearer = variable.as_deref().map(token).transpose()?;
        Ok(self.patient(client::Transport::WebSocket(dial)))
    }

    fn patient(&self, transport: client::Transport) -> ClientOptions {
        let mut options = ClientOptions::new(transport);
        options.initialize_timeout = self.definition.initialize_timeout;
        options
    }

    fn error(&self, error: ClientError) -> EnvironmentError {
        named(&self.id, error)
    }
}

fn named(id: &str, error: ClientError) -> EnvironmentError {
    EnvironmentError::Remote {
        id: id.to_owned(),
        error,
    }
}

/// The token in a variable.
fn token(variable: &str) -> Result<String, String> {
    match std::env::var(variable) {
        Ok(token) if !token.trim().is_empty() => Ok(token.trim().to_owned()),
        Ok(_) => Err(format!(
            "bearer_token_env names {variable}, which is empty; put the token there"
        )),
        Err(_) => Err(format!(
            "bearer_token_env names {variable}, which is not set; put the token there"
        )),
    }
}

impl Environment for RemoteEnvironment {
    fn id(&self) -> &str {
        &self.id
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn outage(&self) -> Option<String> {
        match self.client.get()?.state() {
            ConnectionState::Recovering(why) => Some(why),
            _ => None,
        }
    }

    fn facts(&self) -> Result<EnvironmentFacts, EnvironmentError> {
        self.client()?.facts().map_err(|error| self.error(error))
    }

    fn sandbox(&self) -> Result<Option<SandboxFacts>, EnvironmentError> {
        self.client()?.sandbox().map_err(|error| self.error(error))
    }

    fn start(&self, command: &Command) -> Result<Box<dyn RunningProcess>, EnvironmentError> {
        let process = self.client()?.start(command);
        let process = process.map_err(|error| self.error(error))?;
        Ok(Box::new(RunningRemote::new(&self.id, process)))
    }

    fn files(&self) -> &dyn FileSystem {
        self
    }

    fn http(&self, request: &HttpRequest) -> Result<HttpResponse, EnvironmentError> {
        let response = self.client()?.http(request);
        response.map_err(|error| self.error(error))
    }
}
