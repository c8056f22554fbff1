//! `http/request` and its notification.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Never, is_false, methods};
use crate::net::http::MAX_HEADERS;
use crate::rpc::bounded::at_most;
use crate::rpc::transport::MAX_MESSAGE;

/// The largest body in one piece, in bytes: in base64, with its headers around, it fits the
/// largest message that clients take.
pub const MAX_BODY: usize = (MAX_MESSAGE - 1024 * 1024) / 4 * 3;

methods! {
    BodyDelta = "http/request/bodyDelta" (BodyDeltaParams<'a>) -> Never, extensions [];
    Request = "http/request" (HttpRequestParams<'a>) -> HttpReply<'a>, extensions [];
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRequestParams<'a> {
    /// Any token; its case is kept.
    #[serde(borrow)]
    pub method: Cow<'a, str>,
    /// Of `http` or `https`.
    #[serde(borrow)]
    pub url: Cow<'a, str>,
    /// In order, with repeats.
    #[serde(borrow, default, deserialize_with = "at_most::<MAX_HEADERS, _, _>")]
    pub headers: Vec<HeaderParams<'a>>,
    /// What to send along.
    #[serde(borrow, default)]
    pub body_base64: Option<Cow<'a, str>>,
    /// For everything including the body of the answer; none is no limit.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// What to do when redirected; `follow` unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_policy: Option<RedirectPolicy>,
    /// Names the stream in its notifications.
    #[serde(borrow)]
    pub request_id: Cow<'a, str>,
    /// Whether the body comes in notifications.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stream_response: bool,
}

/// A header to send.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderParams<'a> {
    /// In any case.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// Its value, or what comes before the variable's.
    #[serde(borrow)]
    pub value: Cow<'a, str>,
    /// A variable of the server whose content is appended to the value.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub value_env_var: Option<Cow<'a, str>>,
}

/// What to do when redirected.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RedirectPolicy {
    /// Go there, ten times at most.
    Follow,
    /// Answer with the redirect.
    Stop,
}

/// Reply of `http/request`. The server writes it around the body.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpReply<'a> {
    pub status: u16,
    /// In their order, with repeats.
    #[serde(borrow, default)]
    pub headers: Vec<Header<'a>>,
    /// The body, unless it comes in notifications.
    #[serde(borrow, default)]
    pub body_base64: Cow<'a, str>,
}

/// A header of the answer.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
pub struct Header<'a> {
    /// In lower case.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// As it came.
    #[serde(borrow)]
    pub value: Cow<'a, str>,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BodyDeltaParams<'a> {
    #[serde(borrow)]
    pub request_id: Cow<'a, str>,
    /// 1 for the first.
    pub seq: u64,
    /// The next piece of the body.
    #[serde(borrow)]
    pub delta_base64: Cow<'a, str>,
    /// Whether it is the last one.
    pub done: bool,
    /// Why the body broke off.
    #[serde(default)]
    pub error: Option<String>,
}
