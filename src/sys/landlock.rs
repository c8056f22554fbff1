//! Landlock: rules that a process puts on itself, without privileges and for good.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::null;

use super::check;
use super::spawn::errno;

/// `LANDLOCK_CREATE_RULESET_VERSION`
const VERSION: libc::c_uint = 1;
/// `LANDLOCK_RULE_PATH_BENEATH`
const PATH_BENEATH: libc::c_int = 1;

/// What rules are about. What is not handled is not restricted.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handled {
    /// `LANDLOCK_ACCESS_FS_*`
    pub files: u64,
    /// `LANDLOCK_ACCESS_NET_*`, from ABI 4 on.
    pub network: u64,
    /// `LANDLOCK_SCOPE_*`, from ABI 6 on.
    pub scopes: u64,
}

/// The kernel's form of a rule, which has no padding.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: libc::c_int,
}

/// The version of Landlock that this kernel offers: 1 of Linux 5.13, 7 of 6.15. `None` without it
/// or where it is switched off.
pub fn abi() -> Option<u32> {
    // SAFETY: with this flag no structure is read.
    let abi = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            null::<Handled>(),
            0,
            VERSION,
        )
    };
    u32::try_from(abi).ok().filter(|abi| *abi > 0)
}

/// Rules that are being collected.
#[derive(Debug)]
pub struct Rules(OwnedFd);

impl Rules {
    /// No rules yet, so all that is handled is denied.
    pub fn new(handled: &Handled) -> io::Result<Self> {
        // SAFETY: the kernel reads one structure of the size that is passed; one that knows less
        // insists on zeros in the rest.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_landlock_create_ruleset,
                std::ptr::from_ref(handled),
                size_of::<Handled>(),
                0,
            )
        };
        let fd = check(fd as libc::c_int)?;
        // SAFETY: the descriptor is fresh, close-on-exec by definition, and owned by nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Allows `access` to `place`, and below it if it is a directory.
    pub fn allow(&self, place: BorrowedFd<'_>, access: u64) -> io::Result<()> {
        let rule = PathBeneath {
            allowed: access,
            parent: place.as_raw_fd(),
        };
        // SAFETY: the kernel reads one rule.
        let result = unsafe {
            libc::syscall(
                libc::SYS_landlock_add_rule,
                self.0.as_raw_fd(),
                PATH_BENEATH,
                &raw const rule,
                0,
            )
        };
        check(result as libc::c_int).map(drop)
    }

    /// The rules, to be entered by a child.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }
}

/// Puts the calling process under rules. Async-signal-safe; the errno on failure.
pub(super) fn enter(rules: BorrowedFd<'_>) -> Result<(), i32> {
    // SAFETY: takes no pointers.
    let failed = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) };
    if failed < 0 { Err(errno()) } else { Ok(()) }
}
