//! Offering this machine through a control plane: for machines that nobody can connect to.
//!
//! ```text
//!   main thread    as in `serve`: signals, expiry of sessions, the end
//!   cloud thread   registers over HTTPS ([`registration`], with a token of [`auth`]), connects
//!                  to the rendezvous that it is given, and serves whoever comes through it;
//!                  when the connection is gone, again ([`rounds`])
//!   relay thread   only where many clients share the rendezvous ([`relay`])
//! ```
//!
//! Clients get in by [`Door`](crate::serve::door::Door), so connections, sessions and limits are
//! those of a listener. Sessions outlive the connection to the rendezvous.

mod auth;
mod backoff;
mod calendar;
mod error;
mod exchange;
mod registration;
mod relay;
mod rounds;
mod settings;
mod target;

pub use error::{CloudError, Service};
pub use rounds::{OfferError, run};
pub use settings::{Settings, Transport};
