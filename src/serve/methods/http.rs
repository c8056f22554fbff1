//! `http/request` and `http/request/bodyDelta`.
//!
//! Each request has a thread of its own, which may wait for its server as long as it takes. A body
//! that is streamed comes at the pace of the client.
//!
//! The HTTP requests that are under way: of all connections, which have a limit together, and of
//! each, which ends them when it ends.

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::env::local::http::{self, DECODING, PIECE};
use crate::memory::{Kind, Reserved, UNCOUNTED};
use crate::net::http::{BodyReader, Cancel, MAX_HEADERS, Network, Reply, Request, RequestError};
use crate::rpc::base64;
use crate::rpc::encode::{json, number};
use crate::rpc::error::{ErrorKind, RpcError};
use crate::rpc::methods::http::{Header, HttpRequestParams, RedirectPolicy};
use crate::rpc::transport::{Offer, Outbound};
use crate::serve::reply::Responder;
use crate::serve::services::Call;
use crate::sys::poll::{self, PollFd, READABLE, WakeEvent, Waker};
use crate::sys::sync::Mutex;
use crate::workers::start_thread;

/// A request's thread's stack, of which only the touched pages count.
const STACK_BYTES: usize = 512 * 1024;

/// The longest id of a request, in bytes: every notification of its stream carries it.
const LONGEST_ID: usize = 4096;
/// Bytes of a whole body that are encoded at once; a multiple of 3, so that their base64 joins.
const WHOLE_PIECE: usize = 192 * 1024;
/// A client that takes nothing of an answer for so long is gone.
const PATIENCE: Duration = Duration::from_secs(90);

/// `http/request`.
pub(crate) fn request(call: &Call<'_>, params: HttpRequestParams<'_>) -> Result<(), RpcError> {
    let Some(service) = &call.services.http else {
        let message = "http/request is turned off on this exec-server (--no-http)";
        return Err(RpcError::invalid_request(message));
    };
    if params.request_id.len() > LONGEST_ID {
        return Err(RpcError::invalid_params(format!(
            "requestId must not be longer than {LONGEST_ID} bytes"
        )));
    }
    let (request, room) = specify(&params)?;
    let stream = params.stream_response.then(|| params.request_id.as_ref());
    let job = Job {
        request,
        room,
        entry: call.connection_state.http.enter(stream)?,
        slot: service.slot()?,
        responder: call.responder(),
        outbound: Arc::clone(call.outbound),
        stream: stream.map(str::to_owned),
    };
    start_thread("http", STACK_BYTES, || job.run()).map_err(|error| {
        let message = format!("no thread for the request: {error}; try again later");
        RpcError::new(ErrorKind::Busy, message)
    })
}

/// The request, and room for its body.
fn specify(params: &HttpRequestParams<'_>) -> Result<(Request, Reserved), RpcError> {
    let mut request = Request::new(&params.method, &params.url)?;
    if params.headers.len() > MAX_HEADERS {
        return Err(RequestError::TooManyHeaders.into());
    }
    for header in &params.headers {
        let variable = header.value_env_var.as_deref();
        http::add_header(&mut request, &header.name, &header.value, variable)?;
    }
    let mut room = Reserved::none(Kind::Messages);
    if let Some(body) = &params.body_base64 {
        if !room.set(base64::decoded_len(body.len()).saturating_sub(UNCOUNTED)) {
            let message = "the bodies of too many requests are being held; try again later";
            return Err(RpcError::new(ErrorKind::Busy, message));
        }
        request.body =
            base64::decode(body).map_err(|error| RpcError::invalid_params(error.to_string()))?;
    }
    request.timeout = params.timeout_ms.map(Duration::from_millis);
    request.follows_redirects = params.redirect_policy != Some(RedirectPolicy::Stop);
    Ok((request, room))
}

/// One request on its thread.
struct Job {
    request: Request,
    /// For the body that is sent.
    room: Reserved,
    entry: Entry,
    slot: Slot,
    responder: Responder,
    outbound: Arc<Outbound>,
    /// The request's id, if the body is streamed.
    stream: Option<String>,
}

impl Job {
    fn run(self) {
        let Self {
            request,
            room,
            entry,
            slot,
            responder,
            outbound,
            stream,
        } = self;
        let fetch = slot.0.network.fetch(request);
        if !entry.arm(fetch.cancel()) {
            return;
        }
        // Given back before the last word, so that who has it may ask again at once.
        let held = (entry, slot);
        let failed = |held, error: RpcError| {
            drop::<(Entry, Slot)>(held);
            responder.fail(&error);
            responder.flush();
        };
        let fetched = fetch.run();
        drop(room);
        let mut reply = match fetched {
            Ok(reply) => reply,
            Err(error) => return failed(held, (&error).into()),
        };
        let Some(id) = stream else {
            match read_whole(&mut reply) {
                Ok((body, _room)) => {
                    drop(held);
                    write_whole(&outbound, &responder, &reply, &body);
                }
                Err(error) => failed(held, error),
            }
            return;
        };
        let deltas = match Deltas::new(id, Arc::clone(&outbound)) {
            Ok(deltas) => deltas,
            Err(error) => {
                return failed(held, RpcError::failed(format!("cannot stream: {error}")));
            }
        };
        responder.write(|out| {
            begin_reply(out, &reply);
            out.extend_from_slice(b"\"}");
        });
        outbound.flush();
        stream_body(reply.body, deltas, held);
    }
}

/// Reads a body that is answered in one piece, with room for its memory.
fn read_whole(reply: &mut Reply) -> Result<(Vec<u8>, Reserved), RpcError> {
    let mut room = Reserved::none(Kind::Messages);
    let body = http::read_whole(reply, |bytes| room.set(bytes.saturating_sub(UNCOUNTED)))?;
    Ok((body, room))
}

/// Sends the answer piece by piece, at the pace of the client.
fn write_whole(outbound: &Arc<Outbound>, responder: &Responder, reply: &Reply, body: &[u8]) {
    let mut start = Vec::new();
    begin_reply(&mut start, reply);
    let Some(mut message) = outbound.begin_long(PATIENCE) else {
        return;
    };
    let mut is_alive = message.add(|out| responder.begin_reply(out, &start));
    for piece in body.chunks(WHOLE_PIECE) {
        is_alive = is_alive && message.add(|out| base64::encode_into(piece, out));
    }
    if is_alive {
        message.finish(|out| out.extend_from_slice(b"\"}}"));
    }
}

/// Appends the reply as far as its body.
fn begin_reply(out: &mut Vec<u8>, reply: &Reply) {
    out.extend_from_slice(b"{\"status\":");
    number(out, reply.status.into());
    out.extend_from_slice(b",\"headers\":");
    let headers = reply.headers.iter().map(|(name, value)| Header {
        name: name.into(),
        value: value.into(),
    });
    json(out, &headers.collect::<Vec<_>>());
    out.extend_from_slice(b",\"bodyBase64\":\"");
}

/// Passes a body on, piece by piece. `held` is given back before the last piece is sent.
fn stream_body<T>(mut body: BodyReader, mut deltas: Deltas, held: T) {
    let mut piece = vec![0; PIECE];
    let error = loop {
        match body.read(&mut piece) {
            Ok(0) => break None,
            Ok(count) => {
                if !deltas.send(&piece[..count]) {
                    return;
                }
            }
            Err(error) => break Some(format!("{DECODING}: {error}")),
        }
    };
    deltas.finish(error.as_deref(), held);
}

/// The notifications of one stream. Sending waits until the client has taken enough.
struct Deltas {
    request_id: String,
    outbound: Arc<Outbound>,
    next_seq: i64,
    /// Set when the client has taken enough.
    room: Arc<WakeEvent>,
    waker: Waker,
}

impl Deltas {
    /// Fails when the process is out of descriptors.
    fn new(request_id: String, outbound: Arc<Outbound>) -> io::Result<Self> {
        let room = Arc::new(WakeEvent::new()?);
        Ok(Self {
            request_id,
            outbound,
            next_seq: 1,
            waker: Waker::from(&room),
            room,
        })
    }

    /// Sends a piece. False when the connection is dead.
    fn send(&mut self, piece: &[u8]) -> bool {
        self.offer(piece, None, || ())
    }

    /// Sends the end, with what went wrong if anything has. `held` is dropped just before.
    fn finish<T>(mut self, error: Option<&str>, held: T) {
        self.offer(&[], Some(error), || drop(held));
    }

    fn offer(&mut self, piece: &[u8], end: Option<Option<&str>>, taken: impl FnOnce()) -> bool {
        let mut taken = Some(taken);
        loop {
            let offer = self.outbound.offer(&self.waker, |out| {
                if let Some(taken) = taken.take() {
                    taken();
                }
                self.write(out, piece, end);
            });
            match offer {
                Offer::Taken => break,
                Offer::Dead => return false,
                Offer::Full => {
                    let mut fds = [PollFd::new(self.room.as_fd(), READABLE)];
                    if poll::wait(&mut fds, None).is_err() {
                        return false;
                    }
                    self.room.take();
                }
            }
        }
        self.next_seq += 1;
        self.outbound.flush_waiting();
        true
    }

    fn write(&self, out: &mut Vec<u8>, piece: &[u8], end: Option<Option<&str>>) {
        out.reserve(base64::encoded_len(piece.len()) + self.request_id.len() + 160);
        out.extend_from_slice(b"{\"method\":\"http/request/bodyDelta\",\"params\":{\"requestId\":");
        json(out, &self.request_id);
        out.extend_from_slice(b",\"seq\":");
        number(out, self.next_seq);
        out.extend_from_slice(b",\"deltaBase64\":\"");
        base64::encode_into(piece, out);
        out.extend_from_slice(b"\",\"done\":");
        json(out, &end.is_some());
        out.extend_from_slice(b",\"error\":");
        json(out, &end.flatten());
        out.extend_from_slice(b"}}");
    }
}

/// Requests at once, over all connections.
const MAX_RUNNING: usize = 64;

/// What all connections share.
pub(crate) struct HttpService {
    pub(crate) network: Network,
    running: AtomicUsize,
}

impl HttpService {
    pub(crate) fn new(allow_link_local: bool) -> Arc<Self> {
        Arc::new(Self {
            network: Network::new(allow_link_local),
            running: AtomicUsize::new(0),
        })
    }

    pub(crate) fn slot(self: &Arc<Self>) -> Result<Slot, RpcError> {
        let slot = Slot(Arc::clone(self));
        if self.running.fetch_add(1, Ordering::Relaxed) < MAX_RUNNING {
            return Ok(slot);
        }
        let message = format!("{MAX_RUNNING} HTTP requests are under way; try again later");
        Err(RpcError::new(ErrorKind::Busy, message))
    }
}

/// One request in the count.
pub(crate) struct Slot(pub(crate) Arc<HttpService>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The requests of one connection that are under way.
#[derive(Default)]
pub(crate) struct HttpRequests(Mutex<Active>);

#[derive(Default)]
struct Active {
    is_over: bool,
    next: u64,
    running: HashMap<u64, Running>,
}

#[derive(Default)]
struct Running {
    /// The id of a streamed one, which no other may have.
    stream: Option<String>,
    cancel: Option<Cancel>,
}

impl HttpRequests {
    pub(crate) fn enter(self: &Arc<Self>, stream: Option<&str>) -> Result<Entry, RpcError> {
        let mut active = self.0.lock();
        let mut ids = active.running.values().map(|other| &other.stream);
        if let Some(id) = stream
            && ids.any(|other| other.as_deref() == Some(id))
        {
            let message = format!("http/request streamResponse requestId `{id}` is already active");
            return Err(RpcError::invalid_params(message));
        }
        let number = active.next;
        active.next += 1;
        let running = Running {
            stream: stream.map(str::to_owned),
            cancel: None,
        };
        active.running.insert(number, running);
        Ok(Entry {
            requests: Arc::clone(self),
            number,
        })
    }

    /// The connection is over.
    pub(crate) fn cancel_all(&self) {
        let mut active = self.0.lock();
        active.is_over = true;
        let running = std::mem::take(&mut active.running);
        drop(active);
        for cancel in running.into_values().filter_map(|running| running.cancel) {
            cancel.cancel();
        }
    }
}

/// A request's place among those of its connection.
pub(crate) struct Entry {
    requests: Arc<HttpRequests>,
    number: u64,
}

impl Entry {
    /// Says how to cancel the request. False when it is cancelled already.
    pub(crate) fn arm(&self, cancel: Cancel) -> bool {
        let mut active = self.requests.0.lock();
        if let Some(running) = active.running.get_mut(&self.number) {
            running.cancel = Some(cancel);
        }
        !active.is_over
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.requests.0.lock().running.remove(&self.number);
    }
}
