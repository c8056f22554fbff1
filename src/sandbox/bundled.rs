//! The bwrap inside: bubblewrap as a static program of its own, built from the source that `vendor/bubblewrap/pin` names.

/// A complete bubblewrap program and what is known about it.
#[derive(Clone, Copy)]
pub struct BundledBwrap {
    /// Upstream's version.
    pub version: &'static str,
    /// SHA-256 of `elf`, in lower-case hexadecimal, taken when it was built.
    pub sha256: &'static str,
    /// The bytes of the ELF file: static, stripped, for the same architecture as this program.
    pub elf: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/bundled_bwrap.rs"));
