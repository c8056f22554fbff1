//! Reaching another machine: streams and their TLS, a websocket as a client ([`dial`]), and HTTP
//! ([`http`]); and the certificates for it. Nothing here knows what is said over a connection.
//!
//! Both ways out share the lookup of names with its time limit, the roots that are trusted (`trust`),
//! and the choice of a proxy.

pub mod certificate;
pub mod dial;
pub mod http;
mod inbuffer;
pub(crate) mod local_user;
mod lookup;
pub(crate) mod proxy;
pub mod redact;
pub(crate) mod stream;
mod tls;
mod trust;
pub(crate) mod upgrade;
pub mod url;

pub use dial::{Dial, DialCause, DialError, Dialled, Stage, Target};
pub use inbuffer::InBuffer;
pub use stream::{Sink, Socket, SocketSource, Source, StreamSource};
pub use tls::{TlsSession, TlsSource};
pub use trust::{Fingerprint, NoFingerprint, Trust};
