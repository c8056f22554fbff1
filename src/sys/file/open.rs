//! Opening a file, and finding one with no symbolic link on the way.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::ops::BitOr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{FileType, ROOTED, is_link, status_of};
use crate::sys::check;

/// How to open; combined with `|`. No descriptor passes to children or becomes a controlling
/// terminal, whatever is asked.
#[derive(Clone, Copy, Debug)]
pub struct Access(libc::c_int);

impl Access {
    /// To read.
    pub const READ: Self = Self(libc::O_RDONLY);
    /// To write.
    pub const WRITE: Self = Self(libc::O_WRONLY);
    /// To read and to write.
    pub const READ_WRITE: Self = Self(libc::O_RDWR);
    /// Only as a directory for other calls, without reading it.
    pub const LOCATE: Self = Self(libc::O_PATH);
    /// Makes the file if there is none.
    pub const CREATE: Self = Self(libc::O_CREAT);
    /// Makes the file, which must not be there yet.
    pub const CREATE_NEW: Self = Self(libc::O_CREAT | libc::O_EXCL);
    /// Empties it.
    pub const TRUNCATE: Self = Self(libc::O_TRUNC);
    /// It must be a directory.
    pub const DIRECTORY: Self = Self(libc::O_DIRECTORY);
    /// It must not be a symbolic link.
    pub const NO_LINK: Self = Self(libc::O_NOFOLLOW);
    /// Neither the opening nor what follows waits for another process.
    pub const NO_WAIT: Self = Self(libc::O_NONBLOCK);
}

impl BitOr for Access {
    type Output = Self;

    fn bitor(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }
}

/// Opens a file; `mode` is for one that is made, and the umask applies to it.
pub fn open_at(dir: BorrowedFd<'_>, path: &CStr, access: Access, mode: u32) -> io::Result<OwnedFd> {
    let flags = access.0 | libc::O_CLOEXEC | libc::O_NOCTTY;
    // SAFETY: the path is a C string.
    retry(|| unsafe { libc::openat(dir.as_raw_fd(), path.as_ptr(), flags, mode) }).map(owned)
}

/// Opens a directory as [`Access::LOCATE`], with no symbolic link anywhere in `path`.
/// A link is refused with `ENOTDIR`.
pub fn locate_without_links(dir: BorrowedFd<'_>, path: &CStr) -> io::Result<OwnedFd> {
    match locate_in_one_call(dir, path, Access::DIRECTORY) {
        // The kernel is too old, or a filter of system calls is older than the kernel.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
            locate_step_by_step(dir, path)
        }
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            Err(io::Error::from_raw_os_error(libc::ENOTDIR))
        }
        located => located,
    }
}

/// Opens whatever an absolute path names as [`Access::LOCATE`], with no symbolic link anywhere in
/// it. A link is refused with `ELOOP` or `ENOTDIR`.
pub fn locate_anything_without_links(path: &Path) -> io::Result<OwnedFd> {
    let whole = CString::new(path.as_os_str().as_bytes())?;
    // O_NOFOLLOW would open a link itself.
    match locate_in_one_call(ROOTED, &whole, Access::READ) {
        // As above.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                return locate_step_by_step(ROOTED, &whole);
            };
            let parent = CString::new(parent.as_os_str().as_bytes())?;
            let name = CString::new(name.as_bytes())?;
            let parent = locate_step_by_step(ROOTED, &parent)?;
            let found = open_at(parent.as_fd(), &name, Access::LOCATE | Access::NO_LINK, 0)?;
            match status_of(found.as_fd())?.kind {
                FileType::Link => Err(is_link()),
                _ => Ok(found),
            }
        }
        located => located,
    }
}

/// Opens a directory as [`Access::LOCATE`], through symbolic links, but through none of those in `/proc` that stand for
/// what a process has open: these would be of this process, which may have more open than who has named the path.
pub fn locate_directory_without_magic(path: &CStr) -> io::Result<OwnedFd> {
    let located = resolve(ROOTED, path, Access::DIRECTORY, libc::RESOLVE_NO_MAGICLINKS);
    match located {
        // As above. Whoever must be sure has nothing open that it could lead to.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
            open_at(ROOTED, path, Access::LOCATE | Access::DIRECTORY, 0)
        }
        located => located,
    }
}

fn locate_in_one_call(dir: BorrowedFd<'_>, path: &CStr, more: Access) -> io::Result<OwnedFd> {
    resolve(dir, path, more, libc::RESOLVE_NO_SYMLINKS)
}

fn resolve(dir: BorrowedFd<'_>, path: &CStr, more: Access, rules: u64) -> io::Result<OwnedFd> {
    // SAFETY: all zeros is a valid open_how.
    let mut how: libc::open_how = unsafe { MaybeUninit::zeroed().assume_init() };
    how.flags = (libc::O_PATH | libc::O_CLOEXEC | more.0) as u64;
    how.resolve = rules;
    // SAFETY: the path is a C string, and the structure is live and of the size given.
    retry(|| unsafe {
        libc::syscall(
            libc::SYS_openat2,
            dir.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        ) as libc::c_int
    })
    .map(owned)
}

fn locate_step_by_step(dir: BorrowedFd<'_>, path: &CStr) -> io::Result<OwnedFd> {
    let step = Access::LOCATE | Access::DIRECTORY | Access::NO_LINK;
    let bytes = path.to_bytes();
    let start = if bytes.starts_with(b"/") { c"/" } else { c"." };
    let mut here = open_at(dir, start, step, 0)?;
    for name in bytes
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
    {
        let name = CString::new(name)?;
        here = open_at(here.as_fd(), &name, step, 0)?;
    }
    Ok(here)
}

/// Whether a file is open for this, [`Access::READ`] or [`Access::WRITE`], and for no more.
pub fn is_open_for(file: BorrowedFd<'_>, access: Access) -> bool {
    // SAFETY: takes no pointers.
    let flags = check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) });
    flags.is_ok_and(|flags| flags & (libc::O_ACCMODE | libc::O_PATH) == access.0)
}

fn retry(mut call: impl FnMut() -> libc::c_int) -> io::Result<libc::c_int> {
    loop {
        match check(call()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn owned(fd: libc::c_int) -> OwnedFd {
    // SAFETY: only called with a descriptor that a call has just returned.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn both_ways_without_links_agree() {
        let base = std::env::temp_dir().join(format!("exec-server-links-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&base);
        std::fs::create_dir_all(base.join("a/b")).unwrap();
        std::fs::write(base.join("file"), "").unwrap();
        std::os::unix::fs::symlink("a", base.join("link")).unwrap();
        // The temporary directory itself may be behind a link.
        let base = base.canonicalize().unwrap();
        for (path, expected) in [
            ("a/b", None),
            ("a", None),
            ("link", Some(libc::ENOTDIR)),
            ("link/b", Some(libc::ENOTDIR)),
            ("file", Some(libc::ENOTDIR)),
            ("none", Some(libc::ENOENT)),
        ] {
            let path = CString::new(base.join(path).into_os_string().into_vec()).unwrap();
            let fast = locate_without_links(ROOTED, &path);
            let slow = locate_step_by_step(ROOTED, &path);
            for found in [fast, slow] {
                assert_eq!(
                    found.err().map(|error| error.raw_os_error().unwrap()),
                    expected
                );
            }
        }
        std::fs::remove_dir_all(&base).unwrap();
    }
}
