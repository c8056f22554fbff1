//! The end of a killed server's cgroups, by its guardian, which may not allocate.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use super::{check, counted, retry};

/// What the guardian needs to know of the cgroups of a server.
#[derive(Debug)]
pub struct ServerCgroups {
    /// The cgroup that all others are in: an absolute path.
    pub base: CString,
    /// The name there of the one with all that is limited.
    pub limited: CString,
    /// The name there of the one that the server, and so the guardian, has moved to; empty if it has not moved.
    pub own: CString,
    /// What takes the controllers away from what is in `base`.
    pub no_controllers: CString,
    /// Whether what is in `limited` is killed.
    pub kills: bool,
}

impl ServerCgroups {
    /// The same for [`Left::parse`].
    pub(super) fn encode(&self) -> Vec<u8> {
        let texts = [&self.base, &self.limited, &self.own, &self.no_controllers];
        let texts = texts.into_iter().flat_map(|text| text.as_bytes_with_nul());
        std::iter::once(&u8::from(self.kills))
            .chain(texts)
            .copied()
            .collect()
    }
}

/// How deep cgroups are looked for in one of a process, which can make more where it is not confined.
const DEPTH: usize = 16;
/// Between looks whether those that were killed are gone.
const TICK: Duration = Duration::from_millis(5);

/// The cgroups that a server has left. Whatever is done with them is async-signal-safe, and what fails is left.
pub(super) struct Left<'a> {
    base: OwnedFd,
    limited: &'a CStr,
    own: &'a CStr,
    no_controllers: &'a CStr,
    kills: bool,
}

impl<'a> Left<'a> {
    /// By what [`ServerCgroups::encode`] gave. None if there are none.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (kills, mut rest) = bytes.split_first()?;
        let mut next = || {
            let text = CStr::from_bytes_until_nul(rest).ok()?;
            rest = &rest[text.count_bytes() + 1..];
            Some(text)
        };
        let base = next()?;
        let (limited, own, no_controllers) = (next()?, next()?, next()?);
        Some(Self {
            base: open(None, base, libc::O_DIRECTORY)?,
            limited,
            own,
            no_controllers,
            kills: *kills != 0,
        })
    }

    /// Kills everything that is limited, unless it may outlive the server.
    pub(super) fn kill(&self) {
        if self.kills
            && let Some(limited) = open(Some(&self.base), self.limited, libc::O_DIRECTORY)
        {
            write(&limited, c"cgroup.kill", b"1");
        }
    }

    /// Removes the cgroups when they are empty, and leaves that of the server.
    pub(super) fn remove(&self, deadline: Instant) {
        let until = |is_done: &dyn Fn() -> bool| {
            while !is_done() {
                if !self.kills || Instant::now() >= deadline {
                    return false;
                }
                thread::sleep(TICK);
            }
            true
        };
        if !until(&|| remove(&self.base, self.limited, DEPTH)) || self.own.is_empty() {
            return;
        }
        if open(Some(&self.base), self.own, libc::O_DIRECTORY).is_none() {
            return;
        }
        // Who hands controllers on can have no process in it.
        write(
            &self.base,
            c"cgroup.subtree_control",
            self.no_controllers.to_bytes(),
        );
        write(&self.base, c"cgroup.procs", b"0");
        // The deputy leaves it as well, in a moment.
        until(&|| remove(&self.base, self.own, 0));
    }
}

fn open(at: Option<&OwnedFd>, path: &CStr, flags: libc::c_int) -> Option<OwnedFd> {
    let at = at.map_or(libc::AT_FDCWD, AsRawFd::as_raw_fd);
    let flags = flags | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    // SAFETY: the path is a terminated string.
    let fd = retry(|| check(unsafe { libc::openat(at, path.as_ptr(), flags) })).ok()?;
    // SAFETY: the descriptor is fresh, and nobody else's.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn write(cgroup: &OwnedFd, name: &CStr, text: &[u8]) {
    if let Some(file) = open(Some(cgroup), name, libc::O_WRONLY) {
        let (first, count) = (text.as_ptr().cast(), text.len());
        // SAFETY: the pointer and the length describe one slice.
        let _ = retry(|| counted(unsafe { libc::write(file.as_raw_fd(), first, count) }));
    }
}

/// Removes a cgroup and those in it; false if processes are in one of them.
fn remove(parent: &OwnedFd, name: &CStr, depth: usize) -> bool {
    let is_gone = || {
        // SAFETY: the name is a terminated string.
        let removed =
            unsafe { libc::unlinkat(parent.as_raw_fd(), name.as_ptr(), libc::AT_REMOVEDIR) };
        removed == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::ENOENT)
    };
    if is_gone() {
        return true;
    }
    if depth > 0
        && let Some(directory) = open(Some(parent), name, libc::O_DIRECTORY)
    {
        each_directory(&directory, &mut |inner| {
            remove(&directory, inner, depth - 1);
        });
    }
    is_gone()
}

/// A directory entry of the kernel's: its length and type are 2 bytes and 1 byte here, and its name follows.
const ENTRY_LENGTH: usize = 16;
const ENTRY_TYPE: usize = 18;
const ENTRY_NAME: usize = 19;

fn each_directory(directory: &OwnedFd, found: &mut dyn FnMut(&CStr)) {
    let mut buffer = [0_u8; 1024];
    loop {
        let (first, size) = (buffer.as_mut_ptr(), buffer.len());
        let fd = directory.as_raw_fd();
        // SAFETY: the pointer and the length describe one writable slice.
        let read = || unsafe { libc::syscall(libc::SYS_getdents64, fd, first, size) };
        let count = retry(|| counted(read() as isize)).unwrap_or_default();
        let Some(mut rest) = buffer.get(..count).filter(|it| !it.is_empty()) else {
            return;
        };
        while let (Some(&[low, high]), Some(kind)) = (
            rest.get(ENTRY_LENGTH..ENTRY_TYPE)
                .and_then(|it| it.first_chunk()),
            rest.get(ENTRY_TYPE),
        ) {
            let length = usize::from(u16::from_ne_bytes([low, high]));
            let Some((entry, more)) = rest.split_at_checked(length.max(ENTRY_NAME)) else {
                return;
            };
            let name = CStr::from_bytes_until_nul(&entry[ENTRY_NAME..]).unwrap_or_default();
            let is_other = !matches!(name.to_bytes(), b"" | b"." | b"..");
            if is_other && *kind == libc::DT_DIR {
                found(name);
            }
            rest = more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_found_by_what_was_told_and_removed_with_all_that_is_in_it() {
        let base = std::env::temp_dir().join(format!("left-cgroups-{}", std::process::id()));
        let limited = base.join("exec-server-1");
        for inner in 0..40 {
            std::fs::create_dir_all(limited.join(format!("session-{inner}/process-{inner}")))
                .unwrap();
        }
        let told = ServerCgroups {
            base: CString::new(base.to_str().unwrap()).unwrap(),
            limited: c"exec-server-1".to_owned(),
            own: c"".to_owned(),
            no_controllers: c"-memory".to_owned(),
            kills: true,
        };
        let bytes = told.encode();
        let left = Left::parse(&bytes).unwrap();
        assert_eq!(
            (left.limited, left.own, left.no_controllers, left.kills),
            (c"exec-server-1", c"", c"-memory", true)
        );
        left.remove(Instant::now() + Duration::from_secs(10));
        assert!(!limited.exists());
        std::fs::remove_dir(&base).unwrap();
        assert!(Left::parse(&bytes).is_none());
        assert!(Left::parse(&[]).is_none());
    }
}
