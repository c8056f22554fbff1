//! Being told of changes in directories.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::check;

/// A name has come into a directory.
pub const ADDED: u32 = libc::IN_CREATE | libc::IN_MOVED_TO;
/// A name has gone from a directory.
pub const REMOVED: u32 = libc::IN_DELETE | libc::IN_MOVED_FROM;
/// A name has left a directory for another; [`Change::cookie`] ties the two together.
pub const MOVED_FROM: u32 = libc::IN_MOVED_FROM;
/// A name has come from another directory.
pub const MOVED_TO: u32 = libc::IN_MOVED_TO;
/// The content or the attributes of a name, or of the directory itself, are others.
pub const MODIFIED: u32 = libc::IN_MODIFY | libc::IN_ATTRIB;
/// The directory itself has another path.
pub const SELF_MOVED: u32 = libc::IN_MOVE_SELF;
/// What a name has changed about is a directory.
pub const DIRECTORY: u32 = libc::IN_ISDIR;
/// Asked for: files that have no name any more are of no interest.
pub const NAMED_ONLY: u32 = libc::IN_EXCL_UNLINK;
/// Asked for: a link is no directory.
pub const NO_LINK: u32 = libc::IN_DONT_FOLLOW;
/// What was watched is gone itself, and the watch with it.
pub const GONE: u32 = libc::IN_IGNORED | libc::IN_UNMOUNT;
/// Events were lost; anything may have changed.
pub const OVERFLOW: u32 = libc::IN_Q_OVERFLOW;

/// The number of a watch, unique while its [`Inotify`] lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WatchNumber(libc::c_int);

/// One change.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Where; meaningless with [`OVERFLOW`].
    pub watch: WatchNumber,
    /// What, as bits of the constants here and of `inotify(7)`.
    pub what: u32,
    /// The same for both ends of a move, zero for anything else.
    pub cookie: u32,
    /// The name in the directory; empty for the directory itself.
    pub name: &'a OsStr,
}

/// A set of watched directories. In non-blocking mode.
#[derive(Debug)]
pub struct Inotify(OwnedFd);

impl Inotify {
    /// An empty set. Fails when the system or the user has too many already.
    pub fn new() -> io::Result<Self> {
        // SAFETY: inotify_init1 takes no pointers.
        let fd = check(unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) })?;
        // SAFETY: the descriptor is fresh and owned by nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Watches a directory, links followed unless [`NO_LINK`] says otherwise. A directory that is
    /// watched already keeps its number. `ENOTDIR` for anything else, `ENOSPC` when the user
    /// watches too much.
    pub fn watch(&self, directory: &Path, what: u32) -> io::Result<WatchNumber> {
        let path = CString::new(directory.as_os_str().as_bytes())?;
        let mask = what | libc::IN_ONLYDIR;
        // SAFETY: the path is a NUL-terminated string that outlives the call.
        let number =
            check(unsafe { libc::inotify_add_watch(self.0.as_raw_fd(), path.as_ptr(), mask) })?;
        Ok(WatchNumber(number))
    }

    /// Ends a watch; of one that has ended by itself, nothing happens.
    pub fn unwatch(&self, watch: WatchNumber) {
        // SAFETY: inotify_rm_watch takes no pointers; an unknown number is refused.
        unsafe { libc::inotify_rm_watch(self.0.as_raw_fd(), watch.0) };
    }

    /// Takes the changes that are there, without waiting; whether there were any.
    pub fn take(&self, mut each: impl FnMut(Change<'_>)) -> io::Result<bool> {
        /// Room for dozens of events, and always for one with the longest name.
        const ROOM: usize = 8 * 1024;
        const HEADER: usize = size_of::<libc::inotify_event>();
        let mut buffer = [0_u8; ROOM];
        // SAFETY: the buffer is ROOM writable bytes.
        let count = unsafe {
            libc::read(
                self.0.as_raw_fd(),
                buffer.as_mut_ptr().cast::<libc::c_void>(),
                ROOM,
            )
        };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(false),
                _ => Err(error),
            };
        };
        let mut rest = &buffer[..count];
        while let Some((head, tail)) = rest.split_at_checked(HEADER) {
            // SAFETY: the head has the size of the struct, which is all integers, and need not be
            // aligned.
            let event =
                unsafe { std::ptr::read_unaligned(head.as_ptr().cast::<libc::inotify_event>()) };
            let Some((name, tail)) = tail.split_at_checked(event.len as usize) else {
                break;
            };
            let end = name.iter().position(|byte| *byte == 0);
            each(Change {
                watch: WatchNumber(event.wd),
                what: event.mask,
                cookie: event.cookie,
                name: OsStr::from_bytes(&name[..end.unwrap_or(name.len())]),
            });
            rest = tail;
        }
        Ok(true)
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_by_name_until_the_watch_ends() {
        let dir = std::env::temp_dir().join(format!("inotify-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let inotify = Inotify::new().unwrap();
        assert!(inotify.watch(&dir.join("none"), ADDED).is_err());
        let watch = inotify.watch(&dir, ADDED | REMOVED).unwrap();
        assert_eq!(inotify.watch(&dir, ADDED | REMOVED).unwrap(), watch);
        assert!(!inotify.take(|_| panic!("nothing has changed")).unwrap());
        let name = "n".repeat(255);
        std::fs::write(dir.join(&name), "").unwrap();
        std::fs::remove_file(dir.join(&name)).unwrap();
        let mut seen = Vec::new();
        let took = inotify.take(|change| {
            assert_eq!((change.watch, change.name), (watch, OsStr::new(&name)));
            seen.push(change.what & (ADDED | REMOVED));
        });
        assert!(took.unwrap());
        assert_eq!(seen, [libc::IN_CREATE, libc::IN_DELETE]);
        std::fs::remove_dir(&dir).unwrap();
        let mut gone = 0;
        inotify.take(|change| gone |= change.what).unwrap();
        assert_ne!(gone & GONE, 0);
        inotify.unwatch(watch);
    }
}
