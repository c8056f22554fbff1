//! `http/request` and `http/request/bodyDelta`.
//!
//! Each request has a thread of its own, which may wait for its server as long
//! as it takes. It belongs to the connection: when that ends, so do they all.

use std::collections::HashMap;
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};
use std::thread;
use std::time::Duration;

use super::dispatch::{Call, Responder};
use super::http_stream::Deltas;
use crate::env::local::http::{BodyReader, Cancel, DECODING, Network, PIECE, Reply, Request};
use crate::rpc::base64;
use crate::rpc::encode::{json, number};
use crate::rpc::error::{ErrorKind, RpcError};
use crate::rpc::protocol::http::{HeaderResult, HttpRequestParams, RedirectPolicy};
use crate::rpc::transport::{Charge, Outbound};
use crate::sys::sync::Mutex;

/// Requests at once, over all connections.
const MAX_RUNNING: usize = 64;
/// A request's thread's stack, of which only the touched pages count.
const STACK_BYTES: usize = 512 * 1024;

/// What all connections share.
pub(super) struct HttpService {
    network: Network,
    running: AtomicUsize,
}

impl HttpService {
    pub(super) fn new(allow_link_local: bool) -> Arc<Self> {
        Arc::new(Self {
            network: Network::new(allow_link_local),
            running: AtomicUsize::new(0),
        })
    }

    fn slot(self: &Arc<Self>) -> Result<Slot, RpcError> {
        let slot = Slot(Arc::clone(self));
        if self.running.fetch_add(1, Ordering::Relaxed) < MAX_RUNNING {
            return Ok(slot);
        }
        let message = format!("{MAX_RUNNING} HTTP requests are under way; try again later");
        Err(RpcError::new(ErrorKind::Busy, message))
    }
}

/// One request in the count.
struct Slot(Arc<HttpService>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The requests of one connection that are under way.
#[derive(Default)]
pub(super) struct HttpRequests(Mutex<Active>);

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
    fn enter(self: &Arc<Self>, stream: Option<&str>) -> Result<Entry, RpcError> {
        let mut active = self.lock();
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
    pub(super) fn cancel_all(&self) {
        let mut active = self.lock();
        active.is_over = true;
        let running = std::mem::take(&mut active.running);
        drop(active);
        for cancel in running.into_values().filter_map(|running| running.cancel) {
            cancel.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Active> {
        self.0.lock()
    }
}

/// A request's place among those of its connection.
struct Entry {
    requests: Arc<HttpRequests>,
    number: u64,
}

impl Entry {
    /// Says how to cancel the request. False when it is cancelled already.
    fn arm(&self, cancel: Cancel) -> bool {
        let mut active = self.requests.lock();
        if let Some(running) = active.running.get_mut(&self.number) {
            running.cancel = Some(cancel);
        }
        !active.is_over
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.requests.lock().running.remove(&self.number);
    }
}

/// `http/request`.
pub(super) fn request(call: &Call<'_>, params: &HttpRequestParams<'_>) -> Result<(), RpcError> {
    let Some(service) = call.server.http() else {
        let message = "http/request is turned off on this exec-server (--no-http)";
        return Err(RpcError::invalid_request(message));
    };
    let request = specify(params)?;
    let stream = params.stream_response.then(|| params.request_id.as_ref());
    let job = Job {
        request,
        entry: call.connection_state.http.enter(stream)?,
        slot: service.slot()?,
        responder: call.responder(),
        outbound: Arc::clone(call.outbound),
        stream: stream.map(str::to_owned),
    };
    let thread = thread::Builder::new()
        .name("http".into())
        .stack_size(STACK_BYTES);
    thread.spawn(|| job.run()).map_err(|error| {
        let message = format!("no thread for the request: {error}; try again later");
        RpcError::new(ErrorKind::Busy, message)
    })?;
    Ok(())
}

fn specify(params: &HttpRequestParams<'_>) -> Result<Request, RpcError> {
    let mut request = Request::new(&params.method, &params.url)?;
    for header in &params.headers {
        let variable = header.value_env_var.as_deref();
        request.header(&header.name, &header.value, variable)?;
    }
    if let Some(body) = &params.body_base64 {
        request.body =
            base64::decode(body).map_err(|error| RpcError::invalid_params(error.to_string()))?;
    }
    request.timeout = params.timeout_ms.map(Duration::from_millis);
    request.follows_redirects = params.redirect_policy != Some(RedirectPolicy::Stop);
    Ok(request)
}

/// One request on its thread.
struct Job {
    request: Request,
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
            responder.send(Err::<&(), _>(&error));
        };
        let mut reply = match fetch.run() {
            Ok(reply) => reply,
            Err(error) => return failed(held, (&error).into()),
        };
        let Some(id) = stream else {
            match read_whole(&mut reply) {
                Ok((body, _charge)) => {
                    drop(held);
                    responder.add_with(|out| write_reply(out, &reply, &body));
                    outbound.flush();
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
        responder.add_with(|out| write_reply(out, &reply, &[]));
        outbound.flush();
        stream_body(reply.body, deltas, held);
    }
}

/// Reads a body that is answered in one piece, and accounts for its memory.
fn read_whole(reply: &mut Reply) -> Result<(Vec<u8>, Charge), RpcError> {
    let mut charge = Charge::default();
    let body = reply.read_whole(|bytes| charge.set(bytes))?;
    Ok((body, charge))
}

fn write_reply(out: &mut Vec<u8>, reply: &Reply, body: &[u8]) {
    out.reserve(base64::encoded_len(body.len()) + 1024);
    out.extend_from_slice(b"{\"status\":");
    number(out, reply.status.into());
    out.extend_from_slice(b",\"headers\":");
    let headers = reply
        .headers
        .iter()
        .map(|(name, value)| HeaderResult { name, value });
    json(out, &headers.collect::<Vec<_>>());
    out.extend_from_slice(b",\"bodyBase64\":\"");
    base64::encode_into(body, out);
    out.extend_from_slice(b"\"}");
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
