//! Running a program that may not use some system calls, as it is in containers and on old kernels.
#![allow(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::profile;

const EPERM: u32 = libc::EPERM as u32;
const EINVAL: u32 = libc::EINVAL as u32;
const EMFILE: u32 = libc::EMFILE as u32;
const ENOSYS: u32 = libc::ENOSYS as u32;

/// Every kind of namespace that `clone` can make.
const NEW_NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC) as u32;

/// Denies what the words (separated by commas) name, and becomes the program.
pub fn deny(words: &str, command: &[&str]) -> ! {
    let mut filter = vec![step(0x20, 0, 0, 0)];
    for word in words.split(',') {
        match word {
            "namespaces" => {
                filter.extend(fails(libc::SYS_unshare, EPERM));
                filter.extend(fails(libc::SYS_clone3, ENOSYS));
                filter.extend(clone_fails(NEW_NAMESPACES, EPERM));
            }
            // Before Linux 5.3, and before 5.2.
            "pidfd" => {
                filter.extend(fails(libc::SYS_pidfd_open, ENOSYS));
                filter.extend(fails(libc::SYS_clone3, ENOSYS));
                filter.extend(clone_fails(libc::CLONE_PIDFD as u32, EINVAL));
            }
            "netlink" => {
                let number = libc::SYS_socket as u32;
                filter.extend([
                    step(0x15, 0, 4, number),
                    step(0x20, 0, 0, 16),
                    step(0x15, 0, 1, libc::AF_NETLINK as u32),
                    step(0x06, 0, 0, 0x0005_0000 | EPERM),
                    step(0x20, 0, 0, 0),
                ]);
            }
            // As for a user who has no more of them.
            "inotify" => filter.extend(fails(libc::SYS_inotify_init1, EMFILE)),
            "mount" => filter.extend(fails(libc::SYS_mount, EPERM)),
            "memfd_create" => filter.extend(fails(libc::SYS_memfd_create, ENOSYS)),
            "landlock" => filter.extend(fails(libc::SYS_landlock_create_ruleset, ENOSYS)),
            "openat2" => filter.extend(fails(libc::SYS_openat2, ENOSYS)),
            "pidfd_open" => filter.extend(fails(libc::SYS_pidfd_open, ENOSYS)),
            "close_range" => filter.extend(fails(libc::SYS_close_range, ENOSYS)),
            "clone3" => filter.extend(fails(libc::SYS_clone3, ENOSYS)),
            // Decides about all the rest: a runtime's profile is the last word.
            other => match other.strip_prefix("profile=") {
                Some(path) => filter.extend(profile::filter(path)),
                None => panic!("nothing is known of {other}"),
            },
        }
    }
    filter.push(step(0x06, 0, 0, 0x7fff_0000));
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the program describes a live slice; the calls change this process alone.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        assert_eq!(
            libc::syscall(libc::SYS_seccomp, mode, 0, &raw const program),
            0
        );
    }
    panic!("{}", Command::new(command[0]).args(&command[1..]).exec());
}

/// A call that fails with an errno.
pub fn fails(number: libc::c_long, errno: u32) -> [libc::sock_filter; 2] {
    [
        step(0x15, 0, 1, number as u32),
        step(0x06, 0, 0, 0x0005_0000 | errno),
    ]
}

/// `clone` that fails with an errno if one of these flags is set.
fn clone_fails(flags: u32, errno: u32) -> [libc::sock_filter; 5] {
    [
        step(0x15, 0, 4, libc::SYS_clone as u32),
        step(0x20, 0, 0, 16),
        step(0x45, 0, 1, flags),
        step(0x06, 0, 0, 0x0005_0000 | errno),
        step(0x20, 0, 0, 0),
    ]
}

/// A step of a filter.
pub fn step(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}
