//! Files by descriptor: what std does by path only, or not at all.
//!
//! Every function takes a directory and a path from there. A path with one
//! component, together with a directory that is already open, cannot be led
//! astray by whoever renames and links at the same time.

use std::ffi::{CStr, CString, OsString};
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::ops::BitOr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::{check, counted, retry};

/// The directory of a path that is absolute, so that any would do.
// SAFETY: AT_FDCWD is no descriptor that could be closed, and every call here knows it.
pub const ROOTED: BorrowedFd<'static> = unsafe { BorrowedFd::borrow_raw(libc::AT_FDCWD) };

/// The least hole of a file.
pub const PAGE: u64 = 4096;
/// What a directory has that gives its entries access rules of their own.
const DEFAULT_ACL: &CStr = c"system.posix_acl_default";

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
    retry(|| check(unsafe { libc::openat(dir.as_raw_fd(), path.as_ptr(), flags, mode) })).map(owned)
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

/// Opens a directory as [`Access::LOCATE`], through symbolic links, but through none of those in
/// `/proc` that stand for what a process has open: these would be of this process, which may have
/// more open than who has named the path.
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
    let open = || unsafe {
        libc::syscall(
            libc::SYS_openat2,
            dir.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    };
    retry(|| check(open() as libc::c_int)).map(owned)
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

fn owned(fd: libc::c_int) -> OwnedFd {
    // SAFETY: only called with a descriptor that a call has just returned.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

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
    /// Tells it from another that has had the same identity before: when it was made, in
    /// nanoseconds since 1970. Where the file system does not keep that, when a file that is no
    /// directory last changed.
    pub incarnation: i64,
    /// When anything of it last changed, in nanoseconds since 1970; nobody can set that.
    pub changed: i64,
    /// When its content last changed, in nanoseconds since 1970.
    pub modified: i64,
    /// The same in milliseconds.
    pub modified_ms: i64,
    /// Bytes that it takes on its disk.
    pub allocated: u64,
    /// When it was made; none where the file system does not keep that.
    pub created_ms: Option<i64>,
}

impl Status {
    /// A text that is another after each change of the file, of its content or of anything else.
    pub fn version(&self) -> String {
        let Identity(_, _, inode) = self.identity;
        format!(
            "{inode:x}-{:x}-{:x}-{:x}",
            self.size, self.modified, self.changed
        )
    }

    /// Whether it is a file with holes, which are worth to be kept: a page of them at least.
    pub fn is_sparse(&self) -> bool {
        self.kind == FileType::Regular && self.allocated.saturating_add(PAGE) <= self.size
    }
}

/// Device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity(u32, u32, u64);

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(major, minor, inode) = self;
        write!(f, "{major:x}:{minor:x}:{inode:x}")
    }
}

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
        modified: nanos(found.stx_mtime),
        modified_ms: millis(found.stx_mtime),
        allocated: found.stx_blocks.saturating_mul(512),
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

/// Whether a file is the memory of a process, as `/proc` has it; also if that cannot be told of one
/// there. To a process its own memory is always open, whatever the kernel keeps from others.
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

/// Opens a new file that has no name yet, and never gets one if its process ends before
/// [`give_name`]. Not every file system has such files.
pub fn open_unnamed(dir: BorrowedFd<'_>, mode: u32) -> io::Result<OwnedFd> {
    open_at(dir, c".", Access(libc::O_TMPFILE | libc::O_WRONLY), mode)
}

/// Gives a file that is open a name, which must be free.
pub fn give_name(file: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let (path, flags) = (path_of(file), libc::AT_SYMLINK_FOLLOW);
    let (from, to) = (libc::AT_FDCWD, dir.as_raw_fd());
    // SAFETY: both are C strings.
    check(unsafe { libc::linkat(from, path.as_ptr(), to, name.as_ptr(), flags) }).map(drop)
}

/// Gives a file one more name, which must be free. A symbolic link gets one itself.
pub fn hard_link_at(from: (BorrowedFd<'_>, &CStr), to: (BorrowedFd<'_>, &CStr)) -> io::Result<()> {
    let (from_dir, to_dir) = (from.0.as_raw_fd(), to.0.as_raw_fd());
    // SAFETY: both are C strings.
    check(unsafe { libc::linkat(from_dir, from.1.as_ptr(), to_dir, to.1.as_ptr(), 0) }).map(drop)
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
        let count = counted(count)?;
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
        // Before Linux 6.6, or a filter of system calls is older than the kernel. fchmod takes no
        // such descriptor, but the name that the kernel gives it does.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
            let path = path_of(file);
            // SAFETY: the path is a terminated string.
            check(unsafe { libc::chmod(path.as_ptr(), mode) }).map(drop)
        }
        result => result.map(drop),
    }
}

/// Gives what was opened in any way, be it as a place only, to another user and group. Whoever may
/// not do that gets `EPERM`.
pub fn change_owner(file: BorrowedFd<'_>, user: u32, group: u32) -> io::Result<()> {
    let (number, flags) = (file.as_raw_fd(), libc::AT_EMPTY_PATH);
    // SAFETY: the path is a terminated string.
    check(unsafe { libc::fchownat(number, c"".as_ptr(), user, group, flags) }).map(drop)
}

/// Sets the permission bits of a file or directory, and those of `mode` beyond them besides what it
/// has of them: a new directory has setgid from the one that it is in. Where that one has given it
/// access rules, no bit is added.
pub fn change_permissions(file: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
    let found = status_of(file)?;
    let is_ruled = found.kind == FileType::Directory && has_default_acl(file);
    let bits = match is_ruled {
        true => mode & found.mode,
        false => mode,
    };
    let wanted = (bits & 0o777) | ((mode | found.mode) & 0o7000);
    // To set the same again would take setgid from who is not in the group.
    if wanted == found.mode {
        return Ok(());
    }
    change_mode(file, wanted)
}

/// Whether entries of this directory get access rules of its choice.
fn has_default_acl(directory: BorrowedFd<'_>) -> bool {
    attribute(directory, DEFAULT_ACL).is_ok_and(|rules| !rules.is_empty())
}

/// The names of a file's extended attributes, access rules among them.
pub fn attribute_names(file: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let path = path_of(file);
    let names = filled(|room, size| {
        // SAFETY: the path is a C string, and the room is of the size that is given.
        unsafe { libc::listxattr(path.as_ptr(), room.cast(), size) }
    })?;
    let names = names.split(|byte| *byte == 0);
    Ok(names
        .filter(|name| !name.is_empty())
        .filter_map(|name| CString::new(name).ok())
        .collect())
}

/// The value of one of them.
pub fn attribute(file: BorrowedFd<'_>, name: &CStr) -> io::Result<Vec<u8>> {
    let path = path_of(file);
    filled(|room, size| {
        // SAFETY: both are C strings, and the room is of the size that is given.
        unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), room.cast(), size) }
    })
}

/// Sets one of them.
pub fn set_attribute(file: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> io::Result<()> {
    let path = path_of(file);
    // SAFETY: both are C strings, and the pointer and the length are those of one slice.
    check(unsafe {
        libc::setxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            0,
        )
    })
    .map(drop)
}

/// What `call` writes: it gets room and its size, says how much it has filled, and without room how
/// much it needs.
fn filled(call: impl Fn(*mut u8, usize) -> isize) -> io::Result<Vec<u8>> {
    loop {
        let needed = call(std::ptr::null_mut(), 0);
        let needed = usize::try_from(needed).map_err(|_| io::Error::last_os_error())?;
        if needed == 0 {
            return Ok(Vec::new());
        }
        let mut out = vec![0; needed];
        match usize::try_from(call(out.as_mut_ptr(), out.len())) {
            Ok(count) => {
                out.truncate(count);
                return Ok(out);
            }
            Err(_) => match io::Error::last_os_error() {
                // It has grown meanwhile.
                error if error.raw_os_error() == Some(libc::ERANGE) => {}
                error => return Err(error),
            },
        }
    }
}

/// The path by which the kernel finds what is open, also as a place only.
fn path_of(file: BorrowedFd<'_>) -> CString {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // A number has no NUL.
    CString::new(path).unwrap_or_default()
}

/// Sets when the content of a file last changed, in nanoseconds since 1970.
pub fn change_modified(file: BorrowedFd<'_>, modified: i64) -> io::Result<()> {
    const SECOND: i64 = 1_000_000_000;
    let kept = libc::timespec {
        tv_sec: 0,
        tv_nsec: libc::UTIME_OMIT,
    };
    let wanted = libc::timespec {
        tv_sec: modified.div_euclid(SECOND),
        tv_nsec: modified.rem_euclid(SECOND),
    };
    let times = [kept, wanted];
    let path = path_of(file);
    // SAFETY: the path is a C string, and there are two times. The path also finds what was opened
    // as a place only.
    match check(unsafe { libc::utimensat(libc::AT_FDCWD, path.as_ptr(), times.as_ptr(), 0) }) {
        // There is no /proc.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // SAFETY: there are two times.
            check(unsafe { libc::futimens(file.as_raw_fd(), times.as_ptr()) }).map(drop)
        }
        set => set.map(drop),
    }
}

/// Cuts a file that is open for writing, or lets it end in a hole.
pub fn change_size(file: BorrowedFd<'_>, size: u64) -> io::Result<()> {
    let size = i64::try_from(size).map_err(|_| invalid())?;
    // SAFETY: takes no pointers.
    retry(|| check(unsafe { libc::ftruncate(file.as_raw_fd(), size) })).map(drop)
}

/// Where the next bytes of a file are from `offset` on that are no hole; none up to its end. A file
/// system that has no holes says `offset`.
pub fn next_data(file: BorrowedFd<'_>, offset: u64) -> io::Result<Option<u64>> {
    seek(file, offset, libc::SEEK_DATA)
}

/// Where the next hole of a file is from `offset` on, which its end is too; none behind it.
pub fn next_hole(file: BorrowedFd<'_>, offset: u64) -> io::Result<Option<u64>> {
    seek(file, offset, libc::SEEK_HOLE)
}

fn seek(file: BorrowedFd<'_>, offset: u64, whence: libc::c_int) -> io::Result<Option<u64>> {
    let offset = i64::try_from(offset).map_err(|_| invalid())?;
    // SAFETY: takes no pointers.
    match unsafe { libc::lseek(file.as_raw_fd(), offset, whence) } {
        -1 => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            error => Err(error),
        },
        found => Ok(u64::try_from(found).ok()),
    }
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
    let (fd, into) = (file.as_raw_fd(), room.as_mut_ptr().cast());
    // SAFETY: the room is `length` writable bytes.
    let count = retry(|| counted(unsafe { libc::pread(fd, into, length, offset) }))?;
    // SAFETY: the kernel has written `count` bytes of the room behind the vector's bytes.
    unsafe { out.set_len(out.len() + count) };
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

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
