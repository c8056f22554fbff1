//! Environments: the places where processes run and files live.
//!
//! A file or a variable says which there are ([`config`]); the [`EnvironmentManager`] checks that
//! and owns one shared instance of each. All are reached through a client, which connects on first use;
//! this machine, where the program serves itself what it asks for, by a socket pair. What a server
//! does here is in [`local`].
//!
//! What is asked of one environment is never done in another. One that cannot be
//! reached is an error, and is tried again on its next use.

use std::path::Path;
use std::sync::Arc;

pub mod config;
mod environment;
pub mod local;
mod manager;

pub use environment::*;
pub use manager::{EnvironmentManager, UnknownEnvironment};

/// The environments that the user has configured, in the file or directory `named`, or where
/// [`config::home::configured`] looks for them, with `local` as this machine if it says so there.
///
/// # Errors
/// What is configured is wrong, or cannot be read.
pub fn configured(
    named: Option<&Path>,
    local: Environment,
) -> Result<EnvironmentManager, EnvironmentError> {
    let home = local::info::user_home();
    let config = config::home::configured(named, &|name| std::env::var_os(name), home.as_deref())?;
    EnvironmentManager::new(config, Some(Arc::new(local)))
}

/// The id of this machine.
pub const LOCAL: &str = "local";
