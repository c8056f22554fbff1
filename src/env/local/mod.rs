//! The environment that this machine is.

pub mod environment;
pub mod info;
mod passwd;
