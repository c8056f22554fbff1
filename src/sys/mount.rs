//! Changes of one's own mount namespace: what the mounts of a sandbox need, and bwrap has no word
//! for or is slow at.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::null;

use super::check;

/// As the kernel has it; libc does not name it for every C library.
const ST_RELATIME: libc::c_ulong = 4096;

/// Takes a copy of the present mount namespace, so that this process may change it whoever has made
/// the former one.
pub fn leave_namespace() -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) }).map(drop)
}

/// Mounts what is at `source`, with all that is mounted below it and the same flags, at `target`
/// too.
pub fn cover(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    match copy_tree(source) {
        Ok(tree) => attach(&tree, target),
        // Before Linux 5.2.
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            let path =
                |fd: BorrowedFd<'_>| CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd()));
            let (source, target) = (path(source)?, path(target)?);
            let flags = libc::MS_BIND | libc::MS_REC;
            // SAFETY: both paths are terminated strings; a bind mount reads no other text.
            check(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), null(), flags, null()) })
                .map(drop)
        }
        Err(error) => Err(error),
    }
}

fn copy_tree(place: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE
        | libc::OPEN_TREE_CLOEXEC
        | (libc::AT_EMPTY_PATH | libc::AT_RECURSIVE) as libc::c_uint;
    // SAFETY: the path is a terminated string.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, place.as_raw_fd(), c"".as_ptr(), flags) };
    let fd = check(fd as libc::c_int)?;
    // SAFETY: the descriptor is fresh and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn attach(tree: &OwnedFd, place: BorrowedFd<'_>) -> io::Result<()> {
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: both paths are terminated strings.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            place.as_raw_fd(),
            c"".as_ptr(),
            flags,
        )
    };
    check(result as libc::c_int).map(drop)
}

/// Mounts an empty directory in memory, which nobody can change, with these permission bits.
pub fn cover_with_nothing(target: &CStr, mode: u32) -> io::Result<()> {
    let options = CString::new(format!("mode={mode:03o},size=4k"))?;
    let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    let kind = c"tmpfs".as_ptr();
    // SAFETY: terminated strings.
    check(unsafe { libc::mount(kind, target.as_ptr(), kind, flags, options.as_ptr().cast()) })
        .map(drop)
}

/// Whether devices below a mount can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Devices {
    /// As before.
    Kept,
    /// Not any more.
    Closed,
}

/// Makes the mount at a path read-only. What it forbids already it goes on to forbid.
pub fn seal(path: &CStr, devices: Devices) -> io::Result<()> {
    let mut found = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path is a terminated string, and the structure is filled when the call succeeds.
    let flags = unsafe {
        check(libc::statvfs(path.as_ptr(), found.as_mut_ptr()))?;
        found.assume_init().f_flag
    };
    let forbidden = [
        (libc::ST_NOSUID, libc::MS_NOSUID),
        (libc::ST_NODEV, libc::MS_NODEV),
        (libc::ST_NOEXEC, libc::MS_NOEXEC),
        (libc::ST_NOATIME, libc::MS_NOATIME),
        (libc::ST_NODIRATIME, libc::MS_NODIRATIME),
        (ST_RELATIME, libc::MS_RELATIME),
    ];
    let mut wanted = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY;
    for (_, flag) in forbidden.into_iter().filter(|(bit, _)| flags & bit != 0) {
        wanted |= flag;
    }
    if devices == Devices::Closed {
        wanted |= libc::MS_NODEV;
    }
    // SAFETY: the path is a terminated string; a remount reads no other text.
    check(unsafe { libc::mount(null(), path.as_ptr(), null(), wanted, null()) }).map(drop)
}
