//! One account of the memory that clients and programs decide about, for the whole server.
//!
//! Who is about to hold bytes for a client reserves them first ([`Reserved`]), and says no to the
//! client if there is no room: the request is busy, or what comes next is not read. Each kind has a
//! share of the limit, so that none takes all from the others; only messages may, which are gone
//! when they are handled.
//!
//! Little things are not counted, so that they cost no atomic operation, and get through when there
//! is no room for large ones. Of each connection those are [`UNCOUNTED`] bytes of its receive buffer
//! and as many of what is unsent, and a quarter of that of requests that wait: 144 KiB. A thousand
//! connections that all use them have 144 MiB beside the limit. Answers that are not read hold more
//! than theirs only while there is room: then large ones go in small pieces, which need none.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::sys::poll::{self, PollFd, READABLE, WakeEvent, Waker};
use crate::sys::sync::Mutex;

/// The limit unless another is set, in bytes.
pub const DEFAULT: usize = 256 * 1024 * 1024;
/// What is not counted of a buffer, in bytes.
pub const UNCOUNTED: usize = 64 * 1024;

/// What memory is held for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Messages and bodies that are arriving or being handled.
    #[default]
    Messages,
    /// Requests that wait.
    Requests,
    /// Answers that are made or unsent.
    Answers,
    /// Changes of files that are not told yet.
    Watches,
    /// Input that programs have not read.
    Input,
    /// Output that is retained.
    Output,
}

impl Kind {
    /// All of them, as metrics call them.
    pub const ALL: [(Self, &str); 6] = [
        (Self::Messages, "messages"),
        (Self::Requests, "requests"),
        (Self::Answers, "answers"),
        (Self::Watches, "watches"),
        (Self::Input, "input"),
        (Self::Output, "output"),
    ];

    /// Its share of the limit, in eighths.
    fn eighths(self) -> usize {
        match self {
            Self::Messages => 8,
            Self::Requests => 3,
            Self::Answers => 2,
            Self::Watches => 1,
            Self::Input => 4,
            Self::Output => 2,
        }
    }

    /// Its share of the limit, in bytes.
    pub fn share(self) -> usize {
        limit() / 8 * self.eighths()
    }

    /// How much is held for it.
    pub fn used(self) -> usize {
        USED[self as usize].load(Ordering::Relaxed)
    }

    /// Whether there is hardly any room left for it: an eighth of its share, or of all.
    pub fn is_spent(self) -> bool {
        let (share, limit) = (self.share(), limit());
        self.used() > share - share / 8 || ALL.load(Ordering::Relaxed) > limit - limit / 8
    }
}

static LIMIT: AtomicUsize = AtomicUsize::new(DEFAULT);
static ALL: AtomicUsize = AtomicUsize::new(0);
static USED: [AtomicUsize; Kind::ALL.len()] = [const { AtomicUsize::new(0) }; Kind::ALL.len()];
static REFUSED: AtomicUsize = AtomicUsize::new(0);

/// Set when something is given back, then forgotten.
static WAKERS: Mutex<Vec<Waker>> = Mutex::new(Vec::new());
static HAS_WAKERS: AtomicBool = AtomicBool::new(false);

/// The limit of all kinds together.
pub fn limit() -> usize {
    LIMIT.load(Ordering::Relaxed)
}

/// Sets the limit, for all that is reserved from now on.
pub fn set_limit(bytes: usize) {
    LIMIT.store(bytes, Ordering::Relaxed);
}

/// Whether less than a quarter is free: what can wait, waits then.
pub fn is_scarce() -> bool {
    let limit = limit();
    ALL.load(Ordering::Relaxed) > limit - limit / 4
}

/// How often somebody was refused so far.
pub fn refusals() -> usize {
    REFUSED.load(Ordering::Relaxed)
}

/// Takes room, to be counted back; false if there is not as much.
pub fn take(kind: Kind, bytes: usize) -> bool {
    let used = &USED[kind as usize];
    // In one order with the wakers: who finds no room is woken by what is given back later.
    let its = used
        .fetch_add(bytes, Ordering::SeqCst)
        .saturating_add(bytes);
    let all = ALL.fetch_add(bytes, Ordering::SeqCst).saturating_add(bytes);
    if its <= kind.share() && all <= limit() {
        return true;
    }
    subtract(kind, bytes);
    REFUSED.fetch_add(1, Ordering::Relaxed);
    false
}

fn subtract(kind: Kind, bytes: usize) {
    USED[kind as usize].fetch_sub(bytes, Ordering::SeqCst);
    ALL.fetch_sub(bytes, Ordering::SeqCst);
}

fn give_back(kind: Kind, bytes: usize) {
    subtract(kind, bytes);
    if bytes > 0 && HAS_WAKERS.load(Ordering::SeqCst) {
        let mut wakers = WAKERS.lock();
        HAS_WAKERS.store(false, Ordering::SeqCst);
        for waker in wakers.drain(..) {
            waker.set();
        }
    }
}

/// Keeps a waker for when something is given back. Who finds no room then keeps it again.
pub fn remember(waker: &Waker) {
    let mut wakers = WAKERS.lock();
    if !wakers.contains(waker) {
        wakers.push(waker.clone());
    }
    HAS_WAKERS.store(true, Ordering::SeqCst);
}

/// Counts what is held whether or not there is room: who holds it has other means to hold less.
pub fn count(kind: Kind, before: usize, after: usize) {
    if after > before {
        USED[kind as usize].fetch_add(after - before, Ordering::Relaxed);
        ALL.fetch_add(after - before, Ordering::Relaxed);
    } else {
        give_back(kind, before - after);
    }
}

/// A copy of what a client has sent, if the system gives the memory.
pub fn copy(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len()).ok()?;
    copy.extend_from_slice(bytes);
    Some(copy)
}

/// Room in the server's memory, given back when this is dropped.
#[derive(Debug, Default)]
pub struct Reserved {
    kind: Kind,
    bytes: usize,
}

impl Reserved {
    /// No room yet.
    pub const fn none(kind: Kind) -> Self {
        Self { kind, bytes: 0 }
    }

    /// So many bytes, if there is room for them.
    pub fn of(kind: Kind, bytes: usize) -> Option<Self> {
        take(kind, bytes).then(|| Self { kind, bytes })
    }

    /// The same for who may wait for it, at most for `patience`.
    pub fn within(kind: Kind, bytes: usize, patience: Duration) -> Option<Self> {
        let deadline = Instant::now() + patience;
        let mut waker = None;
        loop {
            if let Some(reserved) = Self::of(kind, bytes) {
                return Some(reserved);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let Some(waker) = &waker else {
                waker = Some(Arc::new(WakeEvent::new().ok()?));
                waker.as_ref().inspect(|&event| remember(&event.into()));
                continue;
            };
            poll::wait(&mut [PollFd::new(waker.as_fd(), READABLE)], Some(left)).ok()?;
            waker.take();
            remember(&waker.into());
        }
    }

    /// Makes it more or less. False if there is no room for more: then it is what it was.
    pub fn set(&mut self, bytes: usize) -> bool {
        if bytes > self.bytes {
            if !take(self.kind, bytes - self.bytes) {
                return false;
            }
        } else if bytes < self.bytes {
            give_back(self.kind, self.bytes - bytes);
        }
        self.bytes = bytes;
        true
    }

    /// Makes it what is held, whether or not there is room.
    pub fn count(&mut self, bytes: usize) {
        count(self.kind, self.bytes, bytes);
        self.bytes = bytes;
    }

    /// How much it is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        give_back(self.kind, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_its_share_and_gives_it_back_to_who_waits() {
        let share = Kind::Requests.share();
        let mut first = Reserved::of(Kind::Requests, share).unwrap();
        let before = refusals();
        assert!(Reserved::of(Kind::Requests, 1).is_none());
        assert!(refusals() > before);
        assert!(!first.set(share + 1) && first.bytes() == share);
        assert!(first.set(share - 1));
        drop(Reserved::of(Kind::Requests, 1).unwrap());
        drop(first);
        let mut second = Reserved::none(Kind::Requests);
        assert!(second.set(share));
        second.count(share + 1);
        assert_eq!(Kind::Requests.used(), share + 1);
        drop(second);
        assert_eq!(Kind::Requests.used(), 0);
        let held = Reserved::of(Kind::Requests, share).unwrap();
        assert!(Kind::Requests.is_spent());
        assert!(Reserved::within(Kind::Requests, 1, Duration::from_millis(10)).is_none());
        let waits = || Reserved::within(Kind::Requests, 1, Duration::from_secs(20));
        let waiting = std::thread::spawn(waits);
        // It has begun to wait, or will find the room.
        drop(held);
        assert!(waiting.join().unwrap().is_some());
        assert!(!Kind::Requests.is_spent());
    }
}
