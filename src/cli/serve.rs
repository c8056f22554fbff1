//! From flags to a running server.

use super::RunError;
use super::flags::ServeFlags;
use crate::log;
use crate::serve::listen::{ListenAddress, ListenUrlError};
use crate::serve::{self, Config};

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
