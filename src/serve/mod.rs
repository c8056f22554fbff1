//! Serving clients: where to listen and whom to let in.

pub mod host;
pub mod listen;
pub mod upgrade;
