//! `fs/watchMissing` and its notification.

use std::path::PathBuf;
use std::sync::Arc;

use super::dispatch::Call;
use crate::env::local::MissingWatch;
use crate::rpc::encode::json;
use crate::rpc::error::RpcError;
use crate::rpc::path_uri::{PathError, WirePath};
use crate::rpc::protocol::watch::{WatchMissingParams, WatchMissingResult};

/// `fs/watchMissing`. A connection has one watch; a newer one takes its place.
pub(super) fn watch_missing(
    call: &Call<'_>,
    params: &WatchMissingParams<'_>,
) -> Result<(), RpcError> {
    let path = |text: &str| -> Result<PathBuf, PathError> { Ok(WirePath::parse(text)?.path) };
    let missing = params.missing.iter().map(|text| path(text));
    let missing = missing.collect::<Result<_, _>>()?;
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
        .missing_watches()
        .watch(call.owned.connection, watch);
    Ok(())
}
