//! Confining what a client starts.
//!
//! Nothing is confined yet, and a request that asks for it is refused. What is here is the means: the bwrap that was built
//! with this program ([`bundled`]), so that a sandbox will not depend on what the machine has installed.

pub mod bundled;
