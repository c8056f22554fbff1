//! `fs/watchMissing`, `fs/watch` and their notifications.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::confined;
use super::dispatch::Call;
use crate::env::local::files::FileError;
use crate::env::local::{ChangeKind, FileChange, MissingWatch, Notice, TreeWatch, WatchError};
use crate::rpc::encode::json;
use crate::rpc::error::{ErrorKind, RpcError};
use crate::rpc::path_uri::{PathError, PathStyle, WirePath};
use crate::rpc::protocol::process::Empty;
use crate::rpc::protocol::watch::{
    UnwatchParams, WatchMissingParams, WatchMissingResult, WatchParams, WatchResult,
};
use crate::rpc::transport::Offer;
use crate::sandbox::policy::Purpose;

/// The longest name of a watch, in bytes: every notification carries it.
const LONGEST_ID: usize = 64;

/// `fs/watchMissing`. A connection has one watch; a newer one takes its place.
pub(super) fn watch_missing(
    call: &Call<'_>,
    params: &WatchMissingParams<'_>,
) -> Result<(), RpcError> {
    let path = |text: &str| -> Result<PathBuf, PathError> { Ok(WirePath::parse(text)?.path) };
    let missing = params.missing.iter().map(|text| path(text));
    let mut missing = missing.collect::<Result<Vec<_>, _>>()?;
    // As little is seen from outside for who may not read everything; this method says so without an error.
    if let (Some(sandbox), Some(first)) = (params.sandbox, params.missing.first())
        && is_closed(sandbox, &WirePath::parse(first)?)?
    {
        missing.clear();
    }
    let present = params.present.as_deref().map(path).transpose()?;
    if !call.owned.is_new_watch(params.watch_id) {
        call.answer(&WatchMissingResult { watching: false });
        return Ok(());
    }
    let later = call.later();
    let outbound = Arc::clone(call.outbound);
    let id = params.watch_id;
    let watch = MissingWatch {
        missing,
        present,
        answer: Box::new(move |watching| later.send(Ok(&WatchMissingResult { watching }))),
        report: Box::new(move || {
            outbound.send(|out| {
                out.extend_from_slice(
                    b"{\"method\":\"fs/missingChanged\",\"params\":{\"watchId\":",
                );
                json(out, &id);
                out.extend_from_slice(b"}}");
            });
        }),
    };
    call.server
        .watches()
        .watch_missing(call.owned.connection, watch);
    Ok(())
}

/// `fs/watch`.
pub(super) fn watch(call: &Call<'_>, params: WatchParams<'_>) -> Result<(), RpcError> {
    let root = WirePath::parse(&params.path)?;
    if let Some(sandbox) = params.sandbox {
        check_sandbox(sandbox, &root)?;
    }
    if params.watch_id.len() > LONGEST_ID {
        return Err(RpcError::invalid_params(format!(
            "watchId must not be longer than {LONGEST_ID} bytes"
        )));
    }
    let later = call.later();
    let outbound = Arc::clone(call.outbound);
    let id = params.watch_id.into_owned();
    let watch = TreeWatch {
        id: id.clone(),
        root: root.path,
        is_recursive: params.recursive.unwrap_or(false),
        answer: Box::new(move |outcome| match outcome {
            Ok(()) => later.send(Ok(&WatchResult { watching: true })),
            Err(error) => later.send(Err::<&Empty, _>(&error.into())),
        }),
        report: Box::new(move |notice, waker| {
            let offer = outbound.offer(waker, |out| write(out, &id, notice, root.style));
            if offer == Offer::Taken {
                outbound.flush();
            }
            offer
        }),
    };
    call.server
        .watches()
        .watch_tree(call.owned.connection, watch);
    Ok(())
}

/// Changes are seen from outside of every sandbox, so who may not read everything sees none.
fn is_closed(sandbox: &RawValue, root: &WirePath) -> Result<bool, RpcError> {
    let (policy, _) = confined::read(sandbox, root)?;
    Ok(policy.needs_confinement(Purpose::Read))
}

fn check_sandbox(sandbox: &RawValue, root: &WirePath) -> Result<(), RpcError> {
    if !is_closed(sandbox, root)? {
        return Ok(());
    }
    Err(RpcError::invalid_request(
        "fs/watch is not confined, so nothing is watched under a `sandbox` that does not let \
         everything be read; ask fs/walk now and again",
    ))
}

/// `fs/unwatch`. No such watch is no error.
pub(super) fn unwatch(call: &Call<'_>, params: UnwatchParams<'_>) -> Result<(), RpcError> {
    let later = call.later();
    let answer = move |outcome: Result<(), WatchError>| match outcome {
        Ok(()) => later.send(Ok(&Empty {})),
        Err(error) => later.send(Err::<&Empty, _>(&error.into())),
    };
    let id = params.watch_id.into_owned();
    call.server
        .watches()
        .unwatch_tree(call.owned.connection, id, answer);
    Ok(())
}

fn write(out: &mut Vec<u8>, id: &str, notice: &Notice<'_>, style: PathStyle) {
    out.extend_from_slice(b"{\"method\":\"fs/changed\",\"params\":{\"watchId\":");
    json(out, id);
    out.extend_from_slice(b",\"changes\":[");
    match notice {
        Notice::Overflow => out.extend_from_slice(b"],\"overflow\":true}}"),
        Notice::Changes(changes) => {
            for (index, change) in changes.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_change(out, change, style);
            }
            out.extend_from_slice(b"]}}");
        }
    }
}

fn write_change(out: &mut Vec<u8>, change: &FileChange, style: PathStyle) {
    out.extend_from_slice(b"{\"path\":");
    json(out, &style.render(&change.path));
    out.extend_from_slice(b",\"kind\":");
    let kind = match &change.kind {
        ChangeKind::Created => "created",
        ChangeKind::Modified => "modified",
        ChangeKind::Removed => "removed",
        ChangeKind::Renamed { .. } => "renamed",
    };
    json(out, kind);
    if let ChangeKind::Renamed { from } = &change.kind {
        out.extend_from_slice(b",\"from\":");
        json(out, &style.render(from));
    }
    out.extend_from_slice(b",\"isDirectory\":");
    json(out, &change.is_directory);
    out.push(b'}');
}

impl From<WatchError> for RpcError {
    fn from(error: WatchError) -> Self {
        let kind = match error {
            WatchError::System(error) if error.kind() != std::io::ErrorKind::StorageFull => {
                return FileError::System(error).into();
            }
            WatchError::Busy | WatchError::System(_) => ErrorKind::Busy,
            _ => ErrorKind::InvalidRequest,
        };
        Self::new(kind, error.to_string())
    }
}
