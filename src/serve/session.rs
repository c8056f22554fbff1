//! Sessions: processes that outlive the connection that started them.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use super::session_owner::SessionOwner;
use crate::env::local::{Host, Owner, Process, ProcessSpec};
use crate::hex::hex;
use crate::rpc::error::{ErrorKind, RpcError};
use crate::sys::random;
use crate::sys::sync::Mutex;

/// Processes that a session remembers; above it, those that ended first are forgotten early.
const MAX_REMEMBERED: usize = 4096;
/// Sessions that a server remembers; above it, those that have nothing to lose are ended early.
const MAX_SESSIONS: usize = 4096;

/// The processes of one client.
pub(super) struct Session {
    id: String,
    owner: Owner,
    state: Mutex<State>,
}

struct State {
    processes: HashMap<String, Arc<Process>>,
    /// Processes whose names are free again while others of their group live
    /// on, for which the session still answers.
    lingering: Vec<Arc<Process>>,
    attachment: Attachment,
}

enum Attachment {
    /// To a connection.
    Attached(SessionOwner),
    /// Since then to none.
    Detached(Instant),
    /// The session is over.
    Ended,
}

impl Session {
    /// Its name, which only its client knows.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The process of that name.
    pub(super) fn process(&self, id: &str) -> Option<Arc<Process>> {
        self.lock().processes.get(id).cloned()
    }

    /// All processes, in the order of their names.
    pub(super) fn processes(&self) -> Vec<Arc<Process>> {
        let mut processes: Vec<_> = self.lock().processes.values().cloned().collect();
        processes.sort_unstable_by(|a, b| a.id().cmp(b.id()));
        processes
    }

    /// Reserves the name and makes the process, which is then to be started.
    pub(super) fn add(
        &self,
        host: &Arc<Host>,
        spec: &ProcessSpec,
    ) -> Result<Arc<Process>, RpcError> {
        let mut state = self.lock();
        let subscriber = match &state.attachment {
            Attachment::Attached(session_owner) => Some(Arc::clone(session_owner.subscriber())),
            Attachment::Detached(_) => None,
            Attachment::Ended => return Err(RpcError::invalid_request("the session is over")),
        };
        if state.processes.contains_key(&spec.id) {
            let message = format!("process {} already exists", spec.id);
            return Err(RpcError::invalid_request(message));
        }
        if state.processes.len() >= MAX_REMEMBERED {
            state.forget_oldest();
        }
        let process = Process::new(host, &self.owner, spec, subscriber);
        state
            .processes
            .insert(spec.id.clone(), Arc::clone(&process));
        Ok(process)
    }

    /// Frees the name of a process that did not start.
    pub(super) fn remove(&self, process: &Arc<Process>) {
        let mut state = self.lock();
        let held = state.processes.get(process.id());
        if held.is_some_and(|held| Arc::ptr_eq(held, process)) {
            state.processes.remove(process.id());
        }
    }

    /// Takes the session up again over another connection: when it has none, or
    /// one whose peer is gone. `answer` queues the news of it, which must come
    /// before the first event.
    pub(super) fn attach(
        &self,
        session_owner: SessionOwner,
        answer: impl FnOnce(),
    ) -> Result<(), RpcError> {
        let mut state = self.lock();
        match &mut state.attachment {
            Attachment::Detached(_) => {}
            Attachment::Attached(former) => {
                if !former.is_gone(Instant::now()) {
                    let message = format!(
                        "session {} is already attached to another connection",
                        self.id
                    );
                    return Err(RpcError::new(ErrorKind::SessionAttached, message));
                }
                former.dismiss();
                state.detach_processes();
            }
            Attachment::Ended => return Err(unknown(&self.id)),
        }
        answer();
        for process in state.processes.values() {
            process.attach(Arc::clone(session_owner.subscriber()));
        }
        state.attachment = Attachment::Attached(session_owner);
        Ok(())
    }

    /// The connection of this number is gone.
    pub(super) fn detach(&self, connection: u64) {
        let mut state = self.lock();
        if matches!(&state.attachment, Attachment::Attached(session_owner) if session_owner.connection() == connection)
        {
            state.attachment = Attachment::Detached(Instant::now());
            state.detach_processes();
        }
    }

    /// Everything that it answers for, nameless descendants included.
    pub(super) fn everything(&self) -> Vec<Arc<Process>> {
        self.lock().everything().cloned().collect()
    }

    /// Drops processes that were over long ago. True if the session itself is.
    fn sweep(&self, now: Instant, retention: Duration) -> bool {
        let is_past = |since: Instant| now.saturating_duration_since(since) >= retention;
        let mut state = self.lock();
        if matches!(state.attachment, Attachment::Detached(since) if is_past(since)) {
            self.end_locked(&mut state);
            return true;
        }
        state.forget(|process| process.closed_at().is_some_and(is_past));
        // To ask is to let go of the group, and of its descriptor, when the answer is yes.
        for process in state.processes.values() {
            if process.closed_at().is_some() {
                process.has_no_group();
            }
        }
        state.lingering.retain(|process| !process.has_no_group());
        false
    }

    /// Whether it has no connection and no process.
    fn has_nothing_to_lose(&self) -> bool {
        let state = self.lock();
        matches!(state.attachment, Attachment::Detached(_)) && state.everything().next().is_none()
    }

    /// Kills what runs.
    fn end_locked(&self, state: &mut State) {
        state.attachment = Attachment::Ended;
        for process in state.everything() {
            process.abandon();
        }
        state.processes.clear();
        state.lingering.clear();
        // What was left by processes that are forgotten.
        self.owner.end();
    }

    /// Ends it, and returns when nothing of it runs.
    pub(super) fn end_and_wait(&self) {
        self.end_locked(&mut self.lock());
        self.owner.wait_until_ended();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn everything(&self) -> impl Iterator<Item = &Arc<Process>> {
        self.processes.values().chain(&self.lingering)
    }

    /// Directs the events of all processes to nobody.
    fn detach_processes(&self) {
        for process in self.processes.values() {
            process.detach();
        }
    }

    /// Frees the names of the processes that `is_over` says are.
    fn forget(&mut self, is_over: impl Fn(&Process) -> bool) {
        let over = self.processes.extract_if(|_, process| is_over(process));
        let leave_something = |process: &Arc<Process>| !process.has_no_group();
        self.lingering
            .extend(over.map(|(_, process)| process).filter(leave_something));
    }

    /// Frees the names of the processes that ended longest ago, an eighth of the limit at once.
    fn forget_oldest(&mut self) {
        let ended = self
            .processes
            .values()
            .filter_map(|process| process.closed_at());
        let mut ended: Vec<_> = ended.collect();
        ended.sort_unstable();
        let last = ended.get(MAX_REMEMBERED / 8).or(ended.last()).copied();
        self.forget(|process| process.closed_at().is_some_and(|at| Some(at) <= last));
    }
}

/// All sessions of a server.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<String, Arc<Session>>>);

impl Sessions {
    /// Begins a session, attached to this connection.
    pub(super) fn begin(
        &self,
        host: &Host,
        session_owner: SessionOwner,
    ) -> Result<Arc<Session>, RpcError> {
        let id = new_id().map_err(|error| {
            RpcError::failed(format!(
                "cannot make a session id: no random bytes: {error}"
            ))
        })?;
        let session = Arc::new(Session {
            id: id.clone(),
            owner: host.owner(),
            state: Mutex::new(State {
                processes: HashMap::new(),
                lingering: Vec::new(),
                attachment: Attachment::Attached(session_owner),
            }),
        });
        let mut sessions = self.lock();
        if sessions.len() >= MAX_SESSIONS {
            sessions.retain(|_, session| !session.has_nothing_to_lose());
        }
        if sessions.len() >= MAX_SESSIONS {
            let message = format!("{MAX_SESSIONS} sessions have processes; try again later");
            return Err(RpcError::new(ErrorKind::Busy, message));
        }
        sessions.insert(id, Arc::clone(&session));
        Ok(session)
    }

    /// The session of this id, to be attached.
    pub(super) fn find(&self, id: &str) -> Result<Arc<Session>, RpcError> {
        self.lock().get(id).cloned().ok_or_else(|| unknown(id))
    }

    /// Every session.
    pub(super) fn all(&self) -> Vec<Arc<Session>> {
        self.lock().values().cloned().collect()
    }

    /// Ends sessions and forgets processes whose time is over.
    pub(super) fn sweep(&self, now: Instant, retention: Duration) {
        self.lock()
            .retain(|_, session| !session.sweep(now, retention));
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.0.lock()
    }
}

fn unknown(id: &str) -> RpcError {
    RpcError::invalid_request(format!("unknown session id {id}"))
}

/// A random UUID, version 4: it is the only key to the session.
fn new_id() -> std::io::Result<String> {
    let bytes = random::uuid()?;
    let hex = hex(&bytes);
    Ok([
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_is_a_random_uuid() {
        let id = new_id().unwrap();
        assert_ne!(id, new_id().unwrap());
        let lens: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(lens, [8, 4, 4, 4, 12]);
        assert_eq!(&id[14..15], "4");
        assert!("89ab".contains(&id[19..20]));
    }
}
