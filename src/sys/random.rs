//! Random bytes from the kernel.

use std::io;

use super::{counted, retry};

/// Fills `buffer` from the kernel's generator. Works where there is no `/dev`.
pub fn fill(buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        let rest = &mut buffer[filled..];
        let (into, room) = (rest.as_mut_ptr().cast(), rest.len());
        // SAFETY: the pointer and the length describe one writable slice.
        filled += retry(|| counted(unsafe { libc::getrandom(into, room, 0) }))?;
    }
    Ok(())
}

/// The bytes of a random UUID, version 4.
pub fn uuid() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    fill(&mut bytes)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Ok(bytes)
}
