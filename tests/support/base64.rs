//! The encoding of every byte of input and output on this wire.

/// Encodes with the standard alphabet and padding.
pub fn encode(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

/// Decodes, and fails the test if the text is not canonical: the server's output always is.
pub fn decode(text: &str) -> Vec<u8> {
    base64_simd::STANDARD
        .decode_to_vec(text)
        .unwrap_or_else(|error| panic!("not base64 ({error}): {:.100}", text))
}
