//! Serving: what the program does when no command is named.

mod table;

use super::RunError;
use crate::cloud;
use crate::log::{self, Level};
use crate::serve::listen::{ListenAddress, ListenUrlError};
use crate::serve::{self, Config, Options};
use crate::sys::initial_environment;

pub(super) use table::GRAMMAR;

/// Where to listen when nobody says it.
const DEFAULT_LISTEN: &str = "ws://127.0.0.1:0";

/// The flags of serving, as given or by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ServeFlags {
    /// Where to listen, if that was said; not looked into yet.
    listen: Option<String>,
    /// Where to be offered; not looked into yet.
    cloud: cloud::Settings,
    /// How to serve; nothing in it is looked into yet.
    options: Options,
    /// What to log.
    log_level: Level,
}

/// Serves as the flags say, until told to stop.
pub(super) fn run(flags: ServeFlags) -> Result<(), RunError> {
    log::set_level(flags.log_level);
    if let Some(message) = conflict(&flags) {
        return Err(RunError::Usage(GRAMMAR.error(message)));
    }
    if flags.cloud.is_wanted() {
        return cloud::run(&flags.cloud, &flags.options).map_err(RunError::Offer);
    }
    let config = config(flags).map_err(RunError::Listen)?;
    serve::run(config).map_err(RunError::Serve)
}

/// What cannot be meant together.
fn conflict(flags: &ServeFlags) -> Option<String> {
    let cloud = &flags.cloud;
    if let Some(message) = cloud.conflict() {
        return Some(message);
    }
    let options = &flags.options;
    let has_listener = [
        ("--listen <URL>", flags.listen.is_some()),
        ("--tls-cert <FILE>", options.tls.is_wanted()),
        ("--ws-auth <MODE>", options.auth.mode.is_some()),
    ];
    let (listener, _) = has_listener.iter().find(|(_, is_given)| *is_given)?;
    let offer = if cloud.cloud {
        "--cloud"
    } else {
        "--remote <URL>"
    };
    cloud
        .is_wanted()
        .then(|| format!("the argument '{offer}' cannot be used with '{listener}'"))
}

fn config(flags: ServeFlags) -> Result<Config, ListenUrlError> {
    let mut options = flags.options;
    // Never in argv, where every user of this machine could read it.
    options.auth.token = initial_environment::take_variable("EXEC_SERVER_TOKEN");
    Ok(Config {
        listen: ListenAddress::parse(
            flags.listen.as_deref().unwrap_or(DEFAULT_LISTEN),
            options.tls.is_wanted(),
        )?,
        options,
    })
}

#[cfg(test)]
mod tests;
