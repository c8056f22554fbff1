//! Processes that are not ours.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Tried, bytes, done};
use crate::kernel::{at, at_mut, call, signed};
use crate::number;

pub fn attempt(arguments: &[&str]) -> Option<Tried> {
    Some(match *arguments {
        ["kill", pid, signal] => done(call(
            libc::SYS_kill,
            &[signed(pid.parse().unwrap()), pid_of(signal)],
        )),
        ["tgkill", pid, signal] => done(call(
            libc::SYS_tgkill,
            &[pid_of(pid), pid_of(pid), pid_of(signal)],
        )),
        ["sigqueue", pid, signal] => queue(pid_of(pid), pid_of(signal)),
        ["pidfd-kill", pid, signal] => {
            let opened = call(libc::SYS_pidfd_open, &[pid_of(pid), 0]);
            done(opened.and_then(|process| {
                call(
                    libc::SYS_pidfd_send_signal,
                    &[process, pid_of(signal), 0, 0],
                )
            }))
        }
        ["pidfd-getfd", pid, descriptor] => {
            let opened = call(libc::SYS_pidfd_open, &[pid_of(pid), 0]);
            done(
                opened.and_then(|process| {
                    call(libc::SYS_pidfd_getfd, &[process, pid_of(descriptor), 0])
                }),
            )
        }
        ["ptrace", pid] => done(call(
            libc::SYS_ptrace,
            &[libc::PTRACE_SEIZE as usize, pid_of(pid), 0, 0],
        )),
        ["vm-read", pid, address] => vm(libc::SYS_process_vm_readv, pid, address),
        ["vm-write", pid, address] => vm(libc::SYS_process_vm_writev, pid, address),
        ["of-child", what] => of_child(what),
        ["trace-me", ref inner @ ..] => trace_me(inner),
        ["environ", pid] => fs::read_to_string(format!("/proc/{pid}/environ")),
        ["open-memory", pid] => done(
            fs::File::options()
                .read(true)
                .write(true)
                .open(format!("/proc/{pid}/mem")),
        ),
        ["prlimit", pid] => done(call(
            libc::SYS_prlimit64,
            &[
                pid_of(pid),
                libc::RLIMIT_NOFILE as usize,
                at(&[33_u64, 33]),
                0,
            ],
        )),
        ["read-limits", pid] => done(call(
            libc::SYS_prlimit64,
            &[
                pid_of(pid),
                libc::RLIMIT_NOFILE as usize,
                0,
                at_mut(&mut [0_u64; 2]),
            ],
        )),
        ["nice", pid] => done(call(
            libc::SYS_setpriority,
            &[libc::PRIO_PROCESS as usize, pid_of(pid), 7],
        )),
        ["affinity", pid] => done(call(
            libc::SYS_sched_setaffinity,
            &[pid_of(pid), 8, at(&1_u64)],
        )),
        ["scheduler", pid] => done(call(
            libc::SYS_sched_setscheduler,
            &[pid_of(pid), libc::SCHED_IDLE as usize, at(&0_u32)],
        )),
        ["ioprio", pid] => done(call(libc::SYS_ioprio_set, &[1, pid_of(pid), 3 << 13])),
        ["kcmp", pid] => done(call(
            libc::SYS_kcmp,
            &[std::process::id() as usize, pid_of(pid), 0, 0, 0],
        )),
        ["pids"] => pids(),
        ["open-process", pid] => open_process(pid),
        ["bomb"] => bomb(),
        ["wait"] => crate::sleep(),
        ["exec-setuid", path] => done(Command::new(path).status()),
        ["exec-memfd", ref inner @ ..] => exec_memfd(inner),
        ["preloaded", library, path, ref inner @ ..] => Err(Command::new(path)
            .args(inner)
            .env("LD_PRELOAD", library)
            .exec()),
        _ => return None,
    })
}

fn pid_of(text: &str) -> usize {
    number(text) as usize
}

fn queue(pid: usize, signal: usize) -> Tried {
    let mut information = [0_u8; 128];
    information[8..12].copy_from_slice(&(-1_i32).to_ne_bytes());
    done(call(
        libc::SYS_rt_sigqueueinfo,
        &[pid, signal, at(&information)],
    ))
}

/// Moves eight bytes between a stranger's memory and ours.
fn vm(number: libc::c_long, pid: &str, address: &str) -> Tried {
    let mut ours = [0_u8; 8];
    let local = bytes::words([at_mut(&mut ours) as u64, 8]);
    let address = u64::from_str_radix(address, 16).unwrap();
    let remote = bytes::words([address, 8]);
    done(call(
        number,
        &[pid_of(pid), at(&*local), 1, at(&*remote), 1, 0],
    ))
}

/// Reaches into a process that we have started.
fn of_child(what: &str) -> Tried {
    let mut child = crate::another(&["sleep"]).stdout(Stdio::null()).spawn()?;
    let pid = child.id().to_string();
    let begun = Instant::now();
    let tried = loop {
        let tried = match what {
            "ptrace" => attempt(&[what, &pid]),
            _ => attempt(&[what, &pid, &writable_address(&pid)?]),
        };
        // While it becomes another program its memory moves. Who may not reach into it is told so, whatever the address.
        let has_moved = tried.as_ref().is_some_and(|it| {
            it.as_ref()
                .is_err_and(|error| error.raw_os_error() == Some(libc::EFAULT))
        });
        if !has_moved || begun.elapsed() > Duration::from_secs(5) {
            break tried;
        }
    };
    child.kill()?;
    child.wait()?;
    tried.unwrap_or_else(|| Err(io::ErrorKind::Unsupported.into()))
}

/// Where a process has memory that it can write.
fn writable_address(pid: &str) -> io::Result<String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let mapping = maps.lines().find(|line| line.contains(" rw"));
    let address = mapping.and_then(|line| line.split('-').next());
    address
        .map(str::to_owned)
        .ok_or(io::ErrorKind::NotFound.into())
}

/// Makes our parent trace us, which has not asked for it, and becomes another of us, at which the kernel stops who is
/// traced.
fn trace_me(inner: &[&str]) -> Tried {
    call(libc::SYS_ptrace, &[libc::PTRACE_TRACEME as usize])?;
    Err(crate::another(inner).exec())
}

/// Opens whatever leads out of a process or into it, for a while; what could be opened.
fn open_process(pid: &str) -> Tried {
    let begun = Instant::now();
    loop {
        let found = crate::inventory::openings(pid);
        if !found.is_empty() {
            return Ok(found.join(" "));
        }
        if begun.elapsed() > Duration::from_millis(200) {
            return Err(io::Error::from_raw_os_error(libc::EACCES));
        }
    }
}

fn pids() -> Tried {
    let mut found: Vec<u32> = Vec::new();
    for entry in fs::read_dir("/proc")? {
        found.extend(
            entry?
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<u32>().ok()),
        );
    }
    let found: Vec<String> = found.iter().map(u32::to_string).collect();
    Ok(found.join(" "))
}

/// Starts as many of us as it can, which all stay.
fn bomb() -> Tried {
    let mut count = 0;
    let limit = loop {
        let mut one = Command::new("/proc/self/exe");
        match one
            .arg("sleep")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
        {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
        if count == 5000 {
            return Ok("unlimited".into());
        }
    };
    Err(io::Error::other(format!("after {count}: {limit}")))
}

/// Runs a copy of this program that has no name in any file system.
fn exec_memfd(inner: &[&str]) -> Tried {
    let file = call(libc::SYS_memfd_create, &[at(c"copy"), 0])?;
    let path = format!("/proc/self/fd/{file}");
    fs::write(&path, fs::read("/proc/self/exe")?)?;
    Err(Command::new(path).arg("attempt").args(inner).exec())
}
