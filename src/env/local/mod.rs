//! The environment that this machine is.

pub mod environment;
