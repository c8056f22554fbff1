//! The bwrap that came with this program: inside it, or in a file beside it.
//!
//! Either is copied into memory, sealed there, and only then held against the digest that was known when this program was
//! built: what is run is what was verified, whoever writes to the file meanwhile.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::hex::hex;
use crate::sandbox::bundled::BUNDLED_BWRAP;
use crate::sys::memfd::{self, Use};

/// No bwrap is as large, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Where the file is looked for, from the directory of this program.
const BESIDE: &str = "exec-server-resources/bwrap";

/// A bwrap in memory that is known to be the right one.
#[derive(Debug)]
pub(super) struct Bundled {
    pub(super) program: OwnedFd,
    /// Whether it was held against a digest. Not where none was known when this program was built.
    pub(super) is_verified: bool,
}

/// Takes the file if one was named, otherwise the embedded one, otherwise the file beside this program. The error says
/// what is wrong with it.
pub(super) fn open(named: Option<&Path>) -> Result<Bundled, String> {
    let known = known_digest(BUNDLED_BWRAP.map(|bundled| bundled.sha256));
    match (named, BUNDLED_BWRAP) {
        (Some(path), _) => from_file(path, known),
        (None, Some(bundled)) => verified(bundled.elf, known),
        (None, None) => from_file(&beside(), known),
    }
}

fn beside() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program.with_file_name(BESIDE)
}

/// The digest to insist on; none for the values that development builds have.
fn known_digest(built: Option<&'static str>) -> Option<&'static str> {
    built.filter(|digest| digest.bytes().any(|byte| byte != b'0'))
}

fn from_file(path: &Path, known: Option<&str>) -> Result<Bundled, String> {
    let bytes = read(path).map_err(|error| format!("cannot read it: {error}"))?;
    verified(&bytes, known)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    let count = file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if count as u64 > LARGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

fn verified(bytes: &[u8], known: Option<&str>) -> Result<Bundled, String> {
    let program = memfd::sealed(c"bwrap", bytes, Use::Program)
        .map_err(|error| format!("it cannot be put into memory to be run: {error}"))?;
    if let Some(known) = known {
        let found =
            digest(&program).map_err(|error| format!("it cannot be read again: {error}"))?;
        if found != known {
            return Err(format!(
                "digest mismatch: its SHA-256 is {found}, expected {known}"
            ));
        }
    }
    Ok(Bundled {
        program,
        is_verified: known.is_some(),
    })
}

fn digest(program: &OwnedFd) -> io::Result<String> {
    let mut file = File::from(program.try_clone()?);
    file.rewind()?;
    let mut hash = Sha256::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    Ok(hex(&hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of `abc`, from FIPS 180-2.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn the_right_bytes_are_taken() {
        let found = verified(b"abc", Some(ABC)).unwrap();
        assert!(found.is_verified);
    }

    #[test]
    fn one_other_byte_is_refused() {
        let why = verified(b"abd", Some(ABC)).unwrap_err();
        assert!(why.starts_with("digest mismatch"), "{why}");
    }

    #[test]
    fn a_digest_of_zeros_is_none() {
        assert_eq!(known_digest(Some("0000")), None);
        assert_eq!(known_digest(None), None);
        assert_eq!(known_digest(Some(ABC)), Some(ABC));
        assert!(!verified(b"abd", None).unwrap().is_verified);
    }

    #[test]
    fn what_is_no_file_is_refused() {
        assert!(from_file(Path::new("/dev/null"), None).is_err());
        assert!(from_file(Path::new("/nowhere/bwrap"), None).is_err());
    }
}
