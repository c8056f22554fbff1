//! Many clients over one rendezvous websocket, each in a stream of its own.
//!
//! ```text
//!   rendezvous thread   reads the websocket; a frame ([`frame`]) goes to its stream ([`stream`]),
//!                       whose numbers ([`flow`]) put messages in order and together
//!   relay thread        moves what the connections say into frames ([`hub`])
//!   conn threads        one a stream, the server's own, over a pair of sockets
//! ```
//!
//! A stream lives no longer than the websocket; the session behind it does, and its client takes
//! it up again over another stream.

mod flow;
mod frame;
mod hub;
mod stream;

#[cfg(test)]
mod chance;

use std::io;
use std::sync::Arc;
use std::thread;

use self::hub::Hub;
use crate::log;
use crate::rpc::dial::Dialled;
use crate::rpc::transport::{Framing, Outbound, Reader, Received, Role, WebSocketReader};
use crate::serve::door::{Door, Farewell};
use crate::serve::keepalive::Keepalive;

/// The stack of the pump, of which only the touched pages count: a piece of output is on it.
const STACK_BYTES: usize = 256 * 1024;

/// Serves all clients behind a websocket, on this thread until it is gone.
///
/// # Errors
/// There is no descriptor or thread for it.
pub(super) fn serve(door: &Door, websocket: Dialled) -> io::Result<()> {
    let outbound = Arc::new(Outbound::new(
        websocket.sink,
        Framing::WebSocket(Role::Client),
    ));
    let hub = Arc::new(Hub::new(door.clone(), Arc::clone(&outbound))?);
    let pump = Arc::clone(&hub);
    thread::Builder::new()
        .name("relay".into())
        .stack_size(STACK_BYTES)
        .spawn(move || pump.pump())?;
    door.set_farewell(Some(Arc::clone(&hub) as Arc<dyn Farewell>));
    let mut reader =
        WebSocketReader::new(websocket.source, websocket.buffer, Arc::clone(&outbound));
    let mut keepalive = Keepalive::new(door.ping_interval());
    loop {
        match reader.receive(keepalive.interval()) {
            Received::Message => hub.take(reader.message()),
            // None was asked for.
            Received::Payload(_) => {}
            Received::Refused(_) => log::warn!("a relay frame of more than 64 MiB is dropped"),
            Received::Idle => outbound.relax(),
            Received::Closed(why) => {
                log::info!("rendezvous: disconnected: {why}");
                break;
            }
        }
        if outbound.is_dead() {
            log::info!("rendezvous: takes no more frames");
            break;
        }
        if !keepalive.check(reader.last_heard(), &outbound) {
            log::info!("rendezvous: silent for {:?}", keepalive.silence());
            break;
        }
    }
    door.set_farewell(None);
    hub.close();
    outbound.kill();
    Ok(())
}
