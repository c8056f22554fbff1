//! The capabilities of a process.

use super::check;
use super::spawn::errno;
use std::io;

/// `_LINUX_CAPABILITY_VERSION_3`, of Linux 2.6.26.
const VERSION: u32 = 0x2008_0522;

/// The kernel's header of both calls.
#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

/// One half of the three sets.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Empties every set of the calling process, the bounding one included. Async-signal-safe; the
/// errno on failure.
pub(super) fn drop_all() -> Result<(), i32> {
    // SAFETY: takes no pointers. Who may not change the bounding set has no capability to bound;
    // the number after the last capability ends the loop.
    unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL,
            0,
            0,
            0,
        );
        for number in 0..64 {
            if libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) < 0 {
                break;
            }
        }
    }
    let header = Header {
        version: VERSION,
        pid: 0,
    };
    let none = [Sets::default(); 2];
    // SAFETY: the kernel reads a header and two halves.
    let failed = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    if failed < 0 { Err(errno()) } else { Ok(()) }
}

/// Whether the calling process has no capability, neither effective nor permitted nor inheritable.
pub(super) fn has_none() -> io::Result<bool> {
    let mut header = Header {
        version: VERSION,
        pid: 0,
    };
    let mut sets = [Sets::default(); 2];
    // SAFETY: the kernel reads the header, may write its version, and writes two halves.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
    check(result as libc::c_int)?;
    Ok(sets
        .iter()
        .all(|half| half.effective | half.permitted | half.inheritable == 0))
}
