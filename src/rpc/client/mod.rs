//! The client: typed, blocking calls on a server over any transport.

mod error;
pub mod types;

pub use error::ClientError;
