//! `fs/watchMissing`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Parameters of `fs/watchMissing`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchMissingParams<'a> {
    /// Names the watch in its notification; must grow from call to call.
    pub watch_id: u64,
    /// Paths that do not exist.
    #[serde(borrow)]
    pub missing: Vec<Cow<'a, str>>,
    /// A path that exists and matters to the client.
    #[serde(borrow, default)]
    pub present: Option<Cow<'a, str>>,
}

/// Result of `fs/watchMissing`.
#[derive(Debug, Serialize)]
pub struct WatchMissingResult {
    /// Whether a `fs/missingChanged` may follow.
    pub watching: bool,
}
