//! Many clients over one rendezvous websocket.
#[cfg(test)]
mod chance;
mod flow;
pub mod frame;
