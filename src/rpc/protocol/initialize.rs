//! The handshake.

use std::borrow::Cow;

use serde::Deserialize;

/// Parameters of `initialize`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InitializeParams<'a> {
    /// Who is calling; any text. Shown in the log only.
    #[serde(borrow)]
    pub client_name: Cow<'a, str>,
    /// The session to take up again.
    #[serde(borrow, default)]
    pub resume_session_id: Option<Cow<'a, str>>,
}
