//! Offering this machine through a control plane: for machines that nobody can connect to.
//!
//! ```text
//!   main thread    as in `serve`: signals, expiry of sessions, the end
//!   cloud thread   registers over HTTPS ([`registration`], with a token of [`auth`]), connects
//!                  to the rendezvous that it is given, and serves whoever comes through it;
//!                  when the connection is gone, again ([`registration_loop`])
//!   relay thread   only where many clients share the rendezvous ([`relay`])
//! ```
//!
//! Clients get in by [`Injector`](crate::serve::injector::Injector), so connections, sessions and
//! limits are those of a listener. Sessions outlive the connection to the rendezvous.

mod auth;
mod error;
mod exchange;
mod login;
mod registration;
mod registration_loop;
pub(crate) mod relay;
mod settings;
mod target;

pub use error::{CloudError, Service};
pub use registration_loop::{OfferError, run};
pub use settings::{NO_NOISE, Settings, Transport};
