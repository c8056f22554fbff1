//! One stream's numbers: messages become data frames, and data frames messages.
//!
//! There are two kinds of peer. The reference's acknowledges nothing and trusts the websocket to
//! lose nothing: what is sent to it is forgotten, and a message is one frame. A peer that
//! acknowledges (it has sent an `ack` frame, or a number above 0 in any) gets long messages in
//! segments, a window of them at a time, and again what it has not acknowledged in time. Until
//! it is clear which of the two a peer is, the little that was sent is kept.
//!
//! Nothing here waits, knows a socket, or holds more than its windows and one message.

mod receiving;
mod sending;

use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

use self::receiving::{GAP, Receiving};
use self::sending::{RESEND, SEGMENT, Sending, Sent};
use super::frame::Body;

/// Data frames that may be on their way without acknowledgement; the reference's number.
const WINDOW_FRAMES: usize = 32;
/// Their bytes; the reference's number.
const WINDOW_BYTES: usize = 2 * 1024 * 1024;
/// Bytes kept for a peer that has not shown yet whether it acknowledges.
const UNSURE_BYTES: usize = 256 * 1024;
/// How often a frame is sent; after that, half a minute, the peer is gone.
const MAX_SENDS: u32 = 60;

/// Why a stream cannot go on. `Display` is the reason of its reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlowError {
    /// A segment that does not follow the one before it.
    Segments,
    /// A message with too many segments or bytes.
    TooLarge,
    /// Too many large messages are being received at the moment.
    Busy,
    /// Faster than it is worked off, from a peer that cannot be told to wait.
    Overrun,
    /// An acknowledgement of what was never sent.
    Ack,
    /// What is wanted again was let go already.
    Forgotten,
    /// A frame that others wait for does not come.
    Gap,
    /// No acknowledgement.
    Unacknowledged,
    /// There are no more numbers.
    Exhausted,
}

impl fmt::Display for FlowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Segments => "a segment does not follow the one before it",
            Self::TooLarge => "a message is larger than 64 MiB or has more than 4096 segments",
            Self::Busy => "too many large messages at once; try again",
            Self::Overrun => "messages come faster than they are worked off",
            Self::Ack => "an acknowledgement of what was never sent",
            Self::Forgotten => "what is to be resumed is no longer retained",
            Self::Gap => "a frame is missing for 30 s",
            Self::Unacknowledged => "no acknowledgement for 30 s",
            Self::Exhausted => "the stream has no more sequence numbers",
        })
    }
}

impl std::error::Error for FlowError {}

/// What is known of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Unsure,
    Trusting,
    Acknowledging,
}

/// Both directions of a stream.
#[derive(Debug)]
pub(super) struct Flow {
    peer: Peer,
    sending: Sending,
    receiving: Receiving,
    /// Whether the peer waits for an acknowledgement.
    owes_ack: bool,
}

impl Flow {
    pub(super) fn new() -> Self {
        Self {
            peer: Peer::Unsure,
            sending: Sending::default(),
            receiving: Receiving::default(),
            owes_ack: false,
        }
    }

    /// Whether a further message may be given to [`Flow::send`].
    pub(super) fn can_send(&self) -> bool {
        self.sending.message.is_empty()
    }

    /// Whether the peer acknowledges, and so sends again what is not taken.
    pub(super) fn is_reliable(&self) -> bool {
        self.peer == Peer::Acknowledging
    }

    /// Takes a message, which is not empty; [`Flow::emit`] brings it on its way.
    pub(super) fn send(&mut self, message: Vec<u8>) {
        let sending = &mut self.sending;
        sending.count = match self.peer {
            // At most 64 MiB, so the number fits.
            Peer::Acknowledging => message.len().div_ceil(SEGMENT) as u32,
            _ => 1,
        };
        (sending.index, sending.cut, sending.message) = (0, 0, message);
    }

    /// Takes what the peer says; a message that is whole goes to `deliver`. Without `has_room`
    /// for another one, data is not taken.
    pub(super) fn receive(
        &mut self,
        ack: u32,
        body: &Body<'_>,
        now: Instant,
        has_room: bool,
        mut deliver: impl FnMut(Vec<u8>),
    ) -> Result<(), FlowError> {
        if ack > 0 || *body == Body::Ack {
            if self.peer == Peer::Trusting && ack < self.sending.next_seq {
                return Err(FlowError::Forgotten);
            }
            self.peer = Peer::Acknowledging;
            self.sending.acknowledge(ack)?;
        }
        match body {
            Body::Data(data) => {
                // Also for what has come already: its acknowledgement may be what was lost.
                self.owes_ack = self.peer == Peer::Acknowledging;
                if has_room {
                    return self.receiving.take(data, now, &mut deliver);
                }
                match self.peer {
                    Peer::Acknowledging => Ok(()),
                    _ => Err(FlowError::Overrun),
                }
            }
            Body::Resume(next) if self.peer == Peer::Acknowledging => {
                self.sending.acknowledge(*next)?;
                let oldest = self.sending.kept.front().map(|sent| sent.seq);
                if *next < oldest.unwrap_or(self.sending.next_seq) {
                    return Err(FlowError::Forgotten);
                }
                for sent in &mut self.sending.kept {
                    sent.due = now;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Hands to `write` what is to be sent now: an acknowledgement and a body at a time.
    pub(super) fn emit(
        &mut self,
        now: Instant,
        mut write: impl FnMut(u32, Body<'_>),
    ) -> Result<(), FlowError> {
        if self.receiving.gap_is_over(now) {
            return Err(FlowError::Gap);
        }
        let ack = match self.peer {
            Peer::Acknowledging => self.receiving.next_seq,
            _ => 0,
        };
        let mut has_told = false;
        if self.peer == Peer::Acknowledging {
            for sent in &mut self.sending.kept {
                if sent.due > now {
                    continue;
                }
                if sent.sends >= MAX_SENDS {
                    return Err(FlowError::Unacknowledged);
                }
                sent.due = now + RESEND;
                sent.sends += 1;
                write(ack, sent.body());
                has_told = true;
            }
        }
        while self.has_window()
            && let Some(sent) = self.sending.cut_next(now)?
        {
            write(ack, sent.body());
            has_told = true;
            self.keep(sent);
        }
        if std::mem::take(&mut self.owes_ack) && !has_told {
            write(ack, Body::Ack);
        }
        Ok(())
    }

    /// Whether all that was sent has arrived, as far as that can be known.
    pub(super) fn is_settled(&self) -> bool {
        self.can_send() && (self.peer != Peer::Acknowledging || self.sending.kept.is_empty())
    }

    /// When [`Flow::emit`] has something to do again, whatever else happens.
    pub(super) fn due(&self) -> Option<Instant> {
        let resend = match self.peer {
            Peer::Acknowledging => self.sending.kept.iter().map(|sent| sent.due).min(),
            _ => None,
        };
        let gap = self.receiving.gap_since.map(|since| since + GAP);
        resend.into_iter().chain(gap).min()
    }

    fn has_window(&self) -> bool {
        self.peer != Peer::Acknowledging
            || self.sending.kept.len() < WINDOW_FRAMES && self.sending.kept_bytes < WINDOW_BYTES
    }

    fn keep(&mut self, sent: Sent) {
        let sending = &mut self.sending;
        if self.peer == Peer::Unsure
            && (sending.kept.len() >= WINDOW_FRAMES
                || sending.kept_bytes + sent.payload.len() > UNSURE_BYTES)
        {
            self.peer = Peer::Trusting;
            sending.kept = VecDeque::new();
            sending.kept_bytes = 0;
        }
        if self.peer != Peer::Trusting {
            sending.kept_bytes += sent.payload.len();
            sending.kept.push_back(sent);
        }
    }
}

#[cfg(test)]
mod tests;
