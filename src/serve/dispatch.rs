//! From a message to its handler: the handshake, the table of methods, and the queue of file requests.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use super::confined::{ConfinedRequest, Wanted};
use super::connection::ConnectionState;
use super::connection::Peer;
use super::file_queue::{FileQueue, Job, OwnRequest, Room};
use super::files::{self, BlockWrite, FileMethod, FileWork, Prepared};
use super::methods::{http, process, run, session, watch};
use super::metrics::{Flow, METRICS};
use super::reply::{Responder, Source};
use super::request_limit::{Slot, Waiting};
use super::server::Server;
use super::services::Call;
use super::session::Session;
use super::session::SessionOwner;
use crate::env::local::Subscriber;
use crate::log;
use crate::rpc::error::{ErrorKind, Reason, RpcError, quoted};
use crate::rpc::message::{
    Message, OwnedRequestId, RequestId, UNKNOWN_ID, decode_params, decode_params_of,
};
use crate::rpc::methods::discovery::{Discover, DiscoverRoots, ReadConfig};
use crate::rpc::methods::fs::{Close, Unwatch, Watch, WatchMissing, WriteBlock, WriteFile};
use crate::rpc::methods::process::{
    Acknowledge, CloseStdin, List, Read, Resize, Run, Signal, Start, Terminate, TerminateReply,
    Write,
};
use crate::rpc::methods::session::{Info, Initialize, InitializeParams, Initialized, Status};
use crate::rpc::methods::{Empty, Method, http::Request};
use crate::rpc::transport::{Outbound, Payload, PayloadError, Refusal, most};
use crate::rpc::{bounded, encode};
use crate::sys::reserve;

/// What the reference calls the process methods in its errors.
const PROCESSES: &str = "exec";
/// What it calls the file methods.
const FILES: &str = "filesystem";
/// What it calls the search for skills and plugins.
const DISCOVERY: &str = "capability discovery";

/// The methods that are no file requests, and their handlers.
static METHODS: &[(&str, &dyn CallMethod)] = &[
    row(&On::<Write>(PROCESSES, process::write)),
    row(&On::<Read>(PROCESSES, process::read)),
    row(&On::<Acknowledge>(PROCESSES, process::acknowledge)),
    row(&On::<Start>(PROCESSES, process::start)),
    row(&On::<Run>(PROCESSES, run::run)),
    row(&On::<CloseStdin>(PROCESSES, process::close_stdin)),
    row(&On::<Signal>(PROCESSES, process::signal)),
    row(&On::<Terminate>(PROCESSES, process::terminate)),
    row(&On::<Resize>(PROCESSES, process::resize)),
    row(&On::<List>(PROCESSES, process::list)),
    row(&On::<WatchMissing>(FILES, watch::watch_missing)),
    row(&On::<Watch>(FILES, watch::watch)),
    row(&On::<Unwatch>(FILES, watch::unwatch)),
    row(&On::<Request>("http", http::request)),
    row(&On::<Info>("environment info", session::info)),
    row(&On::<Status>("environment status", session::status)),
    row(&On::<Discover>(DISCOVERY, session::discover)),
];

/// A row of the table: the method's name, and what handles its calls.
const fn row<M: Method>(method: &'static On<M>) -> (&'static str, &'static dyn CallMethod) {
    (M::NAME, method)
}

/// The method `M`: what the reference calls its family in its errors, and the handler.
struct On<M: Method>(
    &'static str,
    fn(&Call<'_>, M::Params<'_>) -> Result<(), RpcError>,
);

trait CallMethod: Sync {
    fn handle(
        &self,
        dispatch: &Dispatch,
        id: RequestId<'_>,
        params: Option<&str>,
    ) -> Result<(), RpcError>;
}

impl<M: Method> CallMethod for On<M> {
    fn handle(
        &self,
        dispatch: &Dispatch,
        id: RequestId<'_>,
        params: Option<&str>,
    ) -> Result<(), RpcError> {
        // Before the handshake is looked at, as in the reference.
        let params = decode_params_of::<M>(params)?;
        (self.1)(&dispatch.call(id, M::NAME, self.0)?, params)
    }
}

/// How long the last file requests may take, each, when standard input has ended.
const LAST_FILES: Duration = Duration::from_secs(10);

/// How long a helper may go on with what it changes for a lost connection.
const LATE_FILES: Duration = Duration::from_secs(4);

/// The same, once it is told to end.
const UNWANTED_FILES: Duration = Duration::from_secs(1);

/// How far the handshake has come.
enum Stage {
    New,
    /// `initialize` was answered.
    Initialized(Arc<Session>),
    /// The client has said `initialized`.
    Ready(Arc<Session>),
}

/// One connection's requests.
pub(crate) struct Dispatch {
    server: Arc<Server>,
    outbound: Arc<Outbound>,
    subscriber: Arc<dyn Subscriber>,
    connection: u64,
    peer: Peer,
    stage: Stage,
    file_queue: FileQueue,
    connection_state: ConnectionState,
    /// A request whose payload is still to come, and room for that.
    awaiting: Option<(Responder, BlockWrite, Room)>,
    /// Counts the request that is being handled, until something else answers it.
    slot: Cell<Option<Slot>>,
    /// Whether the thread that reads may carry out the request itself, and that request.
    may_keep: bool,
    own_request: Cell<Option<OwnRequest>>,
}

/// What a message leaves to the thread that reads.
#[derive(Default)]
pub(crate) struct Next {
    /// What follows the message.
    pub(crate) payload: Option<Payload>,
    /// What it is to carry out.
    pub(crate) own_request: Option<OwnRequest>,
}

impl Dispatch {
    pub(crate) fn new(
        server: Arc<Server>,
        outbound: Arc<Outbound>,
        subscriber: Arc<dyn Subscriber>,
        connection: u64,
        peer: Peer,
    ) -> Self {
        let file_queue = FileQueue::new(Arc::clone(&outbound), &server.services);
        Self {
            server,
            outbound,
            subscriber,
            connection,
            peer,
            stage: Stage::New,
            file_queue,
            connection_state: ConnectionState::new(connection),
            awaiting: None,
            slot: Cell::new(None),
            may_keep: false,
            own_request: Cell::new(None),
        }
    }

    /// The connection is over.
    pub(crate) fn end(&self) {
        self.file_queue.close();
        // Who ends our input may still read our output.
        if matches!(self.peer, Peer::Stdio) {
            self.file_queue.wait_until_idle(LAST_FILES);
        }
        if let Some(session) = self.session() {
            session.detach(self.connection);
        }
        self.file_queue.requests().abandon();
        self.connection_state.release(&self.server.services.watches);
        // What has begun to change something is not broken off at once.
        self.file_queue.wait_until_done(LATE_FILES);
        self.file_queue.shorten(Wanted::Nothing);
        self.file_queue.wait_until_done(UNWANTED_FILES);
    }

    /// Handles one message, whose request `slot` counts until it is answered; a fault in it concerns
    /// it alone. A file request is left to the calling thread if it `may_keep` it.
    pub(crate) fn handle(
        &mut self,
        message: Result<Message<'_>, String>,
        slot: Option<Slot>,
        may_keep: bool,
    ) -> Next {
        self.slot.set(slot);
        self.may_keep = may_keep;
        let mut payload = None;
        match message {
            Ok(Message::Request { id, method, params }) => {
                let number = number_of(&method);
                METRICS.requested(number);
                let handled = match files::payload_len(&method, params) {
                    None => self.request(id, number, &method, params),
                    Some(_) if self.peer.has_only_messages() => Err(no_raw_bytes()),
                    Some(len) => {
                        // Whatever is wrong with the request, its bytes are no messages.
                        payload = (len > 0).then_some(Payload::Skip(len));
                        self.raw_write(id, params, len).map(|len| {
                            payload = Some(Payload::Take(len));
                        })
                    }
                };
                if let Err(error) = handled {
                    self.fail(id, &method, &error);
                }
            }
            Ok(Message::Notification { method }) => self.notification(&method),
            Ok(Message::Response) => {
                log::info!("{}: ignored an answer to nothing that was asked", self.peer);
            }
            Err(why) => {
                let message = format!("failed to parse {}: {why}", self.peer.message_origin());
                self.reject(&RpcError::invalid_request(message));
            }
        }
        self.slot.set(None);
        Next {
            payload,
            own_request: self.own_request.take(),
        }
    }

    /// Handles a request that had to wait for its turn.
    pub(crate) fn go_on(&mut self, request: Waiting, slot: Slot) {
        match request {
            Waiting::Message { text, .. } => {
                self.handle(decode(&text), Some(slot), false);
            }
            Waiting::Write(responder, work, room) => {
                responder.occupy(slot);
                self.queue(responder, work, room);
            }
        }
    }

    /// Answers a request that had to wait, and whose process was told to end meanwhile.
    pub(crate) fn give_up(&self, request: &Waiting) {
        if let Waiting::Message { text, .. } = request
            && let Ok(Message::Request { id, method, .. }) = decode(text)
        {
            METRICS.requested(number_of(&method));
            let message = "the process was told to end before its start began";
            self.fail(id, &method, &RpcError::failed(message));
        }
    }

    /// Answers a request that ends a process, whose start it has taken from what waits.
    pub(crate) fn answer_end(&self, id: RequestId<'_>, method: &str) {
        METRICS.requested(number_of(method));
        self.outbound.add(|out| match method {
            Terminate::NAME => encode::result(out, id, &TerminateReply { running: true }),
            _ => encode::result(out, id, &Empty {}),
        });
    }

    /// Whether there is a process of this name.
    pub(crate) fn has_process(&self, process_id: &str) -> bool {
        self.session()
            .is_some_and(|session| session.process(process_id).is_some())
    }

    /// Whether another connection has taken the session over.
    pub(crate) fn has_lost_session(&self) -> bool {
        self.session()
            .is_some_and(|session| !session.is_attached_to(self.connection))
    }

    /// The request that this payload completes, if its bytes are what it has announced.
    pub(crate) fn complete(
        &mut self,
        payload: Result<Vec<u8>, PayloadError>,
    ) -> Option<(Responder, FileWork, Room)> {
        let (responder, write, room) = self.awaiting.take()?;
        let outcome = match payload {
            Ok(bytes) => return Some((responder, write.with(bytes), room)),
            Err(PayloadError::Memory) => {
                responder.fail(&RpcError::no_memory());
                return None;
            }
            Err(PayloadError::Missing) => "a text message came in place of the rawBytes",
            Err(PayloadError::Length) => {
                "the binary message has not as many bytes as rawBytes says"
            }
        };
        responder.fail(&RpcError::invalid_params(outcome));
        None
    }

    /// Lets a file request take its turn after those before it.
    pub(crate) fn queue(&self, responder: Responder, work: FileWork, room: Room) {
        self.file_queue.push(responder, Job::Plain(work), room);
    }

    /// The request `fs/writeBlock` that so many raw bytes follow; how many are to be taken.
    fn raw_write(
        &mut self,
        id: RequestId<'_>,
        params: Option<&str>,
        len: u64,
    ) -> Result<usize, RpcError> {
        check_memory(WriteBlock::NAME)?;
        let (write, len) = BlockWrite::decode(params, len)?;
        let call = self.call(id, WriteBlock::NAME, FILES)?;
        let room = self.file_queue.room(len)?;
        self.awaiting = Some((call.responder(), write, room));
        Ok(len)
    }

    /// Answers a message that was thrown away unread.
    pub(crate) fn refuse(&self, refusal: Refusal, id: Option<&OwnedRequestId>) {
        let error = match refusal {
            Refusal::TooLarge => RpcError::invalid_request(format!(
                "the message is larger than {} bytes and was not read; \
                 send it in smaller parts",
                most()
            ))
            .because(Reason::TooLarge),
            Refusal::Busy => RpcError::new(
                ErrorKind::Busy,
                "too many large messages are arriving at once; this one was not read, try again",
            ),
            Refusal::Stalled => RpcError::new(
                ErrorKind::Busy,
                "the message did not go on for 10 s while others waited for its memory; it was not \
                 read, try again",
            ),
        };
        let id = id.map_or(UNKNOWN_ID, OwnedRequestId::borrow);
        self.source(UNKNOWN).note(&error);
        self.outbound.add(|out| encode::error(out, id, &error));
    }

    /// Answers a request that is not handled any further.
    pub(crate) fn fail(&self, id: RequestId<'_>, method: &str, error: &RpcError) {
        let name = method_names().nth(number_of(method)).unwrap_or(UNKNOWN);
        self.source(name).note(error);
        self.outbound.add(|out| encode::error(out, id, error));
    }

    /// Answers what has no id that could be told.
    pub(crate) fn reject(&self, error: &RpcError) {
        self.outbound
            .add(|out| encode::error(out, UNKNOWN_ID, error));
    }

    fn request(
        &mut self,
        id: RequestId<'_>,
        number: usize,
        method: &str,
        params: Option<&str>,
    ) -> Result<(), RpcError> {
        check_memory(method)?;
        if let Some((_, found)) = METHODS.get(number) {
            let _room = bounded::room(params)?;
            return found.handle(self, id, params);
        }
        let number = number - METHODS.len();
        if let Some(found) = files::METHODS.get(number) {
            return self.file_request(id, *found, params);
        }
        if number == files::METHODS.len() {
            let _room = bounded::room(params)?;
            return self.initialize(id, &decode_params(params)?);
        }
        Err(RpcError::new(
            ErrorKind::UnknownMethod,
            format!(
                "exec-server stub does not implement `{}` yet",
                quoted(method)
            ),
        ))
    }

    fn file_request(
        &self,
        id: RequestId<'_>,
        (name, method): (&'static str, &dyn FileMethod),
        params: Option<&str>,
    ) -> Result<(), RpcError> {
        // Before anything is decoded: what comes of it is no more than the text that it comes from.
        let weight = params.map_or(0, bounded::weight);
        let mut room = self.file_queue.room(weight)?;
        let job = match method.prepare(params)? {
            Prepared::Plain(work) if work.answers_raw && self.peer.has_only_messages() => {
                return Err(no_raw_bytes());
            }
            Prepared::Plain(work) => Job::Plain(work),
            Prepared::Confined(confinement) => {
                // Its policy is held twice.
                let policy = confinement.sandbox.get().len();
                room = self.file_queue.room(weight + policy)?;
                if name == WriteFile::NAME {
                    // Its content, about: nobody decodes it here.
                    METRICS.flowed(Flow::FilesWritten, text_len(params) / 4 * 3);
                }
                let request = ConfinedRequest::new(id, name, params, confinement);
                Job::Confined(request.ok_or_else(RpcError::no_memory)?)
            }
        };
        let family = match name {
            ReadConfig::NAME => "environment config",
            DiscoverRoots::NAME => DISCOVERY,
            _ => FILES,
        };
        let call = self.call(id, name, family)?;
        let responder = call.responder();
        if self.may_keep && !job.is_bulk() {
            let kept = self.file_queue.push_or_keep(responder, job, room);
            self.own_request.set(kept);
        } else {
            self.file_queue.push(responder, job, room);
        }
        Ok(())
    }

    /// The session, once there is one.
    pub(crate) fn session(&self) -> Option<&Arc<Session>> {
        match &self.stage {
            Stage::New => None,
            Stage::Initialized(session) | Stage::Ready(session) => Some(session),
        }
    }

    /// Where a request comes from.
    fn source(&self, method: &'static str) -> Source {
        Source {
            connection: self.connection,
            session: self.session().map(|session| session.tag()),
            method,
        }
    }

    /// Whether `initialize` has succeeded.
    pub(crate) fn is_initialized(&self) -> bool {
        !matches!(self.stage, Stage::New)
    }

    fn initialize(
        &mut self,
        id: RequestId<'_>,
        params: &InitializeParams<'_>,
    ) -> Result<(), RpcError> {
        if self.is_initialized() {
            let message = "initialize may only be sent once per connection";
            return Err(RpcError::invalid_request(message));
        }
        let services = &self.server.services;
        let answer = |session: &Session| {
            self.outbound.add(|out| {
                encode::result_with(out, id, |out| {
                    out.extend_from_slice(b"{\"sessionId\":");
                    encode::json(out, session.id());
                    out.extend_from_slice(b",\"environmentInfo\":");
                    encode::json(out, services.machine.base());
                    out.push(b'}');
                });
            });
        };
        let sessions = &self.server.sessions;
        let session_owner = SessionOwner::new(
            self.connection,
            &self.outbound,
            &self.subscriber,
            self.file_queue.requests(),
        );
        let session = match &params.resume_session_id {
            Some(wanted) => {
                let session = sessions.find(wanted)?;
                session.attach(session_owner, || answer(&session))?;
                session
            }
            None => {
                let session = sessions.begin(&services.host, &params.client_name, session_owner)?;
                answer(&session);
                session
            }
        };
        self.server.note_session();
        self.stage = Stage::Initialized(session);
        Ok(())
    }

    fn notification(&mut self, method: &str) {
        if method != Initialized::NAME {
            log::info!(
                "{}: ignored the unknown notification {}",
                self.peer,
                quoted(method)
            );
            return;
        }
        self.stage = match std::mem::replace(&mut self.stage, Stage::New) {
            Stage::Initialized(session) => Stage::Ready(session),
            Stage::New => {
                log::info!("{}: ignored initialized before initialize", self.peer);
                Stage::New
            }
            ready => ready,
        };
    }

    /// What a request needs, once the handshake is complete.
    fn call<'a>(
        &'a self,
        id: RequestId<'a>,
        method: &'static str,
        family: &str,
    ) -> Result<Call<'a>, RpcError> {
        let missing = match &self.stage {
            Stage::Ready(session) => {
                return Ok(Call {
                    id,
                    source: self.source(method),
                    outbound: &self.outbound,
                    services: &self.server.services,
                    session,
                    connection_state: &self.connection_state,
                    slot: &self.slot,
                });
            }
            Stage::New => "call initialize",
            Stage::Initialized(_) => "send initialized",
        };
        let message = format!("client must {missing} before using {family} methods");
        Err(RpcError::invalid_request(message))
    }
}

/// The methods that are served when memory is out: they give some back, or take next to none.
const ALWAYS: [&str; 10] = [
    Acknowledge::NAME,
    Close::NAME,
    CloseStdin::NAME,
    Initialize::NAME,
    List::NAME,
    Read::NAME,
    Signal::NAME,
    Status::NAME,
    Terminate::NAME,
    Unwatch::NAME,
];

/// Refuses what would begin while not even the reserve of memory is there.
fn check_memory(method: &str) -> Result<(), RpcError> {
    if reserve::is_kept() || ALWAYS.contains(&method) {
        return Ok(());
    }
    Err(RpcError::no_memory())
}

/// A message as it has come.
pub(crate) fn decode(message: &[u8]) -> Result<Message<'_>, String> {
    std::str::from_utf8(message)
        .map_err(|error| format!("invalid UTF-8: {error}"))
        .and_then(Message::decode)
}

/// What stands for every method that there is not.
const UNKNOWN: &str = "unknown";

/// The names of all methods, in the order of their numbers.
pub(crate) fn method_names() -> impl Iterator<Item = &'static str> {
    let names = METHODS.iter().map(|(name, _)| *name);
    let files = files::METHODS.iter().map(|(name, _)| *name);
    names.chain(files).chain([Initialize::NAME, UNKNOWN])
}

/// The number of a method; the last one if there is no such.
fn number_of(method: &str) -> usize {
    let known = method_names().position(|name| name == method);
    known.unwrap_or(METHODS.len() + files::METHODS.len() + 1)
}

/// How long parameters are.
fn text_len(params: Option<&str>) -> usize {
    params.map_or(0, str::len)
}

/// The answer to who would have bytes beside messages where only messages can pass.
fn no_raw_bytes() -> RpcError {
    RpcError::invalid_params("raw bytes do not pass through a relay; use base64")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::methods;

    #[test]
    fn every_method_that_is_described_has_one_handler() {
        let mut handled = vec![Initialize::NAME, Initialized::NAME];
        handled.extend(METHODS.iter().map(|(name, _)| name));
        handled.extend(files::METHODS.iter().map(|(name, _)| name));
        handled.sort_unstable();
        let described = methods::all().map(|(name, _)| name);
        let mut described: Vec<_> = described
            .filter(|name| !methods::NOTIFICATIONS.contains(name))
            .collect();
        described.sort_unstable();
        assert_eq!(handled, described);
    }
}
