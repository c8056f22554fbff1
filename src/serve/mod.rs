//! Serving clients: listeners, connections, sessions, and dispatch between them.
//!
//! ```text
//!   main thread       listener, signals, expiry of sessions
//!   conn thread       one a connection: whose it is (caller), TLS, HTTP upgrade, then
//!                     reads requests and answers them; never waits for anything but its
//!                     socket
//!   files thread      while a connection has file requests: answers them in
//!                     their order, so that no slow disk holds up a reader
//!   requests thread   while requests wait for others to be answered (request_limit)
//!   file-helper thread
//!                     one a helper for file requests under a policy (confined): starts it,
//!                     hears its last words, reaps it
//!   process thread    one a process (env/local): publishes events to the
//!                     connection that is attached to the session
//!   http thread       one a request (env/local/http), 64 at most
//!   watch thread      one, from the first `fs/watchMissing` or `fs/watch` on
//!   flush thread      only while a client is slow and no process thread does it
//! ```
//!
//! A [`Session`](session::Session) owns processes and outlives its connection
//! by the retention time; a connection is attached to at most one session, a
//! session to at most one connection, its [`SessionOwner`](session_owner::SessionOwner).

pub mod access;
mod caller;
mod config;
pub mod confined;
pub mod connection;
mod dispatch;
mod file_queue;
mod files;
mod handover;
pub(crate) mod in_process;
pub mod injector;
pub mod listen;
mod machine_info;
mod metrics;
mod notify;
mod process_log;
mod refusal;
mod reply;
mod request_limit;
mod server;
mod service_manager;
mod services;
mod session;

/// The handlers of all methods but the [file methods](files), which wait for their turn.
mod methods {
    pub(crate) mod http;
    pub(crate) mod process;
    pub(crate) mod run;
    pub(crate) mod session;
    pub(crate) mod watch;
}

pub use config::{Config, MetricsPlace, Options, ServeError};
pub use in_process::local_environment;
pub use server::{run, run_outgoing};
pub use service_manager::{HandedSocket, ServiceManager, handed_socket};
