//! Reading websocket messages, text or binary: masked ones of a client, plain ones of a server.

use std::io::{self, Cursor};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use super::frame::{Role, mask_behind};
use super::payload::Incoming;
use super::{
    Framing, Goodbye, HEAD, Outbound, Pace, Payload, PayloadError, Reader, Received, Refusal, most,
};
use crate::memory::{Kind, Reserved, UNCOUNTED};
use crate::net::{InBuffer, Source};
use crate::rpc::message::{OwnedRequestId, id_in};
use crate::sys::vector;

/// The longest header of a masked frame.
const MAX_HEADER: usize = 14;
/// RFC 6455, 5.5.
const MAX_CONTROL_PAYLOAD: u64 = 125;

/// The reading half of a websocket.
///
/// A message in one frame, as nearly all are, is unmasked where it was
/// received and handed out from there.
pub struct WebSocketReader<S> {
    source: S,
    buffer: InBuffer,
    outbound: Arc<Outbound>,
    role: Role,
    /// Bytes at the start of the buffer that the last message took.
    used: usize,
    message: Place,
    /// The frames so far of a message in several.
    assembled: Vec<u8>,
    /// Whether the last message is text, or the one that is arriving.
    is_text: bool,
    /// Of the frame that is arriving.
    arriving: Arriving,
    /// Bytes at the start of `assembled` that are known to be UTF-8.
    valid: usize,
    /// For those frames.
    reserved: Reserved,
    /// Of a message that holds memory.
    pace: Option<Pace>,
    /// Whether a message in several frames has begun.
    is_fragmented: bool,
    /// Why the message that is arriving will not be taken, and its id.
    refusal: Option<(Refusal, Option<OwnedRequestId>)>,
    /// Bytes of a refused frame still to come.
    to_skip: u64,
    expected: Expected,
    /// The frame of the payload that is arriving.
    part: Option<Part>,
}

/// Where the last message is.
enum Place {
    Buffer(Range<usize>),
    Assembled,
}

/// What the next message is to be.
enum Expected {
    Message,
    Payload(Incoming),
    /// A payload that nobody wants; where the error is given, somebody waits for that.
    Unwanted(Option<PayloadError>),
}

/// A frame of a payload: its bytes go straight to where they stay.
struct Part {
    left: u64,
    mask: Option<[u8; 4]>,
    /// Where in the payload it begins.
    start: usize,
}

/// A frame's header, judged.
struct Frame {
    header_len: usize,
    payload_len: u64,
    /// None on the frames of a server.
    mask: Option<[u8; 4]>,
    is_final: bool,
    opcode: OpCode,
}

impl<S: Source> WebSocketReader<S> {
    /// Reads frames from `source`, of which `buffer` already has the first
    /// bytes. Pings and closes are answered through `outbound`, whose role is ours.
    pub fn new(source: S, buffer: InBuffer, outbound: Arc<Outbound>) -> Self {
        let role = match outbound.framing() {
            Framing::WebSocket(role) => role,
            Framing::Lines => Role::Server,
        };
        Self {
            role,
            source,
            buffer,
            outbound,
            used: 0,
            message: Place::Assembled,
            assembled: Vec::new(),
            is_text: false,
            arriving: Arriving::default(),
            valid: 0,
            reserved: Reserved::none(Kind::Messages),
            pace: None,
            is_fragmented: false,
            refusal: None,
            to_skip: 0,
            expected: Expected::Message,
            part: None,
        }
    }

    /// Whether the last message was sent as text.
    pub fn is_text(&self) -> bool {
        self.is_text
    }

    /// `Ok(None)` when more bytes are needed, of which there must then be the given number.
    fn step(&mut self) -> Result<Option<Received>, Need> {
        if self.to_skip > 0 {
            return self.skip();
        }
        if self.part.is_some() {
            return self.carry_part();
        }
        let Some(frame) = self.next_header()? else {
            return Err(Need::Bytes(MAX_HEADER));
        };
        match frame.opcode {
            OpCode::Control(kind) => self.take_control(&frame, kind),
            OpCode::Data(_) => self.take_data(&frame),
        }
    }

    fn next_header(&self) -> Result<Option<Frame>, Need> {
        let mut cursor = Cursor::new(self.buffer.bytes());
        let parsed = FrameHeader::parse(&mut cursor)
            .map_err(|error| Need::goodbye(&format!("broken websocket frame: {error}")))?;
        let Some((header, payload_len)) = parsed else {
            return Ok(None);
        };
        if payload_len > i64::MAX as u64 {
            return Err(Need::goodbye("the highest bit of a length is set"));
        }
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Need::goodbye("a reserved bit is set"));
        }
        match (self.role, header.mask) {
            (Role::Server, None) => return Err(Need::goodbye("a frame is not masked")),
            (Role::Client, Some(_)) => return Err(Need::goodbye("a server's frame is masked")),
            _ => {}
        }
        Ok(Some(Frame {
            header_len: cursor.position() as usize,
            payload_len,
            mask: header.mask,
            is_final: header.is_final,
            opcode: header.opcode,
        }))
    }

    fn take_control(&mut self, frame: &Frame, kind: Control) -> Result<Option<Received>, Need> {
        if frame.payload_len > MAX_CONTROL_PAYLOAD || !frame.is_final {
            return Err(Need::goodbye("a control frame is too long or cut"));
        }
        let (payload, _) = self.take_payload(frame)?;
        let payload = &self.buffer.bytes()[payload];
        match kind {
            Control::Ping => self.outbound.pong(payload),
            Control::Pong => {}
            Control::Close => {
                check_close(payload)?;
                self.outbound.say_goodbye(Goodbye::Normal);
                return Ok(Some(Received::Closed("the peer said goodbye".into())));
            }
            Control::Reserved(_) => return Err(Need::goodbye("a reserved opcode")),
        }
        Ok(None)
    }

    fn take_data(&mut self, frame: &Frame) -> Result<Option<Received>, Need> {
        match (frame.opcode, self.is_fragmented) {
            (OpCode::Data(kind @ (Data::Text | Data::Binary)), false) => {
                self.is_text = kind == Data::Text;
            }
            (OpCode::Data(Data::Continue), true) => {}
            (OpCode::Data(Data::Reserved(_)), _) => return Err(Need::goodbye("a reserved opcode")),
            _ => return Err(Need::goodbye("the frames of two messages are mixed")),
        }
        if !matches!(self.expected, Expected::Message) {
            if !matches!(frame.opcode, OpCode::Data(Data::Text)) {
                return self.begin_part(frame);
            }
            let expected = std::mem::replace(&mut self.expected, Expected::Message);
            if !matches!(expected, Expected::Unwanted(None)) {
                // Its header stays, to be met again.
                return Ok(Some(Received::Payload(Err(PayloadError::Missing))));
            }
        }
        if self.refusal.is_none()
            && let Err(why) = self.make_room(frame)
        {
            // For the id that is in its beginning.
            let head = frame.header_len + frame.payload_len.min(HEAD as u64) as usize;
            if self.assembled.is_empty() && self.buffer.bytes().len() < head {
                return Err(Need::Bytes(head));
            }
            self.refuse(why, Some(frame));
        }
        if self.refusal.is_some() {
            self.is_fragmented = !frame.is_final;
            self.buffer.consume(frame.header_len);
            self.to_skip = frame.payload_len;
            return self.skip();
        }
        let (payload, mut valid) = self.take_payload(frame)?;
        let is_whole = frame.is_final && !self.is_fragmented;
        self.is_fragmented = !frame.is_final;
        if is_whole {
            let text = &self.buffer.bytes()[payload.clone()];
            check_text(self.is_text, text, &mut valid, true)?;
            self.message = Place::Buffer(payload);
            return Ok(Some(Received::Message));
        }
        // There is room for it, but perhaps no memory.
        if self.assembled.try_reserve(payload.len()).is_ok() {
            self.assembled
                .extend_from_slice(&self.buffer.bytes()[payload]);
            let checked = check_text(
                self.is_text,
                &self.assembled,
                &mut self.valid,
                frame.is_final,
            );
            if checked.is_err() {
                self.drop_assembled();
            }
            checked?;
        } else {
            self.refuse(Refusal::Busy, None);
        }
        if !frame.is_final {
            return Ok(None);
        }
        self.message = Place::Assembled;
        Ok(Some(self.take_refusal().unwrap_or(Received::Message)))
    }

    /// Makes sure of memory for all of a frame before any of it is waited for, so that who comes
    /// first is served to the end.
    fn make_room(&mut self, frame: &Frame) -> Result<(), Refusal> {
        let so_far = self.assembled.len();
        if (so_far as u64).saturating_add(frame.payload_len) > most() as u64 {
            return Err(Refusal::TooLarge);
        }
        // It is small enough for that now.
        let len = frame.payload_len as usize;
        let is_whole = frame.is_final && !self.is_fragmented;
        let assembled = if is_whole { 0 } else { so_far + len };
        let has_room = self.buffer.reserve(frame.header_len + len)
            && self.reserved.set(assembled.saturating_sub(UNCOUNTED));
        has_room.then_some(()).ok_or(Refusal::Busy)
    }

    /// Throws away what has come of a message in several frames.
    fn drop_assembled(&mut self) {
        self.assembled = Vec::new();
        self.valid = 0;
        self.reserved.set(0);
    }

    fn begin_part(&mut self, frame: &Frame) -> Result<Option<Received>, Need> {
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
    fn carry_part(&mut self) -> Result<Option<Received>, Need> {
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

    /// Reads once: what is needed of a payload to its place, anything else to the buffer.
    fn fill(&mut self, need: Fill, timeout: Duration) -> io::Result<usize> {
        match (need, &mut self.expected, &mut self.part) {
            (Fill::Part, Expected::Payload(payload), Some(part)) => {
                let limit = usize::try_from(part.left).unwrap_or(usize::MAX);
                let from = payload.filled();
                let count = payload.fill(&mut self.source, limit, timeout)?;
                part.unmask(payload, from);
                part.left -= count as u64;
                self.buffer.note_heard();
                Ok(count)
            }
            (Fill::Buffer(wanted), ..) => self.buffer.fill(&mut self.source, wanted, timeout),
            (Fill::Part, ..) => self.buffer.fill(&mut self.source, 1, timeout),
        }
    }

    /// The unmasked payload's place, once all of it is here, and how many bytes of it are known to be
    /// UTF-8; used up by the next call. What has come until then is unmasked at once, while the
    /// processor has it.
    fn take_payload(&mut self, frame: &Frame) -> Result<(Range<usize>, usize), Need> {
        // A frame that is taken is at most MAX_MESSAGE long.
        let end = frame.header_len + frame.payload_len as usize;
        let is_text = self.is_text && matches!(frame.opcode, OpCode::Data(_));
        let is_alone = frame.is_final && !self.is_fragmented;
        let bytes = self.buffer.bytes_mut();
        let here = bytes.len().min(end);
        let payload = bytes.get_mut(frame.header_len..here).unwrap_or_default();
        if let Some(mask) = frame.mask {
            let from = self.arriving.unmasked;
            vector::mask(&mut payload[from..], mask_behind(mask, from));
            self.arriving.unmasked = payload.len();
        }
        if here < end {
            if is_alone {
                check_text(is_text, payload, &mut self.arriving.valid, false)?;
            }
            return Err(Need::Bytes(end));
        }
        self.used = end;
        let arrived = std::mem::take(&mut self.arriving);
        Ok((frame.header_len..end, arrived.valid))
    }

    /// Takes no more of the message that is arriving, of which `frame` comes next.
    fn refuse(&mut self, why: Refusal, frame: Option<&Frame>) {
        if self.refusal.is_some() {
            return;
        }
        let mut head = std::mem::take(&mut self.assembled);
        // A control frame that is arriving is none of the message's.
        let frame = frame.filter(|frame| matches!(frame.opcode, OpCode::Data(_)));
        let arriving = frame.map(|_| std::mem::take(&mut self.arriving));
        if let Some(frame) = frame.filter(|_| head.is_empty()) {
            let payload = self.buffer.bytes().get(frame.header_len..);
            let payload = payload.unwrap_or_default();
            let len = payload
                .len()
                .min(frame.payload_len.min(HEAD as u64) as usize);
            head.extend_from_slice(&payload[..len]);
            if let Some(mask) = frame.mask {
                let from = arriving.unwrap_or_default().unmasked.min(head.len());
                vector::mask(&mut head[from..], mask_behind(mask, from));
            }
        }
        head.truncate(HEAD);
        self.refusal = Some((why, id_in(&head)));
        self.drop_assembled();
        self.buffer.reserve(0);
    }

    fn take_refusal(&mut self) -> Option<Received> {
        let (why, id) = self.refusal.take()?;
        Some(Received::Refused(why, id))
    }

    fn skip(&mut self) -> Result<Option<Received>, Need> {
        let here = self.buffer.bytes().len() as u64;
        let skipped = here.min(self.to_skip);
        self.buffer.consume(skipped as usize);
        self.to_skip -= skipped;
        if self.to_skip > 0 {
            return Err(Need::Bytes(1));
        }
        if self.is_fragmented {
            return Ok(None);
        }
        Ok(self.take_refusal())
    }

    fn release_last(&mut self) {
        self.buffer.consume(std::mem::take(&mut self.used));
        if matches!(self.message, Place::Assembled) && !self.is_fragmented {
            self.drop_assembled();
        }
    }

    /// Whether a message that has more than the memory that is everybody's is on its way.
    fn is_held(&self) -> bool {
        let is_counted = self.buffer.is_counted() || self.reserved.bytes() > 0;
        is_counted && self.refusal.is_none() && self.part.is_none()
    }

    /// How long to wait for more of the message that is arriving.
    fn patience(&mut self, timeout: Duration) -> Duration {
        if !self.is_held() {
            self.pace = None;
            return timeout;
        }
        let here = self.arrived();
        let pace = self.pace.get_or_insert_with(|| Pace::new(here));
        timeout.min(pace.left())
    }

    fn arrived(&self) -> usize {
        self.buffer.bytes().len() + self.assembled.len()
    }

    /// Gives up a message that keeps others out and does not go on.
    fn drop_if_stalled(&mut self) {
        let here = self.arrived();
        let pace = self.pace.as_mut();
        if pace.is_some_and(|pace| pace.is_stalled(here)) {
            let frame = self.next_header().ok().flatten();
            self.refuse(Refusal::Stalled, frame.as_ref());
        }
    }
}

/// What was done with the payload of a frame that is not all here.
#[derive(Clone, Copy, Debug, Default)]
struct Arriving {
    /// Bytes at its start whose mask is off.
    unmasked: usize,
    /// Bytes at its start that are known to be UTF-8, if it is a text by itself.
    valid: usize,
}

/// Looks at what is new of a message behind the bytes that are `valid`: a character may be cut where
/// it ends, unless it is whole.
fn check_text(is_text: bool, text: &[u8], valid: &mut usize, is_whole: bool) -> Result<(), Need> {
    if !is_text {
        return Ok(());
    }
    match str::from_utf8(text.get(*valid..).unwrap_or_default()) {
        Ok(new) => *valid += new.len(),
        Err(error) if error.error_len().is_none() && !is_whole => *valid += error.valid_up_to(),
        Err(_) => return Err(Need::not_utf8()),
    }
    Ok(())
}

impl Part {
    /// Takes the mask off what has come of the payload from the byte `from` on, while the
    /// processor still has it.
    fn unmask(&self, payload: &mut Incoming, from: usize) {
        if let Some(mask) = self.mask {
            vector::mask(payload.since(from), mask_behind(mask, from - self.start));
        }
    }
}

/// Where the next bytes go.
#[derive(Clone, Copy)]
enum Fill {
    /// To the buffer, towards so many.
    Buffer(usize),
    /// To the payload.
    Part,
}

/// What keeps a step from ending.
enum Need {
    /// This many bytes in the buffer.
    Bytes(usize),
    /// More of a payload.
    Part,
    /// An end: the peer has broken RFC 6455, and in which words to tell.
    Goodbye(Goodbye, String),
}

impl Need {
    fn goodbye(why: &str) -> Self {
        Self::Goodbye(Goodbye::Protocol, why.to_owned())
    }

    fn not_utf8() -> Self {
        Self::Goodbye(Goodbye::NotText, "a text message is not UTF-8".to_owned())
    }
}

/// Whether a close frame may have this payload: nothing, or a code that may be sent and a reason.
fn check_close(payload: &[u8]) -> Result<(), Need> {
    let (code, reason) = match payload {
        [] => return Ok(()),
        [_] => return Err(Need::goodbye("a close frame has half a code")),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    if !CloseCode::from(code).is_allowed() {
        return Err(Need::goodbye(&format!("a close frame has the code {code}")));
    }
    match str::from_utf8(reason) {
        Ok(_) => Ok(()),
        Err(_) => Err(Need::goodbye("the reason in a close frame is not UTF-8")),
    }
}

impl<S: Source> Reader for WebSocketReader<S> {
    fn receive(&mut self, timeout: Duration) -> Received {
        let began = Instant::now();
        loop {
            self.release_last();
            let need = match self.step() {
                Ok(Some(received)) => return received,
                Ok(None) => continue,
                Err(Need::Bytes(wanted)) => Fill::Buffer(wanted),
                Err(Need::Part) => Fill::Part,
                Err(Need::Goodbye(goodbye, why)) => {
                    self.outbound.say_goodbye(goodbye);
                    return Received::Closed(why);
                }
            };
            // The answers to all that has arrived go out at once, and before any wait.
            self.outbound.flush();
            let patience = self.patience(timeout);
            let filled = self.fill(need, patience);
            self.drop_if_stalled();
            match filled {
                Ok(0) => return Received::Closed("the peer hung up".into()),
                Ok(_) => {
                    self.outbound.note_heard();
                    // A peer that trickles pings or parts must not put off every deadline.
                    if began.elapsed() >= timeout {
                        return Received::Idle;
                    }
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        self.buffer.shrink();
                        return Received::Idle;
                    }
                    io::ErrorKind::Interrupted => {}
                    // The frame stays unread in part: skip it when its header comes up again.
                    io::ErrorKind::OutOfMemory => {
                        let frame = self.next_header().ok().flatten();
                        self.refuse(Refusal::Busy, frame.as_ref());
                    }
                    _ => return Received::Closed(format!("reading failed: {error}")),
                },
            }
        }
    }

    fn message(&self) -> &[u8] {
        match &self.message {
            Place::Buffer(range) => &self.buffer.bytes()[range.clone()],
            Place::Assembled => &self.assembled,
        }
    }

    fn has_more(&self) -> bool {
        self.buffer.bytes().len() > self.used
    }

    fn expect(&mut self, payload: Payload) {
        self.expected = match payload {
            Payload::Take(len) => match Incoming::new(len) {
                Some(payload) => Expected::Payload(payload),
                None => Expected::Unwanted(Some(PayloadError::Memory)),
            },
            Payload::Skip(0) => Expected::Message,
            Payload::Skip(_) => Expected::Unwanted(None),
        };
    }

    fn shrink(&mut self) {
        self.release_last();
        self.buffer.shrink();
    }

    fn last_heard(&self) -> Instant {
        self.buffer.last_heard()
    }
}
