//! A server whose sandboxes are held at the worst moment: when the program inside runs already, and its first process has yet
//! to close what it was given.
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use exec_server::sys::poll::{self, PollFd, READABLE};

use crate::kernel::{at, at_mut, call};

/// What a first process calls once it has started the program, until it waits for nothing but its end.
const HELD: [libc::c_long; 3] = [libc::SYS_capset, libc::SYS_close, libc::SYS_close_range];

/// How long a call is held at most, should the program not end.
const LONGEST: Duration = Duration::from_secs(5);
/// How often is looked whether the program has ended.
const OFTEN: Duration = Duration::from_millis(5);

const SET_MODE_FILTER: usize = 1;
const NEW_LISTENER: usize = 1 << 3;
const USER_NOTIF: u32 = 0x7fc0_0000;
const ALLOW: u32 = 0x7fff_0000;
const NOTIF_RECV: usize = 0xc050_2100;
const NOTIF_SEND: usize = 0xc018_2101;
/// The call is made as if it had not been held.
const CONTINUE: u32 = 1;

/// `struct seccomp_notif`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Notice {
    id: u64,
    pid: u32,
    flags: u32,
    data: [u64; 8],
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
struct Answer {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

/// Runs the command and ends with it. Each of the calls [`HELD`] of a process that is number 1 of a pid namespace below ours
/// waits as long as its child with the number 2 lives; each that has waited is a line in the file `log`.
pub fn hold(log: &str, command: &[&str]) -> ! {
    let mut log = File::create(log).unwrap();
    let command: Vec<String> = command.iter().map(ToString::to_string).collect();
    let (listeners, listener) = channel();
    let (children, child) = channel();
    // Only this thread and what it starts have the filter: whoever answers must not wait for an answer.
    std::thread::spawn(move || start(&command, &listeners, &children));
    let listener: OwnedFd = listener.recv().unwrap();
    let mut running: Option<Child> = None;
    let mut waiting: Vec<(Notice, Instant)> = Vec::new();
    loop {
        running = running.or_else(|| child.try_recv().ok());
        if let Some(child) = &mut running
            && let Some(status) = child.try_wait().unwrap()
        {
            std::process::exit(status.code().unwrap_or(1));
        }
        let mut ready = [PollFd::new(listener.as_fd(), READABLE)];
        poll::wait(&mut ready, Some(OFTEN)).unwrap();
        if ready[0].is_ready() {
            // Whoever made the call may have been killed meanwhile.
            if let Ok(notice) = receive(&listener) {
                if has_program(notice.pid) {
                    writeln!(log, "{}", notice.data[0] as u32).unwrap();
                    waiting.push((notice, Instant::now()));
                } else {
                    answer(&listener, &notice);
                }
            }
        }
        waiting.retain(|(notice, since)| {
            let is_held = has_program(notice.pid) && since.elapsed() < LONGEST;
            if !is_held {
                answer(&listener, notice);
            }
            is_held
        });
    }
}

fn start(command: &[String], listeners: &Sender<OwnedFd>, children: &Sender<Child>) {
    listeners.send(listen().unwrap()).unwrap();
    let child = Command::new(&command[0]).args(&command[1..]).spawn();
    children.send(child.unwrap()).unwrap();
}

/// Puts the filter on this thread.
fn listen() -> io::Result<OwnedFd> {
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let count = HELD.len() as u8;
    let mut filter = vec![step(0x20, 0, 0, 0)];
    for (index, number) in (0..).zip(HELD) {
        filter.push(step(0x15, count - index, 0, number as u32));
    }
    filter.extend([step(0x06, 0, 0, ALLOW), step(0x06, 0, 0, USER_NOTIF)]);
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    call(libc::SYS_prctl, &[libc::PR_SET_NO_NEW_PRIVS as usize, 1])?;
    let arguments = [SET_MODE_FILTER, NEW_LISTENER, at(&program)];
    let listener = call(libc::SYS_seccomp, &arguments)?;
    // SAFETY: the kernel has just made it, for us.
    Ok(unsafe { OwnedFd::from_raw_fd(listener as i32) })
}

fn receive(listener: &OwnedFd) -> io::Result<Notice> {
    let mut notice = Notice::default();
    let fd = listener.as_raw_fd() as usize;
    call(libc::SYS_ioctl, &[fd, NOTIF_RECV, at_mut(&mut notice)])?;
    Ok(notice)
}

fn answer(listener: &OwnedFd, notice: &Notice) {
    let answer = Answer {
        id: notice.id,
        value: 0,
        error: 0,
        flags: CONTINUE,
    };
    let fd = listener.as_raw_fd() as usize;
    // It fails if the process is gone, and then there is nobody to answer.
    let _ = call(libc::SYS_ioctl, &[fd, NOTIF_SEND, at(&answer)]);
}

/// Whether a process is the first one of a pid namespace below ours, and has a living child with the number 2 there.
fn has_program(pid: u32) -> bool {
    if number_inside(&pid.to_string()) != Some(1) {
        return false;
    }
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| name.parse::<u32>().is_ok()) else {
            return false;
        };
        field(name, "PPid:").is_some_and(|parent| parent == pid.to_string())
            && number_inside(name) == Some(2)
            && field(name, "State:").is_some_and(|state| !state.starts_with(['Z', 'X']))
    })
}

/// The number of a process in its own pid namespace; none if that is ours.
fn number_inside(pid: &str) -> Option<u32> {
    let numbers = field(pid, "NSpid:")?;
    let mut numbers = numbers.split_whitespace();
    numbers.next()?;
    numbers.next_back()?.parse().ok()
}

fn field(pid: &str, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    Some(line[name.len()..].trim().to_string())
}
