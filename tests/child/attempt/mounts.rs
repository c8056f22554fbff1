//! The tree of mounts, by the old calls and the new.

use std::fs::File;
use std::os::fd::AsRawFd;

use super::{Tried, bytes, done};
use crate::kernel::{at, call, signed, text};

const MOVE_MOUNT_F_EMPTY_PATH: usize = 4;
const OPEN_TREE_CLONE: usize = 1;
const AT_RECURSIVE: usize = 0x8000;

pub fn attempt(arguments: &[&str]) -> Option<Tried> {
    Some(match *arguments {
        ["remount-rw", path] => mount("none", path, "none", libc::MS_REMOUNT | libc::MS_BIND),
        ["remount-all-rw", path] => mount("none", path, "none", libc::MS_REMOUNT),
        ["umount", path] => done(call(
            libc::SYS_umount2,
            &[at(&*text(path)), libc::MNT_DETACH as usize],
        )),
        ["mount-tmpfs", path] => mount("tmpfs", path, "tmpfs", 0),
        ["mount-proc", path] => mount("proc", path, "proc", 0),
        ["bind", from, to] => mount(from, to, "none", libc::MS_BIND),
        ["rbind", from, to] => mount(from, to, "none", libc::MS_BIND | libc::MS_REC),
        ["move", from, to] => mount(from, to, "none", libc::MS_MOVE),
        ["make-shared", path] => mount("none", path, "none", libc::MS_SHARED | libc::MS_REC),
        ["overlay", lower, path] => overlay(lower, path),
        ["clone-tree", from, to] => clone_tree(from, to),
        ["setattr-rw", path] => setattr_rw(path),
        ["fsopen"] => done(call(libc::SYS_fsopen, &[at(c"tmpfs"), 0])),
        ["fspick", path] => done(call(
            libc::SYS_fspick,
            &[signed(libc::AT_FDCWD), at(&*text(path)), 0],
        )),
        ["pivot-root", path] => done(call(
            libc::SYS_pivot_root,
            &[at(&*text(path)), at(&*text(path))],
        )),
        ["chroot", path] => done(call(libc::SYS_chroot, &[at(&*text(path))])),
        ["swapoff", path] => done(call(libc::SYS_swapoff, &[at(&*text(path))])),
        _ => return None,
    })
}

fn mount(source: &str, target: &str, kind: &str, flags: libc::c_ulong) -> Tried {
    let (source, target, kind) = (text(source), text(target), text(kind));
    done(call(
        libc::SYS_mount,
        &[at(&*source), at(&*target), at(&*kind), flags as usize, 0],
    ))
}

fn overlay(lower: &str, path: &str) -> Tried {
    let (path, data) = (text(path), text(&format!("lowerdir={lower}:/")));
    done(call(
        libc::SYS_mount,
        &[at(c"overlay"), at(&*path), at(c"overlay"), 0, at(&*data)],
    ))
}

fn clone_tree(from: &str, to: &str) -> Tried {
    let (from, to, here) = (text(from), text(to), signed(libc::AT_FDCWD));
    let tree = call(libc::SYS_open_tree, &[here, at(&*from), OPEN_TREE_CLONE])?;
    done(call(
        libc::SYS_move_mount,
        &[tree, at(c""), here, at(&*to), MOVE_MOUNT_F_EMPTY_PATH],
    ))
}

fn setattr_rw(path: &str) -> Tried {
    let place = File::open(path)?;
    // attr_set, attr_clr, propagation, userns_fd
    let attributes = bytes::words([0, libc::MOUNT_ATTR_RDONLY, 0, 0]);
    let flags = libc::AT_EMPTY_PATH as usize | AT_RECURSIVE;
    done(call(
        libc::SYS_mount_setattr,
        &[
            place.as_raw_fd() as usize,
            at(c""),
            flags,
            at(&*attributes),
            attributes.len(),
        ],
    ))
}
