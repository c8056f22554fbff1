//! Serving: what the program does when no command is named.

mod table;

use super::RunError;
use crate::log::{self, Level};
use crate::serve::listen::{ListenAddress, ListenUrlError};
use crate::serve::{self, Config, Options};

pub(super) use table::GRAMMAR;

/// The flags of serving, as given or by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ServeFlags {
    /// Where to listen; not looked into yet.
    listen: String,
    /// How to serve; nothing in it is looked into yet.
    options: Options,
    /// What to log.
    log_level: Level,
}

/// Serves as the flags say, until told to stop.
pub(super) fn run(flags: ServeFlags) -> Result<(), RunError> {
    log::set_level(flags.log_level);
    let config = config(flags).map_err(RunError::Listen)?;
    serve::run(config).map_err(RunError::Serve)
}

fn config(flags: ServeFlags) -> Result<Config, ListenUrlError> {
    let mut options = flags.options;
    // Never in argv, where every user of this machine could read it.
    options.auth.token = std::env::var_os("EXEC_SERVER_TOKEN");
    Ok(Config {
        listen: ListenAddress::parse(&flags.listen, options.tls.is_wanted())?,
        options,
    })
}

#[cfg(test)]
mod tests;
