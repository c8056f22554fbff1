//! Landlock domains: all of the confinement where there are no namespaces, and a second wall where there are.
//!
//! A domain restricts what it handles, and allows of that what its rules name. It restricts besides, whatever it handles,
//! the tracing of processes outside: their memory cannot be read or written.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::policy::Network;
use crate::sys::file::{self, FileType};
use crate::sys::landlock::{Handled, Rules};

// LANDLOCK_ACCESS_FS_*, by the ABI that brought them.
const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
/// Removing and making directories, files, links, sockets, pipes and devices.
const CHANGE_DIRECTORY: u64 = 0x1ff0;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;

/// LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET and LANDLOCK_SCOPE_SIGNAL, of ABI 6.
const SCOPES: u64 = 0b11;
/// LANDLOCK_ACCESS_NET_BIND_TCP and CONNECT_TCP, of ABI 4.
const TCP: u64 = 0b11;

const CHANGE: u64 = WRITE_FILE | CHANGE_DIRECTORY | REFER | TRUNCATE | IOCTL_DEV;
/// What a rule about a file, not a directory, may allow.
const OF_FILES: u64 = EXECUTE | READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV;

/// To read and run.
pub(crate) const READ: u64 = EXECUTE | READ_FILE | READ_DIR;
/// To read, run and change.
pub(crate) const WRITE: u64 = READ | CHANGE;
/// To use a device.
pub(crate) const DEVICE: u64 = READ_FILE | WRITE_FILE | IOCTL_DEV;
/// To read, and not to run.
pub(crate) const LOOK: u64 = READ_FILE | READ_DIR;

/// A domain in the words of paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// What it is about.
    pub handled: Handled,
    /// What is allowed where: there, and below if it is a directory.
    pub allowed: Vec<(CString, u64)>,
}

impl Domain {
    /// One that allows nothing to be done with files.
    pub(crate) fn of_files(abi: u32, network: Network) -> Self {
        Self {
            handled: Handled {
                files: known_files(abi),
                ..outside(abi, network)
            },
            allowed: Vec::new(),
        }
    }

    /// The second wall around a program that sees only what it may: nothing can be changed but below `writable`. A mount
    /// that is read-only does not keep a program from writing to a named pipe or a device in it.
    pub(crate) fn of_changes<'a>(
        abi: u32,
        network: Network,
        writable: impl Iterator<Item = &'a Path>,
    ) -> Self {
        let handled = Handled {
            files: CHANGE & known_files(abi),
            ..outside(abi, network)
        };
        let mut domain = Self {
            handled,
            allowed: Vec::new(),
        };
        let own = ["/dev", "/proc"].map(Path::new);
        for path in writable.chain(own) {
            domain.allow(path, CHANGE);
        }
        domain
    }

    /// The second wall around a program whose files are free: it cannot reach into processes outside, nor signal them.
    /// None where the kernel has no domain that restricts no file.
    pub(crate) fn of_processes(abi: u32, network: Network) -> Option<Self> {
        let handled = outside(abi, network);
        if handled != Handled::default() {
            return Some(Self {
                handled,
                allowed: Vec::new(),
            });
        }
        // What has no rule of this kind is moved between directories by nobody in a domain.
        let mut domain = Self {
            handled: Handled {
                files: REFER & known_files(abi),
                ..Handled::default()
            },
            allowed: Vec::new(),
        };
        domain.allow(Path::new("/"), REFER);
        (domain.handled.files != 0).then_some(domain)
    }

    /// Allows what is handled of `access` at a path.
    pub(crate) fn allow(&mut self, path: &Path, access: u64) {
        let access = access & self.handled.files;
        // A path with a NUL byte leads nowhere.
        if let Ok(path) = CString::new(path.as_os_str().as_bytes())
            && access != 0
        {
            self.allowed.push((path, access));
        }
    }

    /// The same for the kernel, as the paths lead now. What is missing cannot be allowed, and need not be.
    pub fn rules(&self) -> io::Result<OwnedFd> {
        let rules = Rules::new(&self.handled)?;
        for (path, access) in &self.allowed {
            let Some(place) = locate(path)? else {
                continue;
            };
            let access = match file::status_of(place.as_fd())?.kind {
                FileType::Directory => *access,
                _ => access & OF_FILES,
            };
            if access != 0 {
                rules.allow(place.as_fd(), access)?;
            }
        }
        Ok(rules.into_fd())
    }
}

/// What is at a path with no link on the way; none if nothing is.
pub(crate) fn locate(path: &CStr) -> io::Result<Option<OwnedFd>> {
    let path = Path::new(OsStr::from_bytes(path.to_bytes()));
    match file::locate_anything_without_links(path) {
        Ok(place) => Ok(Some(place)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What has nothing to do with files.
fn outside(abi: u32, network: Network) -> Handled {
    Handled {
        files: 0,
        network: match network {
            Network::Restricted if abi >= 4 => TCP,
            _ => 0,
        },
        scopes: if abi >= 6 { SCOPES } else { 0 },
    }
}

/// The accesses to files that a kernel knows.
fn known_files(abi: u32) -> u64 {
    let bits = match abi {
        0 | 1 => 13,
        2 => 14,
        3 | 4 => 15,
        _ => 16,
    };
    (1 << bits) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_asked_only_for_what_it_knows() {
        assert_eq!(known_files(1), (1 << 13) - 1);
        assert_eq!(known_files(2) & REFER, REFER);
        assert_eq!(known_files(2) & TRUNCATE, 0);
        assert_eq!(known_files(4), (1 << 15) - 1);
        assert_eq!(known_files(99) & IOCTL_DEV, IOCTL_DEV);
        assert_eq!(WRITE & !known_files(99), 0);
    }

    #[test]
    fn free_files_stay_free_in_a_domain() {
        for abi in 2..10 {
            let domain = Domain::of_processes(abi, Network::Restricted).unwrap();
            assert!(
                domain.handled.files == 0 || domain.allowed == [(c"/".to_owned(), REFER)],
                "{abi}"
            );
        }
        assert_eq!(Domain::of_processes(1, Network::Restricted), None);
    }
}
