//! Payloads in websocket messages: raw bytes, frame by frame.

use super::{Frame, Need, WebSocketReader};
use crate::net::Source;
use crate::rpc::transport::mask;
use crate::rpc::transport::payload::Incoming;
use crate::rpc::transport::{PayloadError, Received};

/// What the next message is to be.
pub(super) enum Expected {
    Message,
    Payload(Incoming),
    /// A payload that nobody wants; where the error is given, somebody waits for that.
    Unwanted(Option<PayloadError>),
}

/// A frame of a payload: its bytes go straight to where they stay.
pub(super) struct Part {
    pub(super) left: u64,
    mask: Option<[u8; 4]>,
    /// Where in the payload it begins.
    start: usize,
}

impl Part {
    /// Takes the mask off what has come of the payload from the byte `from` on, while the
    /// processor still has it.
    pub(super) fn unmask(&self, payload: &mut Incoming, from: usize) {
        if let Some(mask) = self.mask {
            mask::apply(payload.since(from), mask::behind(mask, from - self.start));
        }
    }
}

impl<S: Source> WebSocketReader<S> {
    pub(super) fn begin_part(&mut self, frame: &Frame) -> Result<Option<Received>, Need> {
        self.buffer.consume(frame.header_len);
        self.is_fragmented = !frame.is_final;
        let mut start = 0;
        if let Expected::Payload(payload) = &self.expected {
            start = payload.filled();
            if frame.payload_len > payload.left() as u64 {
                self.expected = Expected::Unwanted(Some(PayloadError::Length));
            }
        }
        self.part = Some(Part {
            left: frame.payload_len,
            mask: frame.mask,
            start,
        });
        self.carry_part()
    }

    /// Takes what has come of a payload's frame, and hands the payload out after its last.
    pub(super) fn carry_part(&mut self) -> Result<Option<Received>, Need> {
        let Some(part) = &mut self.part else {
            return Ok(None);
        };
        let here = self.buffer.bytes();
        let here = &here[..here
            .len()
            .min(usize::try_from(part.left).unwrap_or(usize::MAX))];
        if let Expected::Payload(payload) = &mut self.expected {
            let from = payload.filled();
            payload.take(here);
            part.unmask(payload, from);
        }
        let count = here.len();
        part.left -= count as u64;
        self.buffer.consume(count);
        if part.left > 0 {
            return Err(match self.expected {
                Expected::Payload(_) => Need::Part,
                _ => Need::Bytes(1),
            });
        }
        self.part = None;
        if self.is_fragmented {
            return Ok(None);
        }
        Ok(
            match std::mem::replace(&mut self.expected, Expected::Message) {
                Expected::Payload(payload) if payload.left() == 0 => {
                    Some(Received::Payload(Ok(payload.into_data())))
                }
                Expected::Payload(_) => Some(Received::Payload(Err(PayloadError::Length))),
                Expected::Unwanted(error) => error.map(|error| Received::Payload(Err(error))),
                Expected::Message => None,
            },
        )
    }
}
