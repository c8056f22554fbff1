//! The only place with `unsafe`: raw system calls behind owned, safe types.
//!
//! Nothing here knows what a session, a message or a policy is. Every block
//! carries the argument for its soundness, every descriptor that leaves is an
//! owned one and close-on-exec.
#![allow(unsafe_code)]

mod capabilities;
pub mod cgroup;
#[cfg(all(target_env = "musl", target_arch = "x86_64"))]
mod copy;
pub mod directory;
pub mod enter;
mod faults;
pub mod file;
pub mod guardian;
pub mod handed;
pub mod initial_environment;
pub mod inotify;
pub mod landlock;
pub mod limits;
pub mod mark;
pub mod memfd;
pub mod mount;
pub mod namespaces;
pub mod pages;
pub mod pass;
pub mod poll;
pub mod process;
pub mod pty;
pub mod random;
pub mod reserve;
pub mod schedule;
pub mod seccomp;
pub mod secret_file;
pub mod signal;
pub mod sock_diag;
pub mod socket;
pub mod spawn;
pub mod sync;
pub mod terminal;
#[cfg(panic = "abort")]
mod unwind;
pub mod vector;

use std::io;

/// Turns the -1 of a system call into the error that `errno` names.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// The same for a call that counts bytes.
fn counted(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Makes a call again when a signal has interrupted it: a handler's, or one that stopped this process for a while.
/// Async-signal-safe if the call is.
pub(crate) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
