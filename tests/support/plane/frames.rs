//! Relay frames, written down a second time so that the test does not repeat a fault of the program's own.

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    /// A segment: number, index, count, bytes.
    Data(u32, u32, u32, Vec<u8>),
    Ack,
    Resume(u32),
    Reset(String),
    Heartbeat,
    Handshake,
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        out.push(if number == 0 { low } else { low | 0x80 });
        if number == 0 {
            return;
        }
    }
}

fn number(out: &mut Vec<u8>, field: u64, value: u32) {
    varint(out, field << 3);
    varint(out, value.into());
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// The bytes of a frame.
pub fn encode(stream: &str, ack: u32, says: &Says) -> Vec<u8> {
    let mut out = Vec::new();
    number(&mut out, 1, 1);
    bytes(&mut out, 2, stream.as_bytes());
    number(&mut out, 3, ack);
    number(&mut out, 4, 0);
    let mut inner = Vec::new();
    let field = match says {
        Says::Data(seq, index, count, payload) => {
            number(&mut inner, 1, *seq);
            number(&mut inner, 2, *index);
            number(&mut inner, 3, *count);
            bytes(&mut inner, 4, payload);
            5
        }
        Says::Ack => 6,
        Says::Resume(next) => {
            number(&mut inner, 1, *next);
            7
        }
        Says::Reset(reason) => {
            bytes(&mut inner, 1, reason.as_bytes());
            8
        }
        Says::Heartbeat => 9,
        Says::Handshake => {
            bytes(&mut inner, 1, b"noise");
            10
        }
    };
    bytes(&mut out, field, &inner);
    out
}

/// A frame of the program's: stream, acknowledgement and what it says.
pub fn decode(frame: &[u8]) -> (String, u32, Says) {
    let mut stream = String::new();
    let mut ack = 0;
    let mut says = None;
    let mut version = 0;
    for (field, value) in fields(frame) {
        match (field, value) {
            (1, Field::Number(number)) => version = number,
            (2, Field::Bytes(bytes)) => stream = String::from_utf8(bytes).unwrap(),
            (3, Field::Number(number)) => ack = number,
            (5, Field::Bytes(inner)) => {
                let (mut numbers, mut payload) = ([0; 4], Vec::new());
                for (field, value) in fields(&inner) {
                    match value {
                        Field::Number(number) => numbers[field as usize] = number,
                        Field::Bytes(bytes) => payload = bytes,
                    }
                }
                says = Some(Says::Data(numbers[1], numbers[2], numbers[3], payload));
            }
            (6, _) => says = Some(Says::Ack),
            (7, Field::Bytes(inner)) => {
                let next = fields(&inner).into_iter().next();
                let Some((1, Field::Number(next))) = next else {
                    panic!("resume without a number");
                };
                says = Some(Says::Resume(next));
            }
            (8, Field::Bytes(inner)) => {
                let reason = fields(&inner).into_iter().next();
                let Some((1, Field::Bytes(reason))) = reason else {
                    panic!("reset without a reason");
                };
                says = Some(Says::Reset(String::from_utf8(reason).unwrap()));
            }
            (9, _) => says = Some(Says::Heartbeat),
            other => panic!("unexpected field {}", other.0),
        }
    }
    assert_eq!(version, 1, "the version of a frame");
    (stream, ack, says.expect("a frame with a body"))
}

enum Field {
    Number(u32),
    Bytes(Vec<u8>),
}

fn fields(mut bytes: &[u8]) -> Vec<(u64, Field)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = take_varint(&mut bytes);
        let value = take_varint(&mut bytes);
        fields.push((
            key >> 3,
            match key & 7 {
                0 => Field::Number(u32::try_from(value).unwrap()),
                2 => {
                    let (taken, rest) = bytes.split_at(value as usize);
                    bytes = rest;
                    Field::Bytes(taken.to_vec())
                }
                other => panic!("wire type {other}"),
            },
        ));
    }
    fields
}

fn take_varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}
