//! `fs/watchMissing`, `fs/watch` and their notifications.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::env::local::files::FileError;
use crate::env::local::{
    Bounds, ChangeKind, FileChange, MissingWatch, Notice, TreeWatch, WatchError,
};
use crate::rpc::encode;
use crate::rpc::error::{ErrorKind, Reason, RpcError};
use crate::rpc::methods::Empty;
use crate::rpc::methods::fs::{
    Change, Changed, ChangedParams, MissingChanged, MissingChangedParams, Unwatch, UnwatchParams,
    Watch, WatchMissing, WatchMissingParams, WatchParams, WatchReply,
};
use crate::rpc::path_uri::{PathError, PathStyle, WirePath};
use crate::rpc::transport::Offer;
use crate::sandbox::mounts::MountList;
use crate::serve::confined;
use crate::serve::services::Call;

/// The longest name of a watch, in bytes: every notification carries it.
const LONGEST_ID: usize = 64;

/// `fs/watchMissing`. A connection has one watch; a newer one takes its place.
pub(crate) fn watch_missing(
    call: &Call<'_>,
    params: WatchMissingParams<'_>,
) -> Result<(), RpcError> {
    let path = |text: &str| -> Result<PathBuf, PathError> { Ok(WirePath::parse(text)?.path) };
    let missing = params.missing.iter().map(|text| path(text));
    let mut missing = missing.collect::<Result<Vec<_>, _>>()?;
    let mut bounds = Bounds::default();
    if let (Some(sandbox), Some(first)) = (params.sandbox, params.missing.first()) {
        match within(sandbox, &WirePath::parse(first)?)? {
            Some(within) => bounds = within,
            // This method says so without an error.
            None => missing.clear(),
        }
    }
    let present = params.present.as_deref().map(path).transpose()?;
    if !call.connection_state.is_new_watch(params.watch_id) {
        call.answer::<WatchMissing>(&WatchReply { watching: false });
        return Ok(());
    }
    let responder = call.responder();
    let outbound = Arc::clone(call.outbound);
    let watch_id = params.watch_id;
    let watch = MissingWatch {
        missing,
        present,
        bounds,
        answer: Box::new(move |watching| {
            responder.send::<WatchMissing>(Ok(WatchReply { watching }))
        }),
        report: Box::new(move || {
            let params = MissingChangedParams { watch_id };
            outbound.send(|out| encode::notification::<MissingChanged>(out, &params));
        }),
    };
    call.services
        .watches
        .watch_missing(call.connection_state.connection, watch);
    Ok(())
}

/// `fs/watch`.
pub(crate) fn watch(call: &Call<'_>, params: WatchParams<'_>) -> Result<(), RpcError> {
    let root = WirePath::parse(&params.path)?;
    let bounds = match params.sandbox {
        Some(sandbox) => within(sandbox, &root)?.ok_or_else(closed)?,
        None => Bounds::default(),
    };
    if params.watch_id.len() > LONGEST_ID {
        return Err(RpcError::invalid_params(format!(
            "watchId must not be longer than {LONGEST_ID} bytes"
        )));
    }
    let responder = call.responder();
    let outbound = Arc::clone(call.outbound);
    let id = params.watch_id.into_owned();
    let watch = TreeWatch {
        id: id.clone(),
        root: root.path,
        bounds,
        is_recursive: params.recursive.unwrap_or(false),
        answer: Box::new(move |outcome| {
            let reply = outcome.map(|()| WatchReply { watching: true });
            responder.send::<Watch>(reply.map_err(RpcError::from));
        }),
        report: Box::new(move |notice, waker| {
            let offer = outbound.offer(waker, |out| write(out, &id, notice, root.style));
            if offer == Offer::Taken {
                outbound.flush();
            }
            offer
        }),
    };
    call.services
        .watches
        .watch_tree(call.connection_state.connection, watch);
    Ok(())
}

/// Where a watch under a policy may lead. Changes are seen from outside of every sandbox, so who
/// may not read everything sees none, and nobody those of what a sandbox shows otherwise.
fn within(sandbox: &RawValue, root: &WirePath) -> Result<Option<Bounds>, RpcError> {
    let (policy, _) = confined::read(sandbox, root)?;
    if policy.is_free() {
        return Ok(Some(Bounds::default()));
    }
    if !policy.has_full_read() {
        return Ok(None);
    }
    let others = MountList::shared().not_of_the_host();
    let others = others.map_err(|error| RpcError::failed(error.to_string()))?;
    Ok(Some(Bounds::around(others)))
}

fn closed() -> RpcError {
    RpcError::invalid_request(
        "fs/watch is not confined, so nothing is watched under a `sandbox` that does not let \
         everything be read; ask fs/walk now and again",
    )
}

/// `fs/unwatch`. No such watch is no error.
pub(crate) fn unwatch(call: &Call<'_>, params: UnwatchParams<'_>) -> Result<(), RpcError> {
    if params.watch_id.len() > LONGEST_ID {
        call.answer::<Unwatch>(&Empty {});
        return Ok(());
    }
    let responder = call.responder();
    let answer = move |outcome: Result<(), WatchError>| {
        responder.send::<Unwatch>(outcome.map(|()| Empty {}).map_err(RpcError::from));
    };
    let id = params.watch_id.into_owned();
    call.services
        .watches
        .unwatch_tree(call.connection_state.connection, id, answer);
    Ok(())
}

fn write(out: &mut Vec<u8>, id: &str, notice: &Notice<'_>, style: PathStyle) {
    let (changes, overflow) = match notice {
        Notice::Overflow => (&[][..], true),
        Notice::Changes(changes) => (&changes[..], false),
    };
    let params = ChangedParams {
        watch_id: id.into(),
        changes: changes.iter().map(|it| told(it, style)).collect(),
        overflow,
    };
    encode::notification::<Changed>(out, &params);
}

fn told(change: &FileChange, style: PathStyle) -> Change<'static> {
    let (kind, from) = match &change.kind {
        ChangeKind::Created => ("created", None),
        ChangeKind::Modified => ("modified", None),
        ChangeKind::Removed => ("removed", None),
        ChangeKind::Renamed { from } => ("renamed", Some(style.render(from))),
    };
    Change {
        path: style.render(&change.path).into(),
        kind: kind.into(),
        from,
        is_directory: change.is_directory,
    }
}

impl From<WatchError> for RpcError {
    fn from(error: WatchError) -> Self {
        match error {
            error if error.is_busy() => Self::new(ErrorKind::Busy, error.to_string()),
            WatchError::System(error) => FileError::System(error).into(),
            error @ WatchError::Duplicate(_) => {
                Self::invalid_request(error.to_string()).because(Reason::Exists)
            }
            error => Self::invalid_request(error.to_string()),
        }
    }
}
