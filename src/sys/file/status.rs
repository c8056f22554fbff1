//! What the system knows of a file.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::sys::check;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// With bytes in it.
    Regular,
    /// With names in it.
    Directory,
    /// A symbolic link.
    Link,
    /// A named pipe.
    Fifo,
    /// A name for a socket.
    Socket,
    /// Such as a terminal, or `/dev/null`.
    CharacterDevice,
    /// Such as a disk.
    BlockDevice,
}

impl FileType {
    fn from_mode(mode: u32) -> Self {
        match mode & libc::S_IFMT {
            libc::S_IFDIR => Self::Directory,
            libc::S_IFLNK => Self::Link,
            libc::S_IFIFO => Self::Fifo,
            libc::S_IFSOCK => Self::Socket,
            libc::S_IFCHR => Self::CharacterDevice,
            libc::S_IFBLK => Self::BlockDevice,
            _ => Self::Regular,
        }
    }

    /// From the `d_type` of a directory entry; none where the file system does not tell.
    pub(in crate::sys) fn from_entry_type(kind: u8) -> Option<Self> {
        Some(match kind {
            libc::DT_REG => Self::Regular,
            libc::DT_DIR => Self::Directory,
            libc::DT_LNK => Self::Link,
            libc::DT_FIFO => Self::Fifo,
            libc::DT_SOCK => Self::Socket,
            libc::DT_CHR => Self::CharacterDevice,
            libc::DT_BLK => Self::BlockDevice,
            _ => return None,
        })
    }

    /// Its name for clients.
    pub fn name(self) -> &'static str {
        match self {
            Self::Regular => "file",
            Self::Directory => "directory",
            Self::Link => "symlink",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::CharacterDevice => "characterDevice",
            Self::BlockDevice => "blockDevice",
        }
    }
}

/// What the system knows of a file.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// What it is.
    pub kind: FileType,
    /// Its permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Its owner.
    pub user: u32,
    /// Its group.
    pub group: u32,
    /// How many names it has.
    pub links: u32,
    /// Bytes.
    pub size: u64,
    /// Which file it is: equal for two names of one file, and for nothing else.
    pub identity: Identity,
    /// Tells it from another that has had the same identity before: when it was made, in nanoseconds
    /// since 1970. Where the file system does not keep that, when a file that is no directory last
    /// changed.
    pub incarnation: i64,
    /// When anything of it last changed, in nanoseconds since 1970; nobody can set that.
    pub changed: i64,
    /// When its content last changed, in milliseconds since 1970.
    pub modified_ms: i64,
    /// When it was made; none where the file system does not keep that.
    pub created_ms: Option<i64>,
}

/// Device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity(u32, u32, u64);

impl Identity {
    /// Whether both are on one device.
    pub fn is_on_device_of(self, other: Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }

    /// As three numbers, to be kept: the device's two, and the inode.
    pub fn numbers(self) -> (u32, u32, u64) {
        (self.0, self.1, self.2)
    }
}

/// Whether the last component of a path may be a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastLink {
    /// What it points at is meant.
    Follow,
    /// The link itself is meant.
    Keep,
}

/// Asks what the system knows of a file.
pub fn status_at(dir: BorrowedFd<'_>, path: &CStr, last: LastLink) -> io::Result<Status> {
    let flags = match last {
        LastLink::Follow => 0,
        LastLink::Keep => libc::AT_SYMLINK_NOFOLLOW,
    };
    status(dir, path, flags)
}

/// The same of an open file.
pub fn status_of(file: BorrowedFd<'_>) -> io::Result<Status> {
    status(file, c"", libc::AT_EMPTY_PATH)
}

fn status(dir: BorrowedFd<'_>, path: &CStr, flags: libc::c_int) -> io::Result<Status> {
    let wanted = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
    let mut found = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the path is a C string, and the structure is of the size that the call fills.
    let result = unsafe {
        libc::statx(
            dir.as_raw_fd(),
            path.as_ptr(),
            flags | libc::AT_NO_AUTOMOUNT,
            wanted,
            found.as_mut_ptr(),
        )
    };
    check(result)?;
    // SAFETY: all zeros is a valid statx, and what the call has filled in is too.
    let found = unsafe { found.assume_init() };
    let millis = |time: libc::statx_timestamp| {
        time.tv_sec
            .saturating_mul(1000)
            .saturating_add(i64::from(time.tv_nsec / 1_000_000))
    };
    let nanos = |time: libc::statx_timestamp| {
        time.tv_sec
            .wrapping_mul(1_000_000_000)
            .wrapping_add(i64::from(time.tv_nsec))
    };
    let mode = u32::from(found.stx_mode);
    let kind = FileType::from_mode(mode);
    let has_birth = found.stx_mask & libc::STATX_BTIME != 0;
    Ok(Status {
        kind,
        mode: mode & 0o7777,
        user: found.stx_uid,
        group: found.stx_gid,
        links: found.stx_nlink,
        size: found.stx_size,
        identity: Identity(found.stx_dev_major, found.stx_dev_minor, found.stx_ino),
        modified_ms: millis(found.stx_mtime),
        created_ms: has_birth.then(|| millis(found.stx_btime)),
        incarnation: match kind {
            _ if has_birth => nanos(found.stx_btime),
            // It changes with every name in it.
            FileType::Directory => 0,
            _ => nanos(found.stx_ctime),
        },
        changed: nanos(found.stx_ctime),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::file::ROOTED;
    use std::ffi::CString;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn a_birth_time_is_known_where_the_system_keeps_it() {
        let executable = std::env::current_exe().unwrap();
        let path = CString::new(executable.into_os_string().into_vec()).unwrap();
        let status = status_at(ROOTED, &path, LastLink::Follow).unwrap();
        assert_eq!(status.kind, FileType::Regular);
        assert!(status.created_ms.is_none_or(|created| created > 0));
        assert!(status.modified_ms > 0);
    }
}
