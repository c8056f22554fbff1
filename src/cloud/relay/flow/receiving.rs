//! What arrives: segments in any order, which become messages in theirs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::FlowError;
use crate::cloud::relay::frame::Data;
use crate::net::Charge;
use crate::rpc::transport::MAX_MESSAGE;

/// Frames that may wait for one before them, and their bytes; the reference's numbers.
const REORDER_FRAMES: u32 = 64;
pub(super) const REORDER_BYTES: usize = 1024 * 1024;
/// The most segments of a message that is taken: 64 MiB in pieces of 16 KiB.
const MAX_SEGMENTS: u32 = 4096;
/// How long a frame before others may be missing.
pub(super) const GAP: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Receiving {
    pub(super) next_seq: u32,
    early: BTreeMap<u32, Early>,
    pub(super) early_bytes: usize,
    /// Since when the first of them waits.
    pub(super) gap_since: Option<Instant>,
    /// The segments so far.
    pub(super) message: Vec<u8>,
    next_index: u32,
    charge: Charge,
}

/// A segment that has arrived before its turn.
#[derive(Debug)]
struct Early {
    index: u32,
    count: u32,
    payload: Vec<u8>,
}

impl Receiving {
    pub(super) fn take(
        &mut self,
        data: &Data<'_>,
        now: Instant,
        deliver: &mut impl FnMut(Vec<u8>),
    ) -> Result<(), FlowError> {
        if data.count > MAX_SEGMENTS {
            return Err(FlowError::TooLarge);
        }
        if data.seq != self.next_seq {
            self.keep_early(data, now);
            return Ok(());
        }
        self.join(data.index, data.count, data.payload, deliver)?;
        while let Some(early) = self.early.remove(&self.next_seq) {
            self.early_bytes -= early.payload.len();
            self.join(early.index, early.count, &early.payload, deliver)?;
        }
        self.gap_since = (!self.early.is_empty()).then_some(now);
        Ok(())
    }

    /// Keeps what has its turn soon. What does not fit comes again from a peer that means it.
    fn keep_early(&mut self, data: &Data<'_>, now: Instant) {
        let is_near = data
            .seq
            .checked_sub(self.next_seq)
            .is_some_and(|ahead| ahead <= REORDER_FRAMES);
        if !is_near {
            return;
        }
        self.gap_since.get_or_insert(now);
        let fits = self.early_bytes + data.payload.len() <= REORDER_BYTES;
        if fits && !self.early.contains_key(&data.seq) {
            self.early_bytes += data.payload.len();
            let early = Early {
                index: data.index,
                count: data.count,
                payload: data.payload.to_vec(),
            };
            self.early.insert(data.seq, early);
        }
    }

    /// Appends the segment whose turn it is.
    fn join(
        &mut self,
        index: u32,
        count: u32,
        payload: &[u8],
        deliver: &mut impl FnMut(Vec<u8>),
    ) -> Result<(), FlowError> {
        if index != self.next_index {
            return Err(FlowError::Segments);
        }
        let length = self.message.len() + payload.len();
        if length > MAX_MESSAGE {
            return Err(FlowError::TooLarge);
        }
        if !self.charge.set(length) {
            return Err(FlowError::Busy);
        }
        self.message.extend_from_slice(payload);
        self.next_seq = self.next_seq.checked_add(1).ok_or(FlowError::Exhausted)?;
        self.next_index += 1;
        if self.next_index == count {
            self.next_index = 0;
            self.charge.set(0);
            deliver(std::mem::take(&mut self.message));
        }
        Ok(())
    }

    pub(super) fn gap_is_over(&self, now: Instant) -> bool {
        self.gap_since
            .is_some_and(|since| now.saturating_duration_since(since) >= GAP)
    }
}
