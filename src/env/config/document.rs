//! The keys of `environments.toml` and the types of their values.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) default: Option<Spanned<String>>,
    pub(super) include_local: Option<bool>,
    #[serde(default)]
    pub(super) environments: Vec<Item>,
}

/// One `[[environments]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Item {
    pub(super) id: Spanned<String>,
    pub(super) url: Option<Spanned<String>>,
    pub(super) program: Option<Spanned<String>>,
    pub(super) args: Option<Spanned<Vec<String>>>,
    pub(super) env: Option<Spanned<BTreeMap<String, String>>>,
    pub(super) cwd: Option<Spanned<String>>,
    #[serde(default, deserialize_with = "seconds")]
    pub(super) connect_timeout_sec: Option<Spanned<Duration>>,
    #[serde(default, deserialize_with = "seconds")]
    pub(super) initialize_timeout_sec: Option<Spanned<Duration>>,
    pub(super) bearer_token_env: Option<Spanned<String>>,
}

fn seconds<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Spanned<Duration>>, D::Error> {
    let seconds = Spanned::<f64>::deserialize(value)?;
    let duration = Duration::try_from_secs_f64(*seconds.get_ref()).map_err(D::Error::custom)?;
    Ok(Some(Spanned::new(seconds.span(), duration)))
}
