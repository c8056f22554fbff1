//! Answering a request: now, or later from any thread.

use std::sync::Arc;

use super::metrics::METRICS;
use super::refusal::Cause;
use super::request_limit::Slot;
use super::session::SessionTag;
use crate::log::{self, Event, Level};
use crate::rpc::encode;
use crate::rpc::error::{ErrorKind, Reason, RpcError};
use crate::rpc::message::{OwnedRequestId, RequestId};
use crate::rpc::methods::Method;
use crate::rpc::transport::{Outbound, PayloadBuffer};
use crate::sys::sync::Mutex;

/// Where a request comes from, for the log.
#[derive(Clone, Copy, Default)]
pub(crate) struct Source {
    /// The connection's number.
    pub(crate) connection: u64,
    pub(crate) session: Option<SessionTag>,
    pub(crate) method: &'static str,
}

impl Source {
    /// Tells the operator of a request that is refused for a limit or a policy. The message is left out: it
    /// may quote the environment.
    pub(crate) fn note(self, error: &RpcError) {
        let cause = match error.data.reason {
            _ if error.kind == ErrorKind::Busy => Cause::Limits,
            Reason::SandboxDenied | Reason::SandboxFailed => Cause::Policy,
            _ => return,
        };
        METRICS.refused(cause);
        log::event(Level::Info, Event::RequestRefused, &|line| {
            line.value("connection", self.connection);
            if let Some(session) = self.session {
                line.text("session", session);
            }
            line.text("method", self.method);
            line.text("cause", cause.name());
            if let Some(stage) = error.data.stage {
                line.text("stage", stage);
            }
        });
    }
}

/// A request that is not answered yet.
pub(crate) struct Responder {
    id: OwnedRequestId,
    source: Source,
    outbound: Arc<Outbound>,
    /// Counts the request, where requests are counted. The answer takes it, since who has answered
    /// may keep the responder.
    slot: Mutex<Option<Slot>>,
}

impl Responder {
    /// A way to answer the request `id` by `outbound`.
    pub(crate) fn new(id: RequestId<'_>, outbound: &Arc<Outbound>, source: Source) -> Self {
        Self {
            id: id.to_owned(),
            source,
            outbound: Arc::clone(outbound),
            slot: Mutex::default(),
        }
    }

    /// Lets `slot` count the request until it is answered.
    pub(crate) fn occupy(&self, slot: Slot) {
        *self.slot.lock() = Some(slot);
    }

    /// Adds the answer with `add`. From then on the request is not counted.
    fn answer_with(&self, add: impl FnOnce(&Outbound)) {
        add(&self.outbound);
        self.slot.lock().take();
    }

    /// Adds the reply; who calls this sees to the flush, as with all that follow.
    pub(crate) fn answer<M: Method>(&self, reply: &M::Reply<'_>) {
        self.write(|out| encode::json(out, reply));
    }

    /// Adds an error.
    pub(crate) fn fail(&self, error: &RpcError) {
        self.source.note(error);
        self.answer_with(|outbound| {
            outbound.add(|out| encode::error(out, self.id.borrow(), error));
        });
    }

    /// Adds the reply, or an error, and sends it.
    pub(crate) fn send<M: Method>(&self, outcome: Result<M::Reply<'_>, RpcError>) {
        match outcome {
            Ok(reply) => self.answer::<M>(&reply),
            Err(error) => self.fail(&error),
        }
        self.flush();
    }

    /// Sends what was added.
    pub(crate) fn flush(&self) {
        self.outbound.flush();
    }

    /// Adds a reply whose JSON is written by the caller.
    pub(crate) fn write(&self, write: impl FnOnce(&mut Vec<u8>)) {
        self.answer_with(|outbound| {
            outbound.add(|out| encode::result_with(out, self.id.borrow(), write));
        });
    }

    /// The same for a result of so many bytes, if there is memory for it.
    pub(crate) fn write_long(
        &self,
        bytes: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), RpcError> {
        // What is around a result, besides the id.
        const AROUND: usize = 64;
        if !self.outbound.make_room(bytes + self.id().len() + AROUND) {
            return Err(RpcError::no_memory());
        }
        self.write(write);
        Ok(())
    }

    /// The same with a payload behind the answer if it has any bytes, if there is memory for it.
    pub(crate) fn write_with_payload(
        &self,
        payload: &mut PayloadBuffer,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), RpcError> {
        if payload.bytes().is_empty() {
            self.write(write);
            return Ok(());
        }
        let write = |out: &mut Vec<u8>| encode::result_with(out, self.id.borrow(), write);
        if !self.outbound.add_with_buffer(write, payload) {
            return Err(RpcError::no_memory());
        }
        self.answer_with(|_| ());
        Ok(())
    }

    /// Adds an answer that is encoded already, with this request's id.
    pub(crate) fn add_encoded(&self, answer: &[u8]) {
        self.answer_with(|outbound| outbound.add(|out| out.extend_from_slice(answer)));
    }

    /// Appends the beginning of an answer in several pieces, whose end is the caller's to write. The
    /// request is counted until the responder is dropped.
    pub(crate) fn begin_reply(&self, out: &mut Vec<u8>, reply: &[u8]) {
        encode::begin_result(out, self.id.borrow());
        out.extend_from_slice(reply);
    }

    /// A copy of the id.
    pub(crate) fn owned_id(&self) -> OwnedRequestId {
        self.id.clone()
    }

    /// The id's JSON.
    pub(crate) fn id(&self) -> &str {
        self.id.borrow().as_json()
    }
}
