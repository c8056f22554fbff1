//! One message that is too long to be held whole.
//!
//! While it is on its way, what others add waits behind it, within the usual
//! limits: process output in 256 KiB, then in its pipe; answers in 4 MiB, then
//! no more requests are read. Control frames pass, as websockets allow between
//! the frames of a message.
//!
//! Whoever writes it also flushes: it waits on the stream itself, so that no
//! other thread need be woken for each piece.

use std::sync::Arc;
use std::time::Duration;

use super::state::Progress;
use super::{FLUSH_TICK, Flush, Framing, Outbound};
use crate::rpc::transport::frame;
use crate::sys::poll::{self, PollFd, WRITABLE};

/// With so many bytes unsent the next piece is added, so that the client has something to read
/// while it is made.
const ENOUGH: usize = 256 * 1024;

/// A message that is being written piece by piece. Dropped before it is finished it can never be
/// made whole, and ends the connection.
#[derive(Debug)]
pub struct LongMessage {
    outbound: Arc<Outbound>,
    patience: Duration,
    is_first: bool,
    is_finished: bool,
    /// Whether the duty to flush is ours.
    has_duty: bool,
}

impl Outbound {
    /// Begins a long message, once no other is on its way. A client that takes nothing of it for
    /// as long as `patience` loses the connection. None when the connection is dead.
    pub fn begin_long(self: &Arc<Self>, patience: Duration) -> Option<LongMessage> {
        let mut state = self.lock();
        while state.has_long && !state.is_dead {
            state = self.wait(state, FLUSH_TICK);
        }
        if state.is_dead {
            return None;
        }
        state.has_long = true;
        let has_duty = !std::mem::replace(&mut state.has_flusher, true);
        Some(LongMessage {
            outbound: Arc::clone(self),
            patience,
            is_first: true,
            is_finished: false,
            has_duty,
        })
    }
}

impl LongMessage {
    /// The most bytes of a piece.
    pub const MAX_PIECE: usize = frame::MAX_PAYLOAD;

    /// Adds the next piece, of at most [`LongMessage::MAX_PIECE`] bytes, when there is room.
    /// False when the connection is dead.
    pub fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.wait_for_room() && self.append(false, write)
    }

    /// Adds the last piece. What has waited behind the message follows.
    pub fn finish(mut self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.is_finished = self.append(true, write);
        self.is_finished
    }

    fn append(&mut self, is_last: bool, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut guard = self.outbound.lock();
        let state = &mut *guard;
        if state.is_dead {
            return false;
        }
        state.compact();
        match self.outbound.framing {
            Framing::WebSocket(_) => {
                let (buffer, masks) = (&mut state.buffer, &mut state.masks);
                frame::piece(buffer, masks, self.is_first, is_last, write);
            }
            Framing::Lines => {
                write(&mut state.buffer);
                if is_last {
                    state.buffer.push(b'\n');
                }
            }
        }
        self.is_first = false;
        self.outbound.push(state);
        !state.is_dead
    }

    fn wait_for_room(&self) -> bool {
        let outbound = &*self.outbound;
        let mut progress = Progress::new(&outbound.lock());
        loop {
            let mut state = outbound.lock();
            if outbound.push(&mut state) == Flush::Done || state.pending() <= ENOUGH {
                return !state.is_dead;
            }
            if progress.is_over(&state, self.patience) {
                outbound.die(&mut state);
                return false;
            }
            drop(state);
            // Should it fail, the stream is broken, and the next push finds that out.
            let _ = poll::wait(
                &mut [PollFd::new(outbound.fd(), WRITABLE)],
                Some(FLUSH_TICK),
            );
        }
    }
}

impl Drop for LongMessage {
    fn drop(&mut self) {
        let mut state = self.outbound.lock();
        if !self.is_finished {
            self.outbound.die(&mut state);
        }
        state.has_long = false;
        let behind = std::mem::take(&mut state.behind);
        state.buffer.extend_from_slice(&behind);
        if self.has_duty {
            state.has_flusher = false;
        }
        // Another long message may wait for its turn.
        self.outbound.room.notify_all();
        drop(state);
        self.outbound.flush();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::rpc::transport::Socket;
    use crate::rpc::transport::{Offer, Sink};
    use crate::sys::event::WakeEvent;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    const PATIENCE: Duration = Duration::from_secs(20);
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 256;

    /// An outbound of lines, and what its client reads from.
    pub(in crate::rpc::transport::outbound) fn pair() -> (Arc<Outbound>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (served, _) = listener.accept().unwrap();
        let sink = Sink::Socket(Arc::new(Socket::Tcp(served)));
        (Arc::new(Outbound::new(sink, Framing::Lines)), client)
    }

    #[test]
    fn what_is_added_meanwhile_comes_behind_in_order() {
        let (outbound, mut client) = pair();
        outbound.send(|out| out.extend_from_slice(b"before"));
        let mut long = outbound.begin_long(PATIENCE).unwrap();
        outbound.send(|out| out.extend_from_slice(b"answer"));
        let waker = Arc::new(WakeEvent::new().unwrap());
        let offered = outbound.offer(&waker, |out| out.extend_from_slice(b"event"));
        assert_eq!(offered, Offer::Taken);
        let reader = thread::spawn(move || {
            let mut text = Vec::new();
            client.read_to_end(&mut text).unwrap();
            text
        });
        for _ in 0..PIECES {
            assert!(long.add(|out| out.resize(out.len() + PIECE, b'x')));
        }
        assert!(long.finish(|out| out.push(b'!')));
        outbound.send(|out| out.extend_from_slice(b"after"));
        outbound.stop_sending_when_done();
        let text = reader.join().unwrap();
        let lines: Vec<_> = text.split(|byte| *byte == b'\n').collect();
        assert_eq!(lines.len(), 6);
        assert_eq!(lines[0], b"before");
        assert_eq!(lines[1].len(), PIECES * PIECE + 1);
        assert_eq!(lines[2..], [&b"answer"[..], b"event", b"after", b""]);
    }

    #[test]
    fn output_waits_in_its_pipe_when_much_is_behind() {
        let (outbound, mut client) = pair();
        let long = outbound.begin_long(PATIENCE).unwrap();
        let waker = Arc::new(WakeEvent::new().unwrap());
        let offer = || outbound.offer(&waker, |out| out.resize(out.len() + PIECE, b'o'));
        let taken = (0..PIECES).take_while(|_| offer() == Offer::Taken).count();
        assert!((4..8).contains(&taken), "{taken} taken");
        let reader = thread::spawn(move || {
            let mut text = Vec::new();
            client.read_to_end(&mut text).unwrap();
            text
        });
        assert!(long.finish(|_| ()));
        assert!(outbound.wait_until_below(0, PATIENCE));
        let mut fds = [PollFd::new(
            std::os::fd::AsFd::as_fd(&*waker),
            poll::READABLE,
        )];
        poll::wait(&mut fds, Some(PATIENCE)).unwrap();
        assert!(fds[0].is_ready(), "there is room, and nobody is told");
        outbound.stop_sending_when_done();
        assert_eq!(reader.join().unwrap().len(), 1 + taken * (PIECE + 1));
    }

    #[test]
    fn a_client_that_takes_nothing_loses_the_connection() {
        let (outbound, _client) = pair();
        let mut long = outbound.begin_long(Duration::from_millis(100)).unwrap();
        while long.add(|out| out.resize(out.len() + PIECE, b'x')) {}
        assert!(outbound.is_dead());
        drop(long);
        assert!(outbound.begin_long(PATIENCE).is_none());
    }

    #[test]
    fn a_message_that_is_given_up_ends_the_connection() {
        let (outbound, mut client) = pair();
        let mut long = outbound.begin_long(PATIENCE).unwrap();
        assert!(long.add(|out| out.extend_from_slice(b"half")));
        drop(long);
        assert!(outbound.is_dead());
        let mut text = Vec::new();
        client.read_to_end(&mut text).unwrap();
        assert_eq!(text, b"half");
    }

    #[test]
    fn a_second_long_message_waits_for_the_first() {
        let (outbound, mut client) = pair();
        let mut first = outbound.begin_long(PATIENCE).unwrap();
        assert!(first.add(|out| out.extend_from_slice(b"first")));
        let second = {
            let outbound = Arc::clone(&outbound);
            thread::spawn(move || {
                let mut second = outbound.begin_long(PATIENCE).unwrap();
                assert!(second.add(|out| out.extend_from_slice(b"second")));
                assert!(second.finish(|_| ()));
            })
        };
        assert!(first.finish(|out| out.extend_from_slice(b" ends")));
        second.join().unwrap();
        outbound.stop_sending_when_done();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "first ends\nsecond\n");
    }

    impl Outbound {
        fn stop_sending_when_done(self: &Arc<Self>) {
            assert!(self.drain(std::time::Instant::now() + PATIENCE));
            self.stop_sending();
        }
    }
}
