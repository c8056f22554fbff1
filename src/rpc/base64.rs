//! Base64 as this wire has it: the standard alphabet, padded, canonical, without blanks.

use std::fmt;

use base64_simd::STANDARD;

use crate::blocks;

/// Appends the base64 of `data`.
pub fn encode_into(data: &[u8], out: &mut Vec<u8>) {
    STANDARD.encode_append(data, out);
}

/// The base64 of `data`.
pub fn encode(data: &[u8]) -> String {
    STANDARD.encode_to_string(data)
}

/// How many characters `len` bytes become.
pub const fn encoded_len(len: usize) -> usize {
    len.div_ceil(3) * 4
}

/// How many bytes so many characters become, at most.
pub const fn decoded_len(len: usize) -> usize {
    len.div_ceil(4) * 3
}

/// Decodes `text`, or says what is wrong with it. Who is done with much of it may [`give it
/// back`](blocks::give_back).
pub fn decode(text: &str) -> Result<Vec<u8>, DecodeError> {
    let room = decoded_len(text.len());
    let mut data = blocks::try_empty(room).ok_or(DecodeError::Memory)?;
    STANDARD
        .decode_append(text, &mut data)
        .map_err(|_| DecodeError::explain(text.as_bytes()))?;
    Ok(data)
}

/// What is wrong with a text that is not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// A byte outside the alphabet.
    Symbol {
        /// The byte.
        byte: u8,
        /// Where it stands.
        offset: usize,
    },
    /// The last symbol carries bits that no byte takes up.
    LastSymbol {
        /// The symbol.
        byte: u8,
        /// Where it stands.
        offset: usize,
    },
    /// Padding that is missing, surplus or misplaced.
    Padding,
    /// Nothing, but there is no memory for the bytes.
    Memory,
}

impl DecodeError {
    /// Looks for the first fault. Only called for a text that did not decode.
    fn explain(text: &[u8]) -> Self {
        let body_len = text
            .iter()
            .rposition(|byte| *byte != b'=')
            .map_or(0, |last| last + 1);
        let (body, padding) = text.split_at(body_len);
        let is_symbol = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        if let Some(offset) = body.iter().position(|byte| !is_symbol(byte)) {
            let byte = body[offset];
            return Self::Symbol { byte, offset };
        }
        let wanted = match body.len() % 4 {
            0 => 0,
            2 => 2,
            3 => 1,
            _ => return Self::Padding,
        };
        match body.last() {
            Some(byte) if padding.len() == wanted => Self::LastSymbol {
                byte: *byte,
                offset: body.len() - 1,
            },
            _ => Self::Padding,
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Symbol { byte, offset } => write!(f, "Invalid symbol {byte}, offset {offset}."),
            Self::LastSymbol { byte, offset } => {
                write!(f, "Invalid last symbol {byte}, offset {offset}.")
            }
            Self::Padding => f.write_str("Invalid padding"),
            Self::Memory => f.write_str("no memory for so many bytes now; try again later"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_decodes() {
        for len in 0..70 {
            let data: Vec<u8> = (0..len).map(|n| (n * 37) as u8).collect();
            let mut text = Vec::new();
            encode_into(&data, &mut text);
            assert_eq!(text.len(), encoded_len(data.len()));
            assert_eq!(decode(std::str::from_utf8(&text).unwrap()), Ok(data));
        }
    }

    #[test]
    fn each_fault_is_named() {
        let table = [
            ("a", "Invalid padding"),
            ("aGkK=", "Invalid padding"),
            ("aGk", "Invalid padding"),
            ("====", "Invalid padding"),
            ("aGkK\naGkK", "Invalid symbol 10, offset 4."),
            ("aG=K", "Invalid symbol 61, offset 2."),
            ("a_==", "Invalid symbol 95, offset 1."),
            ("aGl=", "Invalid last symbol 108, offset 2."),
        ];
        for (text, message) in table {
            let error = decode(text).expect_err(text);
            assert_eq!(error.to_string(), message, "{text:?}");
        }
    }
}
