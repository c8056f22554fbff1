//! Files, by every call that reads or changes one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

use super::{Tried, bytes, done};
use crate::kernel::{at, at_mut, call, signed, text};
use crate::number;

pub fn attempt(arguments: &[&str]) -> Option<Tried> {
    Some(match *arguments {
        ["read", path] => fs::read_to_string(path),
        ["list", path] => list(path),
        ["follow", path] => fs::read_link(path).map(|target| target.display().to_string()),
        ["identity", path] => {
            fs::metadata(path).map(|status| format!("{}:{}", status.dev(), status.ino()))
        }
        ["stat", path] => fs::metadata(path).map(|status| status.len().to_string()),
        ["write", path] => done(fs::write(path, "changed")),
        // For what must not be harmed should it open.
        ["open-to-write", path] => done(OpenOptions::new().write(true).open(path)),
        ["open-to-read", path] => done(File::open(path)),
        ["append", path] => done(
            OpenOptions::new()
                .append(true)
                .open(path)
                .and_then(|mut file| file.write_all(b"changed")),
        ),
        ["forge-records", path] => forge_records(path),
        ["truncate", path] => done(call(libc::SYS_truncate, &[at(&*text(path)), 0])),
        ["remove", path] => done(fs::remove_file(path)),
        ["remove-tree", path] => done(fs::remove_dir_all(path)),
        ["mkdir", path] => done(fs::create_dir(path)),
        ["mkdirs", path] => done(fs::create_dir_all(path)),
        ["link", from, to] => done(fs::hard_link(from, to)),
        ["symlink", target, path] => done(symlink(target, path)),
        ["rename", from, to] => done(fs::rename(from, to)),
        ["exchange", from, to] => exchange(from, to),
        ["chmod", path, mode] => done(fs::set_permissions(
            path,
            fs::Permissions::from_mode(u32::from_str_radix(mode, 8).unwrap()),
        )),
        ["fchmodat2", path, mode] => done(call(
            452,
            &[
                signed(libc::AT_FDCWD),
                at(&*text(path)),
                usize::from_str_radix(mode, 8).unwrap(),
                0,
            ],
        )),
        ["chown", path, id] => done(std::os::unix::fs::chown(
            path,
            Some(number(id) as u32),
            None,
        )),
        ["touch", path] => {
            File::open(path).and_then(|file| done(file.set_modified(std::time::UNIX_EPOCH)))
        }
        ["setxattr", path, name] => done(call(
            libc::SYS_setxattr,
            &[at(&*text(path)), at(&*text(name)), at("x"), 1, 0],
        )),
        ["flags", path] => flags(path),
        ["fifo", path] => done(call(
            libc::SYS_mknodat,
            &[
                signed(libc::AT_FDCWD),
                at(&*text(path)),
                libc::S_IFIFO as usize | 0o600,
                0,
            ],
        )),
        ["mknod", path] => done(call(
            libc::SYS_mknodat,
            &[
                signed(libc::AT_FDCWD),
                at(&*text(path)),
                libc::S_IFBLK as usize | 0o666,
                number("254") as usize,
            ],
        )),
        ["null-device", path] => done(call(
            libc::SYS_mknodat,
            &[
                signed(libc::AT_FDCWD),
                at(&*text(path)),
                libc::S_IFCHR as usize | 0o666,
                libc::makedev(1, 3) as usize,
            ],
        )),
        ["tmpfile", directory, path] => unnamed(directory, path),
        ["reopen", path] => reopen(path),
        ["map", path] => map(path),
        ["handle", path] => handle(path),
        ["open-handle", mount, handle] => open_handle(mount, handle),
        ["through-proc", path] => through_proc(path, "root"),
        ["through-cwd", path] => through_proc(path, "cwd"),
        ["through-descriptors", path] => through_descriptors(path),
        ["fill", path, ref rest @ ..] => {
            let count = rest.first().map_or(1, |count| number(count));
            done((0..count).try_for_each(|index| fs::write(format!("{path}{index}"), "x")))
        }
        _ => return None,
    })
}

/// Notes down, wherever the first process inside has a file of the server's open for writing, that an empty file is a mount
/// point; and keeps the server from opening that file again.
fn forge_records(path: &str) -> Tried {
    let status = fs::metadata(path)?;
    let device = status.dev();
    let (major, minor) = (libc::major(device), libc::minor(device));
    let record = format!("f {major}:{minor}:{} {path}\0", status.ino());
    let mut forged = 0;
    for entry in fs::read_dir("/proc/1/fd")?.flatten() {
        let file = entry.path();
        if !fs::metadata(&file).is_ok_and(|file| file.is_file()) {
            continue;
        }
        let mut opened = OpenOptions::new().append(true).open(&file)?;
        opened.write_all(record.as_bytes())?;
        opened.set_permissions(fs::Permissions::from_mode(0o000))?;
        forged += 1;
    }
    Ok(forged.to_string())
}

fn list(path: &str) -> Tried {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.push(entry?.file_name().display().to_string());
    }
    names.sort();
    Ok(names.join(" "))
}

fn exchange(from: &str, to: &str) -> Tried {
    let (from, to, here) = (text(from), text(to), signed(libc::AT_FDCWD));
    let exchange = libc::RENAME_EXCHANGE as usize;
    done(call(
        libc::SYS_renameat2,
        &[here, at(&*from), here, at(&*to), exchange],
    ))
}

/// Sets the attribute that no dump takes the file along.
fn flags(path: &str) -> Tried {
    const FS_IOC_GETFLAGS: usize = 0x8008_6601;
    const FS_IOC_SETFLAGS: usize = 0x4008_6602;
    const FS_NODUMP_FL: u64 = 0x40;
    let file = File::open(path)?;
    let fd = file.as_raw_fd() as usize;
    let mut flags: u64 = 0;
    // Without those it has, ext4 would also have to change how it keeps the file, and cannot always.
    // Where they may not be asked for, the setting itself is still tried.
    let _ = call(libc::SYS_ioctl, &[fd, FS_IOC_GETFLAGS, at_mut(&mut flags)]);
    flags |= FS_NODUMP_FL;
    done(call(libc::SYS_ioctl, &[fd, FS_IOC_SETFLAGS, at(&flags)]))
}

/// Makes a file without a name in one directory, and gives it one elsewhere.
fn unnamed(directory: &str, path: &str) -> Tried {
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .open(directory)?;
    let own = text(&format!("/proc/self/fd/{}", file.as_raw_fd()));
    let (path, here) = (text(path), signed(libc::AT_FDCWD));
    done(call(
        libc::SYS_linkat,
        &[
            here,
            at(&*own),
            here,
            at(&*path),
            libc::AT_SYMLINK_FOLLOW as usize,
        ],
    ))
}

/// Opens to read, or as a place only, and again to write through the descriptor's own name.
fn reopen(path: &str) -> Tried {
    for flags in [0, libc::O_PATH] {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)?;
        let own = format!("/proc/self/fd/{}", file.as_raw_fd());
        if let Ok(mut again) = OpenOptions::new().write(true).open(own) {
            return done(again.write_all(b"changed"));
        }
    }
    Err(io::Error::from_raw_os_error(libc::EACCES))
}

/// Maps a file shared and writable.
fn map(path: &str) -> Tried {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    file.write_all_at(b"changed", 0)?;
    Ok(String::new())
}

/// `struct file_handle`: two lengths, then the handle itself.
const HANDLE: usize = 8 + 128;

/// The kernel's own handle of a file, which needs no path afterwards.
fn handle(path: &str) -> Tried {
    let mut handle = [0_u8; HANDLE];
    handle[..4].copy_from_slice(&128_u32.to_ne_bytes());
    let mut mount = 0_u32;
    let path = text(path);
    let arguments = [
        signed(libc::AT_FDCWD),
        at(&*path),
        at_mut(&mut handle),
        at_mut(&mut mount),
        0,
    ];
    call(libc::SYS_name_to_handle_at, &arguments)?;
    Ok(bytes::hex(&handle))
}

/// Reads a file by its handle, on the file system that `mount` is on.
fn open_handle(mount: &str, handle: &str) -> Tried {
    let mount = File::open(mount)?;
    let handle = bytes::from_hex(handle);
    let arguments = [
        mount.as_raw_fd() as usize,
        at(&*handle),
        libc::O_RDONLY as usize,
    ];
    let descriptor = call(libc::SYS_open_by_handle_at, &arguments)?;
    fs::read_to_string(format!("/proc/self/fd/{descriptor}"))
}

/// Reads a file below the root, or by the way up from the cwd, of any process that can be seen.
fn through_proc(path: &str, door: &str) -> Tried {
    let mut last = io::Error::from_raw_os_error(libc::ENOENT);
    for entry in fs::read_dir("/proc")? {
        let door = entry?.path().join(door);
        let up = if door.ends_with("cwd") {
            "../../../../../../../.."
        } else {
            ""
        };
        match fs::read_to_string(door.join(up).join(path.trim_start_matches('/'))) {
            Ok(content) => return Ok(content),
            Err(error) if error.kind() != io::ErrorKind::NotFound => last = error,
            Err(_) => {}
        }
    }
    Err(last)
}

/// Looks for a file, or something it can be reached from, among the descriptors of all processes.
fn through_descriptors(path: &str) -> Tried {
    let wanted = path.trim_start_matches('/');
    for process in fs::read_dir("/proc")? {
        let Ok(descriptors) = fs::read_dir(process?.path().join("fd")) else {
            continue;
        };
        for descriptor in descriptors.flatten() {
            let descriptor = descriptor.path();
            let mut found = String::new();
            let is_it = fs::read_link(&descriptor).is_ok_and(|target| target == Path::new(path));
            let opened = if is_it {
                File::open(&descriptor)
            } else {
                File::open(descriptor.join("../../../../../../..").join(wanted))
            };
            if opened
                .and_then(|mut file| file.read_to_string(&mut found))
                .is_ok()
            {
                return Ok(found);
            }
        }
    }
    Err(io::Error::from_raw_os_error(libc::ENOENT))
}
