//! What lives on the server across connections: processes, and what it has told of itself.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::ClientError;
use super::events::{EventQueue, output};
use super::http::BodyQueue;
use super::process::ProcessEvent;
use super::throttle::ReadThrottle;
use crate::rpc::methods::Method;
use crate::rpc::methods::http::{BodyDelta, BodyDeltaParams};
use crate::rpc::methods::process::{Closed, EndParams, Exited, Output, OutputParams};
use crate::rpc::path_uri::{PathStyle, WirePath};
use crate::sys::sync::Mutex;

/// What an environment tells about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvironmentFacts {
    /// The server's version, where it tells.
    pub version: Option<String>,
    /// The path of a shell, where it tells.
    pub shell: Option<String>,
    /// Where the server was started, as a native path.
    pub cwd: Option<String>,
    /// The user's home, as a native path.
    pub home: Option<String>,
    /// `linux` where it tells.
    pub platform: Option<String>,
    /// The extensions it announces; empty for the reference.
    pub extensions: Vec<String>,
}

/// The confinement that an environment's programs get at best. In JSON the names are those of the protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SandboxFacts {
    /// Who makes it; `none` where nothing can be confined.
    pub launcher: String,
    /// Its version.
    pub version: Option<String>,
    /// The namespaces that are new.
    pub namespaces: Vec<String>,
    /// The version of Landlock in force; 0 for none.
    pub landlock_abi: u32,
    /// Whether system calls are filtered.
    pub seccomp: bool,
    /// What is less than it could be, a sentence each.
    pub weaker: Vec<String>,
    /// Why nothing can be confined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What is told of the policies that have names, such as `workspace-write`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub policies: BTreeMap<String, PolicyFacts>,
}

/// Whether a policy can be had in an environment. In JSON the names are those of the protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyFacts {
    /// Whether it can.
    pub available: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// What lives across connections. Nothing of it is left when the server has forgotten it.
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) facts: ServerFacts,
    pub(crate) throttle: Arc<ReadThrottle>,
    next: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    processes: HashMap<String, Arc<EventQueue>>,
    /// Running processes whose handles are gone: their events are dropped.
    abandoned: HashSet<String>,
    bodies: BTreeMap<String, Arc<BodyQueue>>,
    failure: Option<String>,
}

impl Session {
    pub(crate) fn new(id: String, facts: ServerFacts, throttle: Arc<ReadThrottle>) -> Self {
        Self {
            id,
            facts,
            throttle,
            next: AtomicU64::new(1),
            state: Mutex::default(),
        }
    }

    /// A name that no process, file or request of this session has.
    pub(crate) fn fresh_name(&self) -> String {
        self.next.fetch_add(1, Ordering::Relaxed).to_string()
    }

    /// Makes the place for the events of a process that is about to be started.
    pub(crate) fn open_events(&self) -> Result<Arc<EventQueue>, ClientError> {
        let events = Arc::new(EventQueue::new(
            self.fresh_name(),
            Arc::clone(&self.throttle),
        ));
        let mut state = self.state.lock();
        if let Some(why) = &state.failure {
            return Err(ClientError::Disconnected(why.clone()));
        }
        state
            .processes
            .insert(events.id.clone(), Arc::clone(&events));
        Ok(events)
    }

    /// The process never started, or is known to have ended.
    pub(crate) fn close_events(&self, id: &str) {
        self.state.lock().processes.remove(id);
    }

    /// Nobody listens to this process any more. Whether it may run on.
    pub(crate) fn abandon(&self, events: &EventQueue) -> bool {
        let mut state = self.state.lock();
        let runs_on = state.processes.remove(&events.id).is_some() && !events.is_over();
        if runs_on {
            state.abandoned.insert(events.id.clone());
        }
        runs_on
    }

    pub(crate) fn event_queues(&self) -> Vec<Arc<EventQueue>> {
        self.state.lock().processes.values().cloned().collect()
    }

    /// The processes that may still run.
    pub(crate) fn running(&self) -> Vec<String> {
        let state = self.state.lock();
        let live = state.processes.values().filter(|events| !events.is_over());
        let live = live.map(|events| events.id.clone());
        live.chain(state.abandoned.iter().cloned()).collect()
    }

    /// The processes that may still run, but whose events nobody wants.
    pub(crate) fn abandoned(&self) -> Vec<String> {
        self.state.lock().abandoned.iter().cloned().collect()
    }

    /// Makes the place for the body of an HTTP answer.
    pub(crate) fn open_body(&self) -> (String, Arc<BodyQueue>) {
        let id = self.fresh_name();
        let body = Arc::new(BodyQueue::new(Arc::clone(&self.throttle)));
        self.state
            .lock()
            .bodies
            .insert(id.clone(), Arc::clone(&body));
        (id, body)
    }

    pub(crate) fn close_body(&self, id: &str) {
        self.state.lock().bodies.remove(id);
    }

    /// The connection is lost, and with it what belonged to it alone.
    pub(crate) fn connection_lost(&self, why: &str) {
        let bodies = std::mem::take(&mut self.state.lock().bodies);
        for body in bodies.into_values() {
            body.fail(why);
        }
    }

    /// The session is lost for good.
    pub(crate) fn fail(&self, why: &str) {
        self.connection_lost(why);
        self.state
            .lock()
            .failure
            .get_or_insert_with(|| why.to_owned());
        for events in self.event_queues() {
            events.fail(why);
        }
    }

    /// Why the session is lost for good, if it is.
    pub(crate) fn failure(&self) -> Option<String> {
        self.state.lock().failure.clone()
    }

    /// Takes a notification and gives the process that it was about, and whether it has brought an
    /// event that could be handed out. The error ends the connection.
    pub(crate) fn take(
        &self,
        method: &str,
        params: &str,
    ) -> Result<Option<(Arc<EventQueue>, bool)>, String> {
        let bad =
            |error: serde_json::Error| format!("the server's {method} makes no sense: {error}");
        match method {
            Output::NAME => {
                let chunk: OutputParams<'_> = serde_json::from_str(params).map_err(bad)?;
                let Some(events) = self.events_of(&chunk.process_id) else {
                    return Ok(None);
                };
                let is_new = events.accept(chunk.seq, output(&chunk)?)?;
                Ok(Some((events, is_new)))
            }
            Exited::NAME | Closed::NAME => {
                let ended: EndParams<'_> = serde_json::from_str(params).map_err(bad)?;
                let is_last = method == Closed::NAME;
                let Some(events) = self.events_of(&ended.process_id) else {
                    if is_last {
                        self.state.lock().abandoned.remove(&*ended.process_id);
                    }
                    return Ok(None);
                };
                let event = if is_last {
                    ProcessEvent::Closed
                } else {
                    ProcessEvent::Exited(ended.exit.into())
                };
                let is_new = events.accept(ended.seq, event)?;
                Ok(Some((events, is_new)))
            }
            BodyDelta::NAME => {
                let delta: BodyDeltaParams<'_> = serde_json::from_str(params).map_err(bad)?;
                let body = self.state.lock().bodies.get(&*delta.request_id).cloned();
                if let Some(body) = body {
                    body.accept(&delta)?;
                }
                Ok(None)
            }
            // Later servers may tell more.
            _ => Ok(None),
        }
    }

    fn events_of(&self, id: &str) -> Option<Arc<EventQueue>> {
        self.state.lock().processes.get(id).cloned()
    }
}

/// What a path begins with that is a URI; others begin with a slash.
const URI: &str = "file:";

/// What is known of a server.
#[derive(Clone, Debug)]
pub(crate) struct ServerFacts {
    /// For callers.
    pub(crate) environment: EnvironmentFacts,
    /// How it wants paths.
    pub(crate) style: PathStyle,
}

/// What is read of an [`EnvironmentInfo`](crate::rpc::methods::session::EnvironmentInfo): no member
/// must be there, since servers of other versions leave out some.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InfoReply {
    #[serde(default)]
    executor_version: Option<String>,
    #[serde(default)]
    shell: Option<ShellReply>,
    #[serde(default)]
    cwd: Option<String>,
    #[serde(default)]
    user_home_dir: Option<String>,
    #[serde(default)]
    platform_os: Option<String>,
    #[serde(default)]
    capabilities: Option<CapabilitiesReply>,
}

#[derive(Deserialize)]
struct ShellReply {
    path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CapabilitiesReply {
    #[serde(default)]
    exec_server: Option<ExecServerReply>,
}

#[derive(Deserialize)]
struct ExecServerReply {
    #[serde(default)]
    extensions: Vec<String>,
    #[serde(default)]
    sandbox: Option<SandboxFacts>,
}

impl ServerFacts {
    /// Of a server that says nothing: 0.130, which knows native paths only.
    pub(crate) fn silent() -> Self {
        Self {
            environment: EnvironmentFacts::default(),
            style: PathStyle::Native,
        }
    }

    /// From an `environmentInfo`. Such a server takes URIs.
    pub(crate) fn from_info(json: &str) -> Result<Self, serde_json::Error> {
        let info: InfoReply = serde_json::from_str(json)?;
        let ours = info.capabilities.and_then(|it| it.exec_server);
        Ok(Self {
            environment: EnvironmentFacts {
                version: info.executor_version,
                shell: info.shell.map(|shell| shell.path),
                cwd: info.cwd.as_deref().and_then(native),
                home: info.user_home_dir.as_deref().and_then(native),
                platform: info.platform_os,
                extensions: ours.map_or_else(Vec::new, |ours| ours.extensions),
            },
            style: PathStyle::Uri,
        })
    }

    /// A native path as it wants it; a URI, which can have bytes that are not UTF-8, as it is.
    pub(crate) fn path(&self, path: &str) -> String {
        match path.starts_with(URI) {
            true => path.to_owned(),
            false => self.style.render(Path::new(path)),
        }
    }

    /// Whether it announces an extension.
    pub(crate) fn has(&self, extension: &str) -> bool {
        self.environment.extensions.iter().any(|it| it == extension)
    }

    /// An error unless it announces the extension.
    pub(crate) fn needs(&self, extension: &str) -> Result<(), ClientError> {
        if self.has(extension) {
            return Ok(());
        }
        Err(ClientError::Unsupported(extension.to_owned()))
    }
}

/// What an answer to `environment/info` tells about confinement.
pub(crate) fn sandbox_of(json: &str) -> Result<Option<SandboxFacts>, serde_json::Error> {
    let info: InfoReply = serde_json::from_str(json)?;
    let ours = info.capabilities.and_then(|it| it.exec_server);
    Ok(ours.and_then(|ours| ours.sandbox))
}

/// A path of a server, in whatever form, as a native one.
pub(crate) fn native(path: &str) -> Option<String> {
    let path = WirePath::parse(path).ok()?.path;
    path.into_os_string().into_string().ok()
}
