//! How the kernel shares out the processors among threads.

use std::mem::MaybeUninit;

/// The shortest slice that a kernel gives, in nanoseconds.
const SHORTEST_SLICE: u64 = 100_000;

const RESET_ON_FORK: u64 = 1;

/// What the kernel is told of the structure's length.
const SIZE: u32 = size_of::<Attributes>() as u32;

/// `struct sched_attr` of the kernel, as of its first version.
#[repr(C)]
#[derive(Clone, Copy)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// For a thread that does little and is waited for: it is to run soon when it is woken, before threads that have been
/// promised longer slices. It gets no more time by that. The threads and processes that it starts have the slices that
/// all have.
///
/// From Linux 6.12 on; older kernels pay no attention to it. A thread whose policy or priority somebody has chosen keeps
/// what it has.
pub fn shorten_slices() {
    let Some(mut attributes) = attributes() else {
        return;
    };
    if attributes.policy != libc::SCHED_OTHER.cast_unsigned() || attributes.nice < 0 {
        return;
    }
    attributes.size = SIZE;
    attributes.flags |= RESET_ON_FORK;
    attributes.runtime = SHORTEST_SLICE;
    // SAFETY: the kernel reads SIZE bytes.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

/// Those of this thread.
fn attributes() -> Option<Attributes> {
    let mut attributes = MaybeUninit::<Attributes>::zeroed();
    // SAFETY: the kernel writes no more than SIZE bytes, and any bytes are a valid Attributes. 0 is this thread.
    unsafe {
        let result = libc::syscall(libc::SYS_sched_getattr, 0, attributes.as_mut_ptr(), SIZE, 0);
        (result == 0).then(|| attributes.assume_init())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn the_slices_of_a_thread_are_its_own() {
        let slice = || attributes().unwrap().runtime;
        let usual = thread::spawn(slice).join().unwrap();
        let started = thread::spawn(move || {
            shorten_slices();
            // An older kernel tells none.
            let expected = SHORTEST_SLICE.min(usual);
            assert_eq!(slice(), expected);
            thread::spawn(slice).join().unwrap()
        });
        assert_eq!(started.join().unwrap(), usual);
    }
}
