//! A file request under a policy, as it waits for its turn.

use std::time::Duration;

use serde_json::value::RawValue;

use super::channel::Framed;
use super::relay::Passing;
use crate::env::local::files::Mode;
use crate::rpc::error::{DenyingRule, RpcError};
use crate::rpc::message::{Message, RequestId};
use crate::rpc::path_uri::WirePath;
use crate::sandbox::policy::{Access, Policy, Purpose};
use crate::serve::files::{Confinement, FileRequest, decode_plain};

/// How long an operation on one file may take: as long as a very slow disk.
const ONE_FILE: Duration = Duration::from_secs(120);
/// How long one on a tree may take.
const TREE: Duration = Duration::from_secs(3600);

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
    /// The policy's JSON.
    pub(super) sandbox: Box<RawValue>,
    /// The first path.
    pub(super) path: WirePath,
    /// What has to be permitted of it.
    wanted: Access,
    /// Whether that has to be permitted of what is below it, too.
    with_below: bool,
    /// The path that something is to come to besides.
    destination: Option<WirePath>,
    pub(super) purpose: Purpose,
    /// The handle that is to be opened, and what for.
    pub(super) handle: Option<(String, Mode)>,
    pub(super) passing: Passing,
    pub(super) changes_mode: bool,
    /// How long it may take.
    pub(super) limit: Duration,
}

impl ConfinedRequest {
    /// A request of the method `fs/NAME`.
    pub(in crate::serve) fn new(
        id: RequestId<'_>,
        name: &str,
        params: Option<&RawValue>,
        confinement: Confinement<'_>,
    ) -> Self {
        let passing = match confinement.max_message {
            Some(most) => Passing::Pieces { most },
            None => Passing::Whole,
        };
        let limit = match name {
            "copy" | "remove" | "walk" => TREE,
            _ => ONE_FILE,
        };
        let wanted = match confinement.purpose {
            Purpose::Write if name != "copy" => Access::Write,
            _ => Access::Read,
        };
        Self {
            wanted,
            with_below: matches!(name, "remove" | "rename"),
            destination: confinement.destination,
            framed: Framed::new(id, name, params.map_or("null", RawValue::get)),
            sandbox: confinement.sandbox.to_owned(),
            path: confinement.path,
            purpose: confinement.purpose,
            handle: confinement.handle,
            passing,
            changes_mode: name == "setPermissions",
            limit,
        }
    }

    /// The rule of its policy that it has failed for, by the kernel's number for why.
    pub(super) fn denying_rule(&self, policy: &Policy, errno: i32) -> Option<DenyingRule> {
        if !DENIALS.contains(&errno) {
            return None;
        }
        let first = policy.denial(&self.path.path, self.wanted, self.with_below);
        let second = || {
            let destination = self.destination.as_ref()?;
            policy.denial(&destination.path, Access::Write, false)
        };
        Some(first.or_else(second)?.rule(self.path.style))
    }

    /// About how much memory it holds.
    pub(in crate::serve) fn bytes(&self) -> usize {
        self.framed.bytes()
            + self.sandbox.get().len()
            + self.path.path.capacity()
            + (self.destination.as_ref()).map_or(0, |place| place.path.capacity())
            + self.handle.as_ref().map_or(0, |(id, _)| id.capacity())
            + size_of::<Self>()
    }
}

/// A framed request, for who carries it out.
pub(super) struct Decoded<'a> {
    pub(super) id: RequestId<'a>,
    /// What to do, and the first path as the client wrote it.
    pub(super) request: Result<(FileRequest, String), RpcError>,
}

/// Decodes a framed request. None for what [`ConfinedRequest::new`] has not made.
pub(super) fn decode(json: &[u8]) -> Option<Decoded<'_>> {
    let message = Message::decode(str::from_utf8(json).ok()?);
    let Ok(Message::Request { id, method, params }) = message else {
        return None;
    };
    let request = decode_plain(method.strip_prefix("fs/")?, params)?;
    Some(Decoded { id, request })
}
