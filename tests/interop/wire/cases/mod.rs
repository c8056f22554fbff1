//! The sessions, method by method, good and bad.

mod environment;
mod files;
mod handles;
pub mod http;
mod process;
mod sandbox;
mod session;
mod start;
mod trees;

use super::case::Case;

/// All of them.
pub fn all() -> Vec<Case> {
    [
        session::cases(),
        start::cases(),
        process::cases(),
        environment::cases(),
        files::cases(),
        trees::cases(),
        handles::cases(),
        http::cases(),
        sandbox::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
