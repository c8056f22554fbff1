//! A tiny process that outlives ours for a moment and kills what we leave behind.
//!
//! The kernel's parent-death signal reaches a direct child only. When this
//! process dies by SIGKILL, nothing of ours can run any more; the guardian,
//! forked before the first child, then sees the end of its pipe and kills
//! every process group that was registered and not struck off.
//!
//! A child registers *itself* between fork and exec, so there is no moment at
//! which it runs unregistered. It does so in memory that we share with the
//! guardian, which sleeps until we are dead: a start costs it nothing. Should
//! somebody kill the guardian, its successor finds the same memory.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::check;
use super::process::open_pidfd;

/// Groups that the guardian can hold at once: far above any `--max-processes`.
const CAPACITY: usize = 65_536;

/// What an entry says of a group; its low bit, above it the group's number.
const ADDED: i64 = 0;
const REAPED: i64 = 1;

/// The guardian, and its successors.
#[derive(Debug)]
pub struct Guardian {
    table: Table,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    current: Current,
    places: Places,
}

#[derive(Debug)]
struct Current {
    /// `None` once it is reaped, when the number may be another's.
    pid: Option<libc::pid_t>,
    /// Readable after its end. `None` where the kernel has no pidfd.
    ended: Option<Arc<OwnedFd>>,
    /// Our end.
    _pipe: File,
}

impl Guardian {
    /// Forks the guardian. Cheap while we are small, so do it before the first child.
    pub fn start() -> io::Result<Self> {
        let table = Table::map()?;
        let current = Current::fork(&table)?;
        Ok(Self {
            table,
            state: Mutex::new(State {
                current,
                places: Places::default(),
            }),
        })
    }

    /// Replaces the guardian if it was killed. Whether it was.
    pub fn replace_if_ended(&self) -> io::Result<bool> {
        let mut state = self.lock();
        let is_gone = state.current.pid.is_none_or(is_reaped);
        if is_gone {
            state.current.pid = None;
            // Nobody may wait for it any more, should there be no other.
            state.current.ended = None;
            state.current = Current::fork(&self.table)?;
        }
        Ok(is_gone)
    }

    /// Becomes readable when the guardian has ended. `None` before Linux 5.3.
    pub fn ended(&self) -> Option<Arc<OwnedFd>> {
        self.lock().current.ended.clone()
    }

    /// A place for a child that is about to be made. `None` if the table is full: that one is only
    /// killed with its parent.
    pub(super) fn reserve(&self) -> Option<Entry<'_>> {
        let place = self.lock().places.take(&self.table)?;
        Some(Entry {
            word: &self.table.words()[place],
            place,
        })
    }

    /// The child of this entry was not made, or has ended before it ran a program.
    pub(super) fn give_back(&self, entry: &Entry<'_>) {
        self.lock().places.free(&self.table, entry.place);
    }

    /// The child of this entry leads this group.
    pub(super) fn added(&self, group: i32, entry: &Entry<'_>) {
        let mut state = self.lock();
        if let Some(stale) = state.places.of.insert(group, entry.place) {
            state.places.free(&self.table, stale);
        }
    }

    /// The leader of this group has been reaped; members of the group live on.
    pub fn leader_reaped(&self, group: i32) {
        if let Some(place) = self.lock().places.of.get(&group) {
            let words = self.table.words();
            words[*place].store(encode(group, REAPED), Ordering::Release);
        }
    }

    /// The group is gone.
    pub fn remove(&self, group: i32) {
        let mut state = self.lock();
        if let Some(place) = state.places.of.remove(&group) {
            state.places.free(&self.table, place);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where one child registers itself.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    word: &'a AtomicI64,
    place: usize,
}

impl Entry<'_> {
    /// Registers the calling process's group. For the child between fork and exec:
    /// async-signal-safe.
    pub(super) fn register_self(&self) {
        // SAFETY: getpid cannot fail.
        let group = unsafe { libc::getpid() };
        self.word.store(encode(group, ADDED), Ordering::Release);
    }
}

/// Which places of the table are whose.
#[derive(Debug, Default)]
struct Places {
    of: HashMap<i32, usize>,
    free: Vec<usize>,
}

impl Places {
    fn take(&mut self, table: &Table) -> Option<usize> {
        if let Some(place) = self.free.pop() {
            return Some(place);
        }
        let words = table.words();
        let used = words[0].load(Ordering::Relaxed) + 1;
        let place = usize::try_from(used).ok().filter(|it| *it < words.len())?;
        words[0].store(used, Ordering::Release);
        Some(place)
    }

    fn free(&mut self, table: &Table, place: usize) {
        table.words()[place].store(0, Ordering::Release);
        self.free.push(place);
    }
}

/// The memory that we share with the guardian: how many entries were ever used, and the entries.
#[derive(Debug)]
struct Table(NonNull<AtomicI64>);

// SAFETY: it is memory of atomics, which stays where it is until it is dropped.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

impl Table {
    const WORDS: usize = CAPACITY + 1;
    const BYTES: usize = Self::WORDS * size_of::<AtomicI64>();

    /// Pages cost nothing until they are written.
    fn map() -> io::Result<Self> {
        // SAFETY: a new mapping of its own.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                Self::BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(memory.cast())
            .map(Self)
            .ok_or_else(io::Error::last_os_error)
    }

    fn words(&self) -> &[AtomicI64] {
        // SAFETY: the mapping has this many words, is aligned to a page, and was zero at first.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr(), Self::WORDS) }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: nothing borrows from it any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), Self::BYTES) };
    }
}

impl Current {
    fn fork(table: &Table) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let reader = OwnedFd::from(reader);
        // SAFETY: the child calls only async-signal-safe functions (watch) and never returns.
        let pid = check(unsafe { libc::fork() })?;
        if pid == 0 {
            watch(&reader, table.words());
        }
        // Before there is anything to guard it is out of reach of who kills our group. The error is
        // that it has left by itself already, for a session of its own.
        // SAFETY: takes no pointers.
        unsafe { libc::setpgid(pid, pid) };
        Ok(Self {
            pid: Some(pid),
            ended: open_pidfd(pid).map(Arc::new),
            _pipe: OwnedFd::from(writer).into(),
        })
    }
}

/// Whether this child of ours is no more, not even as a zombie.
fn is_reaped(pid: libc::pid_t) -> bool {
    // SAFETY: a null status is allowed.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) != 0 }
}

fn encode(group: i32, state: i64) -> i64 {
    i64::from(group) << 1 | state
}

/// The guardian's life. No allocation, no panic, no return.
fn watch(pipe: &OwnedFd, words: &[AtomicI64]) -> ! {
    let mut buffer = [0_u8; 8];
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
        // Nobody writes, so this is the end.
        libc::read(0, buffer.as_mut_ptr().cast(), buffer.len());
    }
    let [used, entries @ ..] = words else {
        // SAFETY: ends this process at once.
        unsafe { libc::_exit(1) }
    };
    let used = used.load(Ordering::Acquire) as usize;
    for entry in entries.iter().take(used) {
        let entry = entry.load(Ordering::Acquire);
        let group = (entry >> 1) as libc::pid_t;
        // SAFETY: kill takes no pointers. A number whose leader was reaped and that some process
        // has now belongs to a stranger.
        unsafe {
            let is_stranger = entry & 1 == REAPED && libc::kill(group, 0) == 0;
            if group > 1 && !is_stranger {
                libc::kill(-group, libc::SIGKILL);
            }
        }
    }
    // SAFETY: ends this process at once.
    unsafe { libc::_exit(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_kills_our_group_never_reaches_the_guardian() {
        let table = Table::map().unwrap();
        for _ in 0..20 {
            let mut guardian = Current::fork(&table).unwrap();
            let pid = guardian.pid.take().unwrap();
            // SAFETY: takes no pointers.
            let group = unsafe { libc::getpgid(pid) };
            drop(guardian);
            // SAFETY: a null status is allowed.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
            assert_eq!(group, pid);
        }
    }

    #[test]
    fn places_are_used_again() {
        let table = Table::map().unwrap();
        let mut places = Places::default();
        let first = places.take(&table).unwrap();
        let second = places.take(&table).unwrap();
        assert_ne!(first, second);
        table.words()[first].store(encode(10, REAPED), Ordering::Release);
        places.free(&table, first);
        assert_eq!(table.words()[first].load(Ordering::Acquire), 0);
        assert_eq!(places.take(&table), Some(first));
        assert_eq!(table.words()[0].load(Ordering::Acquire), 2);
    }

    #[test]
    fn a_full_table_has_no_more_places_and_does_not_panic() {
        let table = Table::map().unwrap();
        let mut places = Places::default();
        for _ in 0..CAPACITY {
            assert!(places.take(&table).is_some());
        }
        assert_eq!(places.take(&table), None);
        places.free(&table, 7);
        assert_eq!(places.take(&table), Some(7));
    }
}
