//! A program that changes whatever it can, and says what it could.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::kernel::{at, at_mut, call, signed, text};
use crate::say;

const GETFLAGS: usize = 0x8008_6601;
const SETFLAGS: usize = 0x4008_6602;
const NODUMP: u64 = 0x40;
const DEPTH: u32 = 4;

/// Waits for a line on stdin. Then tries everything with what is at the first `trees` paths and below, and what is not
/// final with the others. Stays, and keeps the locks that it has got.
pub fn vandal(trees: usize, paths: &[&str]) -> ! {
    say("ready");
    io::stdin().read_line(&mut String::new()).unwrap();
    let mut locked = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let path = Path::new(path);
        if index < trees {
            wreck(path, DEPTH, &mut locked);
        } else {
            touch(path, &mut locked);
        }
    }
    say("done");
    crate::sleep()
}

fn tell<T>(what: &str, path: &Path, result: io::Result<T>) -> Option<T> {
    if result.is_ok() {
        say(&format!("did {what} {}", path.display()));
    }
    result.ok()
}

/// Changes what can be changed and still be there: the same mode and owner again are a change to the kernel.
fn touch(path: &Path, locked: &mut Vec<File>) {
    let name = text(path.to_str().unwrap());
    let (name, here) = (at(&*name), signed(libc::AT_FDCWD));
    if let Ok(status) = fs::metadata(path) {
        let mode = Permissions::from_mode(status.mode() & 0o7777);
        tell("chmod", path, fs::set_permissions(path, mode));
        let (user, group) = (status.uid() as usize, status.gid() as usize);
        tell(
            "chown",
            path,
            call(libc::SYS_fchownat, &[here, name, user, group, 0]),
        );
    }
    tell(
        "utimens",
        path,
        call(libc::SYS_utimensat, &[here, name, 0, 0]),
    );
    for attribute in ["user.vandal", "trusted.vandal"] {
        let attribute = text(attribute);
        tell(
            "setxattr",
            path,
            call(libc::SYS_setxattr, &[name, at(&*attribute), at("x"), 1, 0]),
        );
    }
    let options = |is_write: bool| {
        let mut options = OpenOptions::new();
        options.read(!is_write).write(is_write);
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        options
    };
    if let Ok(file) = options(false).open(path) {
        let fd = file.as_raw_fd() as usize;
        let mut flags = 0_u64;
        if call(libc::SYS_ioctl, &[fd, GETFLAGS, at_mut(&mut flags)]).is_ok() {
            flags ^= NODUMP;
            tell(
                "flags",
                path,
                call(libc::SYS_ioctl, &[fd, SETFLAGS, at(&flags)]),
            );
        }
        if tell("lock", path, file.try_lock().map_err(io::Error::from)).is_some() {
            locked.push(file);
        }
    }
    tell("open-to-write", path, options(true).open(path));
}

fn wreck(path: &Path, depth: u32, locked: &mut Vec<File>) {
    let Ok(kind) = fs::symlink_metadata(path).map(|status| status.file_type()) else {
        return;
    };
    if kind.is_dir() && depth > 0 {
        let mut below: Vec<PathBuf> = fs::read_dir(path)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        below.sort();
        below.iter().for_each(|path| wreck(path, depth - 1, locked));
    }
    touch(path, locked);
    if kind.is_file() || kind.is_fifo() {
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(libc::O_NONBLOCK);
        tell(
            "write",
            path,
            options
                .open(path)
                .and_then(|mut file| file.write_all(b"vandal")),
        );
    }
    if kind.is_file() {
        let name = text(path.to_str().unwrap());
        tell("truncate", path, call(libc::SYS_truncate, &[at(&*name), 1]));
    }
    if kind.is_socket() {
        tell("connect", path, UnixStream::connect(path));
    }
    if kind.is_dir() {
        fill(path);
    }
    let beside = path.with_extension("vandal");
    tell("link", path, fs::hard_link(path, &beside));
    tell(
        "rename",
        path,
        fs::rename(path, path.with_extension("moved")),
    );
    let removed = if kind.is_dir() {
        fs::remove_dir(path)
    } else {
        fs::remove_file(path)
    };
    tell("remove", path, removed);
}

/// Makes something of each kind in a directory, and mounts over it.
fn fill(directory: &Path) {
    let name = |name: &str| directory.join(name);
    tell("create", directory, File::create_new(name("vandal-file")));
    tell("mkdir", directory, fs::create_dir(name("vandal-directory")));
    tell("symlink", directory, symlink("/", name("vandal-link")));
    for (kind, word) in [
        (libc::S_IFIFO, "fifo"),
        (libc::S_IFCHR, "device"),
        (libc::S_IFSOCK, "socket"),
    ] {
        let path = text(name(&format!("vandal-{word}")).to_str().unwrap());
        let null = libc::makedev(1, 3) as usize;
        let arguments = [
            signed(libc::AT_FDCWD),
            at(&*path),
            kind as usize | 0o666,
            null,
        ];
        tell(
            &format!("mknod-{word}"),
            directory,
            call(libc::SYS_mknodat, &arguments),
        );
    }
    let (path, kind) = (text(directory.to_str().unwrap()), text("tmpfs"));
    tell(
        "mount",
        directory,
        call(libc::SYS_mount, &[at(&*kind), at(&*path), at(&*kind), 0, 0]),
    );
}
