//! HTTP requests on this machine's network, for clients elsewhere.
//!
//! ureq carries one exchange; what is more than that is ours. A [`Request`] is
//! checked whole before anything is sent. [`Fetch::run`] follows redirects by
//! the rules of browsers, looks at every address before it is connected to
//! ([`address`]), keeps to one deadline from the first lookup to the last byte
//! of the body, and can be cancelled from another thread ([`Cancel`]).

pub mod address;
mod body;
mod fetch;
mod request;
mod tls;

pub use body::{DECODING, PIECE};
pub use fetch::{BodyReader, Cancel, Fetch, FetchError, Network, Reply};
pub use request::{Request, RequestError};
