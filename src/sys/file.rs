//! Files by descriptor: what std does by path only, or not at all.
//!
//! Every function takes a directory and a path from there. A path with one
//! component, together with a directory that is already open, cannot be led
//! astray by whoever renames and links at the same time.

mod open;
mod status;

pub use open::{
    Access, is_open_for, locate_anything_without_links, locate_directory_without_magic,
    locate_without_links, open_at,
};
pub use status::{FileType, Identity, LastLink, Status, status_at, status_of};

use std::ffi::{CStr, CString, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;

use super::check;

/// The directory of a path that is absolute, so that any would do.
// SAFETY: AT_FDCWD is no descriptor that could be closed, and every call here knows it.
pub const ROOTED: BorrowedFd<'static> = unsafe { BorrowedFd::borrow_raw(libc::AT_FDCWD) };

/// The longest target of a symbolic link that is read.
const MAX_LINK: usize = 64 * 1024;

/// The type of the file system of `/proc`, from the kernel's `magic.h`, as those that follow.
const PROC: i64 = 0x9fa0;
/// ext4, xfs, btrfs, tmpfs, f2fs, and overlays of them.
const LOCAL: [i64; 6] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0x0102_1994,
    0xf2f5_2010,
    0x794c_7630,
];

/// The error of a symbolic link where none may be.
pub fn is_link() -> io::Error {
    io::Error::from_raw_os_error(libc::ELOOP)
}

/// The error of a directory where a file is wanted.
pub fn is_directory() -> io::Error {
    io::Error::from_raw_os_error(libc::EISDIR)
}

/// The error of something there where nothing may be.
pub fn exists() -> io::Error {
    io::Error::from_raw_os_error(libc::EEXIST)
}

/// The error of a value that the system cannot mean anything by.
pub fn invalid() -> io::Error {
    io::Error::from_raw_os_error(libc::EINVAL)
}

/// Whether this is `/dev/null`, by any name.
pub fn is_null_device(file: BorrowedFd<'_>) -> bool {
    let mut found = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the structure is filled when the call succeeds.
    unsafe {
        libc::fstat(file.as_raw_fd(), found.as_mut_ptr()) == 0 && {
            let found = found.assume_init();
            found.st_mode & libc::S_IFMT == libc::S_IFCHR && found.st_rdev == libc::makedev(1, 3)
        }
    }
}

/// Whether a file is one of `/proc`; also if that cannot be told.
pub fn is_in_proc(file: BorrowedFd<'_>) -> bool {
    file_system(file).is_none_or(|kind| kind == PROC)
}

/// Whether a file is the memory of a process, as `/proc` has it; also if that cannot be told of one there. To a process its
/// own memory is always open, whatever the kernel keeps from others.
pub fn is_process_memory(file: BorrowedFd<'_>) -> bool {
    if !is_in_proc(file) {
        return false;
    }
    let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
    !path.is_ok_and(|path| path.file_name().is_some_and(|name| name != "mem"))
}

/// Whether a file lies where nobody but this kernel changes anything, so that times tell the truth.
pub fn is_of_this_kernel(file: BorrowedFd<'_>) -> bool {
    file_system(file).is_some_and(|kind| LOCAL.contains(&kind))
}

/// The type of a file's file system.
fn file_system(file: BorrowedFd<'_>) -> Option<i64> {
    let mut found = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the structure is of the size that the call fills.
    let result = unsafe { libc::fstatfs(file.as_raw_fd(), found.as_mut_ptr()) };
    // SAFETY: all zeros is a valid statfs, and what the call has filled in is too.
    let found = unsafe { found.assume_init() };
    (result == 0).then_some(found.f_type as i64)
}

/// Makes a directory.
pub fn make_directory_at(dir: BorrowedFd<'_>, path: &CStr, mode: u32) -> io::Result<()> {
    // SAFETY: the path is a C string.
    check(unsafe { libc::mkdirat(dir.as_raw_fd(), path.as_ptr(), mode) }).map(drop)
}

/// Removes a name, which must not be a directory's.
pub fn unlink_at(dir: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
    // SAFETY: the path is a C string.
    check(unsafe { libc::unlinkat(dir.as_raw_fd(), path.as_ptr(), 0) }).map(drop)
}

/// Removes an empty directory.
pub fn remove_directory_at(dir: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
    // SAFETY: the path is a C string.
    check(unsafe { libc::unlinkat(dir.as_raw_fd(), path.as_ptr(), libc::AT_REMOVEDIR) }).map(drop)
}

/// Makes a symbolic link at `path`.
pub fn link_at(target: &CStr, dir: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
    // SAFETY: both are C strings.
    check(unsafe { libc::symlinkat(target.as_ptr(), dir.as_raw_fd(), path.as_ptr()) }).map(drop)
}

/// What a symbolic link says.
pub fn read_link_at(dir: BorrowedFd<'_>, path: &CStr) -> io::Result<OsString> {
    let mut target = vec![0; 256];
    loop {
        // SAFETY: the path is a C string, the pointer and the length describe one writable slice.
        let count = unsafe {
            libc::readlinkat(
                dir.as_raw_fd(),
                path.as_ptr(),
                target.as_mut_ptr().cast(),
                target.len(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        // A full buffer may have cut it.
        if count < target.len() || count >= MAX_LINK {
            target.truncate(count);
            return Ok(OsString::from_vec(target));
        }
        target.resize(target.len() * 4, 0);
    }
}

/// Gives a file another name. What has that name is replaced only if `replaces`; otherwise
/// it is `EEXIST`.
pub fn rename_at(
    from: (BorrowedFd<'_>, &CStr),
    to: (BorrowedFd<'_>, &CStr),
    replaces: bool,
) -> io::Result<()> {
    let (from_dir, to_dir) = (from.0.as_raw_fd(), to.0.as_raw_fd());
    let (from, to) = (from.1.as_ptr(), to.1.as_ptr());
    let result = if replaces {
        // SAFETY: both are C strings.
        unsafe { libc::renameat(from_dir, from, to_dir, to) }
    } else {
        let flags = libc::RENAME_NOREPLACE;
        // SAFETY: both are C strings. Not every musl has a function for this call.
        unsafe {
            libc::syscall(libc::SYS_renameat2, from_dir, from, to_dir, to, flags) as libc::c_int
        }
    };
    check(result).map(drop)
}

/// Sets the permission bits of what was opened in any way, be it as a place only.
pub fn change_mode(file: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
    let (number, flags) = (file.as_raw_fd(), libc::AT_EMPTY_PATH);
    // SAFETY: the path is a terminated string.
    let result = unsafe { libc::syscall(libc::SYS_fchmodat2, number, c"".as_ptr(), mode, flags) };
    match check(result as libc::c_int) {
        // Before Linux 6.6, or a filter of system calls is older than the kernel. fchmod takes no such descriptor, but
        // the name that the kernel gives it does.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
            let path = CString::new(format!("/proc/self/fd/{number}"))?;
            // SAFETY: the path is a terminated string.
            check(unsafe { libc::chmod(path.as_ptr(), mode) }).map(drop)
        }
        result => result.map(drop),
    }
}

/// Gives a file to another user and group. Whoever may not do that gets `EPERM`.
pub fn change_owner(file: BorrowedFd<'_>, user: u32, group: u32) -> io::Result<()> {
    // SAFETY: fchown takes no pointers.
    check(unsafe { libc::fchown(file.as_raw_fd(), user, group) }).map(drop)
}

/// Reads up to `length` bytes at `offset` to the end of `out`; how many, 0 at the file's end.
pub fn read_behind(
    file: BorrowedFd<'_>,
    offset: u64,
    length: usize,
    out: &mut Vec<u8>,
) -> io::Result<usize> {
    let offset = i64::try_from(offset).map_err(|_| invalid())?;
    out.reserve(length);
    let room = &mut out.spare_capacity_mut()[..length];
    // SAFETY: the room is `length` writable bytes.
    let count = unsafe { libc::pread(file.as_raw_fd(), room.as_mut_ptr().cast(), length, offset) };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has written `count` bytes of the room behind the vector's bytes.
    unsafe { out.set_len(out.len() + count) };
    Ok(count)
}
