//! Many clients over one rendezvous websocket.
#[cfg(test)]
mod chance;
mod flow;
mod frame;
