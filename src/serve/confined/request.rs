//! A file request under a policy, as it waits for its turn.

use serde_json::value::RawValue;

use super::channel::Framed;
use super::relay::Passing;
use crate::rpc::error::{DenyingRule, RpcError};
use crate::rpc::message::{Message, RequestId};
use crate::sandbox::policy::{Access, Policy};
use crate::serve::files::{Confinement, FileWork, METHODS};

/// What the kernel says where a sandbox shows nothing, or lets nothing be changed or moved.
const DENIALS: [i32; 6] = [
    libc::EPERM,
    libc::ENOENT,
    libc::EACCES,
    libc::EBUSY,
    libc::EXDEV,
    libc::EROFS,
];

/// A file request under a policy. It is kept as the client has sent it, since what it is to write
/// is decoded by who writes it.
pub(in crate::serve) struct ConfinedRequest {
    pub(super) framed: Framed,
    pub(super) confinement: Confinement,
}

impl ConfinedRequest {
    pub(in crate::serve) fn new(
        id: RequestId<'_>,
        method: &str,
        params: Option<&RawValue>,
        confinement: Confinement,
    ) -> Self {
        let params = params.map_or("null", RawValue::get);
        Self {
            framed: Framed::new(id, method, params),
            confinement,
        }
    }

    /// How its answer passes.
    pub(super) fn passing(&self) -> Passing {
        match self.confinement.max_message {
            Some(most) => Passing::Pieces { most },
            None => Passing::Whole,
        }
    }

    /// The rule of its policy that it has failed for, by the kernel's number for why.
    pub(super) fn denying_rule(&self, policy: &Policy, errno: i32) -> Option<DenyingRule> {
        if !DENIALS.contains(&errno) {
            return None;
        }
        let it = &self.confinement;
        let first = policy.denial(&it.path.path, it.wanted, it.with_below);
        let second = || {
            let destination = it.destination.as_ref()?;
            policy.denial(&destination.path, Access::Write, false)
        };
        Some(first.or_else(second)?.rule(it.path.style))
    }

    /// About how much memory it holds.
    pub(in crate::serve) fn bytes(&self) -> usize {
        let it = &self.confinement;
        let destination = it.destination.as_ref();
        self.framed.bytes()
            + it.sandbox.get().len()
            + it.path.path.capacity()
            + destination.map_or(0, |path| path.path.capacity())
            + size_of::<Self>()
    }
}

/// A framed request, for who carries it out.
pub(super) struct Decoded<'a> {
    pub(super) id: RequestId<'a>,
    /// What to do, and the first path as the client wrote it.
    pub(super) request: Result<(FileWork, String), RpcError>,
}

/// Decodes a framed request. None for what [`ConfinedRequest::new`] has not made.
pub(super) fn decode(json: &[u8]) -> Option<Decoded<'_>> {
    let message = Message::decode(str::from_utf8(json).ok()?);
    let Ok(Message::Request { id, method, params }) = message else {
        return None;
    };
    let method = METHODS.iter().find(|it| it.name() == method)?;
    let request = method.prepare_inside(params);
    Some(Decoded { id, request })
}
