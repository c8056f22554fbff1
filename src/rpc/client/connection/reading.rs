//! The reading of what comes on a connection, in one order, to its end.

use std::time::{Duration, Instant};

use super::{ACKNOWLEDGE, Answer, Block, Connection, Waiting};
use crate::oneshot::Sender;
use crate::rpc::client::ClientError;
use crate::rpc::client::open_file::MAX_BLOCK;
use crate::rpc::client::route::{GAP_PATIENCE, Route};
use crate::rpc::client::session::Session;
use crate::rpc::client::wire::{self, Incoming};
use crate::rpc::encode;
use crate::rpc::transport::{Framing, Payload, Reader, Received, relax_blocks};

/// A server from which nothing came for so many pings is gone.
const LOST_PINGS: u32 = 3;
/// How much of a line that is no message is shown.
const MAX_SHOWN: usize = 200;

/// A block whose bytes are still to come.
struct Announced {
    id: i64,
    len: usize,
    json: Box<str>,
    sender: Sender<Result<Block, ClientError>>,
}

impl Connection {
    /// Reads to the end, in the order in which things come, and tells why it has ended.
    pub(in crate::rpc::client) fn read(
        &self,
        reader: &mut dyn Reader,
        session: &Session,
    ) -> String {
        let is_websocket = self.outbound.framing() != Framing::Lines;
        let silence = self.ping_interval.saturating_mul(LOST_PINGS);
        let mut pinged = Instant::now();
        // Where it was last looked for events that stay away.
        let mut checked = pinged;
        let mut has_gaps = false;
        let mut complaint = None;
        let mut announced: Option<Announced> = None;
        let why = loop {
            if !self.throttle.wait(Duration::ZERO) {
                // What a long message needed is not needed meanwhile.
                reader.shrink();
            }
            if !self.throttle.wait(self.ping_interval) {
                // The server must not take a slow consumer for a dead one.
                self.outbound.ping();
                continue;
            }
            let patience = if has_gaps {
                GAP_PATIENCE
            } else {
                self.ping_interval
            };
            match reader.receive(patience) {
                Received::Message => match self.take(reader.message(), session) {
                    Ok(Taken::Nothing) => {}
                    Ok(Taken::OutOfOrder) => has_gaps = true,
                    Ok(Taken::Complaint(why)) => complaint = Some(why),
                    Ok(Taken::Block(block)) => {
                        reader.expect(Payload::Take(block.len));
                        announced = Some(block);
                    }
                    Err(why) => break why,
                },
                Received::Payload(Ok(bytes)) => {
                    if let Some(Announced { json, sender, .. }) = announced.take() {
                        sender.send(Ok(Block { json, bytes }));
                    }
                }
                Received::Payload(Err(error)) => {
                    break format!("the server announced bytes that did not come: {error:?}");
                }
                Received::Refused(refusal) => {
                    break format!("a message of the server is not taken: {refusal:?}");
                }
                Received::Idle => {
                    self.outbound.shrink();
                    relax_blocks();
                }
                Received::Closed(why) => break why,
            }
            let now = Instant::now();
            if has_gaps && now.saturating_duration_since(checked) >= GAP_PATIENCE {
                checked = now;
                has_gaps = self.fill_gaps(session, now);
            }
            if !is_websocket {
                continue;
            }
            if now.saturating_duration_since(reader.last_heard()) >= silence {
                break format!("no sign of life for {silence:?}");
            }
            if now.saturating_duration_since(pinged) >= self.ping_interval {
                pinged = now;
                self.outbound.ping();
            }
        };
        if let Some(Announced { id, sender, .. }) = announced {
            // Its bytes never come: it fails with the others.
            self.lock().waiting.insert(id, Waiting::Block(sender));
        }
        match complaint {
            Some(complaint) => format!("{complaint} ({why})"),
            None => why,
        }
    }

    fn take(&self, message: &[u8], session: &Session) -> Result<Taken, String> {
        let incoming = wire::decode(message).map_err(|error| {
            let shown = shown(message);
            format!("the server sent what is no message: `{shown}` ({error})")
        })?;
        match incoming {
            Incoming::Answer { id, outcome } => {
                let waiting = self.lock().waiting.remove(&id);
                match waiting {
                    Some(Waiting::Caller(sender)) => {
                        sender.send(outcome.map(|json| Answer {
                            json: json.into(),
                            _held: self.throttle.hold(json.len()),
                        }));
                    }
                    Some(Waiting::Block(sender)) => return take_block(id, outcome, sender),
                    Some(Waiting::Replay(route)) => {
                        replay(&route, outcome)?;
                        // What was told on the last connection may be lost, and the program wait.
                        self.acknowledge(session, &route, true);
                    }
                    Some(Waiting::Nobody) | None => {}
                }
                Ok(Taken::Nothing)
            }
            Incoming::Notice { method, params } => {
                let route = session.take(&method, params)?;
                if let Some(route) = &route {
                    self.acknowledge(session, route, false);
                }
                Ok(match route {
                    Some(route) if route.has_gap() => Taken::OutOfOrder,
                    _ => Taken::Nothing,
                })
            }
            Incoming::Complaint(why) => Ok(Taken::Complaint(why)),
            Incoming::Other => Ok(Taken::Nothing),
        }
    }

    /// Tells the server what has come, where it wants to know: until then it keeps it.
    fn acknowledge(&self, session: &Session, route: &Route, is_urgent: bool) {
        if let Some(seq) = route.to_acknowledge(is_urgent)
            && session.facts.has(ACKNOWLEDGE)
        {
            let params = serde_json::json!({ "processId": route.id, "seq": seq });
            self.post(ACKNOWLEDGE, |out| encode::json(out, &params));
        }
    }

    /// Asks for events that have stayed away. Whether some still do.
    fn fill_gaps(&self, session: &Session, now: Instant) -> bool {
        let routes = session.routes();
        for route in &routes {
            if let Some(after) = route.to_fill(now) {
                self.read_again(route, after);
            }
        }
        routes.iter().any(|route| route.has_gap())
    }
}

/// What came of a message.
enum Taken {
    Nothing,
    OutOfOrder,
    Complaint(String),
    Block(Announced),
}

/// An answer that says how many bytes follow it, if it is no error.
fn take_block(
    id: i64,
    outcome: Result<&str, ClientError>,
    sender: Sender<Result<Block, ClientError>>,
) -> Result<Taken, String> {
    let json: Box<str> = match outcome {
        Ok(json) => json.into(),
        Err(error) => {
            sender.send(Err(error));
            return Ok(Taken::Nothing);
        }
    };
    let announced: wire::RawBlock =
        wire::result("fs/readBlock", &json).map_err(|error| error.to_string())?;
    match announced.raw_bytes {
        0 => {
            let bytes = Vec::new();
            sender.send(Ok(Block { json, bytes }));
            Ok(Taken::Nothing)
        }
        len if len <= MAX_BLOCK => Ok(Taken::Block(Announced {
            id,
            len,
            json,
            sender,
        })),
        len => Err(format!("the server announced a block of {len} bytes")),
    }
}

fn replay(route: &Route, outcome: Result<&str, ClientError>) -> Result<(), String> {
    match outcome {
        Ok(json) => {
            let reply = wire::borrowed_result("process/read", json);
            route.merge(reply.map_err(|error| error.to_string())?)
        }
        Err(error) => {
            route.fail(&format!("failed to recover process {}: {error}", route.id));
            Ok(())
        }
    }
}

/// The beginning of what is no message, on one line and without what would disturb a terminal.
pub(in crate::rpc::client) fn shown(message: &[u8]) -> String {
    let part = &message[..message.len().min(MAX_SHOWN)];
    let text = String::from_utf8_lossy(part);
    let mut text: String = text.trim().chars().filter(|c| !c.is_control()).collect();
    if message.len() > MAX_SHOWN {
        text.push('…');
    }
    text
}
