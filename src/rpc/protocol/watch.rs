//! `fs/watchMissing`, and our `fs/watch`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

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
    /// The confinement asked for.
    #[serde(borrow, default)]
    pub sandbox: Option<&'a RawValue>,
}

/// Result of `fs/watchMissing`.
#[derive(Debug, Serialize)]
pub struct WatchMissingResult {
    /// Whether a `fs/missingChanged` may follow.
    pub watching: bool,
}

/// Parameters of `fs/watch`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchParams<'a> {
    /// Names the watch in its notifications.
    #[serde(borrow)]
    pub watch_id: Cow<'a, str>,
    /// The directory.
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    /// Whether directories below it are watched, too; false when left out.
    #[serde(default)]
    pub recursive: Option<bool>,
    /// The confinement asked for.
    #[serde(borrow, default)]
    pub sandbox: Option<&'a RawValue>,
}

/// Result of `fs/watch`.
#[derive(Debug, Serialize)]
pub struct WatchResult {
    /// Always true.
    pub watching: bool,
}

/// Parameters of `fs/unwatch`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnwatchParams<'a> {
    /// Which watch.
    #[serde(borrow)]
    pub watch_id: Cow<'a, str>,
}
