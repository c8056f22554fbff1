//! `environment/info`, and the confinement that it tells.
//!
//! That has to be found out, by a sandbox or two, on a thread of its own. Who asks waits in a list for it; the main
//! thread answers those that have waited too long, so that a launcher that hangs keeps nobody.

use std::mem;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::dispatch::{Call, Responder};
use super::server::Server;
use crate::rpc::error::RpcError;
use crate::rpc::protocol::environment::EnvironmentInfo;
use crate::sandbox::launcher::{Available, Refusal, Stage};
use crate::sys::sync::Mutex;

/// How long somebody waits: a little less than clients of ours do.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it is believed: a setting of the machine may change.
const FRESH: Duration = Duration::from_secs(30);
/// Requests that wait. Further ones are answered at once.
const MAX_WAITING: usize = 256;

/// What is known of it, and who waits. One a server.
#[derive(Default)]
pub(super) struct KnownLevel(Mutex<State>);

#[derive(Default)]
struct State {
    /// The whole answer, and when it was found.
    found: Option<(Arc<EnvironmentInfo>, Instant)>,
    is_searching: bool,
    waiting: Vec<(Responder, Instant)>,
}

/// `environment/info`.
pub(super) fn info(call: &Call<'_>) -> Result<(), RpcError> {
    let mut state = call.server.level().lock();
    let fresh = state.found.as_ref().filter(|it| it.1.elapsed() < FRESH);
    if let Some((answer, _)) = fresh {
        let answer = Arc::clone(answer);
        drop(state);
        call.answer(&*answer);
        return Ok(());
    }
    if state.waiting.len() >= MAX_WAITING {
        drop(state);
        // Rather an answer without the level, which nobody may count on, than none.
        call.answer(call.server.info());
        return Ok(());
    }
    state.waiting.push((call.responder(), Instant::now()));
    if mem::replace(&mut state.is_searching, true) {
        return Ok(());
    }
    drop(state);
    let server = Arc::clone(call.server);
    let searching = call.server.host().find_available(move |found| {
        server.level().tell(&server, &found);
    });
    if let Err(error) = searching {
        let refusal = Refusal::new(Stage::Start, "no thread to find out with", "");
        call.server
            .level()
            .tell(call.server, &Err(refusal.because(&error)));
    }
    Ok(())
}

impl KnownLevel {
    fn tell(&self, server: &Server, found: &Result<Available, Refusal>) {
        let answer = answer(server, Available::json_of(found));
        let mut state = self.lock();
        state.found = Some((Arc::clone(&answer), Instant::now()));
        state.is_searching = false;
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        for (responder, _) in waiting {
            responder.send(Ok(&*answer));
        }
    }

    /// Answers those that have waited too long.
    pub(super) fn sweep(&self, server: &Server, now: Instant) {
        let mut state = self.lock();
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
        let answer = answer(server, Available::json_of(&Err(refusal)));
        for (responder, _) in late {
            responder.send(Ok(&*answer));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

/// The whole answer.
fn answer(server: &Server, sandbox: Value) -> Arc<EnvironmentInfo> {
    let mut info = server.info().clone();
    info.capabilities.exec_server.sandbox = Some(sandbox);
    Arc::new(info)
}
