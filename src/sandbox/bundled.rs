//! The bwrap inside: bubblewrap as a static program of its own, built from the source that `vendor/bubblewrap/pin` names.

use miniz_oxide::inflate::decompress_to_vec_with_limit;

/// A complete bubblewrap program and what is known about it.
#[derive(Clone, Copy)]
pub struct BundledBwrap {
    /// Upstream's version.
    pub version: &'static str,
    /// SHA-256 of the ELF file, in lower-case hexadecimal, taken when it was built.
    pub sha256: &'static str,
    /// Bytes of the ELF file.
    pub size: usize,
    /// The ELF file, static, stripped, for the same architecture as this program, as raw deflate.
    packed: &'static [u8],
}

impl BundledBwrap {
    /// The bytes of the ELF file. Whoever runs them holds them against the digest.
    ///
    /// # Errors
    /// What was packed is damaged.
    pub fn elf(&self) -> Result<Vec<u8>, String> {
        decompress_to_vec_with_limit(self.packed, self.size)
            .map_err(|error| format!("it cannot be unpacked: {error}"))
    }
}

include!(concat!(env!("OUT_DIR"), "/bundled_bwrap.rs"));
