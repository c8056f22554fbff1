//! The protocol: messages, the methods, the transports that carry them, and the client.
//!
//! A message is decoded in two stages, the borrowed envelope ([`message`]) and then the typed
//! parameters ([`methods`]), and is encoded straight into the frame buffer of its connection
//! ([`transport::Outbound`]).

pub mod base64;
pub mod bounded;
pub mod client;
pub mod encode;
pub mod error;
mod members;
pub mod message;
pub mod methods;
pub mod path_uri;
pub mod transport;
