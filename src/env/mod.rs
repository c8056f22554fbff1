//! Environments: the places where processes run and files live.

mod environment;
mod error;
pub mod local;

pub use environment::*;
pub use error::EnvironmentError;
