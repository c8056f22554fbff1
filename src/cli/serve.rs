//! From flags to a running server.

use super::RunError;
use super::flags::ServeFlags;
use crate::log;
use crate::serve::listen::{ListenAddress, ListenUrlError};
use crate::serve::{self, Config, auth};

/// Serves as the flags say, until told to stop.
pub(super) fn run(flags: ServeFlags) -> Result<(), RunError> {
    log::set_level(flags.log_level);
    let config = config(flags).map_err(RunError::Listen)?;
    serve::run(config).map_err(RunError::Serve)
}

fn config(flags: ServeFlags) -> Result<Config, ListenUrlError> {
    Ok(Config {
        listen: ListenAddress::parse(&flags.listen, flags.tls.is_wanted())?,
        auth: auth::Settings {
            // Never in argv, where every user of this machine could read it.
            token: std::env::var_os("EXEC_SERVER_TOKEN"),
            ..flags.auth
        },
        tls: flags.tls,
        max_connections: flags.max_connections,
        allow_origins: flags.allow_origins,
        allow_hosts: flags.allow_hosts,
        ping_interval: flags.ping_interval,
        session_retention: flags.session_retention,
        retained_output: flags.retained_output,
        retained_total: flags.retained_total,
        drain_window: flags.drain_window,
        max_processes: flags.max_processes,
        http: !flags.no_http,
        allow_link_local: flags.allow_link_local,
    })
}
