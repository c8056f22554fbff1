//! Processes that are known by what they inherit, whoever their parent has become.
//!
//! The kernel forgets whose descendant an orphan is: `setsid` leaves the session and the group,
//! and a second fork the parent. Resource limits are kept, over fork, exec, `setsid` and a change
//! of user, and one of them has limited nothing since Linux 2.4.25: the number of file locks
//! (`RLIMIT_LOCKS`). Its value is the mark. Every user may read another's, so ours are found by one
//! look at all processes. A process may lower its own, and root's may raise it: the mark finds
//! who has left by custom, as daemons do, and not who hides.
//!
//! Without the mark a subreaper could end all at its own end, but not tell whose an orphan was. A
//! control group would also find who hides, where one was delegated to the server, which few have.
//! To move a child into it takes 13 ms. To make it there takes 0.02 ms (`clone3` with
//! `CLONE_INTO_CGROUP`), but with memory that is shared no C library offers that: it would be
//! assembly for each architecture. Whoever needs it gives the whole server a group that ends with
//! it (SECURITY.md).
//!
//! All of this is also for the guardian, forked from a process with threads: no allocation, no
//! panic.

use std::fmt::{self, Write};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null;
use std::time::{Duration, Instant};

use super::process::{open_pidfd, own_pid, send_by_pidfd};
use super::signal::Signal;
use super::{check, counted, directory, random, retry};

/// Bits of a mark, from the lowest: the process, its owner, its server. The highest is not used.
const OWNER_AT: u32 = 18;
const SERVER_AT: u32 = 32;
const SERVER_BITS: u32 = 31;
/// Below so many servers to choose from, chance would not keep two apart.
const FEWEST_SERVERS: u64 = 1 << 16;
/// Owners of one server that can be told apart.
pub const OWNERS: u16 = (1 << (SERVER_AT - OWNER_AT)) - 1;
/// Processes of one owner that can be told apart.
const PROCESSES: u32 = (1 << OWNER_AT) - 1;

/// Ended processes that are awaited at once.
const AWAITED: usize = 64;
/// Between looks where the kernel has no event for the end of a process (before Linux 5.3).
const TICK: Duration = Duration::from_millis(5);

/// The mark of a process, of all processes of an owner, or of all of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

impl Mark {
    /// A mark for a server, by chance and below our own. None where the kernel, or our own limit,
    /// leaves no room for one.
    pub fn draw() -> Option<Self> {
        let servers = (limit_of(0)? >> SERVER_AT).min(1 << SERVER_BITS);
        if servers < FEWEST_SERVERS {
            return None;
        }
        let mut bytes = [0; 8];
        random::fill(&mut bytes).ok()?;
        Some(Self(
            (u64::from_ne_bytes(bytes) % (servers - 1) + 1) << SERVER_AT,
        ))
    }

    /// The mark of an owner, 1 to [`OWNERS`], on a server with this mark.
    pub fn of_owner(self, owner: u16) -> Self {
        Self(self.0 | u64::from(owner) << OWNER_AT)
    }

    /// The mark of a process of an owner with this mark; numbers come again after 262,143.
    pub fn of_process(self, number: u32) -> Self {
        Self(self.0 | u64::from(number % PROCESSES + 1))
    }

    /// Puts it on the calling process. Async-signal-safe. Without it, the process is known by its
    /// group only.
    pub(super) fn put_on(self) {
        let limit = [self.0; 2];
        set_own_limit(&limit);
    }

    /// Takes every mark off the calling process. Async-signal-safe.
    pub(super) fn take_off() {
        set_own_limit(&[0; 2]);
    }

    /// Whether a process with this limit has the mark, or one below it.
    fn covers(self, limit: u64) -> bool {
        let is_below = |bits: u32| self.0 & ((1 << bits) - 1) == 0;
        let ignored = match () {
            () if is_below(SERVER_AT) => SERVER_AT,
            () if is_below(OWNER_AT) => OWNER_AT,
            () => 0,
        };
        limit >> ignored == self.0 >> ignored
    }

    /// Whether this process has the mark, or one below it.
    pub fn is_on(self, pid: i32) -> bool {
        limit_of(pid).is_some_and(|limit| self.covers(limit))
    }
}

/// Whether a process has one of these marks.
pub fn has_one(pid: i32, marks: impl IntoIterator<Item = Mark>) -> bool {
    limit_of(pid).is_some_and(|limit| marks.into_iter().any(|mark| mark.covers(limit)))
}

/// The group of a process.
pub fn group_of(pid: i32) -> Option<i32> {
    // SAFETY: takes no pointers.
    Some(unsafe { libc::getpgid(pid) }).filter(|group| *group > 0)
}

/// The parent of a process; none where there is no /proc.
pub fn parent_of(pid: i32) -> Option<i32> {
    let mut buffer = [0; 512];
    let text = read(pid, "stat", &mut buffer)?;
    // The name in parentheses may hold anything.
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let mut fields = text.get(end + 1..)?.split(|byte| *byte == b' ');
    number(fields.nth(2)?)
}

/// Sends a signal to all living processes that are `wanted`; whether there was one. Not to us.
pub fn signal(wanted: &dyn Fn(i32) -> bool, signal: Signal) -> bool {
    look(wanted, Some(signal), &mut [const { None }; AWAITED]).reached > 0
}

/// Whether a living process is `wanted`. We are not.
pub fn is_any_left(wanted: &dyn Fn(i32) -> bool) -> bool {
    look(wanted, None, &mut [const { None }; AWAITED]).reached > 0
}

/// Kills all that are `wanted`, and what they start meanwhile, until none lives; false when the
/// time was up. Never us. `reaped` counts the orphans that were reaped: as long as it grows, there
/// may be a process that forks and exits all the time, and was not there when it was looked at.
pub fn kill_all(wanted: &dyn Fn(i32) -> bool, reaped: &dyn Fn() -> u64, deadline: Instant) -> bool {
    until_none(wanted, Some(Signal::KILL), reaped, deadline)
}

/// Waits until none that is `wanted` lives; false when the time was up.
pub fn wait_for_all(wanted: &dyn Fn(i32) -> bool, deadline: Instant) -> bool {
    until_none(wanted, None, &|| 0, deadline)
}

fn until_none(
    wanted: &dyn Fn(i32) -> bool,
    signal: Option<Signal>,
    reaped: &dyn Fn() -> u64,
    deadline: Instant,
) -> bool {
    let mut last = None;
    loop {
        let reaped_before = reaped();
        let mut living = [const { None }; AWAITED];
        let seen = look(wanted, signal, &mut living);
        // Who forks and exits all the time has ended whenever it is to be killed, and has a child
        // by then. Those that have ended and wait to be reaped are the same ones next time.
        let is_quiet = seen.numbers == 0 || last == Some(seen.numbers);
        if seen.reached == 0 && is_quiet && reaped() == reaped_before {
            return true;
        }
        last = Some(seen.numbers);
        let mut can_wait = false;
        for pidfd in living.iter().flatten() {
            can_wait = true;
            wait_for_end(pidfd, deadline.saturating_duration_since(Instant::now()));
        }
        if Instant::now() >= deadline {
            return false;
        }
        if !can_wait && seen.reached > 0 {
            std::thread::sleep(TICK);
        }
    }
}

/// What one look at all processes has found.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// How many that were wanted got the signal, or may have to get it yet.
    reached: usize,
    /// The sum of the numbers of all that were wanted, living or not.
    numbers: u64,
}

/// Looks at all processes once.
fn look(
    wanted: &dyn Fn(i32) -> bool,
    signal: Option<Signal>,
    living: &mut [Option<OwnedFd>; AWAITED],
) -> Seen {
    let own = own_pid();
    let mut seen = Seen::default();
    let signal = signal.map_or(0, Signal::number);
    let looked = for_each_process(&mut |pid| {
        if pid == own || !wanted(pid) {
            return;
        }
        seen.numbers += u64::from(pid.unsigned_abs());
        let is_reached = match open_pidfd(pid) {
            // Once more, as its number may have been another's when it was opened.
            Some(pidfd) if wanted(pid) && !wait_for_end(&pidfd, Duration::ZERO) => {
                let sent = send_by_pidfd(&pidfd, signal, 0).is_ok();
                if sent && let Some(place) = living.get_mut(seen.reached) {
                    *place = Some(pidfd);
                }
                sent
            }
            Some(_) => false,
            // SAFETY: kill takes no pointers.
            None => !is_zombie(pid) && unsafe { libc::kill(pid, signal) } == 0,
        };
        seen.reached += usize::from(is_reached);
    });
    // Without /proc there is nothing to look at. Where it cannot be read now, as for want of descriptors, somebody may
    // live who was not seen.
    if looked.is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
        seen.reached += 1;
    }
    seen
}

/// Whether the process has ended within this time.
pub(super) fn wait_for_end(pidfd: &OwnedFd, limit: Duration) -> bool {
    let mut fd = libc::pollfd {
        fd: pidfd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let millis = limit.as_nanos().div_ceil(1_000_000);
    // SAFETY: the pointer is to one pollfd.
    unsafe {
        libc::poll(
            &raw mut fd,
            1,
            libc::c_int::try_from(millis).unwrap_or(libc::c_int::MAX),
        ) == 1
    }
}

fn is_zombie(pid: i32) -> bool {
    let mut buffer = [0; 512];
    let state = read(pid, "stat", &mut buffer).and_then(|text| {
        let end = text.iter().rposition(|byte| *byte == b')')?;
        text.get(end + 2).copied()
    });
    matches!(state, Some(b'Z' | b'X'))
}

/// Calls `act` with the number of every process.
fn for_each_process(act: &mut dyn FnMut(i32)) -> io::Result<()> {
    /// Where the parts of an entry are (`struct linux_dirent64`): its length, its name.
    const LENGTH_AT: usize = 16;
    const NAME_AT: usize = 19;
    let proc = open(c"/proc", libc::O_DIRECTORY)?;
    let mut buffer = [0_u8; 4096];
    loop {
        let count = directory::entries(proc.as_fd(), &mut buffer)?;
        let mut rest = buffer.get(..count).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        while let Some(&[low, high]) = rest.get(LENGTH_AT..LENGTH_AT + 2) {
            let length = usize::from(u16::from_ne_bytes([low, high]));
            let name = rest.get(NAME_AT..length).unwrap_or_default();
            if let Some(pid) = name.split(|byte| *byte == 0).next().and_then(number) {
                act(pid);
            }
            rest = rest.get(length.max(1)..).unwrap_or_default();
        }
    }
}

/// The hard limit on locks of a process; 0 means us.
fn limit_of(pid: i32) -> Option<u64> {
    let mut limit = [0_u64; 2];
    // SAFETY: the kernel writes one rlimit64, which is two numbers of 64 bits.
    let asked = unsafe {
        let (resource, new) = (libc::RLIMIT_LOCKS, null::<[u64; 2]>());
        libc::syscall(libc::SYS_prlimit64, pid, resource, new, limit.as_mut_ptr())
    };
    match asked {
        0 => Some(limit[1]),
        // Of another user or group, as a set-id program is. Everybody may read the file.
        _ => limit_in_text(read(pid, "limits", &mut [0; 2048])?),
    }
}

/// The same, as `/proc/PID/limits` has it.
fn limit_in_text(text: &[u8]) -> Option<u64> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let line = lines.find_map(|line| line.strip_prefix(b"Max file locks"))?;
    let mut columns = line
        .split(|byte| *byte == b' ')
        .filter(|column| !column.is_empty());
    Some(number(columns.nth(1)?).unwrap_or(u64::MAX))
}

fn set_own_limit(limit: &[u64; 2]) {
    // SAFETY: the kernel reads one rlimit64, which is two numbers of 64 bits.
    unsafe {
        let old = std::ptr::null_mut::<u64>();
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            libc::RLIMIT_LOCKS,
            limit.as_ptr(),
            old,
        );
    }
}

/// The beginning of a file in the directory of a process.
fn read<'a>(pid: i32, file: &str, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut path = Path::default();
    write!(path, "/proc/{pid}/{file}").ok()?;
    let file = open(path.as_c_str()?, 0).ok()?;
    let (fd, into, room) = (file.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: the pointer and the length describe one writable slice.
    let count = retry(|| counted(unsafe { libc::read(fd, into, room) })).ok()?;
    buffer.get(..count)
}

fn open(path: &std::ffi::CStr, flags: libc::c_int) -> io::Result<OwnedFd> {
    let flags = libc::O_RDONLY | libc::O_CLOEXEC | flags;
    // SAFETY: the path is a terminated string.
    let fd = retry(|| check(unsafe { libc::open(path.as_ptr(), flags) }))?;
    // SAFETY: the descriptor is fresh and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    str::from_utf8(digits).ok()?.parse().ok()
}

/// A path that is made without memory of the heap.
#[derive(Default)]
struct Path {
    bytes: [u8; 32],
    len: usize,
}

impl Path {
    fn as_c_str(&self) -> Option<&std::ffi::CStr> {
        std::ffi::CStr::from_bytes_until_nul(&self.bytes).ok()
    }
}

impl Write for Path {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        let place = self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_covers_itself_and_what_is_below_it() {
        let server = Mark(5 << SERVER_AT);
        let owner = server.of_owner(3);
        let process = owner.of_process(7);
        for mark in [server, owner, process] {
            assert!(mark.covers(process.0));
        }
        assert!(!owner.covers(server.of_owner(2).of_process(7).0));
        assert!(!process.covers(owner.of_process(8).0));
        assert!(!process.covers(owner.0));
        assert!(!server.covers(Mark(4 << SERVER_AT).of_owner(3).0));
        assert!(!server.covers(u64::MAX));
        assert!(!server.covers(0));
        let last = Mark(u64::MAX >> 1 >> SERVER_AT << SERVER_AT).of_owner(OWNERS);
        assert!(!last.covers(u64::MAX));
        assert_eq!(owner.of_process(PROCESSES), owner.of_process(0));
    }

    #[test]
    fn drawn_marks_are_of_a_server_and_differ() {
        let (one, other) = (Mark::draw().unwrap(), Mark::draw().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.0 & u64::from(u32::MAX), 0);
        assert!(one.0 > 0 && one.0 < 1 << 63);
    }

    #[test]
    fn the_file_with_limits_says_what_the_kernel_says() {
        let text = std::fs::read("/proc/self/limits").unwrap();
        assert_eq!(limit_in_text(&text), limit_of(0));
        let text = b"Max processes 1 2 processes\nMax file locks            12        4294967296           locks     \n";
        assert_eq!(limit_in_text(text), Some(1 << 32));
        assert_eq!(limit_in_text(b"nonsense"), None);
    }

    #[test]
    fn every_process_is_seen_with_its_parent() {
        let mut seen = Vec::new();
        for_each_process(&mut |pid| seen.push(pid)).unwrap();
        assert!(seen.contains(&1) && seen.contains(&own_pid()));
        assert_eq!(
            parent_of(own_pid()),
            Some(i32::try_from(std::os::unix::process::parent_id()).unwrap())
        );
    }
}
