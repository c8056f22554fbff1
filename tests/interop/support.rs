//! What the integration tests have already: the client's end of both transports.
//!
//! Their `Client` is not here, for it holds every message against promises that the references do not keep.

#![allow(dead_code, reason = "the integration tests use the rest")]

#[path = "../it/support/base64.rs"]
mod base64;
#[path = "../it/support/http.rs"]
mod http;
#[path = "../it/support/link.rs"]
pub mod link;
#[path = "../it/support/proxy.rs"]
mod proxy;
#[path = "../it/support/websocket.rs"]
mod websocket;
#[path = "../it/support/within.rs"]
mod within;

pub use base64::{decode, encode};
pub use http::upgrade;
pub use proxy::Proxy;
pub use within::comes_true;

use std::time::Duration;

/// How long anything may take that should come at once.
pub const PATIENCE: Duration = Duration::from_secs(20);
