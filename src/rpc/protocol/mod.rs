//! Parameters and results, a file a family. Field order matters: positional
//! parameters are matched by it, and results are written in it.

pub mod discovery;
pub mod env_policy;
pub mod environment;
pub mod files;
pub mod http;
pub mod initialize;
pub mod process;
pub mod watch;
