//! What is told of this machine, and the confinement that a start gets on it at best.
//!
//! The latter has to be found out, by a sandbox or two, on a thread of its own. Who asks waits in a
//! list for it; the main thread answers those that have waited too long, so that a launcher that
//! hangs keeps nobody.

use std::mem;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::reply::Responder;
use crate::env::local::Host;
use crate::env::local::info::environment_info;
use crate::rpc::methods::session::{EnvironmentInfo, Info};
use crate::sandbox::launcher::{Available, Refusal, Stage};
use crate::sys::sync::Mutex;

/// How long somebody waits: a little less than clients of ours do.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it is believed: a setting of the machine may change.
const FRESH: Duration = Duration::from_secs(30);
/// Requests that wait. Further ones are answered at once.
const MAX_WAITING: usize = 256;

/// What is told of this machine. One a server.
pub(crate) struct MachineInfo {
    /// All but the confinement; found out once.
    base: OnceLock<EnvironmentInfo>,
    makes_http_requests: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The whole answer, and when it was found.
    found: Option<(Arc<EnvironmentInfo>, Instant)>,
    is_searching: bool,
    waiting: Vec<(Responder, Instant)>,
}

impl MachineInfo {
    pub(crate) fn new(makes_http_requests: bool) -> Arc<Self> {
        Arc::new(Self {
            base: OnceLock::new(),
            makes_http_requests,
            state: Mutex::default(),
        })
    }

    /// All but the confinement.
    pub(crate) fn base(&self) -> &EnvironmentInfo {
        self.base.get_or_init(|| {
            let mut info = environment_info();
            info.capabilities.http_header_env_vars = self.makes_http_requests;
            info
        })
    }

    /// Answers with all of it, now or later.
    pub(crate) fn answer(self: &Arc<Self>, host: &Arc<Host>, responder: Responder) {
        let mut state = self.state.lock();
        let fresh = state.found.as_ref().filter(|it| it.1.elapsed() < FRESH);
        if let Some((answer, _)) = fresh {
            return responder.answer::<Info>(answer);
        }
        if state.waiting.len() >= MAX_WAITING {
            // Rather an answer without the confinement, which nobody may count on, than none.
            return responder.answer::<Info>(self.base());
        }
        state.waiting.push((responder, Instant::now()));
        if mem::replace(&mut state.is_searching, true) {
            return;
        }
        drop(state);
        let machine = Arc::clone(self);
        if let Err(error) = host.find_available(move |found| machine.tell(&found)) {
            let refusal = Refusal::new(Stage::Start, "no thread to find out with", "");
            self.tell(&Err(refusal.because(&error)));
        }
    }

    fn tell(&self, found: &Result<Available, Refusal>) {
        let answer = Arc::new(self.with_confinement(found));
        let mut state = self.state.lock();
        state.found = Some((Arc::clone(&answer), Instant::now()));
        state.is_searching = false;
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        for (responder, _) in waiting {
            responder.answer::<Info>(&answer);
            responder.flush();
        }
    }

    /// Answers those that have waited too long.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut state = self.state.lock();
        let is_late = |since: &Instant| now.saturating_duration_since(*since) >= PATIENCE;
        let late: Vec<_> = state
            .waiting
            .extract_if(.., |(_, since)| is_late(since))
            .collect();
        drop(state);
        if late.is_empty() {
            return;
        }
        let what = format!("no launcher has made one within {} s", PATIENCE.as_secs());
        let hint = "Run `exec-server doctor` there, and see which of them hangs";
        let refusal = Refusal::new(Stage::Launcher, what, hint);
        let answer = self.with_confinement(&Err(refusal));
        for (responder, _) in late {
            responder.answer::<Info>(&answer);
            responder.flush();
        }
    }

    fn with_confinement(&self, found: &Result<Available, Refusal>) -> EnvironmentInfo {
        let mut info = self.base().clone();
        info.capabilities.exec_server.sandbox = Some(Available::json_of(found));
        info
    }
}
