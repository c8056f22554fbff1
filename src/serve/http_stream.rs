//! The body of an answer as notifications, at the pace of the client.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use crate::rpc::base64;
use crate::rpc::encode::{json, number};
use crate::rpc::transport::{Offer, Outbound};
use crate::sys::event::WakeEvent;
use crate::sys::poll::{self, PollFd, READABLE};

/// The notifications of one stream. Sending waits until the client has taken enough.
pub(super) struct Deltas {
    request_id: String,
    outbound: Arc<Outbound>,
    next_seq: i64,
    /// Set when the client has taken enough.
    room: Arc<WakeEvent>,
}

impl Deltas {
    /// Fails when the process is out of descriptors.
    pub(super) fn new(request_id: String, outbound: Arc<Outbound>) -> io::Result<Self> {
        Ok(Self {
            request_id,
            outbound,
            next_seq: 1,
            room: Arc::new(WakeEvent::new()?),
        })
    }

    /// Sends a piece. False when the connection is dead.
    pub(super) fn send(&mut self, piece: &[u8]) -> bool {
        self.offer(piece, None, || ())
    }

    /// Sends the end, with what went wrong if anything has. `held` is dropped just before.
    pub(super) fn finish<T>(mut self, error: Option<&str>, held: T) {
        self.offer(&[], Some(error), || drop(held));
    }

    fn offer(&mut self, piece: &[u8], end: Option<Option<&str>>, taken: impl FnOnce()) -> bool {
        let mut taken = Some(taken);
        loop {
            let offer = self.outbound.offer(&self.room, |out| {
                if let Some(taken) = taken.take() {
                    taken();
                }
                self.write(out, piece, end);
            });
            match offer {
                Offer::Taken => break,
                Offer::Dead => return false,
                Offer::Full => {
                    let mut fds = [PollFd::new(self.room.as_fd(), READABLE)];
                    if poll::wait(&mut fds, None).is_err() {
                        return false;
                    }
                    self.room.take();
                }
            }
        }
        self.next_seq += 1;
        self.outbound.flush_waiting();
        true
    }

    fn write(&self, out: &mut Vec<u8>, piece: &[u8], end: Option<Option<&str>>) {
        out.reserve(base64::encoded_len(piece.len()) + self.request_id.len() + 160);
        out.extend_from_slice(b"{\"method\":\"http/request/bodyDelta\",\"params\":{\"requestId\":");
        json(out, &self.request_id);
        out.extend_from_slice(b",\"seq\":");
        number(out, self.next_seq);
        out.extend_from_slice(b",\"deltaBase64\":\"");
        base64::encode_into(piece, out);
        out.extend_from_slice(b"\",\"done\":");
        json(out, &end.is_some());
        out.extend_from_slice(b",\"error\":");
        json(out, &end.flatten());
        out.extend_from_slice(b"}}");
    }
}
