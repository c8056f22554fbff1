//! A tiny process that outlives ours for a moment and kills what we leave behind.
//!
//! The kernel's parent-death signal reaches a direct child only. When this
//! process dies by SIGKILL, nothing of ours can run any more; the guardian,
//! forked before the first child, then sees the end of its pipe and kills
//! every process group that was registered and not struck off, every process
//! that has our [mark](super::mark), and [what our cgroups limit](super::cgroup).
//!
//! A child registers and marks *itself* between fork and exec, so there is no moment at
//! which it runs without. It registers in memory that we share with the
//! guardian, which sleeps until we are dead: a start costs it nothing. Should
//! somebody kill the guardian, its successor finds the same memory.
//!
//! Should somebody kill us and the guardian at once, its deputy is left: a child of
//! the guardian that waits for the same. `pkill -f` with our name finds neither:
//! their command line is their own.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::cgroup::{Left, ServerCgroups};
use super::mark::{self, Mark};
use super::process::open_pidfd;
use super::{check, retry};

use crate::sys::sync::Mutex;

/// Groups that the guardian can hold at once: far above any `--max-processes`.
const CAPACITY: usize = 65_536;

/// What an entry says of a group; its low bit, above it the group's number.
const ADDED: i64 = 0;
const REAPED: i64 = 1;

/// How long the guardian looks for processes with our mark that go on to live.
const KILL_TIME: Duration = Duration::from_secs(10);
/// How long we wait for the guardian when it is not needed any more: milliseconds, but on a busy machine. Who comes
/// after us may be a process 1 that reaps nothing.
const END_TIME: Duration = Duration::from_secs(2);
/// How long a deputy without a guardian waits for our end: then there is another of both.
const DEPUTY_TIME: libc::c_int = 2000;
/// What they are called.
const NAME: &CStr = c"exec-guardian";
/// Between looks at it where the kernel has no pidfd.
const TICK: Duration = Duration::from_millis(5);

/// The guardian, and its successors. A clone stands for the same.
#[derive(Clone, Debug)]
pub struct Guardian {
    shared: Arc<Shared>,
    /// Of the processes that are started with this one.
    mark: Option<Mark>,
}

#[derive(Debug)]
struct Shared {
    table: Table,
    /// Of all processes that are to end with us.
    mark: Option<Mark>,
    /// At its end when we have ended.
    life: OwnedFd,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Keeps `life` from its end. None once the guardian was told to end; closed before that is
    /// waited for.
    pipe: Option<OwnedFd>,
    /// None once it was told to end, or if it could not be replaced.
    current: Option<Current>,
    places: Places,
}

#[derive(Debug)]
struct Current {
    /// `None` once it is reaped, when the number may be another's.
    pid: Option<libc::pid_t>,
    /// Readable after its end. `None` where the kernel has no pidfd.
    ended: Option<Arc<OwnedFd>>,
}

impl Guardian {
    /// Forks the guardian, which also kills every process with this mark. Cheap while we are
    /// small, so do it before the first child.
    pub fn start(mark: Option<Mark>) -> io::Result<Self> {
        let table = Table::map()?;
        let (life, pipe) = io::pipe()?;
        let life = OwnedFd::from(life);
        let current = Current::fork(&table, mark, &life)?;
        Ok(Self {
            shared: Arc::new(Shared {
                table,
                mark,
                life,
                state: Mutex::new(State {
                    pipe: Some(pipe.into()),
                    current: Some(current),
                    places: Places::default(),
                }),
            }),
            mark: None,
        })
    }

    /// Has the guardian end these cgroups, too, or none any more. False if their path is longer than it can keep.
    pub fn guard_cgroups(&self, cgroups: Option<&ServerCgroups>) -> bool {
        let note = cgroups.map(ServerCgroups::encode).unwrap_or_default();
        self.shared.table.note(&note)
    }

    /// The same guardian for a process that is to have this mark.
    pub fn marking(&self, mark: Option<Mark>) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            mark,
        }
    }

    /// Replaces the guardian if it was killed. Whether it was.
    pub fn replace_if_ended(&self) -> io::Result<bool> {
        let mut state = self.shared.state.lock();
        let is_there = state.current.as_mut().is_some_and(|it| !it.is_reaped());
        if is_there || state.pipe.is_none() {
            return Ok(false);
        }
        // Nobody may wait for it any more, should there be no other.
        state.current = None;
        let Shared {
            table, mark, life, ..
        } = &*self.shared;
        state.current = Some(Current::fork(table, *mark, life)?);
        Ok(true)
    }

    /// Somebody has reaped this child of ours, which may have been the guardian.
    pub fn note_reaped(&self, pid: i32) {
        if let Some(current) = &mut self.shared.state.lock().current
            && current.pid == Some(pid)
        {
            current.pid = None;
        }
    }

    /// Becomes readable when the guardian has ended. `None` before Linux 5.3.
    pub fn ended(&self) -> Option<Arc<OwnedFd>> {
        self.shared.state.lock().current.as_ref()?.ended.clone()
    }

    /// Its process, while there is one.
    pub fn pid(&self) -> Option<i32> {
        self.shared.state.lock().current.as_ref()?.pid
    }

    /// Lets the guardian do its work now and end, for when nothing is to be started any more; it
    /// is waited for, a moment at most.
    pub fn end(&self) {
        let mut state = self.shared.state.lock();
        state.pipe = None;
        state.current = None;
    }

    /// A place for a child that is about to be made. `None` if the table is full: that one is only
    /// killed with its parent.
    pub(super) fn reserve(&self) -> Option<Entry<'_>> {
        let place = self.shared.state.lock().places.take(&self.shared.table)?;
        Some(Entry {
            word: &self.shared.table.words()[place],
            place,
            mark: self.mark,
        })
    }

    /// The child of this entry was not made, or has ended before it ran a program.
    pub(super) fn give_back(&self, entry: &Entry<'_>) {
        self.shared
            .state
            .lock()
            .places
            .free(&self.shared.table, entry.place);
    }

    /// The child of this entry leads this group.
    pub(super) fn added(&self, group: i32, entry: &Entry<'_>) {
        let mut state = self.shared.state.lock();
        if let Some(stale) = state.places.of.insert(group, entry.place) {
            state.places.free(&self.shared.table, stale);
        }
    }

    /// The leader of this group has been reaped; members of the group live on.
    pub fn leader_reaped(&self, group: i32) {
        if let Some(place) = self.shared.state.lock().places.of.get(&group) {
            let words = self.shared.table.words();
            words[*place].store(encode(group, REAPED), Ordering::Release);
        }
    }

    /// The group is gone.
    pub fn remove(&self, group: i32) {
        let mut state = self.shared.state.lock();
        if let Some(place) = state.places.of.remove(&group) {
            state.places.free(&self.shared.table, place);
        }
    }
}

/// Where one child registers itself.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    word: &'a AtomicI64,
    place: usize,
    mark: Option<Mark>,
}

impl Entry<'_> {
    /// Registers the calling process's group, and marks the process. For the child between fork
    /// and exec: async-signal-safe.
    pub(super) fn register_self(&self) {
        if let Some(mark) = self.mark {
            mark.put_on();
        }
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

/// The memory that we share with the guardian: how many entries were ever used, and the entries; then the length of
/// a note on our cgroups, and the note.
#[derive(Debug)]
struct Table(NonNull<AtomicI64>);

// SAFETY: it is memory of atomics, which stays where it is until it is dropped.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

impl Table {
    const WORDS: usize = CAPACITY + 1;
    /// A path, two names, and some words.
    const NOTE: usize = 5 * 1024;
    const WORD: usize = size_of::<AtomicI64>();
    const BYTES: usize = (Self::WORDS + 1) * Self::WORD + Self::NOTE;

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

    fn all(&self) -> &[AtomicI64] {
        // SAFETY: the mapping has this many words, is aligned to a page, and was zero at first.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr(), Self::BYTES / Self::WORD) }
    }

    fn words(&self) -> &[AtomicI64] {
        &self.all()[..Self::WORDS]
    }

    /// Writes the note. False if it is too long.
    fn note(&self, note: &[u8]) -> bool {
        let [length, words @ ..] = &self.all()[Self::WORDS..] else {
            return false;
        };
        if note.len() > Self::NOTE {
            return false;
        }
        for (word, bytes) in words.iter().zip(note.chunks(Self::WORD)) {
            let mut all = [0; Self::WORD];
            all[..bytes.len()].copy_from_slice(bytes);
            word.store(i64::from_ne_bytes(all), Ordering::Relaxed);
        }
        // Without it there is no note yet.
        length.store(note.len() as i64, Ordering::Release);
        true
    }

    /// Reads the note; nothing if there is none.
    fn read_note<'a>(&self, buffer: &'a mut [u8; Self::NOTE]) -> &'a [u8] {
        let [length, words @ ..] = &self.all()[Self::WORDS..] else {
            return &[];
        };
        let length = length.load(Ordering::Acquire) as usize;
        for (word, bytes) in words.iter().zip(buffer.chunks_exact_mut(Self::WORD)) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        buffer.get(..length).unwrap_or_default()
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: nothing borrows from it any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), Self::BYTES) };
    }
}

impl Current {
    fn fork(table: &Table, mark: Option<Mark>, life: &OwnedFd) -> io::Result<Self> {
        let command_line = command_line();
        // SAFETY: the child calls only async-signal-safe functions (watch) and never returns.
        let pid = check(unsafe { libc::fork() })?;
        if pid == 0 {
            watch(life, table, mark, command_line);
        }
        // Before there is anything to guard it is out of reach of who kills our group. The error is
        // that it has left by itself already, for a session of its own.
        // SAFETY: takes no pointers.
        unsafe { libc::setpgid(pid, pid) };
        Ok(Self {
            pid: Some(pid),
            ended: open_pidfd(pid).map(Arc::new),
        })
    }

    /// Whether this child of ours is no more, not even as a zombie.
    fn is_reaped(&mut self) -> bool {
        // SAFETY: a null status is allowed.
        let reap = |pid| unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) };
        let lives = |pid: &libc::pid_t| retry(|| check(reap(*pid))).is_ok_and(|ended| ended == 0);
        self.pid = self.pid.filter(lives);
        self.pid.is_none()
    }
}

impl Drop for Current {
    /// Waits a moment for its end, to leave no zombie.
    fn drop(&mut self) {
        let deadline = Instant::now() + END_TIME;
        while !self.is_reaped() && Instant::now() < deadline {
            match &self.ended {
                Some(ended) => {
                    mark::wait_for_end(ended, deadline.saturating_duration_since(Instant::now()));
                }
                None => thread::sleep(TICK),
            }
        }
    }
}

/// Whether the process is the guardian of a server, as far as its name tells.
pub fn is_one(pid: i32) -> bool {
    let name = fs::read(format!("/proc/{pid}/comm"));
    name.is_ok_and(|name| name.trim_ascii_end() == NAME.to_bytes())
}

fn encode(group: i32, state: i64) -> i64 {
    i64::from(group) << 1 | state
}

/// Where the kernel has put our arguments, which it shows as the command line; empty if it does not tell.
fn command_line() -> Range<usize> {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field, in parentheses, may contain anything.
    let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
    let field = |number: usize| fields.split_whitespace().nth(number - 3)?.parse().ok();
    match (field(48), field(49)) {
        (Some(start), Some(end)) if start > 0 => start..end,
        _ => 0..0,
    }
}

/// The guardian's life. No allocation, no panic, no return.
fn watch(life: &OwnedFd, table: &Table, mark: Option<Mark>, command_line: Range<usize>) -> ! {
    // Whoever kills us by a mark that we have inherited must leave it its time.
    Mark::take_off();
    // SAFETY: plain system calls on our own descriptors and buffers. Standard
    // descriptors are closed too: a client waits for the end of our stdout.
    unsafe {
        let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(all.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut());
        libc::setsid();
        libc::prctl(libc::PR_SET_NAME, NAME.as_ptr());
        if command_line.len() > NAME.count_bytes() {
            // Memory of the arguments, which nobody looks at in this process.
            let arguments = command_line.start as *mut u8;
            std::ptr::write_bytes(arguments, 0, command_line.len());
            std::ptr::copy_nonoverlapping(NAME.as_ptr().cast(), arguments, NAME.count_bytes());
        }
        libc::chdir(c"/".as_ptr());
        if libc::dup2(life.as_raw_fd(), 0) != 0 {
            libc::_exit(1);
        }
        super::spawn::close_from(1);
    }
    let deputy = await_end();
    let mut note = [0; Table::NOTE];
    let cgroups = Left::parse(table.read_note(&mut note));
    cgroups.iter().for_each(Left::kill);
    let [used, entries @ ..] = table.words() else {
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
    let deadline = Instant::now() + KILL_TIME;
    if let Some(mark) = mark {
        // Orphans are others' to reap, now that the server is gone.
        mark::kill_all(&|pid| mark.is_on(pid), &|| 0, deadline);
    }
    cgroups.iter().for_each(|it| it.remove(deadline));
    if let Some(deputy) = deputy {
        // Nobody needs it any more. It must not outlive us: it would be an orphan, perhaps of a process 1 that reaps none.
        // SAFETY: takes no pointers but a null one, and the descriptor is ours.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, deputy, libc::SIGKILL, 0, 0) };
        poll(&mut [readable(deputy)], DEPUTY_TIME);
    }
    // SAFETY: ends this process at once.
    unsafe { libc::_exit(0) }
}

/// Waits for the end of what is descriptor 0, in the guardian and in a deputy that it makes; gives the guardian a
/// descriptor of the deputy.
fn await_end() -> Option<libc::c_int> {
    let mut deputy: libc::c_int = -1;
    // SAFETY: takes no pointers, but for clone, which writes the descriptor of the child into a variable that stays; the
    // child goes on with a copy of our memory, as behind fork. Its zombie is not wanted.
    let (guardian, child) = unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
        let guardian = libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0) as libc::c_int;
        let flags = libc::c_long::from(libc::SIGCHLD | libc::CLONE_PIDFD);
        let child = match guardian {
            // Before Linux 5.3 there is no deputy.
            ..0 => -1,
            _ => libc::syscall(
                libc::SYS_clone,
                flags,
                0_usize,
                &raw mut deputy,
                0_usize,
                0_usize,
            ),
        };
        (guardian, child)
    };
    if child != 0 {
        poll(&mut [readable(0)], -1);
        return (child > 0).then_some(deputy);
    }
    let mut fds = [readable(0), readable(guardian)];
    poll(&mut fds, -1);
    if fds[0].revents == 0 && poll(&mut fds[..1], DEPUTY_TIME) == 0 {
        // Only the guardian was killed, and has a successor with a deputy of its own.
        // SAFETY: ends this process at once.
        unsafe { libc::_exit(0) }
    }
    None
}

fn poll(fds: &mut [libc::pollfd], timeout: libc::c_int) -> libc::c_int {
    let (first, count) = (fds.as_mut_ptr(), fds.len() as libc::nfds_t);
    // SAFETY: the slice is as long as is said.
    retry(|| check(unsafe { libc::poll(first, count, timeout) })).unwrap_or_default()
}

fn readable(fd: libc::c_int) -> libc::pollfd {
    libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_kills_our_group_never_reaches_the_guardian() {
        let table = Table::map().unwrap();
        for _ in 0..20 {
            let (life, pipe) = io::pipe().unwrap();
            let guardian = Current::fork(&table, None, &OwnedFd::from(life)).unwrap();
            let pid = guardian.pid.unwrap();
            // SAFETY: takes no pointers.
            let group = unsafe { libc::getpgid(pid) };
            assert_eq!(group, pid);
            drop(pipe);
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
    fn a_note_is_read_as_it_was_written() {
        let table = Table::map().unwrap();
        let mut buffer = [1; Table::NOTE];
        assert_eq!(table.read_note(&mut buffer), b"");
        for note in [&b"twelve bytes"[..], b"less", &[7; Table::NOTE]] {
            assert!(table.note(note));
            assert_eq!(table.read_note(&mut buffer), note);
        }
        assert!(!table.note(&[0; Table::NOTE + 1]));
        assert_eq!(table.words().len(), Table::WORDS);
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
