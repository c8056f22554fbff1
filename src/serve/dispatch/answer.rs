//! Answering a request: now, or later from any thread.

use std::sync::Arc;

use serde::Serialize;

use crate::rpc::encode;
use crate::rpc::error::RpcError;
use crate::rpc::message::{OwnedRequestId, RequestId};
use crate::rpc::transport::{Outbound, PayloadBuffer};
use crate::serve::connection_state::ConnectionState;
use crate::serve::server::Server;
use crate::serve::session::Session;

/// What a request of a method that is answered here or later works with.
pub(in crate::serve) struct Call<'a> {
    pub(in crate::serve) id: RequestId<'a>,
    pub(in crate::serve) outbound: &'a Arc<Outbound>,
    pub(in crate::serve) server: &'a Arc<Server>,
    pub(in crate::serve) session: &'a Arc<Session>,
    pub(in crate::serve) connection_state: &'a ConnectionState,
}

impl Call<'_> {
    /// Answers. Sent together with the answers to what else has arrived.
    pub(in crate::serve) fn answer(&self, result: &impl Serialize) {
        self.outbound
            .add(|out| encode::result(out, self.id, result));
    }

    /// A way to answer later, from any thread.
    pub(in crate::serve) fn responder(&self) -> Responder {
        Responder::new(self.id, self.outbound)
    }
}

/// A request that is not answered yet.
pub(in crate::serve) struct Responder {
    pub(super) id: OwnedRequestId,
    outbound: Arc<Outbound>,
}

impl Responder {
    /// A way to answer the request `id` by `outbound`.
    pub(in crate::serve) fn new(id: RequestId<'_>, outbound: &Arc<Outbound>) -> Self {
        Self {
            id: id.to_owned(),
            outbound: Arc::clone(outbound),
        }
    }

    /// Adds the answer; whoever calls this sees to the flush.
    pub(in crate::serve) fn add(&self, result: Result<&impl Serialize, &RpcError>) {
        self.outbound.add(|out| match result {
            Ok(result) => encode::result(out, self.id.borrow(), result),
            Err(error) => encode::error(out, self.id.borrow(), error),
        });
    }

    /// As [`Responder::add`], with the result's JSON written by the caller.
    pub(in crate::serve) fn add_with(&self, write: impl FnOnce(&mut Vec<u8>)) {
        self.outbound
            .add(|out| encode::result_with(out, self.id.borrow(), write));
    }

    /// Adds an answer that is encoded already, with this request's id.
    pub(in crate::serve) fn add_encoded(&self, answer: &[u8]) {
        self.outbound.add(|out| out.extend_from_slice(answer));
    }

    /// As [`Responder::add_with`], with a payload behind the answer if it has any bytes.
    pub(in crate::serve) fn add_with_buffer(
        &self,
        payload: &mut PayloadBuffer,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let write = |out: &mut Vec<u8>| encode::result_with(out, self.id.borrow(), write);
        if payload.bytes().is_empty() {
            self.outbound.add(write);
        } else {
            self.outbound.add_with_buffer(write, payload);
        }
    }

    /// Appends the beginning of an answer in several pieces, whose end is the caller's to write.
    pub(in crate::serve) fn begin_result(&self, out: &mut Vec<u8>, result: &[u8]) {
        encode::begin_result(out, self.id.borrow());
        out.extend_from_slice(result);
    }

    /// The id's JSON.
    pub(in crate::serve) fn id(&self) -> &str {
        self.id.borrow().as_json()
    }

    /// Bytes of the id.
    pub(in crate::serve) fn id_len(&self) -> usize {
        self.id.borrow().as_json().len()
    }

    /// Adds the answer and sends it.
    pub(in crate::serve) fn send(&self, result: Result<&impl Serialize, &RpcError>) {
        self.add(result);
        self.outbound.flush();
    }
}
