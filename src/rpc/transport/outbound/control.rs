//! Control frames. They pass between the frames of a long message.

use std::sync::Arc;

use super::state::State;
use super::{Framing, Outbound};
use crate::rpc::transport::frame::{self, Goodbye};

impl Outbound {
    /// Asks the peer for a sign of life. Nothing on a transport that has no such thing.
    pub fn ping(self: &Arc<Self>) {
        self.control(|state| frame::ping(&mut state.buffer, &mut state.masks));
    }

    /// Answers a ping, as soon as the peer takes what is sent: it may ask as often as it likes,
    /// and the answers must not pile up. Where several wait, the last one answers for all, as
    /// RFC 6455, 5.5.3 allows.
    pub fn pong(self: &Arc<Self>, payload: &[u8]) {
        self.control(|state| {
            state.owed_pong = Some(payload.to_vec());
            state.settle_pong();
        });
    }

    /// Says goodbye, where the transport has a word for it.
    pub fn say_goodbye(self: &Arc<Self>, why: Goodbye) {
        self.control(|state| frame::close(&mut state.buffer, &mut state.masks, why));
    }

    fn control(self: &Arc<Self>, add: impl FnOnce(&mut State)) {
        if self.framing == Framing::Lines {
            return;
        }
        let mut state = self.lock();
        if !state.is_dead {
            state.compact();
            add(&mut state);
        }
        drop(state);
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{self, Cursor, PipeReader, Read};
    use std::os::fd::{AsFd, OwnedFd};
    use std::thread::{self, JoinHandle};
    use std::time::{Duration, Instant};

    use tungstenite::protocol::frame::FrameHeader;
    use tungstenite::protocol::frame::coding::{Control, OpCode};

    use super::*;
    use crate::rpc::transport::outbound::OUTPUT_LIMIT;
    use crate::rpc::transport::{Role, Sink};
    use crate::sys::socket::set_nonblocking;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Frames into a pipe: unlike a socket's, its room does not grow.
    fn pair() -> (Arc<Outbound>, PipeReader) {
        let (client, served) = io::pipe().unwrap();
        set_nonblocking(served.as_fd()).unwrap();
        let sink = Sink::Stream(File::from(OwnedFd::from(served)));
        let framing = Framing::WebSocket(Role::Server);
        (Arc::new(Outbound::new(sink, framing)), client)
    }

    /// Leaves so much unsent that no pong may be added.
    fn fill(outbound: &Arc<Outbound>) {
        while outbound.unsent() <= 2 * OUTPUT_LIMIT {
            outbound.send(|out| out.resize(out.len() + 64 * 1024, b'x'));
        }
    }

    fn read_all(mut client: PipeReader) -> JoinHandle<Vec<u8>> {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            client.read_to_end(&mut bytes).unwrap();
            bytes
        })
    }

    /// The payload of each pong in all that is sent, and how many bytes come behind it.
    fn pongs(outbound: Arc<Outbound>, reader: JoinHandle<Vec<u8>>) -> Vec<(Vec<u8>, usize)> {
        assert!(outbound.drain(Instant::now() + PATIENCE));
        // The thread that flushed lets go of it a moment later.
        drop(outbound);
        let bytes = reader.join().unwrap();
        let mut pongs = Vec::new();
        let mut cursor = Cursor::new(&bytes[..]);
        while let Some((header, len)) = FrameHeader::parse(&mut cursor).unwrap() {
            let start = cursor.position() as usize;
            let end = start + len as usize;
            if header.opcode == OpCode::Control(Control::Pong) {
                pongs.push((bytes[start..end].to_vec(), bytes.len() - end));
            }
            cursor.set_position(end as u64);
        }
        assert_eq!(cursor.position(), bytes.len() as u64, "a frame is torn");
        pongs
    }

    #[test]
    fn a_ping_that_meets_a_full_stream_is_answered_when_there_is_room() {
        let (outbound, client) = pair();
        fill(&outbound);
        outbound.pong(b"here?");
        let pongs = pongs(outbound, read_all(client));
        assert_eq!(pongs.len(), 1, "{pongs:?}");
        assert_eq!(pongs[0].0, b"here?");
    }

    #[test]
    fn of_many_pings_the_last_is_answered_and_nothing_piles_up() {
        let (outbound, client) = pair();
        fill(&outbound);
        let before = outbound.unsent();
        for number in 0..10_000_u32 {
            outbound.pong(&number.to_be_bytes());
        }
        assert!(outbound.unsent() <= before);
        let pongs = pongs(outbound, read_all(client));
        assert_eq!(pongs.len(), 1, "{pongs:?}");
        assert_eq!(pongs[0].0, 9_999_u32.to_be_bytes());
    }

    #[test]
    fn a_pong_does_not_wait_for_the_end_of_a_long_message() {
        const PIECES: usize = 64;
        const PIECE: usize = 1024 * 1024;
        let (outbound, client) = pair();
        let mut long = outbound.begin_long(PATIENCE).unwrap();
        // What waits behind the message does not hold the pong up, and what is before it does.
        outbound.add(|out| out.resize(out.len() + 2 * OUTPUT_LIMIT, b'b'));
        let piece = |out: &mut Vec<u8>| out.resize(out.len() + PIECE, b'x');
        while outbound.lock().pending() <= OUTPUT_LIMIT {
            assert!(long.add(piece));
        }
        outbound.pong(b"between");
        let reader = read_all(client);
        for _ in 0..PIECES {
            assert!(long.add(piece));
        }
        assert!(long.finish(|_| ()));
        let pongs = pongs(outbound, reader);
        assert_eq!(pongs.len(), 1);
        let (payload, behind) = &pongs[0];
        assert_eq!(payload, b"between");
        assert!(*behind > PIECES * PIECE, "{behind} bytes behind it");
    }
}
