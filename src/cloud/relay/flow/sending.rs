//! What is sent: a message cut into segments, which are kept until they have arrived.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::FlowError;
use crate::cloud::relay::frame::{Body, Data};

/// The longest segment that is sent, so that a frame stays below the 256 KiB of strict peers.
pub(super) const SEGMENT: usize = 128 * 1024;
/// An acknowledgement that takes longer is not awaited any more; the reference's number.
pub(super) const RESEND: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(super) struct Sending {
    /// What is yet to be cut.
    pub(super) message: Vec<u8>,
    /// How much of it is cut.
    pub(super) cut: usize,
    pub(super) index: u32,
    pub(super) count: u32,
    pub(super) next_seq: u32,
    /// What may have to be sent again, the oldest first.
    pub(super) kept: VecDeque<Sent>,
    pub(super) kept_bytes: usize,
}

#[derive(Debug)]
pub(super) struct Sent {
    pub(super) seq: u32,
    index: u32,
    count: u32,
    pub(super) payload: Vec<u8>,
    /// When it is to be sent again.
    pub(super) due: Instant,
    pub(super) sends: u32,
}

impl Sent {
    pub(super) fn body(&self) -> Body<'_> {
        Body::Data(Data {
            seq: self.seq,
            index: self.index,
            count: self.count,
            payload: &self.payload,
        })
    }
}

impl Sending {
    /// The next segment of the message, if one is left.
    pub(super) fn cut_next(&mut self, now: Instant) -> Result<Option<Sent>, FlowError> {
        if self.message.is_empty() {
            return Ok(None);
        }
        let following = self.next_seq.checked_add(1).ok_or(FlowError::Exhausted)?;
        let index = self.index;
        self.index += 1;
        let payload = if self.count == 1 {
            std::mem::take(&mut self.message)
        } else {
            let end = self.message.len().min(self.cut + SEGMENT);
            let payload = self.message[self.cut..end].to_vec();
            self.cut = end;
            if self.index == self.count {
                self.message = Vec::new();
            }
            payload
        };
        let seq = std::mem::replace(&mut self.next_seq, following);
        Ok(Some(Sent {
            seq,
            index,
            count: self.count,
            payload,
            due: now + RESEND,
            sends: 1,
        }))
    }

    pub(super) fn acknowledge(&mut self, ack: u32) -> Result<(), FlowError> {
        if ack > self.next_seq {
            return Err(FlowError::Ack);
        }
        while self.kept.front().is_some_and(|sent| sent.seq < ack) {
            let sent = self.kept.pop_front();
            self.kept_bytes -= sent.map_or(0, |sent| sent.payload.len());
        }
        Ok(())
    }
}
