//! Giving back pages that are mapped and not needed for now.
//!
//! Two kinds stay with a program that waits although it has no use for them: those of a thread's stack
//! that deep calls have touched once, and those of its code that ran at its start or for a client that is
//! silent now.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{c_int, c_void};

/// Bytes below a local variable of [`release_stack`] that it and the system call may use themselves.
const IN_USE: usize = 1024;

/// Whether a thread has begun to rest since code was last released.
static HAS_RUN: AtomicBool = AtomicBool::new(true);

/// For a thread that is about to wait for long: gives back what is unused of its stack.
pub fn rest() {
    release_stack();
    note_run();
}

/// Notes that code has run that may not be needed again soon.
pub fn note_run() {
    HAS_RUN.store(true, Ordering::Relaxed);
}

fn page_size() -> usize {
    // SAFETY: sysconf takes no pointers.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// Gives back all whole pages of this thread's stack that lie below its calls. Not for the main thread,
/// whose stack grows.
#[inline(never)]
fn release_stack() {
    let local = 0_u8;
    let here = (&raw const local).addr();
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut lowest, mut size): (*mut c_void, usize) = (std::ptr::null_mut(), 0);
    // SAFETY: the first call initialises the attributes, which the others read, and all pointers are to locals.
    let is_known = unsafe {
        libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) == 0
            && libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut lowest, &raw mut size) == 0
    };
    let page = page_size();
    let start = lowest.addr().next_multiple_of(page);
    let end = here.saturating_sub(IN_USE) / page * page;
    if !is_known || end <= start {
        return;
    }
    // SAFETY: the range is within this thread's own stack, and below all its frames: what is there belongs to calls
    // that have returned. It reads as zeroes from now on.
    unsafe { libc::madvise(lowest.with_addr(start), end - start, libc::MADV_DONTNEED) };
}

/// Gives back the program's code and constants, if they were used since the last time. They stay in the
/// kernel's cache of files; what is used again is mapped again at its first use.
pub fn release_code() {
    if HAS_RUN.swap(false, Ordering::Relaxed) {
        // SAFETY: the callback keeps no pointer, and reads what it gets by the types that it is given for.
        unsafe { libc::dl_iterate_phdr(Some(release_object), std::ptr::null_mut()) };
    }
}

/// Releases the segments of the program, which is the first object, that nobody can write to.
unsafe extern "C" fn release_object(
    object: *mut libc::dl_phdr_info,
    _size: usize,
    _nothing: *mut c_void,
) -> c_int {
    let page = page_size();
    // SAFETY: the C library passes a description that is valid during this call, with an array of so many headers.
    let (object, headers) = unsafe {
        let object = &*object;
        let headers = std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into());
        (object, headers)
    };
    for header in headers {
        if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
            continue;
        }
        let start = (object.dlpi_addr + header.p_vaddr) as usize;
        let (start, end) = (start / page * page, start + header.p_memsz as usize);
        // SAFETY: the range is a private mapping of the program's file, which nothing has written to, so the same bytes
        // come back.
        unsafe {
            libc::madvise(
                std::ptr::with_exposed_provenance_mut(start),
                end - start,
                libc::MADV_DONTNEED,
            )
        };
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leaves much of the stack touched.
    #[inline(never)]
    fn call_deeply() -> u8 {
        let deep = std::hint::black_box([1_u8; 128 * 1024]);
        deep[1000]
    }

    /// Kilobytes of the mapping that has the address.
    fn resident(address: usize) -> u64 {
        let maps = std::fs::read_to_string("/proc/thread-self/smaps").unwrap();
        let mut is_inside = false;
        for line in maps.lines() {
            let mut words = line.split_whitespace();
            let first = words.next().unwrap();
            if let Some((start, end)) = first.split_once('-') {
                let number = |text| usize::from_str_radix(text, 16).unwrap();
                is_inside = (number(start)..number(end)).contains(&address);
            } else if first == "Rss:" && is_inside {
                return words.next().unwrap().parse().unwrap();
            }
        }
        panic!("{address:x} is nowhere in {maps}");
    }

    #[test]
    fn a_thread_that_rests_keeps_only_what_it_uses_of_its_stack() {
        let check = || {
            let local = 7_u8;
            let here = (&raw const local).addr();
            let mut before = 0;
            for round in 0..3 {
                assert_eq!(call_deeply(), 1);
                before = resident(here);
                assert!(before >= 128, "{before} kB in round {round}");
                rest();
                let after = resident(here);
                assert!(after + 100 < before, "{before} kB, and then {after}");
            }
            (std::hint::black_box(local), before)
        };
        let thread = std::thread::Builder::new().stack_size(512 * 1024);
        assert_eq!(thread.spawn(check).unwrap().join().unwrap().0, 7);
    }

    #[test]
    fn code_that_is_released_runs_as_before() {
        for _ in 0..3 {
            note_run();
            release_code();
            assert_eq!(call_deeply(), 1);
        }
    }
}
