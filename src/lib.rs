//! `exec-server`: processes and files of this machine for a client elsewhere, over JSON-RPC.

pub mod blocks;
pub mod calendar;
pub mod cli;
pub mod cloud;
pub mod deadline;
pub mod env;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod hex;
pub mod log;
pub mod memory;
pub mod net;
pub mod oneshot;
pub mod rpc;
pub mod sandbox;
pub mod serve;
pub mod suggest;
pub mod sys;
pub mod version;
pub mod visible;
pub mod workers;
