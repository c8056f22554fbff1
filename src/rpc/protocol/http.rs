//! `http/request` and its notification.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::rpc::transport::MAX_MESSAGE;

/// The largest body in one piece, in bytes: in base64, with its headers around, it fits the
/// largest message that clients take.
pub const MAX_BODY: usize = (MAX_MESSAGE - 1024 * 1024) / 4 * 3;

/// Parameters of `http/request`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRequestParams<'a> {
    /// Any token; its case is kept.
    #[serde(borrow)]
    pub method: Cow<'a, str>,
    /// Of `http` or `https`.
    #[serde(borrow)]
    pub url: Cow<'a, str>,
    /// In order, with repeats.
    #[serde(borrow, default)]
    pub headers: Vec<HeaderParams<'a>>,
    /// What to send along.
    #[serde(borrow, default)]
    pub body_base64: Option<Cow<'a, str>>,
    /// For everything including the body of the answer; none is no limit.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// What to do when redirected; `follow` unless said otherwise.
    #[serde(default)]
    pub redirect_policy: Option<RedirectPolicy>,
    /// Names the stream in its notifications.
    #[serde(borrow)]
    pub request_id: Cow<'a, str>,
    /// Whether the body comes in notifications.
    #[serde(default)]
    pub stream_response: bool,
}

/// A header to send.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderParams<'a> {
    /// In any case.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// Its value, or what comes before the variable's.
    #[serde(borrow)]
    pub value: Cow<'a, str>,
    /// A variable of the server whose content is appended to the value.
    #[serde(borrow, default)]
    pub value_env_var: Option<Cow<'a, str>>,
}

/// What to do when redirected.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum RedirectPolicy {
    /// Go there, ten times at most.
    Follow,
    /// Answer with the redirect.
    Stop,
}

/// A header of the answer.
#[derive(Debug, Serialize)]
pub struct HeaderResult<'a> {
    /// In lower case.
    pub name: &'a str,
    /// As it came.
    pub value: &'a str,
}
