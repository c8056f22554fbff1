//! Namespaces: new ones, and those of others.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;

use super::{Tried, attempt as any, bytes, done};
use crate::kernel::{at, call};

pub fn attempt(arguments: &[&str]) -> Option<Tried> {
    Some(match *arguments {
        ["unshare-user"] => done(unshare(libc::CLONE_NEWUSER)),
        ["unshare-mount"] => done(unshare(libc::CLONE_NEWNS)),
        ["clone-user"] => clone_user(),
        ["clone3-user"] => clone3_user(),
        ["setns", pid, kind] => setns(pid, kind),
        ["in-userns", ref inner @ ..] => {
            if let Err(error) = become_root_of_a_new_namespace() {
                return Some(Err(error));
            }
            return any(inner);
        }
        ["setuid", ref inner @ ..] => {
            let ids = call(libc::SYS_setgid, &[0]).and_then(|_| call(libc::SYS_setuid, &[0]));
            return match ids {
                Ok(_) => any(inner),
                Err(error) => Some(Err(error)),
            };
        }
        ["raise-capabilities"] => raise_capabilities(),
        ["ambient"] => done(call(
            libc::SYS_prctl,
            &[
                libc::PR_CAP_AMBIENT as usize,
                libc::PR_CAP_AMBIENT_RAISE as usize,
                21,
                0,
                0,
            ],
        )),
        ["sethostname"] => done(call(libc::SYS_sethostname, &[at("pwned"), 5])),
        _ => return None,
    })
}

fn unshare(flags: i32) -> io::Result<usize> {
    call(libc::SYS_unshare, &[flags as usize])
}

fn become_root_of_a_new_namespace() -> io::Result<()> {
    let id = call(libc::SYS_geteuid, &[])?;
    unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {id} 1"))
}

/// Ends a child of `clone` at once, and waits for it.
fn in_child(result: io::Result<usize>) -> Tried {
    match result? {
        0 => std::process::exit(0),
        child => done(call(libc::SYS_wait4, &[child, 0, libc::__WALL as usize, 0])),
    }
}

fn clone_user() -> Tried {
    in_child(call(
        libc::SYS_clone,
        &[(libc::CLONE_NEWUSER | libc::SIGCHLD) as usize, 0, 0, 0, 0],
    ))
}

fn clone3_user() -> Tried {
    // flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls
    let arguments = bytes::words([
        libc::CLONE_NEWUSER as u64,
        0,
        0,
        0,
        libc::SIGCHLD as u64,
        0,
        0,
        0,
    ]);
    in_child(call(libc::SYS_clone3, &[at(&*arguments), arguments.len()]))
}

fn setns(pid: &str, kind: &str) -> Tried {
    let namespace = File::open(format!("/proc/{pid}/ns/{kind}"))?;
    done(call(libc::SYS_setns, &[namespace.as_raw_fd() as usize, 0]))
}

/// Asks for every capability in the effective set.
fn raise_capabilities() -> Tried {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let sets = [u32::MAX, u32::MAX, 0, 0x1ff, 0x1ff, 0];
    done(call(libc::SYS_capset, &[at(&header), at(&sets)]))
}
