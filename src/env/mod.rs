//! Environments: the places where processes run and files live.
//!
//! A provider ([`EnvironmentProvider`]) knows which there are, from a file
//! ([`config`]) or a variable; the [`EnvironmentManager`] checks what it says and
//! owns one shared instance of each. This machine is one of them ([`local`], on
//! the same code as the server), the others are reached through a client
//! ([`remote`]), which connects on first use.
//!
//! What is asked of one environment is never done in another. One that cannot be
//! reached is an error, and is tried again on its next use.

pub mod config;
mod environment;
mod error;
pub mod local;
mod manager;
mod provider;
pub mod remote;

pub use environment::*;
pub use error::EnvironmentError;
pub use manager::{EnvironmentManager, UnknownEnvironment};
pub use provider::{
    DefaultSelection, EnvironmentProvider, FileProvider, Provided, Snapshot, UrlProvider,
};

/// The id of this machine.
pub const LOCAL: &str = "local";
