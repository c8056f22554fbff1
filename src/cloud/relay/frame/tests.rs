use super::*;

fn frame<'a>(stream: &'a str, body: Body<'a>) -> Frame<'a> {
    Frame { stream, body }
}

fn encoded(frame: &Frame<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    frame.encode(&mut out);
    out
}

fn examples() -> Vec<Frame<'static>> {
    let data = |seq, index, count, payload| {
        Body::Data(Data {
            seq,
            index,
            count,
            payload,
        })
    };
    vec![
        frame("s", data(0, 0, 1, b"{}")),
        frame("s", data(u32::MAX, 6, 7, &[0x80; 300])),
        frame("0b7e0c8e-5a3c-4d1e-9f7a-2f6f3f1c9a10", Body::Ack),
        frame("s", Body::Resume(0)),
        frame("s", Body::Resume(70_000)),
        frame("s", Body::Reset("over")),
        frame("s", Body::Heartbeat),
        frame("s", Body::Handshake),
    ]
}

#[test]
fn what_is_written_is_read() {
    for frame in examples() {
        assert_eq!(Frame::decode(&encoded(&frame)).as_ref(), Ok(&frame));
    }
}

#[test]
fn the_bytes_are_those_of_the_format() {
    let data = Data {
        seq: 300,
        index: 0,
        count: 1,
        payload: b"hi",
    };
    let expected = b"\x08\x01\x12\x02ab\x2a\x09\x08\xac\x02\x18\x01\x22\x02hi";
    assert_eq!(encoded(&frame("ab", Body::Data(data))), expected);
    let reset = encoded(&frame("a", Body::Reset("no")));
    assert_eq!(reset, b"\x08\x01\x12\x01a\x42\x04\x0a\x02no");
}

#[test]
fn fields_may_come_in_any_order_twice_and_beside_unknown_ones() {
    let unknown = b"\x4a\x00\x78\x05\x79********\x7d****\x22\x00";
    // A heartbeat, then fields 15 of several types; 4 must not be bytes, so it is left out.
    let mut bytes = unknown[..unknown.len() - 2].to_vec();
    bytes.extend_from_slice(b"\x12\x01x\x12\x01y\x08\x02\x08\x01\x18\x07\x20\x01\x32\x00");
    let decoded = Frame::decode(&bytes).unwrap();
    assert_eq!(decoded, frame("y", Body::Ack));
}

#[test]
fn each_fault_is_named() {
    let with = |tail: &[u8]| [b"\x08\x01\x12\x01s", tail].concat();
    let long = "x".repeat(MAX_STREAM_ID + 1);
    for (bytes, fault) in [
        (vec![], FrameError::Version),
        (b"\x08\x02\x12\x01s\x32\x00".to_vec(), FrameError::Version),
        (b"\x12\x01s\x32\x00".to_vec(), FrameError::Version),
        (with(b""), FrameError::NoBody),
        (with(b"\x32"), FrameError::Torn),
        (with(b"\x32\x05abc"), FrameError::Torn),
        (
            with(b"\x32\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
            FrameError::Torn,
        ),
        (
            with(b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
            FrameError::Torn,
        ),
        (with(b"\x33\x00"), FrameError::WireType),
        (with(b"\x30\x00"), FrameError::WireType),
        (with(b"\x1a\x00"), FrameError::WireType),
        (b"\x08\x01\x32\x00".to_vec(), FrameError::Stream),
        (b"\x08\x01\x12\x02 s\x32\x00".to_vec(), FrameError::Stream),
        (b"\x08\x01\x12\x01\xff\x32\x00".to_vec(), FrameError::Stream),
        (encoded(&frame(&long, Body::Ack)), FrameError::Stream),
        (with(b"\x2a\x00"), FrameError::Data),
        (with(b"\x2a\x05\x18\x01\x22\x01"), FrameError::Torn),
        (with(b"\x2a\x03\x22\x01x"), FrameError::Data),
        (with(b"\x2a\x07\x10\x01\x18\x01\x22\x01x"), FrameError::Data),
        (with(b"\x42\x00"), FrameError::Reason),
        (with(b"\x42\x03\x0a\x01\xff"), FrameError::Reason),
    ] {
        assert_eq!(Frame::decode(&bytes), Err(fault), "{bytes:x?}");
    }
    assert_eq!(
        Frame::decode(&encoded(&frame("s", Body::Reset(&"r".repeat(257))))),
        Err(FrameError::Reason)
    );
}

/// Whatever comes, reading ends, and what is taken for a frame is one: written again, it reads the
/// same.
#[test]
fn arbitrary_bytes_are_refused_or_make_sense() {
    let mut chance = Chance::new(1);
    let examples = examples();
    let (mut taken, mut refused) = (0, 0);
    for round in 0..200_000_u32 {
        let mut bytes = if round % 4 == 0 {
            let length = chance.below(40);
            (0..length).map(|_| chance.below(256) as u8).collect()
        } else {
            encoded(&examples[chance.below(examples.len())])
        };
        for _ in 0..chance.below(4) {
            if bytes.is_empty() {
                break;
            }
            let at = chance.below(bytes.len());
            match chance.below(3) {
                0 => bytes[at] = chance.below(256) as u8,
                1 => bytes.truncate(at),
                _ => bytes.insert(at, chance.below(256) as u8),
            }
        }
        match Frame::decode(&bytes) {
            Ok(frame) => {
                assert_eq!(Frame::decode(&encoded(&frame)).as_ref(), Ok(&frame));
                taken += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(taken > 10_000 && refused > 10_000, "{taken} {refused}");
}

/// A small generator (splitmix64); the same seed gives the same numbers.
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 on, less than `limit`, which is not 0.
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % limit as u64) as usize
    }
}
