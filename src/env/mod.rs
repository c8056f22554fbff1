//! Environments: the places where processes run and files live.
//!
//! A provider ([`EnvironmentProvider`]) knows which there are, from a file
//! ([`config`]) or a variable; the [`EnvironmentManager`] checks what it says and
//! owns one shared instance of each. All are reached through a client, which connects on first use;
//! this machine, where the program serves itself what it asks for, by a socket pair. What a server
//! does here is in [`local`].
//!
//! What is asked of one environment is never done in another. One that cannot be
//! reached is an error, and is tried again on its next use.

use std::path::Path;
use std::sync::Arc;

pub mod config;
mod environment;
mod error;
pub mod local;
mod manager;
mod provider;

pub use environment::*;
pub use error::EnvironmentError;
pub use manager::{EnvironmentManager, UnknownEnvironment};
pub use provider::{
    DefaultSelection, EnvironmentProvider, FileProvider, Provided, Snapshot, UrlProvider,
};

/// The environments that the user has configured, in the file `named` or where
/// [`config::home::configured`] looks for them, with `local` as this machine if it says so there.
///
/// # Errors
/// What is configured is wrong, or cannot be read.
pub fn configured(
    named: Option<&Path>,
    local: Environment,
) -> Result<EnvironmentManager, EnvironmentError> {
    let home = local::info::user_home();
    let provider =
        config::home::configured(named, &|name| std::env::var_os(name), home.as_deref())?;
    EnvironmentManager::from_provider(&*provider, Some(Arc::new(local)))
}

/// The id of this machine.
pub const LOCAL: &str = "local";
