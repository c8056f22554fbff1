//! The allocator of the program: the C library's, with address space in reserve.
//!
//! Rust ends a program in which an allocation fails, but where the code expects that (`try_reserve`), as it does wherever
//! a client decides the size. What is left are many small ones, and with a limit on the address space (RLIMIT_AS) any of
//! them can be the one that fails. So some space is kept aside, which costs no memory. It is given back when there is no
//! other, and the allocation is made again. From then on [`is_kept`] says no, and nothing is begun that needs memory,
//! until as much is free again.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// What is kept aside where the address space has no limit, in bytes, and at most.
const MOST: usize = 8 * 1024 * 1024;
/// Of a limit on the address space, this part is kept aside.
const PART: u64 = 16;

/// Where the reserve is, if there is one at the moment.
static KEPT: AtomicPtr<libc::c_void> = AtomicPtr::new(null_mut());
/// How large it is; 0 until it is first kept.
static SIZE: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Reserving = Reserving;

struct Reserving;

/// Keeps a reserve from now on: a part of `limit`, if the address space has one.
pub fn keep(limit: Option<u64>) {
    let part = limit.map_or(MOST, |limit| usize::try_from(limit / PART).unwrap_or(MOST));
    SIZE.store(part.min(MOST), Ordering::Relaxed);
    is_kept();
}

/// Whether the reserve is there, or can be had again. Always in a program that keeps none.
pub fn is_kept() -> bool {
    let size = SIZE.load(Ordering::Relaxed);
    if size == 0 || !KEPT.load(Ordering::Acquire).is_null() {
        return true;
    }
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: the kernel chooses an address where nothing is mapped.
    let reserve = unsafe { libc::mmap(null_mut(), size, access, kind, -1, 0) };
    if reserve == libc::MAP_FAILED {
        return false;
    }
    let before = KEPT.compare_exchange(null_mut(), reserve, Ordering::AcqRel, Ordering::Acquire);
    if before.is_err() {
        // Another thread was faster.
        // SAFETY: it was mapped above, and nobody else knows of it.
        unsafe { libc::munmap(reserve, size) };
    }
    true
}

/// Gives the reserve back for an allocation of this size that has failed; whether that may help.
#[cold]
fn give_back(size: usize) -> bool {
    let kept = SIZE.load(Ordering::Relaxed);
    // Large ones are expected to fail, and must leave it to the small ones.
    if size > kept / 2 {
        return false;
    }
    let reserve = KEPT.swap(null_mut(), Ordering::AcqRel);
    if !reserve.is_null() {
        // SAFETY: it was mapped with this size, which does not change, nobody uses it, and nobody else has it now.
        unsafe { libc::munmap(reserve, kept) };
    }
    // Where it is gone already, a part of it may be left.
    true
}

// SAFETY: all that is given out is the system allocator's, and goes back to it.
unsafe impl GlobalAlloc for Reserving {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the layout is the caller's, who keeps the rules of this trait.
        let allocate = || unsafe { System.alloc(layout) };
        or_again(layout.size(), allocate)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let allocate = || unsafe { System.alloc_zeroed(layout) };
        or_again(layout.size(), allocate)
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above; one that fails leaves the old block as it is.
        let allocate = || unsafe { System.realloc(old, layout, size) };
        or_again(size, allocate)
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(old, layout) };
    }
}

#[inline]
fn or_again(size: usize, allocate: impl Fn() -> *mut u8) -> *mut u8 {
    let given = allocate();
    if given.is_null() && give_back(size) {
        return allocate();
    }
    given
}
