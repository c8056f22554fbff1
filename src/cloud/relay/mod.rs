//! Many clients over one rendezvous websocket, each in a stream of its own.
//!
//! ```text
//!   rendezvous thread   reads the websocket; a frame ([`frame`]) goes to its stream ([`stream`])
//!   relay thread        moves what the connections say into frames ([`mux`])
//!   conn threads        one a stream, the server's own, over a pair of sockets; with `forward` a
//!                       connection to a server elsewhere ([`destination`])
//! ```
//!
//! A stream lives no longer than the websocket; the session behind it does, and its client takes
//! it up again over another stream.

mod destination;
pub(crate) mod frame;
mod mux;
mod stream;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) use self::destination::Destination;
use self::mux::RelayMux;
use crate::log;
use crate::net::Dialled;
use crate::rpc::transport::{Framing, Outbound, Reader, Received, Refusal, Role, WebSocketReader};
use crate::serve::connection::Keepalive;
use crate::serve::injector::{Injector, ShutdownHook};
use crate::workers::start_thread;

/// The stack of the pump, of which only the touched pages count: a piece of output is on it.
const STACK_BYTES: usize = 256 * 1024;

/// Serves all clients behind a websocket, on this thread until it is gone; or lets `destination`
/// serve them. Whether there were any.
///
/// # Errors
/// There is no descriptor or thread for it.
pub(super) fn serve(
    injector: &Injector,
    destination: Option<&Arc<Destination>>,
    websocket: Dialled,
) -> io::Result<bool> {
    let outbound = Arc::new(Outbound::new(
        websocket.sink,
        Framing::WebSocket(Role::Client),
    ));
    let destination = destination.map(Arc::clone);
    let mux = RelayMux::new(injector.clone(), destination, Arc::clone(&outbound))?;
    let mux = Arc::new(mux);
    let pump = Arc::clone(&mux);
    start_thread("relay", STACK_BYTES, move || pump.pump())?;
    injector.set_shutdown_hook(Some(Arc::clone(&mux) as Arc<dyn ShutdownHook>));
    let mut reader =
        WebSocketReader::new(websocket.source, websocket.buffer, Arc::clone(&outbound));
    let mut keepalive = Keepalive::new(injector.ping_interval());
    let mut write_stall = WriteStall::new();
    loop {
        match reader.receive(keepalive.interval()) {
            Received::Message => mux.take(reader.message()),
            // None was asked for.
            Received::Payload(_) => {}
            Received::Refused(Refusal::TooLarge, _) => {
                log::warn!("a relay frame of more than 64 MiB is dropped");
            }
            Received::Refused(Refusal::Busy | Refusal::Stalled, _) => {
                log::warn!("a large relay frame is dropped: too many are arriving at once");
            }
            Received::Idle => outbound.shrink(),
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
        if write_stall.is_lost(&outbound, keepalive.silence()) {
            log::info!("rendezvous: takes nothing for {:?}", keepalive.silence());
            // Also for who flushes what it does not take.
            outbound.kill();
            break;
        }
    }
    injector.set_shutdown_hook(None);
    let has_served = mux.close();
    outbound.kill();
    Ok(has_served)
}

/// Whether the peer takes anything. One that speaks may still be stuck, and nobody waits here for
/// room, since what it says may be what makes some.
struct WriteStall {
    taken: u64,
    since: Instant,
}

impl WriteStall {
    fn new() -> Self {
        Self {
            taken: 0,
            since: Instant::now(),
        }
    }

    /// Whether there was something for it, and it has taken nothing for as long as `patience`.
    fn is_lost(&mut self, outbound: &Outbound, patience: Duration) -> bool {
        let taken = outbound.total_sent();
        if taken != self.taken || outbound.unsent() == 0 {
            *self = Self {
                taken,
                since: Instant::now(),
            };
        }
        self.since.elapsed() >= patience
    }
}
