//! The bwraps that there are: the machine's own on PATH, and the one that came with this program.
//!
//! One of the machine's own is taken only if nobody but root could have put it there. The one that came with this program is
//! inside it, or in a file beside it. Either is copied into memory, sealed there, and only then held against the digest that
//! was known when this program was built: what is run is what was verified, whoever writes to the file meanwhile.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::hex::hex;
use crate::sandbox::bundled::BUNDLED_BWRAP;
use crate::sys::memfd::{self, Use};
use crate::sys::retry;

/// A file as it was when it was looked at. Another one, or a newer one, is another identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    path: PathBuf,
    device: u64,
    inode: u64,
    changed: (i64, i64),
    modified: (i64, i64),
}

/// A program named bwrap.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// Canonical, or as it is on PATH where it has no canonical form.
    pub(crate) path: PathBuf,
    /// Held open, so that what is looked at is what is run. The error says why it may not be used.
    pub(crate) file: Result<(Identity, File), String>,
}

/// Every bwrap on a search path, in its order and each once.
pub(crate) fn on_path(search: &OsStr) -> Vec<Candidate> {
    let mut seen = HashSet::new();
    std::env::split_paths(search)
        .filter_map(|directory| candidate(&directory))
        .filter(|candidate| seen.insert(candidate.path.clone()))
        .collect()
}

fn candidate(directory: &Path) -> Option<Candidate> {
    let named = directory.join("bwrap");
    if !directory.is_absolute() {
        return named.exists().then(|| Candidate {
            file: Err("its directory on PATH is relative".to_owned()),
            path: named,
        });
    }
    match named.canonicalize() {
        Ok(path) => Some(Candidate {
            file: open_candidate(&path),
            path,
        }),
        Err(error) if is_missing(&error) => None,
        Err(error) => Some(Candidate {
            file: Err(error.to_string()),
            path: named,
        }),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn open_candidate(path: &Path) -> Result<(Identity, File), String> {
    if let Some(objection) = objection(path) {
        return Err(objection);
    }
    let file = File::open(path).map_err(|error| format!("it cannot be opened: {error}"))?;
    let found = file
        .metadata()
        .map_err(|error| format!("it cannot be looked at: {error}"))?;
    if !found.is_file() || found.permissions().mode() & 0o111 == 0 {
        return Err("it is no program".to_owned());
    }
    let identity = Identity {
        path: path.to_owned(),
        device: found.dev(),
        inode: found.ino(),
        changed: (found.ctime(), found.ctime_nsec()),
        modified: (found.mtime(), found.mtime_nsec()),
    };
    Ok((identity, file))
}

const OTHERS_WRITE: u32 = 0o022;

/// Why a program at a canonical path is not to be trusted; `None` if it is. Root must own it and every directory
/// above it, and nobody else may write to any of them.
pub(crate) fn objection(path: &Path) -> Option<String> {
    path.ancestors().find_map(|part| {
        let found = match fs::symlink_metadata(part) {
            Ok(found) => found,
            Err(error) => return Some(format!("{}: {error}", part.display())),
        };
        let fault = fault(&found)?;
        Some(format!("{} {fault}", part.display()))
    })
}

fn fault(found: &Metadata) -> Option<String> {
    if found.uid() != 0 {
        return Some(format!("belongs to user {}, not to root", found.uid()));
    }
    (found.mode() & OTHERS_WRITE != 0).then(|| {
        format!(
            "can be written to by others than root (mode {:o})",
            found.mode() & 0o7777
        )
    })
}

/// Why a program at a canonical path may not be used by a start in `cwd` that can write to `roots`.
pub(crate) fn is_in_reach<'a>(
    path: &Path,
    cwd: Option<&Path>,
    roots: impl IntoIterator<Item = &'a Path>,
) -> Option<String> {
    // The root directory says nothing about where a program comes from.
    let cwd = cwd.filter(|cwd| *cwd != Path::new("/"));
    if let Some(cwd) = cwd.filter(|cwd| path.starts_with(cwd)) {
        return Some(format!("is below the working directory {}", cwd.display()));
    }
    let root = roots.into_iter().find(|root| path.starts_with(root))?;
    Some(format!(
        "is below {}, which the policy lets programs write to",
        root.display()
    ))
}

/// No bwrap is as large, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Where the file is looked for, from the directory of this program.
const BESIDE: &str = "exec-server-resources/bwrap";

/// A bwrap in memory that is known to be the right one.
#[derive(Debug)]
pub(crate) struct Bundled {
    pub(crate) program: OwnedFd,
    /// Whether it was held against a digest. Not where none was known when this program was built.
    pub(crate) is_verified: bool,
}

/// Takes the file if one was named, otherwise the embedded one, otherwise the file beside this program. The error says
/// what is wrong with it.
pub(crate) fn open_bundled(named: Option<&Path>) -> Result<Bundled, String> {
    let known = known_digest(BUNDLED_BWRAP.map(|bundled| bundled.sha256));
    match (named, BUNDLED_BWRAP) {
        (Some(path), _) => from_file(path, known),
        (None, Some(bundled)) => verified(&bundled.elf()?, known),
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
    let bytes = read_program(path).map_err(|error| format!("cannot read_program it: {error}"))?;
    verified(&bytes, known)
}

fn read_program(path: &Path) -> io::Result<Vec<u8>> {
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
        let found = digest(&program)
            .map_err(|error| format!("it cannot be read_program again: {error}"))?;
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
        match retry(|| file.read(&mut buffer))? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    Ok(hex(&hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::scratch::Scratch;

    #[test]
    fn what_is_not_there_is_no_candidate() {
        assert!(on_path(OsStr::new("/nowhere:/etc/passwd::")).is_empty());
    }

    #[test]
    fn one_in_a_directory_of_others_is_rejected_with_the_reason_and_listed_once() {
        let scratch = Scratch::new("candidates");
        std::fs::write(scratch.path().join("bwrap"), "").unwrap();
        let directory = scratch.path().display();
        let found = on_path(OsStr::new(&format!("{directory}:{directory}/")));
        let [candidate] = &found[..] else {
            panic!("{found:?}");
        };
        assert!(
            candidate
                .file
                .as_ref()
                .is_err_and(|why| why.contains("/var/tmp"))
        );
    }

    #[test]
    fn what_only_root_can_change_is_trusted() {
        // The shell of any system, at its canonical path.
        let shell = Path::new("/bin/sh").canonicalize().unwrap();
        assert_eq!(objection(&shell), None);
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_an_objection() {
        let scratch = Scratch::new("trust");
        let program = scratch.path().join("bwrap");
        fs::write(&program, "").unwrap();
        // The directory of the test lies below /var/tmp, which everybody may write to.
        assert!(objection(&program).is_some_and(|why| why.contains("/var/tmp")));
        fs::set_permissions(&program, fs::Permissions::from_mode(0o777)).unwrap();
        let found = fs::metadata(&program).unwrap();
        assert!(fault(&found).is_some());
    }

    #[test]
    fn a_missing_program_is_an_objection() {
        assert!(objection(Path::new("/nowhere/bwrap")).is_some());
    }

    #[test]
    fn a_program_in_reach_of_what_it_confines_is_not_used() {
        let bwrap = Path::new("/opt/x/bwrap");
        let none: [&Path; 0] = [];
        assert_eq!(is_in_reach(bwrap, Some(Path::new("/")), none), None);
        assert_eq!(is_in_reach(bwrap, Some(Path::new("/opt/xy")), none), None);
        assert!(is_in_reach(bwrap, Some(Path::new("/opt")), none).is_some());
        assert!(is_in_reach(bwrap, None, [Path::new("/opt/x")]).is_some());
        assert!(is_in_reach(bwrap, None, [Path::new("/")]).is_some());
    }

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
