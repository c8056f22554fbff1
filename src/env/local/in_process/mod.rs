//! This machine as an [`Environment`] of the program that runs here, on the code of the server.
//!
//! ```text
//!   caller ── start, write, signal ──► Process ── its thread ──► Events (a bounded queue)
//!     └──────────────── next_event ◄────────────────────────────────┘
//! ```
//!
//! The environment is what a session is to the server: it answers for all processes that it has
//! started, and they die with it, as does what has left their group. When the whole program dies the
//! guardian kills them.

mod events;
mod file_system;
mod process;

use std::sync::{Arc, MutexGuard, OnceLock};
use std::time::Duration;

use self::events::Events;
use self::process::LocalProcess;
use super::http::{Network, Request};
use super::info::environment_info;
use super::variables::{add_shell, child_environment};
use super::{Host, HostConfig, Owner, Process, ProcessSpec, confinement};
use crate::env::{
    Command, Environment, EnvironmentError, EnvironmentFacts, FileSystem, HttpRequest,
    HttpResponse, LOCAL, RunningProcess, SandboxFacts,
};
use crate::oneshot;
use crate::rpc::error::{ErrorKind, RpcError};
use crate::rpc::methods::extensions;
use crate::rpc::methods::session::EnvironmentInfo;
use crate::rpc::path_uri::{PathStyle, WirePath};
use crate::sandbox::journal::Journal;
use crate::sandbox::launcher::{self, Available, Launchers};
use crate::sys::pty::WindowSize;
use crate::sys::sync::Mutex;

/// How long a program may take to start: it may be on a disk that is far away.
const START_TIME: Duration = Duration::from_secs(60);

/// This machine. Its processes die with it.
///
/// A sandbox made by bwrap begins with this program's own file, so a program whose `main` does not
/// begin with [`take_over`](super::take_over) confines by Landlock alone, or refuses.
///
/// Orphans are the program's own matter: nothing here makes it their parent, or reaps a child that it
/// has not started.
pub struct LocalEnvironment {
    host: Arc<Host>,
    owner: Owner,
    network: OnceLock<Network>,
    info: OnceLock<EnvironmentInfo>,
    /// Those that may have something left that runs.
    processes: Mutex<Vec<Arc<Process>>>,
}

impl LocalEnvironment {
    /// This machine, with the server's limits on processes.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn new() -> Result<Self, EnvironmentError> {
        let launchers = Launchers::new(launcher::Config::default(), Journal::open());
        let host = Host::new(HostConfig::default(), launchers).map_err(|error| {
            RpcError::failed(format!("cannot prepare to start processes: {error}"))
        })?;
        Ok(Self {
            owner: host.owner(),
            host: Arc::new(host),
            network: OnceLock::new(),
            info: OnceLock::new(),
            processes: Mutex::default(),
        })
    }

    fn info(&self) -> &EnvironmentInfo {
        self.info.get_or_init(environment_info)
    }

    fn specify(&self, command: &Command) -> Result<ProcessSpec, RpcError> {
        if command.argv.is_empty() {
            return Err(RpcError::invalid_params("argv must not be empty"));
        }
        let cwd = match &command.cwd {
            Some(cwd) => {
                let cwd = WirePath::parse(cwd);
                cwd.map_err(|error| RpcError::invalid_params(error.cwd_message()))?
            }
            None => WirePath {
                path: std::env::current_dir().map_err(|error| {
                    RpcError::failed(format!("cannot tell the working directory: {error}"))
                })?,
                style: PathStyle::Native,
            },
        };
        let confinement = match &command.sandbox {
            Some(sandbox) => Some(confinement(&sandbox.to_string(), &cwd)?),
            None => None,
        };
        let policy = command.env_policy.as_ref();
        let mut env = child_environment(std::env::vars_os(), policy, &command.env)
            .map_err(|error| RpcError::invalid_params(error.to_string()))?;
        if command.terminal.is_some() {
            add_shell(&mut env, &self.info().shell.path);
        }
        Ok(ProcessSpec {
            id: LOCAL.to_owned(),
            argv: command.argv.clone(),
            is_own_program: false,
            arg0: command.arg0.clone(),
            cwd: cwd.path,
            env,
            terminal: command.terminal.map(|size| WindowSize {
                rows: size.rows,
                cols: size.cols,
            }),
            socket: None,
            pipe_stdin: command.pipe_stdin,
            timeout: command.timeout,
            limits: Vec::new(),
            confinement,
        })
    }

    /// Answers for a process, and forgets those that have left nothing.
    fn answer_for(&self, process: &Arc<Process>) {
        let mut processes = self.lock();
        processes.retain(|old| old.closed_at().is_none() || !old.has_no_group());
        processes.push(Arc::clone(process));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Process>>> {
        self.processes.lock()
    }
}

impl Environment for LocalEnvironment {
    fn id(&self) -> &str {
        LOCAL
    }

    fn is_remote(&self) -> bool {
        false
    }

    fn facts(&self) -> Result<EnvironmentFacts, EnvironmentError> {
        let info = self.info();
        let native = |uri: &Option<String>| {
            let path = WirePath::parse(uri.as_deref()?).ok()?.path;
            Some(path.to_string_lossy().into_owned())
        };
        Ok(EnvironmentFacts {
            version: Some(info.executor_version.to_string()),
            shell: Some(info.shell.path.clone()),
            cwd: native(&info.cwd),
            home: native(&info.user_home_dir),
            platform: Some(info.platform_os.to_string()),
            extensions: extensions().map(str::to_owned).collect(),
        })
    }

    fn sandbox(&self) -> Result<Option<SandboxFacts>, EnvironmentError> {
        let told = Available::json_of(&self.host.available());
        // The server tells the same in the same words.
        serde_json::from_value(told).map(Some).map_err(|error| {
            RpcError::failed(format!("cannot tell the confinement: {error}")).into()
        })
    }

    fn start(&self, command: &Command) -> Result<Box<dyn RunningProcess>, EnvironmentError> {
        let spec = self.specify(command)?;
        let events = Arc::new(Events::default());
        let process = Process::new(
            &self.host,
            &self.owner,
            &spec,
            Some(Arc::clone(&events) as _),
        );
        self.answer_for(&process);
        let (sender, receiver) = oneshot::channel();
        process.start(spec, move |result| sender.send(result));
        match receiver.wait(Some(START_TIME)) {
            Ok(Ok(started)) => {
                let process = LocalProcess::new(process, events, started.level);
                Ok(Box::new(process))
            }
            Ok(Err(error)) => {
                self.lock().retain(|other| !Arc::ptr_eq(other, &process));
                Err(RpcError::from(&error).into())
            }
            Err(_) => {
                process.abandon();
                let seconds = START_TIME.as_secs();
                let message = format!("the program has not started within {seconds} s");
                Err(RpcError::failed(message).into())
            }
        }
    }

    fn files(&self) -> &dyn FileSystem {
        self
    }

    fn http(&self, request: &HttpRequest) -> Result<HttpResponse, EnvironmentError> {
        let mut checked = Request::new(&request.method, &request.url).map_err(RpcError::from)?;
        for (name, value) in &request.headers {
            checked.header(name, value, None).map_err(RpcError::from)?;
        }
        checked.body = request.body.clone();
        checked.timeout = request.timeout;
        checked.follows_redirects = request.follows_redirects;
        let network = self.network.get_or_init(|| Network::new(false));
        let fetch = network.fetch(checked);
        let mut reply = fetch.run().map_err(|error| RpcError::from(&error))?;
        let body = reply.read_whole(|_| true)?;
        Ok(HttpResponse {
            status: reply.status,
            headers: reply.headers,
            body,
        })
    }
}

impl Drop for LocalEnvironment {
    fn drop(&mut self) {
        for process in self.lock().drain(..) {
            process.abandon();
        }
        self.owner.end();
        // The program may end next, and nothing is to be left then.
        self.owner.wait_until_ended();
    }
}

impl From<RpcError> for EnvironmentError {
    fn from(error: RpcError) -> Self {
        Self::Local {
            code: error.kind.code().into(),
            message: error.message,
        }
    }
}

/// The error of a process that takes no input.
fn stdin_closed() -> EnvironmentError {
    RpcError::new(ErrorKind::Failed, "the process takes no input any more").into()
}
