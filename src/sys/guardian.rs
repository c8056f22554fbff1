//! A tiny process that outlives ours for a moment and kills what we leave behind.
//!
//! The kernel's parent-death signal reaches a direct child only. When this
//! process dies by SIGKILL, nothing of ours can run any more; the guardian,
//! forked before the first child, then sees the end of its pipe and kills
//! every process group that was registered and not struck off.
//!
//! A child registers *itself* between fork and exec, so there is no moment at
//! which it runs unregistered. We keep the same table: should somebody kill
//! the guardian, its successor is born with it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::check;
use super::socket::set_nonblocking;

/// Groups that the guardian can hold at once: far above any `--max-processes`.
const CAPACITY: usize = 65_536;

/// What a message says of a group; the low bits of the message, above them the group's number.
const ADD: i64 = 0;
const REAPED: i64 = 1;
const REMOVE: i64 = 2;
const OPERATION_BITS: i64 = 0b11;

/// The guardian, and its successors.
#[derive(Debug)]
pub struct Guardian(Mutex<State>);

#[derive(Debug)]
struct State {
    current: Current,
    /// What the guardian has to know of each group.
    groups: HashMap<i32, i64>,
    /// Former guardians that were killed but not reaped yet.
    former: Vec<libc::pid_t>,
}

#[derive(Debug)]
struct Current {
    /// `None` once it is reaped, when the number may be another's.
    pid: Option<libc::pid_t>,
    /// Our end.
    pipe: Arc<File>,
}

impl Guardian {
    /// Forks the guardian. Cheap while we are small, so do it before the first child.
    pub fn start() -> io::Result<Self> {
        let groups = HashMap::new();
        Ok(Self(Mutex::new(State {
            current: Current::fork(&groups)?,
            groups,
            former: Vec::new(),
        })))
    }

    /// For when some child has ended: replaces the guardian if it was that. Whether it was.
    pub fn replace_if_ended(&self) -> io::Result<bool> {
        let mut state = self.lock();
        state.former.retain(|pid| !is_reaped(*pid));
        let is_gone = state.current.pid.is_none_or(is_reaped);
        if is_gone {
            state.current.pid = None;
            state.replace()?;
        }
        Ok(is_gone)
    }

    /// For when a child could not register: replaces the guardian if it is gone or stuck.
    /// Whether it was.
    pub fn replace_if_silent(&self) -> io::Result<bool> {
        let mut state = self.lock();
        // There is no group 0, so this says nothing.
        let is_silent = state.current.tell(0, REMOVE).is_err();
        if is_silent {
            state.replace()?;
        }
        Ok(is_silent)
    }

    /// What a child uses to register itself.
    pub(super) fn pipe(&self) -> Arc<File> {
        Arc::clone(&self.lock().current.pipe)
    }

    /// A child has registered this group through `pipe`.
    pub(super) fn added(&self, group: i32, pipe: &Arc<File>) {
        let mut state = self.lock();
        state.groups.insert(group, ADD);
        if !Arc::ptr_eq(pipe, &state.current.pipe) {
            // Its guardian has been replaced since.
            state.tell(group, ADD);
        }
    }

    /// The leader of this group has been reaped; members of the group live on.
    pub fn leader_reaped(&self, group: i32) {
        let mut state = self.lock();
        state.groups.insert(group, REAPED);
        state.tell(group, REAPED);
    }

    /// The group is gone.
    pub fn remove(&self, group: i32) {
        let mut state = self.lock();
        state.groups.remove(&group);
        state.tell(group, REMOVE);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tell(&self, group: i32, operation: i64) {
        // A guardian that is gone is replaced soon, and one that is stuck at the next start.
        let _ = self.current.tell(group, operation);
    }

    fn replace(&mut self) -> io::Result<()> {
        let next = Current::fork(&self.groups)?;
        let former = std::mem::replace(&mut self.current, next);
        if let Some(pid) = former.pid {
            // One that is only stuck must never come to see the end of its pipe.
            // SAFETY: takes no pointers, and an unreaped child's number is its own.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            self.former.push(pid);
        }
        Ok(())
    }
}

impl Current {
    fn fork(groups: &HashMap<i32, i64>) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let reader = OwnedFd::from(reader);
        let writer = OwnedFd::from(writer);
        set_nonblocking(writer.as_fd())?;
        // Made here because the child of a threaded process must not allocate.
        // Zeroed pages cost nothing until they are written.
        let mut table = vec![0_i64; CAPACITY];
        let known = groups.iter().map(|(group, state)| encode(*group, *state));
        let count = groups.len().min(CAPACITY);
        for (place, entry) in table.iter_mut().zip(known) {
            *place = entry;
        }
        // SAFETY: the child calls only async-signal-safe functions (watch) and never returns.
        let pid = check(unsafe { libc::fork() })?;
        if pid == 0 {
            watch(&reader, &mut table, count);
        }
        Ok(Self {
            pid: Some(pid),
            pipe: Arc::new(File::from(writer)),
        })
    }

    fn tell(&self, group: i32, operation: i64) -> io::Result<usize> {
        (&*self.pipe).write(&encode(group, operation).to_ne_bytes())
    }
}

/// Whether this child of ours is no more, not even as a zombie.
fn is_reaped(pid: libc::pid_t) -> bool {
    // SAFETY: a null status is allowed.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) != 0 }
}

fn encode(group: i32, operation: i64) -> i64 {
    i64::from(group) << 2 | operation
}

/// Registers the calling process's group. For the child between fork and exec:
/// async-signal-safe, returns the errno on failure.
pub(super) fn register_self(pipe: BorrowedFd<'_>) -> Result<(), i32> {
    // SAFETY: getpid cannot fail; the buffer is eight readable bytes, less than
    // PIPE_BUF, so the write is whole or nothing.
    unsafe {
        let message = encode(libc::getpid(), ADD).to_ne_bytes();
        let written = libc::write(pipe.as_raw_fd(), message.as_ptr().cast(), message.len());
        if written == message.len() as isize {
            Ok(())
        } else {
            Err(*libc::__errno_location())
        }
    }
}

/// The guardian's life. No allocation, no panic, no return.
fn watch(pipe: &OwnedFd, groups: &mut [i64], mut count: usize) -> ! {
    let mut buffer = [0_u8; 512];
    let mut filled = 0_usize;
    // SAFETY: plain system calls on our own descriptors and buffers. Standard
    // descriptors are closed too: a client waits for the end of our stdout.
    unsafe {
        let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(all.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut());
        libc::setsid();
        libc::prctl(libc::PR_SET_NAME, c"exec-guardian".as_ptr());
        libc::chdir(c"/".as_ptr());
        if libc::dup2(pipe.as_raw_fd(), 0) != 0 {
            libc::_exit(1);
        }
        super::spawn::child::close_from(1);
    }
    loop {
        let rest = &mut buffer[filled..];
        // SAFETY: the pointer and the length describe one writable slice.
        let got = unsafe { libc::read(0, rest.as_mut_ptr().cast(), rest.len()) };
        if got <= 0 {
            break;
        }
        filled += got as usize;
        let whole = filled / 8 * 8;
        for message in buffer[..whole].chunks_exact(8) {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(message);
            note(i64::from_ne_bytes(bytes), groups, &mut count);
        }
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
    }
    for entry in &groups[..count] {
        let group = (entry >> 2) as libc::pid_t;
        // SAFETY: kill takes no pointers. A number whose leader was reaped and that some process
        // has now belongs to a stranger.
        unsafe {
            let is_stranger = entry & OPERATION_BITS == REAPED && libc::kill(group, 0) == 0;
            if group > 1 && !is_stranger {
                libc::kill(-group, libc::SIGKILL);
            }
        }
    }
    // SAFETY: ends this process at once.
    unsafe { libc::_exit(0) }
}

/// Applies one message to the table.
fn note(message: i64, groups: &mut [i64], count: &mut usize) {
    let live = &mut groups[..*count];
    let known = live.iter().position(|entry| entry >> 2 == message >> 2);
    match (message & OPERATION_BITS, known) {
        (REMOVE, Some(place)) => {
            live[place] = live[*count - 1];
            *count -= 1;
        }
        (REMOVE, None) => {}
        (_, Some(place)) => live[place] = message,
        (_, None) => {
            if let Some(free) = groups.get_mut(*count) {
                *free = message;
                *count += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_follows_a_group_through_its_life() {
        let mut groups = [0; 4];
        let mut count = 0;
        note(encode(10, ADD), &mut groups, &mut count);
        note(encode(11, ADD), &mut groups, &mut count);
        note(encode(10, REAPED), &mut groups, &mut count);
        assert_eq!(&groups[..count], &[encode(10, REAPED), encode(11, ADD)]);
        note(encode(10, REMOVE), &mut groups, &mut count);
        assert_eq!(&groups[..count], &[encode(11, ADD)]);
        note(encode(12, REMOVE), &mut groups, &mut count);
        assert_eq!(count, 1);
    }

    #[test]
    fn a_full_table_takes_no_more_and_does_not_panic() {
        let mut groups = [0; 1];
        let mut count = 0;
        note(encode(10, ADD), &mut groups, &mut count);
        note(encode(11, ADD), &mut groups, &mut count);
        assert_eq!(count, 1);
    }
}
