//! From no connection to one, and from a lost one to the next.
//!
//! ```text
//!            first use           lost (websocket)
//!   Idle ──► Connecting ──► Connected ──► Recovering ──► Connected
//!                 │             │ lost (command)  │ 45 s, or refused
//!                 ▼             ▼                 ▼
//!               Failed ◄────────┴─────────────────┘
//!                 └──► Connecting, on next use: a new session
//! ```
//!
//! Who needs a connection that is not there makes it on its own thread; all others wait for the
//! same attempt and share its outcome. The thread that reads a connection is the one that
//! recovers it, and then reads the next. Connections that are lost soon, one after the other, and
//! bring nothing new are one loss, with one window ([`Recovery`]).

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::command::CommandProcess;
use super::connection::{Answer, CallError, Connection, Ended, Incoming, Params, shown};
use super::events::EventQueue;
use super::session::{ServerFacts, Session};
use super::throttle::ReadThrottle;
use super::{ClientError, ClientOptions, ConnectionState, Transport};
use crate::deadline;
use crate::log;
use crate::net::{Dial, DialError, Sink, Socket, SocketSource};
use crate::rpc::encode;
use crate::rpc::error::ErrorKind;
use crate::rpc::methods::process::{Terminate, TerminateParams};
use crate::rpc::methods::session::{Info, Initialize, InitializeParams, InitializeReply};
use crate::rpc::methods::{Method, NoParams};
use crate::rpc::transport::{
    Framing, LineReader, Outbound, Reader, Received, Role, WebSocketReader,
};
use crate::sys::sync::{Condvar, Mutex};

/// For the last bytes to a server that we leave.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Makes the connections of a client, one at a time. All its handles share it.
pub(crate) struct Connector {
    pub(crate) options: ClientOptions,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    link: Link,
    session: Option<Arc<Session>>,
    /// Counts attempts, so that who has waited for one knows its outcome from an older one.
    attempt: u64,
    /// Processes that may have been started by calls that were lost.
    stray: Vec<String>,
    is_ended: bool,
}

enum Link {
    Idle,
    Connecting,
    Connected(Arc<Connection>),
    Recovering(String),
    Failed(ClientError),
}

type BoxedReader = Box<dyn Reader + Send>;

impl Connector {
    pub(crate) fn new(options: ClientOptions) -> Self {
        Self {
            options,
            state: Mutex::new(State {
                link: Link::Idle,
                session: None,
                attempt: 0,
                stray: Vec::new(),
                is_ended: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// A session with a connection; made or waited for, if need be.
    pub(crate) fn ready(self: &Arc<Self>) -> Result<(Arc<Session>, Arc<Connection>), ClientError> {
        let mut state = self.state.lock();
        let mut awaited = None;
        loop {
            if state.is_ended {
                let why = "the client has been closed".to_owned();
                return Err(ClientError::Disconnected(why));
            }
            match (&state.link, &state.session) {
                (Link::Connected(connection), Some(session)) => {
                    return Ok((Arc::clone(session), Arc::clone(connection)));
                }
                (Link::Connecting | Link::Recovering(_), _) => {
                    awaited = Some(state.attempt);
                    // Whoever makes the attempt has limits on all of its steps.
                    state = self.changed.wait(state);
                }
                (Link::Failed(error), _) if awaited == Some(state.attempt) => {
                    return Err(error.clone());
                }
                _ => {
                    state.attempt += 1;
                    state.link = Link::Connecting;
                    drop(state);
                    let connected = self.connect();
                    state = self.state.lock();
                    self.changed.notify_all();
                    match connected {
                        Ok((session, connection)) => {
                            state.session = Some(Arc::clone(&session));
                            state.link = Link::Connected(Arc::clone(&connection));
                            return Ok((session, connection));
                        }
                        Err(error) => {
                            state.link = Link::Failed(error.clone());
                            return Err(error);
                        }
                    }
                }
            }
        }
    }

    /// The same for what belongs to a session: an error if another one has taken its place.
    fn ready_in(self: &Arc<Self>, wanted: &Arc<Session>) -> Result<Arc<Connection>, ClientError> {
        if let Some(why) = wanted.failure() {
            return Err(ClientError::Disconnected(why));
        }
        let (session, connection) = self.ready()?;
        if Arc::ptr_eq(&session, wanted) {
            return Ok(connection);
        }
        let why = wanted.failure().unwrap_or_default();
        Err(ClientError::Disconnected(why))
    }

    /// One call in a session. With `repeats`, one that was lost with its connection is made again
    /// on the next: only for what makes no difference when it is done twice.
    pub(crate) fn call_in(
        self: &Arc<Self>,
        session: &Arc<Session>,
        method: &str,
        params: Params<'_>,
        limit: Option<Duration>,
        repeats: bool,
    ) -> Result<Answer, ClientError> {
        loop {
            let connection = self.ready_in(session)?;
            match connection.call(method, params, limit) {
                Ok(json) => return Ok(json),
                Err(CallError::NotSent(_)) => {}
                Err(CallError::Failed(ClientError::Disconnected(_))) if repeats => {}
                Err(CallError::Failed(error)) => return Err(error),
            }
        }
    }

    /// One call on whatever connection there is.
    pub(crate) fn call(
        self: &Arc<Self>,
        method: &str,
        params: Params<'_>,
        limit: Option<Duration>,
    ) -> Result<Answer, ClientError> {
        loop {
            let (_, connection) = self.ready()?;
            match connection.call(method, params, limit) {
                Ok(json) => return Ok(json),
                Err(CallError::NotSent(_)) => {}
                Err(CallError::Failed(error)) => return Err(error),
            }
        }
    }

    /// A call that starts a process was lost: should it run, it is ended on the next connection.
    pub(crate) fn note_stray(&self, session: &Session, id: &str) {
        let mut state = self.state.lock();
        let is_same = state.session.as_ref().is_some_and(|it| it.id == session.id);
        if !is_same {
            return;
        }
        match &state.link {
            Link::Connected(connection) => terminate(connection, id),
            _ => state.stray.push(id.to_owned()),
        }
    }

    /// The handle of a process is gone.
    pub(crate) fn abandon(&self, session: &Session, events: &EventQueue) {
        if !session.abandon(events) {
            return;
        }
        let state = self.state.lock();
        let is_same = state.session.as_ref().is_some_and(|it| it.id == session.id);
        if let (true, Link::Connected(connection)) = (is_same, &state.link) {
            connection.ignore(session, &events.id);
        }
    }

    /// What is going on.
    pub(crate) fn describe(&self) -> ConnectionState {
        match &self.state.lock().link {
            Link::Idle => ConnectionState::Idle,
            Link::Connecting => ConnectionState::Connecting,
            Link::Connected(connection) => match (connection.doubt(), connection.silence()) {
                (Some(why), _) => ConnectionState::Recovering(why),
                (None, Some((time, limit))) => ConnectionState::Silent { time, limit },
                (None, None) => ConnectionState::Connected,
            },
            Link::Recovering(why) => ConnectionState::Recovering(why.clone()),
            Link::Failed(error) => ConnectionState::Failed(error.to_string()),
        }
    }

    /// Ends everything: running processes are killed, the connection is closed, a command is ended
    /// and waited for.
    pub(crate) fn shut_down(&self) {
        let (link, session) = {
            let mut state = self.state.lock();
            state.is_ended = true;
            self.changed.notify_all();
            (
                std::mem::replace(&mut state.link, Link::Idle),
                state.session.take(),
            )
        };
        if let Some(session) = &session {
            session.throttle.end();
        }
        let Link::Connected(connection) = link else {
            return;
        };
        match &connection.command {
            Some(command) => command.end(),
            None => {
                // The server would keep them for a while, for a client that comes back.
                for id in session.iter().flat_map(|session| session.running()) {
                    terminate(&connection, &id);
                }
                connection.hang_up(LAST_WORDS);
            }
        }
    }
}

fn terminate(connection: &Connection, id: &str) {
    // Where it cannot be sent, the session is at its end.
    connection.post::<Terminate>(&TerminateParams {
        process_id: id.into(),
        ..TerminateParams::default()
    });
}

/// How a stdio connection is called: its arguments and variables may be secrets.
const COMMAND_LABEL: &str = "exec-server stdio command";

/// A transport before its handshake.
struct Opened {
    reader: BoxedReader,
    outbound: Arc<Outbound>,
    command: Option<Arc<CommandProcess>>,
}

impl Connector {
    /// The first connection of a session, with its thread.
    fn connect(self: &Arc<Self>) -> Result<(Arc<Session>, Arc<Connection>), ClientError> {
        let mut opened = match &self.options.transport {
            Transport::WebSocket(dial) => self
                .dial(dial)
                .map_err(|error| ClientError::Connect(error.to_string()))?,
            Transport::Command(command) => {
                log::debug!("starting the {COMMAND_LABEL} {}", command.program);
                let (process, streams) = CommandProcess::start(command).map_err(|why| {
                    ClientError::Connect(format!("failed to spawn {COMMAND_LABEL}: {why}"))
                })?;
                let sink = Sink::Stream(streams.stdin);
                let outbound = Arc::new(Outbound::new(sink, Framing::Lines));
                Opened {
                    reader: Box::new(LineReader::new(streams.stdout, Arc::clone(&outbound))),
                    outbound,
                    command: Some(Arc::new(process)),
                }
            }
            Transport::Socket(socket) => {
                let socket = socket
                    .try_clone()
                    .map_err(|error| ClientError::Connect(error.to_string()))?;
                let socket = Arc::new(Socket::Unix(socket));
                let sink = Sink::Socket(Arc::clone(&socket));
                let outbound = Arc::new(Outbound::new(sink, Framing::Lines));
                let source = SocketSource::new(socket);
                Opened {
                    reader: Box::new(LineReader::new(source, Arc::clone(&outbound))),
                    outbound,
                    command: None,
                }
            }
        };
        let mut junk = Vec::new();
        let handshake = self
            .handshake(
                &mut opened,
                None,
                self.options.initialize_timeout,
                &mut junk,
            )
            .map_err(|error| self.explain(&error, opened.command.as_deref(), &junk))?;
        let throttle = Arc::new(ReadThrottle::default());
        let session = Session::new(handshake.session_id, handshake.facts, Arc::clone(&throttle));
        let session = Arc::new(session);
        let (connection, reader) = self.establish(opened, throttle, None);
        let (shared, kept) = (Arc::clone(self), Arc::clone(&connection));
        let its_session = Arc::clone(&session);
        thread::Builder::new()
            .name("client".into())
            .spawn(move || shared.serve(reader, kept, &its_session))
            .map_err(|error| {
                connection.close("no thread");
                ClientError::Connect(format!("cannot start a thread: {error}"))
            })?;
        Ok((session, connection))
    }

    fn explain(
        &self,
        error: &HandshakeError,
        command: Option<&CommandProcess>,
        junk: &[String],
    ) -> ClientError {
        let Some(command) = command else {
            let Transport::WebSocket(dial) = &self.options.transport else {
                return ClientError::Connect(error.to_string());
            };
            let label = dial.target.label();
            return ClientError::Connect(format!("exec-server websocket `{label}`: {error}"));
        };
        if matches!(
            error,
            HandshakeError::TimedOut(_) | HandshakeError::Protocol(_)
        ) {
            command.end();
        }
        let mut text = format!("{COMMAND_LABEL}: {error}; {}", command.last_words());
        if !junk.is_empty() {
            text.push_str("\nbefore that its standard output said:");
            for line in junk {
                text.push_str("\n  ");
                text.push_str(line);
            }
        }
        text.push_str(
            "\nThe command must run `exec-server --listen stdio` in the end, and nothing else may \
             write to its standard output: try it in a terminal",
        );
        ClientError::Connect(text)
    }

    fn dial(&self, dial: &Dial) -> Result<Opened, DialError> {
        let label = dial.target.label();
        log::debug!("{label}: connecting, within {:?}", dial.timeout);
        let dialled = dial.run().inspect_err(|error| log::debug!("{error}"))?;
        log::debug!("{label}: the websocket is open");
        let framing = Framing::WebSocket(Role::Client);
        let outbound = Arc::new(Outbound::new(dialled.sink, framing));
        let reader = WebSocketReader::new(dialled.source, dialled.buffer, Arc::clone(&outbound));
        Ok(Opened {
            reader: Box::new(reader),
            outbound,
            command: None,
        })
    }

    fn handshake(
        &self,
        opened: &mut Opened,
        resume: Option<&str>,
        limit: Duration,
        junk: &mut Vec<String>,
    ) -> Result<HandshakeResult, HandshakeError> {
        let handshake = Handshake {
            reader: &mut *opened.reader,
            outbound: &opened.outbound,
            limit,
            junk,
        };
        let handshake = handshake.run(&self.options.client_name, resume);
        match &handshake {
            Ok(result) => {
                let version = result.facts.environment.version.as_deref();
                let version = version.unwrap_or("of an unknown version");
                let is_resumed = resume.is_some();
                // The whole id is the key to the session.
                let session = result.session_id.get(..8).unwrap_or_default();
                log::debug!(
                    "initialize: server {version}, session {session}, resumed: {is_resumed}"
                );
            }
            Err(error) => {
                log::debug!("initialize: {error}");
                opened.outbound.kill();
            }
        }
        handshake
    }

    fn establish(
        &self,
        opened: Opened,
        throttle: Arc<ReadThrottle>,
        doubt: Option<String>,
    ) -> (Arc<Connection>, BoxedReader) {
        let connection = Connection::new(
            opened.outbound,
            throttle,
            opened.command,
            &self.options,
            FIRST_FREE_ID,
            doubt,
        );
        (Arc::new(connection), opened.reader)
    }
}

/// Lines before the greeting that are no messages: the message of the day, the echo of a shell's
/// configuration.
const MAX_JUNK: usize = 64;
/// The handshake uses up the ids below.
const FIRST_FREE_ID: i64 = 3;

/// What came of a handshake.
struct HandshakeResult {
    session_id: String,
    facts: ServerFacts,
}

/// Why it failed.
#[derive(Debug)]
enum HandshakeError {
    /// The connection ended.
    Lost(String),
    /// Time is up.
    TimedOut(Duration),
    /// The server refuses.
    Rejected { code: i64, message: String },
    /// Its answer makes no sense.
    Protocol(String),
}

impl HandshakeError {
    /// Whether another attempt may fare better.
    fn is_temporary(&self) -> bool {
        match self {
            Self::Lost(_) | Self::TimedOut(_) => true,
            Self::Rejected { code, .. } => *code == i64::from(ErrorKind::SessionAttached.code()),
            Self::Protocol(_) => false,
        }
    }
}

impl std::fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lost(why) => write!(f, "the connection ended during the handshake: {why}"),
            Self::TimedOut(limit) => write!(
                f,
                "timed out waiting for exec-server initialize handshake after {limit:?}"
            ),
            Self::Rejected { code, message } => {
                write!(f, "exec-server rejected request ({code}): {message}")
            }
            Self::Protocol(why) => write!(f, "exec-server protocol error: {why}"),
        }
    }
}

/// One handshake under way.
struct Handshake<'a> {
    reader: &'a mut dyn Reader,
    outbound: &'a Arc<Outbound>,
    limit: Duration,
    /// Gets the lines before the greeting.
    junk: &'a mut Vec<String>,
}

impl Handshake<'_> {
    /// Says who we are and waits for the answer.
    fn run(
        mut self,
        client_name: &str,
        resume: Option<&str>,
    ) -> Result<HandshakeResult, HandshakeError> {
        let deadline = deadline::after(self.limit);
        self.request::<Initialize>(
            1,
            &InitializeParams {
                client_name: client_name.into(),
                resume_session_id: resume.map(Into::into),
            },
        );
        let json = self.answer(1, deadline)?;
        let reply: InitializeReply<'_> = serde_json::from_str(&json)
            .map_err(|error| HandshakeError::Protocol(format!("initialize: {error}")))?;
        if resume.is_some_and(|wanted| wanted != reply.session_id) {
            let why = format!(
                "exec-server initialized an unexpected session {}",
                reply.session_id
            );
            return Err(HandshakeError::Protocol(why));
        }
        // It goes out with what comes next, be it the reader's first wait.
        self.outbound
            .add(|out| out.extend_from_slice(b"{\"method\":\"initialized\",\"params\":{}}"));
        let facts = match reply.environment_info {
            Some(info) => facts(info.get())?,
            // They are those of the first connection.
            None if resume.is_some() => ServerFacts::silent(),
            None => self.ask_for_facts(deadline)?,
        };
        Ok(HandshakeResult {
            session_id: reply.session_id.into_owned(),
            facts,
        })
    }

    /// Asks a server that has told nothing by itself.
    fn ask_for_facts(&mut self, deadline: Instant) -> Result<ServerFacts, HandshakeError> {
        self.request::<Info>(2, &NoParams {});
        match self.answer(2, deadline) {
            Ok(json) => facts(&json),
            // As 0.130 has it.
            Err(HandshakeError::Rejected { code, .. })
                if code == i64::from(ErrorKind::UnknownMethod.code()) =>
            {
                Ok(ServerFacts::silent())
            }
            Err(error) => Err(error),
        }
    }

    fn request<M: Method>(&self, id: i64, params: &M::Params<'_>) {
        self.outbound
            .send(|out| encode::request(out, id, M::NAME, &|out| encode::json(out, params)));
    }

    /// Waits for the answer to `wanted`; what else comes is passed over.
    fn answer(&mut self, wanted: i64, deadline: Instant) -> Result<String, HandshakeError> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(HandshakeError::TimedOut(self.limit));
            }
            match self.reader.receive(left) {
                Received::Message => {}
                // A payload comes only where one was announced.
                Received::Idle | Received::Payload(_) => continue,
                Received::Refused(why, _) => {
                    return Err(HandshakeError::Protocol(format!("{why:?}")));
                }
                Received::Closed(why) => return Err(HandshakeError::Lost(why)),
            }
            let message = self.reader.message();
            match Incoming::decode(message) {
                Ok(Incoming::Answer { id, outcome }) if id == wanted => {
                    return match outcome {
                        Ok(json) => Ok(json.to_owned()),
                        Err(ClientError::Rejected { code, message, .. }) => {
                            Err(HandshakeError::Rejected { code, message })
                        }
                        Err(other) => Err(HandshakeError::Protocol(other.to_string())),
                    };
                }
                Ok(Incoming::Complaint(why)) => return Err(HandshakeError::Protocol(why)),
                Ok(_) => {}
                Err(error) if self.outbound.framing() != Framing::Lines => {
                    let shown = shown(message);
                    return Err(HandshakeError::Protocol(format!(
                        "no message: `{shown}` ({error})"
                    )));
                }
                Err(_) => {
                    self.junk.push(shown(message));
                    if self.junk.len() > MAX_JUNK {
                        let why = format!("more than {MAX_JUNK} lines that are no messages");
                        return Err(HandshakeError::Protocol(why));
                    }
                }
            }
        }
    }
}

fn facts(json: &str) -> Result<ServerFacts, HandshakeError> {
    ServerFacts::from_info(json)
        .map_err(|error| HandshakeError::Protocol(format!("environmentInfo: {error}")))
}

/// Between attempts to recover, first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// What is done about a lost connection, from the loss until a connection lasts.
struct Recovery {
    since: Instant,
    /// When the next attempt may be made.
    next: Instant,
    /// From that attempt to the one behind it.
    pause: Duration,
    /// How often the session was taken up again.
    resumed: u32,
}

impl Recovery {
    fn begin() -> Self {
        let now = Instant::now();
        Self {
            since: now,
            next: now,
            pause: RETRY.0,
            resumed: 0,
        }
    }

    /// Another loss. It is not tried again more often than ever.
    fn begin_anew(&mut self) {
        let fresh = Self::begin();
        let next = self.next.clamp(fresh.next, fresh.next + RETRY.0);
        *self = Self { next, ..fresh };
    }

    fn count_attempt(&mut self) {
        self.next = Instant::now() + self.pause;
        self.pause = (self.pause * 3 / 2).min(RETRY.1);
    }

    fn timed_out(&self, window: Duration) -> String {
        let text = format!("recovery timed out after {window:?}");
        match self.resumed {
            0 => text,
            1 => format!("{text}; the session was taken up again, but that connection ended soon"),
            times => format!(
                "{text}; the session was taken up again {times} times, and each of those connections \
                 ended soon"
            ),
        }
    }
}

/// Why an attempt has failed.
enum AttemptError {
    Dial(DialError),
    Handshake(HandshakeError),
}

impl AttemptError {
    fn is_temporary(&self) -> bool {
        match self {
            Self::Dial(error) => error.is_temporary(),
            Self::Handshake(error) => error.is_temporary(),
        }
    }
}

impl std::fmt::Display for AttemptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dial(error) => error.fmt(f),
            Self::Handshake(error) => error.fmt(f),
        }
    }
}

impl Connector {
    /// The life of the client's thread: reads a connection to its end, and the next one.
    fn serve(
        &self,
        mut reader: BoxedReader,
        mut connection: Arc<Connection>,
        session: &Arc<Session>,
    ) {
        let mut recovery = Recovery::begin();
        loop {
            let Ended { why, was_good } = connection.read(&mut *reader, session);
            // The first loss is one of its own, however soon it comes.
            if was_good || recovery.resumed == 0 {
                recovery.begin_anew();
            }
            match self.lost(&connection, session, why, &mut recovery) {
                Some(next) => (connection, reader) = next,
                None => return,
            }
        }
    }

    /// A connection has ended. The next one of the same session, if that can be had.
    fn lost(
        &self,
        connection: &Arc<Connection>,
        session: &Arc<Session>,
        mut why: String,
        recovery: &mut Recovery,
    ) -> Option<(Arc<Connection>, BoxedReader)> {
        if let Some(command) = &connection.command {
            command.end();
            why = format!("{COMMAND_LABEL}: {why}; {}", command.last_words());
        }
        log::info!("lost the connection to an exec-server: {why}");
        let dial = match &self.options.transport {
            Transport::WebSocket(dial) => Some(dial),
            Transport::Command(_) | Transport::Socket(_) => None,
        };
        {
            let mut state = self.state.lock();
            // Before the calls fail, so that who calls again waits for what comes of this.
            state.attempt += 1;
            state.link = match (dial, state.is_ended) {
                (Some(_), false) => Link::Recovering(why.clone()),
                _ => {
                    session.fail(&why);
                    Link::Failed(ClientError::Disconnected(why.clone()))
                }
            };
            self.changed.notify_all();
        }
        connection.close(&why);
        session.connection_lost(&why);
        let recovered = match dial {
            Some(dial) => self.recover(dial, session, recovery, &why),
            None => Err(String::new()),
        };
        match recovered {
            Ok(Some((connection, reader))) => {
                for events in session.event_queues() {
                    if let Some(after) = events.to_resume() {
                        connection.read_again(&events, after);
                    }
                }
                let mut state = self.state.lock();
                for id in session.abandoned() {
                    connection.ignore(session, &id);
                }
                for id in std::mem::take(&mut state.stray) {
                    terminate(&connection, &id);
                }
                if state.is_ended {
                    // Nobody reads what a goodbye would bring.
                    connection.close("the client has been closed");
                    return None;
                }
                state.link = Link::Connected(Arc::clone(&connection));
                self.changed.notify_all();
                Some((connection, reader))
            }
            Ok(None) => {
                session.fail("the client has been closed");
                None
            }
            Err(failure) => {
                if !failure.is_empty() {
                    why = format!("{why}; failed to resume exec-server session: {failure}");
                }
                // With the lock in hand: who learns of it and tries again gets a fresh attempt.
                let mut state = self.state.lock();
                session.fail(&why);
                state.stray.clear();
                if !state.is_ended {
                    state.link = Link::Failed(ClientError::Disconnected(why));
                }
                self.changed.notify_all();
                None
            }
        }
    }

    /// Tries until the window is over. None when the client is closed meanwhile. `why` is what the
    /// last connection was lost for.
    fn recover(
        &self,
        dial: &Dial,
        session: &Session,
        recovery: &mut Recovery,
        why: &str,
    ) -> Result<Option<(Arc<Connection>, BoxedReader)>, String> {
        let window = self.options.recovery_window;
        let deadline = recovery.since + window;
        loop {
            let goes_on = |state: &mut State| !state.is_ended;
            let pause = recovery.next.min(deadline);
            let pause = pause.saturating_duration_since(Instant::now());
            let waited = self
                .changed
                .wait_timeout_while(self.state.lock(), pause, goes_on);
            if waited.0.is_ended {
                return Ok(None);
            }
            drop(waited);
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(recovery.timed_out(window));
            }
            let attempt = self.try_to_resume(dial, session, left);
            recovery.count_attempt();
            match attempt {
                Ok(opened) => {
                    let throttle = Arc::clone(&session.throttle);
                    let doubt = (recovery.resumed > 0).then(|| why.to_owned());
                    recovery.resumed += 1;
                    return Ok(Some(self.establish(opened, throttle, doubt)));
                }
                Err(error) if !error.is_temporary() => return Err(error.to_string()),
                Err(error) => log::debug!("cannot resume yet: {error}"),
            }
        }
    }

    fn try_to_resume(
        &self,
        dial: &Dial,
        session: &Session,
        left: Duration,
    ) -> Result<Opened, AttemptError> {
        let dial = Dial {
            timeout: dial.timeout.min(left),
            ..dial.clone()
        };
        let mut opened = self.dial(&dial).map_err(AttemptError::Dial)?;
        let limit = self.options.initialize_timeout.min(left);
        self.handshake(&mut opened, Some(&session.id), limit, &mut Vec::new())
            .map_err(AttemptError::Handshake)?;
        Ok(opened)
    }
}
