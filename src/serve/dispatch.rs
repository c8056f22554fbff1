//! From a message to its handler.

mod answer;
mod handshake;

pub(super) use answer::{Call, Responder};

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use self::handshake::Stage;
use super::confined::{ConfinedRequest, Wanted};
use super::connection::Peer;
use super::connection_state::ConnectionState;
use super::file_queue::{FileQueue, Job};
use super::files::{self, Asked, FileRequest};
use super::processes;
use super::server::Server;
use super::{discovery, http_requests, level, watches};
use crate::env::local::Subscriber;
use crate::log;
use crate::rpc::encode;
use crate::rpc::error::{ErrorKind, RpcError};
use crate::rpc::message::{Message, RequestId, UNKNOWN_ID, decode_params};
use crate::rpc::transport::{MAX_MESSAGE, Outbound, Payload, PayloadError, Refusal};

/// How long the last file requests may take, each, when standard input has ended.
const LAST_FILES: Duration = Duration::from_secs(10);

/// How long what was asked for on a lost connection keeps its session from the next one.
const LATE_FILES: Duration = Duration::from_secs(4);

/// The same, once it is told to end.
const UNWANTED_FILES: Duration = Duration::from_secs(1);

/// One connection's requests.
pub(super) struct Dispatch {
    server: Arc<Server>,
    outbound: Arc<Outbound>,
    subscriber: Arc<dyn Subscriber>,
    connection: u64,
    peer: Peer,
    stage: Stage,
    file_queue: FileQueue,
    connection_state: ConnectionState,
    /// A request whose payload is still to come.
    awaiting: Option<(Responder, FileRequest)>,
}

impl Dispatch {
    pub(super) fn new(
        server: Arc<Server>,
        outbound: Arc<Outbound>,
        subscriber: Arc<dyn Subscriber>,
        connection: u64,
        peer: Peer,
    ) -> Self {
        let file_queue = FileQueue::new(Arc::clone(&outbound), &server);
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
        }
    }

    /// The connection is over.
    pub(super) fn end(&self) {
        self.file_queue.close();
        match self.peer {
            // Who ends our input may still read our output.
            Peer::Stdio => self.file_queue.wait_until_idle(LAST_FILES),
            // Who leaves a socket does not, but may come back: what was asked for before must not
            // happen behind what is asked for then.
            _ => {
                self.file_queue.shorten(Wanted::Changes);
                self.file_queue.wait_until_done(LATE_FILES);
            }
        }
        self.file_queue.shorten(Wanted::Nothing);
        self.file_queue.wait_until_done(UNWANTED_FILES);
        if let Stage::Initialized(session) | Stage::Ready(session) = &self.stage {
            session.detach(self.connection);
        }
        self.connection_state.release(&self.server);
    }

    /// Handles one message; a fault in it concerns it alone. The payload that follows it, if one
    /// does.
    pub(super) fn handle(&mut self, message: &[u8]) -> Option<Payload> {
        let mut payload = None;
        let decoded = std::str::from_utf8(message)
            .map_err(|error| format!("invalid UTF-8: {error}"))
            .and_then(Message::decode);
        match decoded {
            Ok(Message::Request { id, method, params }) => {
                let handled = match files::payload_len(&method, params) {
                    None => self.request(id, &method, params),
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
                    self.outbound.add(|out| encode::error(out, id, &error));
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
        payload
    }

    /// Handles the payload of the last message.
    pub(super) fn handle_payload(&mut self, payload: Result<Vec<u8>, PayloadError>) {
        let Some((responder, mut request)) = self.awaiting.take() else {
            return;
        };
        let outcome = match payload {
            Ok(bytes) => {
                if let FileRequest::WriteBlock { data, .. } = &mut request {
                    *data = bytes;
                }
                let id = responder.id.clone();
                if let Err(error) = self.file_queue.push(responder, Job::Plain(request)) {
                    self.outbound
                        .add(|out| encode::error(out, id.borrow(), &error));
                }
                return;
            }
            Err(PayloadError::Missing) => "a text message came in place of the rawBytes",
            Err(PayloadError::Length) => {
                "the binary message has not as many bytes as rawBytes says"
            }
        };
        responder.add(Err::<&(), _>(&RpcError::invalid_params(outcome)));
    }

    /// The request `fs/writeBlock` that so many raw bytes follow; how many are to be taken.
    fn raw_write(
        &mut self,
        id: RequestId<'_>,
        params: Option<&RawValue>,
        len: u64,
    ) -> Result<usize, RpcError> {
        let (request, len) = files::decode_raw_write(params, len)?;
        let responder = self.call(id, "filesystem")?.responder();
        self.awaiting = Some((responder, request));
        Ok(len)
    }

    /// Answers a message that was thrown away unread.
    pub(super) fn refuse(&self, refusal: Refusal) {
        let error = match refusal {
            Refusal::TooLarge => RpcError::invalid_request(format!(
                "the message is larger than {MAX_MESSAGE} bytes and was not read; \
                 send it in smaller parts"
            )),
            Refusal::Busy => RpcError::new(
                ErrorKind::Busy,
                "too many large messages are arriving at once; this one was not read, try again",
            ),
        };
        self.reject(&error);
    }

    /// Answers what has no id that could be told.
    pub(super) fn reject(&self, error: &RpcError) {
        self.outbound
            .add(|out| encode::error(out, UNKNOWN_ID, error));
    }

    /// Parameters are decoded before the handshake is looked at, as in the reference.
    fn request(
        &mut self,
        id: RequestId<'_>,
        method: &str,
        params: Option<&RawValue>,
    ) -> Result<(), RpcError> {
        const PROCESSES: &str = "exec";
        match method {
            "initialize" => self.initialize(id, &decode_params(params)?),
            "environment/info" => level::info(&self.call(id, "environment info")?),
            "environment/status" => {
                #[derive(Serialize)]
                struct Status {
                    status: &'static str,
                }
                let call = self.call(id, "environment status")?;
                call.answer(&Status { status: "ready" });
                Ok(())
            }
            "process/start" => {
                let params = decode_params(params)?;
                processes::start(&self.call(id, PROCESSES)?, params)
            }
            "process/read" => {
                let params = decode_params(params)?;
                processes::read(&self.call(id, PROCESSES)?, &params)
            }
            "process/write" => {
                let params = decode_params(params)?;
                processes::write(&self.call(id, PROCESSES)?, &params)
            }
            "process/signal" => {
                let params = decode_params(params)?;
                processes::signal(&self.call(id, PROCESSES)?, &params)
            }
            "process/terminate" => {
                let params = decode_params(params)?;
                processes::terminate(&self.call(id, PROCESSES)?, &params)
            }
            "process/acknowledge" => {
                let params = decode_params(params)?;
                processes::acknowledge(&self.call(id, PROCESSES)?, &params)
            }
            "process/closeStdin" => {
                let params = decode_params(params)?;
                processes::close_stdin(&self.call(id, PROCESSES)?, &params)
            }
            "process/resize" => {
                let params = decode_params(params)?;
                processes::resize(&self.call(id, PROCESSES)?, &params)
            }
            "process/list" => {
                processes::list(&self.call(id, PROCESSES)?);
                Ok(())
            }
            "fs/watchMissing" => {
                let params = decode_params(params)?;
                watches::watch_missing(&self.call(id, "filesystem")?, &params)
            }
            "fs/watch" => {
                let params = decode_params(params)?;
                watches::watch(&self.call(id, "filesystem")?, params)
            }
            "fs/unwatch" => {
                let params = decode_params(params)?;
                watches::unwatch(&self.call(id, "filesystem")?, params)
            }
            "http/request" => {
                let params = decode_params(params)?;
                http_requests::request(&self.call(id, "http")?, &params)
            }
            "environmentConfig/read" => {
                let params = decode_params(params)?;
                discovery::read_config(&self.call(id, "environment config")?, &params)
            }
            "capabilityRoots/discoverV1" => {
                let params = decode_params(params)?;
                discovery::discover_roots(&self.call(id, "capability discovery")?, &params)
            }
            "capabilities/discoverV2" => {
                let params = decode_params(params)?;
                discovery::discover(&self.call(id, "capability discovery")?, &params)
            }
            _ => self.file_request(id, method, params),
        }
    }

    /// The methods `fs/*`, or else none that there is.
    fn file_request(
        &self,
        id: RequestId<'_>,
        method: &str,
        params: Option<&RawValue>,
    ) -> Result<(), RpcError> {
        let name = method.strip_prefix("fs/");
        let asked = name.and_then(|name| Some((name, files::decode(name, params)?)));
        let Some((name, asked)) = asked else {
            return Err(RpcError::new(
                ErrorKind::UnknownMethod,
                format!("exec-server stub does not implement `{method}` yet"),
            ));
        };
        let asked = asked?;
        let is_raw = matches!(
            asked,
            Asked::Plain(FileRequest::ReadBlock { is_raw: true, .. })
        );
        if is_raw && self.peer.has_only_messages() {
            return Err(no_raw_bytes());
        }
        let call = self.call(id, "filesystem")?;
        let job = match asked {
            Asked::Plain(request) => Job::Plain(request),
            Asked::Confined(confinement) => {
                Job::Confined(ConfinedRequest::new(id, name, params, confinement))
            }
        };
        self.file_queue.push(call.responder(), job)
    }
}

/// The answer to who would have bytes beside messages where only messages can pass.
fn no_raw_bytes() -> RpcError {
    RpcError::invalid_params("raw bytes do not pass through a relay; use base64")
}
