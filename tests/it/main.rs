//! Tests that drive the built binary.
//!
//! Every test starts its own server, speaks to it as a client would and ends it; nothing is shared, so they run in any
//! order and beside one another. `EXEC_SERVER_BIN` names another program to test in place of the one cargo built.

#[macro_use]
extern crate support;

mod architecture;
mod auth;
mod broken_streams;
mod bulk;
mod bulk_client;
mod certificates;
mod cgroups;
mod chaos;
mod claims;
mod client;
mod clients;
mod cloud;
mod completions;
mod concurrent_requests;
mod containers;
mod costs;
mod cp;
mod daemons;
mod dial;
mod discovery;
mod env_command;
mod envelope;
mod environments;
mod files;
mod framing;
mod handshake;
mod http;
mod image;
mod install;
mod interrupted_calls;
mod keepalive;
mod lifetime;
mod listen;
mod local_users;
mod log;
mod memory;
mod metrics;
mod openssh;
mod operate;
mod own_memory;
mod process;
mod protocol_examples;
mod readme;
mod reference_flags;
mod resume;
mod run_command;
mod sandbox;
mod services;
mod session_model;
mod sessions_takeover;
mod tls;
mod transcripts;
mod unix;
mod upgrade;
mod watch;
mod watch_missing;
