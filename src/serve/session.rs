//! Sessions: processes that outlive the connection that started them.
//!
//! A peer that lost its network leaves a connection that looks alive until it
//! has been silent for long. Its client comes back over a new connection
//! meanwhile and asks for its session, again and again. The first time it is
//! refused and the old connection gets a ping; only one that shows no sign of
//! life for [`PROBE`] after that gives its session up. Nobody waits for that:
//! the verdict is made when the client asks again.
//!
//! A process that has ended is remembered for a while after its client can have heard of that: a
//! client that acknowledges has acknowledged it, another has shown a sign of life since. While
//! there is no connection, only the whole session is forgotten.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::file_queue::{FileRequests, Unfinished};
use super::metrics::METRICS;
use crate::env::local::{Host, Owner, Process, ProcessSpec, Subscriber};
use crate::hex::hex;
use crate::log::{self, Event, Level};
use crate::rpc::encode;
use crate::rpc::error::{ErrorKind, Reason, RpcError};
use crate::rpc::message::UNKNOWN_ID;
use crate::rpc::transport::{Goodbye, Outbound};
use crate::sys::random;
use crate::sys::sync::Mutex;

/// Processes that a session remembers; above it, those that ended first are forgotten early.
const MAX_REMEMBERED: usize = 4096;
/// Sessions that a server remembers; above it, those that have nothing to lose are ended early.
const MAX_SESSIONS: usize = 4096;

/// Ended processes that were forgotten, and sessions that were, of which it is remembered why: as many
/// of each session, and of the server.
const MAX_FORGOTTEN: usize = 128;

/// Bytes of a client's name that are kept.
const MAX_NAME: usize = 128;

/// The beginning of a session's id, for the log: the whole of it is the key to the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionTag([u8; 8]);

impl SessionTag {
    fn of(id: &str) -> Self {
        let beginning = id.as_bytes().first_chunk();
        Self(beginning.copied().unwrap_or(*b"--------"))
    }
}

impl fmt::Display for SessionTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// The processes of one client.
pub(crate) struct Session {
    id: String,
    /// What the client calls itself.
    name: String,
    owner: Owner,
    state: Mutex<State>,
}

struct State {
    processes: HashMap<String, Arc<Process>>,
    /// Processes whose names are free again while others of their group live
    /// on, for which the session still answers.
    lingering: Vec<Arc<Process>>,
    forgotten: Forgotten,
    attachment: Attachment,
}

enum Attachment {
    /// To a connection.
    Attached(SessionOwner),
    /// Since then to none; what the last connection had begun with files.
    Detached(Instant, Unfinished),
    /// The session is over.
    Ended,
}

impl Attachment {
    /// Whether it is to the connection of this number.
    fn is_to(&self, connection: u64) -> bool {
        matches!(self, Self::Attached(owner) if owner.connection() == connection)
    }
}

impl Session {
    /// Its name, which only its client knows.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// What the log calls it.
    pub(crate) fn tag(&self) -> SessionTag {
        SessionTag::of(&self.id)
    }

    /// Tells the operator what has become of it.
    fn note(&self, event: Event, fields: &dyn Fn(&mut log::Line)) {
        log::event(Level::Info, event, &|line| {
            line.text("session", self.tag());
            line.text("name", &self.name);
            fields(line);
        });
    }

    /// Why there is no process of that name any more, if there was one not long ago.
    pub(crate) fn why_forgotten(&self, id: &str) -> Option<String> {
        self.state.lock().forgotten.why(id)
    }

    /// The process of that name.
    pub(crate) fn process(&self, id: &str) -> Option<Arc<Process>> {
        self.state.lock().processes.get(id).cloned()
    }

    /// Whether the connection of this number has it.
    pub(crate) fn is_attached_to(&self, connection: u64) -> bool {
        self.state.lock().attachment.is_to(connection)
    }

    /// All processes, in the order of their names.
    pub(crate) fn processes(&self) -> Vec<Arc<Process>> {
        let mut processes: Vec<_> = self.state.lock().processes.values().cloned().collect();
        processes.sort_unstable_by(|a, b| a.id().cmp(b.id()));
        processes
    }

    /// Reserves the name and makes the process, which is then to be started. Its events go to the
    /// session's connection, or only to the `audience` that belongs to the connection of this number.
    pub(crate) fn add(
        &self,
        host: &Arc<Host>,
        spec: &ProcessSpec,
        audience: Option<(u64, Arc<dyn Subscriber>)>,
    ) -> Result<Arc<Process>, RpcError> {
        let mut state = self.state.lock();
        let subscriber = match (&state.attachment, audience) {
            (Attachment::Ended, _) => {
                return Err(RpcError::invalid_request("the session is over"));
            }
            (attachment, Some((connection, audience))) => {
                if !attachment.is_to(connection) {
                    let message = "the session belongs to another connection";
                    return Err(RpcError::invalid_request(message));
                }
                Some(audience)
            }
            (Attachment::Attached(owner), None) => Some(Arc::clone(owner.subscriber())),
            (Attachment::Detached(..), None) => None,
        };
        if state.processes.contains_key(&spec.id) {
            let message = format!("process {} already exists", spec.id);
            return Err(RpcError::invalid_request(message).because(Reason::Exists));
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
    pub(crate) fn remove(&self, process: &Arc<Process>) {
        let mut state = self.state.lock();
        let held = state.processes.get(process.id());
        if held.is_some_and(|held| Arc::ptr_eq(held, process)) {
            state.processes.remove(process.id());
        }
    }

    /// Takes the session up again over another connection: when it has none, or
    /// one whose peer is gone. `answer` queues the news of it, which must come
    /// before the first event.
    pub(crate) fn attach(
        &self,
        session_owner: SessionOwner,
        answer: impl FnOnce(),
    ) -> Result<(), RpcError> {
        let mut state = self.state.lock();
        let mut taken_from = None;
        let unfinished = match &mut state.attachment {
            Attachment::Detached(_, unfinished) => std::mem::take(unfinished),
            Attachment::Attached(former) => {
                if !former.is_gone(Instant::now()) {
                    let message = format!(
                        "session {} is already attached to another connection",
                        self.id
                    );
                    return Err(RpcError::new(ErrorKind::SessionAttached, message));
                }
                let unfinished = former.dismiss();
                taken_from = Some(former.connection());
                state.detach_processes();
                unfinished
            }
            Attachment::Ended => return Err(unknown(&self.id)),
        };
        session_owner.file_requests.follow(unfinished);
        answer();
        for process in state.processes.values() {
            process.attach(Arc::clone(session_owner.subscriber()));
        }
        let connection = session_owner.connection();
        state.attachment = Attachment::Attached(session_owner);
        drop(state);
        let event = match taken_from {
            Some(_) => Event::SessionTakenOver,
            None => Event::SessionResumed,
        };
        self.note(event, &|line| {
            line.value("connection", connection);
            if let Some(former) = taken_from {
                line.value("from", former);
            }
        });
        Ok(())
    }

    /// The connection of this number is gone.
    pub(crate) fn detach(&self, connection: u64) {
        let mut state = self.state.lock();
        if let Attachment::Attached(session_owner) = &state.attachment
            && session_owner.connection() == connection
        {
            let unfinished = session_owner.file_requests.abandon();
            state.attachment = Attachment::Detached(Instant::now(), unfinished);
            state.detach_processes();
        }
    }

    /// Everything that it answers for, nameless descendants included.
    pub(crate) fn everything(&self) -> Vec<Arc<Process>> {
        self.state.lock().everything().cloned().collect()
    }

    /// Drops processes that were over long ago. True if the session itself is.
    fn sweep(&self, now: Instant, retention: Duration) -> bool {
        let is_past = |since: Instant| now.saturating_duration_since(since) >= retention;
        let mut state = self.state.lock();
        if matches!(state.attachment, Attachment::Detached(since, _) if is_past(since)) {
            self.end_locked(&mut state);
            return true;
        }
        if let Attachment::Attached(owner) = &mut state.attachment {
            let heard = owner.last_heard(now);
            let is_over = |since: Instant| is_past(since) && since < heard;
            let is_over = |process: &Process| process.kept_since().is_some_and(is_over);
            state.forget(is_over, Why::Time(retention));
        }
        // To ask is to let go of the group, and of its descriptor, when the answer is yes.
        for process in state.processes.values() {
            if process.is_closed() {
                process.has_no_group();
            }
        }
        state.lingering.retain(|process| !process.has_no_group());
        false
    }

    fn is_attached(&self) -> bool {
        matches!(self.state.lock().attachment, Attachment::Attached(_))
    }

    /// Whether it has no connection and no process.
    fn has_nothing_to_lose(&self) -> bool {
        let state = self.state.lock();
        matches!(state.attachment, Attachment::Detached(..)) && state.everything().next().is_none()
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
    pub(crate) fn end_and_wait(&self) {
        self.end_locked(&mut self.state.lock());
        self.owner.wait_until_ended();
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
    fn forget(&mut self, is_over: impl Fn(&Process) -> bool, why: Why) {
        let over = self.processes.extract_if(|_, process| is_over(process));
        for (id, process) in over {
            self.forgotten.add(&id, why);
            if !process.has_no_group() {
                self.lingering.push(process);
            }
        }
    }

    /// Frees the names of the processes that ended longest ago, an eighth of the limit at once. Those
    /// whose client still owes an acknowledgement go last.
    fn forget_oldest(&mut self) {
        let age = |process: &Process| {
            let kept_since = process.kept_since();
            process
                .is_closed()
                .then_some((kept_since.is_none(), kept_since))
        };
        let ended = self.processes.values().filter_map(|process| age(process));
        let mut ended: Vec<_> = ended.collect();
        ended.sort_unstable();
        let last = ended.get(MAX_REMEMBERED / 8).or(ended.last()).copied();
        self.forget(
            |process| age(process).is_some_and(|age| Some(age) <= last),
            Why::Number,
        );
    }
}

/// Why something is remembered no more.
#[derive(Clone, Copy)]
enum Why {
    /// It was kept for so long.
    Time(Duration),
    /// There were too many.
    Number,
}

/// What was forgotten last, so that who asks for it can be told.
#[derive(Default)]
struct Forgotten {
    /// The digests of names and what has become of each, oldest first.
    names: VecDeque<(u64, Instant, Why)>,
    digest: RandomState,
}

impl Forgotten {
    fn add(&mut self, name: &str, why: Why) {
        if self.names.len() >= MAX_FORGOTTEN {
            self.names.pop_front();
        }
        let digest = self.digest.hash_one(name);
        self.names.push_back((digest, Instant::now(), why));
    }

    /// What is to be said of this name, if it is among them.
    fn why(&self, name: &str) -> Option<String> {
        let digest = self.digest.hash_one(name);
        let mut newest_first = self.names.iter().rev();
        let (_, at, why) = newest_first.find(|it| it.0 == digest)?;
        let ago = at.elapsed().as_secs();
        Some(match why {
            Why::Time(retention) => {
                format!("forgotten {ago} s ago, after it was kept for {retention:?}")
            }
            Why::Number => format!("forgotten {ago} s ago, since there were too many"),
        })
    }
}

/// All sessions of a server.
#[derive(Default)]
pub(crate) struct Sessions {
    living: Mutex<HashMap<String, Arc<Session>>>,
    forgotten: Mutex<Forgotten>,
}

impl Sessions {
    /// Begins a session, attached to this connection.
    pub(crate) fn begin(
        &self,
        host: &Host,
        name: &str,
        session_owner: SessionOwner,
    ) -> Result<Arc<Session>, RpcError> {
        let connection = session_owner.connection();
        let id = new_id().map_err(|error| {
            RpcError::failed(format!(
                "cannot make a session id: no random bytes: {error}"
            ))
        })?;
        let session = Arc::new(Session {
            id: id.clone(),
            name: name[..name.floor_char_boundary(MAX_NAME)].to_owned(),
            owner: host.owner(),
            state: Mutex::new(State {
                processes: HashMap::new(),
                lingering: Vec::new(),
                forgotten: Forgotten::default(),
                attachment: Attachment::Attached(session_owner),
            }),
        });
        let mut sessions = self.living.lock();
        if sessions.len() >= MAX_SESSIONS {
            let superfluous = sessions.extract_if(|_, session| session.has_nothing_to_lose());
            let mut forgotten = self.forgotten.lock();
            superfluous.for_each(|(id, _)| forgotten.add(&id, Why::Number));
        }
        if sessions.len() >= MAX_SESSIONS {
            let message = format!("{MAX_SESSIONS} sessions have processes; try again later");
            return Err(RpcError::new(ErrorKind::Busy, message));
        }
        sessions.insert(id, Arc::clone(&session));
        drop(sessions);
        METRICS.sessions.add(1);
        session.note(Event::SessionBegan, &|line| {
            line.value("connection", connection)
        });
        Ok(session)
    }

    /// The session of this id, to be attached.
    pub(crate) fn find(&self, id: &str) -> Result<Arc<Session>, RpcError> {
        let session = self.living.lock().get(id).cloned();
        session.ok_or_else(|| unknown(id).or_forgotten(self.forgotten.lock().why(id)))
    }

    /// Every session.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.living.lock().values().cloned().collect()
    }

    /// Ends sessions and forgets processes whose time is over.
    pub(crate) fn sweep(&self, now: Instant, retention: Duration) {
        let mut sessions = self.living.lock();
        let expired = sessions.extract_if(|_, session| session.sweep(now, retention));
        let expired: Vec<_> = expired.map(|(_, session)| session).collect();
        if !expired.is_empty() {
            let mut forgotten = self.forgotten.lock();
            let ids = expired.iter().map(|session| session.id());
            ids.for_each(|id| forgotten.add(id, Why::Time(retention)));
        }
        drop(sessions);
        for session in expired {
            session.note(Event::SessionExpired, &|_| {});
        }
    }

    /// How many have a connection, and how many have none.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let all = self.all();
        let attached = all.iter().filter(|it| it.is_attached()).count();
        (attached, all.len() - attached)
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.living.lock().is_empty()
    }
}

fn unknown(id: &str) -> RpcError {
    RpcError::invalid_request(format!("unknown session id {id}")).because(Reason::NotFound)
}

/// A random UUID, version 4: that of a session is the only key to it.
pub(crate) fn new_id() -> std::io::Result<String> {
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

/// How long a living peer may take to answer a ping. Well below the 45 s for
/// which the real client asks for its session every 100 ms.
const PROBE: Duration = Duration::from_secs(2);

/// A connection as the owner of a session.
pub(crate) struct SessionOwner {
    connection: u64,
    outbound: Arc<Outbound>,
    subscriber: Arc<dyn Subscriber>,
    file_requests: FileRequests,
    doubt: Option<Doubt>,
    /// The signs of life at the last look, when that was, and when the look before the last sign was.
    signs: u64,
    looked: Instant,
    heard: Instant,
}

/// Somebody else asked for the session.
struct Doubt {
    since: Instant,
    /// The signs of life that there were by then.
    signs: u64,
}

impl SessionOwner {
    pub(crate) fn new(
        connection: u64,
        outbound: &Arc<Outbound>,
        subscriber: &Arc<dyn Subscriber>,
        file_requests: FileRequests,
    ) -> Self {
        let now = Instant::now();
        Self {
            signs: outbound.signs_of_life(),
            looked: now,
            heard: now,
            connection,
            outbound: Arc::clone(outbound),
            subscriber: Arc::clone(subscriber),
            file_requests,
            doubt: None,
        }
    }

    /// The connection's number.
    pub(crate) fn connection(&self) -> u64 {
        self.connection
    }

    /// Who gets the events of the session's processes.
    pub(crate) fn subscriber(&self) -> &Arc<dyn Subscriber> {
        &self.subscriber
    }

    /// A moment before the last sign of life, and after the one before, if this is called often.
    fn last_heard(&mut self, now: Instant) -> Instant {
        let signs = self.outbound.signs_of_life();
        if std::mem::replace(&mut self.signs, signs) != signs {
            self.heard = self.looked;
        }
        self.looked = now;
        self.heard
    }

    /// Whether the peer is known to be gone. If not, asks it for a sign of life.
    pub(crate) fn is_gone(&mut self, now: Instant) -> bool {
        if self.outbound.is_dead() {
            return true;
        }
        let signs = self.outbound.signs_of_life();
        match &self.doubt {
            Some(doubt) if doubt.signs == signs => {
                now.saturating_duration_since(doubt.since) >= PROBE
            }
            _ => {
                self.doubt = Some(Doubt { since: now, signs });
                self.outbound.ping();
                false
            }
        }
    }

    /// Ends the connection, which has lost the session to another one. What it had begun with
    /// files.
    fn dismiss(&self) -> Unfinished {
        let error = RpcError::invalid_request("session has been resumed by another connection");
        self.outbound
            .add(|out| encode::error(out, UNKNOWN_ID, &error));
        self.outbound.say_goodbye(Goodbye::Replaced);
        self.outbound.kill();
        self.file_requests.abandon()
    }
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
