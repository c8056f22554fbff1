//! What lives on the server across connections: processes, and what it has told of itself.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};

use super::ClientError;
use super::facts::ServerFacts;
use super::http_body::BodyRoute;
use super::route::{Route, output};
use super::throttle::ReadThrottle;
use super::types::ProcessEvent;
use crate::rpc::methods::Method;
use crate::rpc::methods::http::{BodyDelta, BodyDeltaParams};
use crate::rpc::methods::process::{Closed, EndParams, Exited, Output, OutputParams};

use crate::sys::sync::Mutex;

/// A session.
pub(super) struct Session {
    pub(super) id: String,
    pub(super) facts: ServerFacts,
    pub(super) throttle: Arc<ReadThrottle>,
    next: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    routes: HashMap<String, Arc<Route>>,
    /// Running processes whose handles are gone: their events are dropped.
    abandoned: HashSet<String>,
    bodies: BTreeMap<String, Arc<BodyRoute>>,
    failure: Option<String>,
}

impl Session {
    pub(super) fn new(id: String, facts: ServerFacts, throttle: Arc<ReadThrottle>) -> Self {
        Self {
            id,
            facts,
            throttle,
            next: AtomicU64::new(1),
            state: Mutex::default(),
        }
    }

    /// A name that no process, file or request of this session has.
    pub(super) fn fresh_name(&self) -> String {
        self.next.fetch_add(1, Ordering::Relaxed).to_string()
    }

    /// Makes the place for the events of a process that is about to be started.
    pub(super) fn open_route(&self) -> Result<Arc<Route>, ClientError> {
        let route = Arc::new(Route::new(self.fresh_name(), Arc::clone(&self.throttle)));
        let mut state = self.lock();
        if let Some(why) = &state.failure {
            return Err(ClientError::Disconnected(why.clone()));
        }
        state.routes.insert(route.id.clone(), Arc::clone(&route));
        Ok(route)
    }

    /// The process never started, or is known to have ended.
    pub(super) fn close_route(&self, id: &str) {
        self.lock().routes.remove(id);
    }

    /// Nobody listens to this process any more. Whether it may run on.
    pub(super) fn abandon(&self, route: &Route) -> bool {
        let mut state = self.lock();
        let runs_on = state.routes.remove(&route.id).is_some() && !route.is_over();
        if runs_on {
            state.abandoned.insert(route.id.clone());
        }
        runs_on
    }

    pub(super) fn routes(&self) -> Vec<Arc<Route>> {
        self.lock().routes.values().cloned().collect()
    }

    /// The processes that may still run.
    pub(super) fn running(&self) -> Vec<String> {
        let state = self.lock();
        let live = state.routes.values().filter(|route| !route.is_over());
        let live = live.map(|route| route.id.clone());
        live.chain(state.abandoned.iter().cloned()).collect()
    }

    /// The processes that may still run, but whose events nobody wants.
    pub(super) fn abandoned(&self) -> Vec<String> {
        self.lock().abandoned.iter().cloned().collect()
    }

    /// Makes the place for the body of an HTTP answer.
    pub(super) fn open_body(&self) -> (String, Arc<BodyRoute>) {
        let id = self.fresh_name();
        let body = Arc::new(BodyRoute::new(Arc::clone(&self.throttle)));
        self.lock().bodies.insert(id.clone(), Arc::clone(&body));
        (id, body)
    }

    pub(super) fn close_body(&self, id: &str) {
        self.lock().bodies.remove(id);
    }

    /// The connection is lost, and with it what belonged to it alone.
    pub(super) fn connection_lost(&self, why: &str) {
        let bodies = std::mem::take(&mut self.lock().bodies);
        for body in bodies.into_values() {
            body.fail(why);
        }
    }

    /// The session is lost for good.
    pub(super) fn fail(&self, why: &str) {
        self.connection_lost(why);
        self.lock().failure.get_or_insert_with(|| why.to_owned());
        for route in self.routes() {
            route.fail(why);
        }
    }

    /// Why the session is lost for good, if it is.
    pub(super) fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    /// Takes a notification and gives the process that it was about. The error ends the connection.
    pub(super) fn take(&self, method: &str, params: &str) -> Result<Option<Arc<Route>>, String> {
        let bad =
            |error: serde_json::Error| format!("the server's {method} makes no sense: {error}");
        match method {
            Output::NAME => {
                let chunk: OutputParams<'_> = serde_json::from_str(params).map_err(bad)?;
                let route = self.route(&chunk.process_id);
                if let Some(route) = &route {
                    route.accept(chunk.seq, output(&chunk)?)?;
                }
                Ok(route)
            }
            Exited::NAME | Closed::NAME => {
                let ended: EndParams<'_> = serde_json::from_str(params).map_err(bad)?;
                let is_last = method == Closed::NAME;
                let Some(route) = self.route(&ended.process_id) else {
                    if is_last {
                        self.lock().abandoned.remove(&*ended.process_id);
                    }
                    return Ok(None);
                };
                let event = if is_last {
                    ProcessEvent::Closed
                } else {
                    ProcessEvent::Exited(ended.exit.into())
                };
                route.accept(ended.seq, event)?;
                Ok(Some(route))
            }
            BodyDelta::NAME => {
                let delta: BodyDeltaParams<'_> = serde_json::from_str(params).map_err(bad)?;
                let body = self.lock().bodies.get(&*delta.request_id).cloned();
                if let Some(body) = body {
                    body.accept(&delta)?;
                }
                Ok(None)
            }
            // Later servers may tell more.
            _ => Ok(None),
        }
    }

    fn route(&self, id: &str) -> Option<Arc<Route>> {
        self.lock().routes.get(id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}
