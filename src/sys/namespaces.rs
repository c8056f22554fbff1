//! Whether this process can make namespaces.

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;

use super::check;
use super::spawn::Quiet;

/// Enough for a function that calls one other.
const STACK_BYTES: usize = 8 * 1024;

/// Makes a process in new namespaces of the kinds that a sandbox has, which ends at once. The
/// error is what the kernel says to the clone.
pub fn try_new() -> io::Result<()> {
    let kinds = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWNET;
    let flags = kinds | libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let _quiet = Quiet::begin();
    let mut stack = Vec::<MaybeUninit<u8>>::with_capacity(STACK_BYTES);
    // SAFETY: the stack outlives the child's use of it because CLONE_VFORK suspends us until it
    // has exited; its end, made 16-aligned as the ABIs want it, is inside the allocation. Signals
    // are blocked meanwhile, so no handler runs on our memory.
    let pid = check(unsafe {
        let end = stack.as_mut_ptr().add(STACK_BYTES).cast::<u8>();
        let top = end.sub(end as usize % 16);
        libc::clone(leave, top.cast(), flags, std::ptr::null_mut())
    })?;
    // SAFETY: a null status is allowed; the child has ended.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    Ok(())
}

extern "C" fn leave(_: *mut c_void) -> libc::c_int {
    // SAFETY: ends the child at once, without running what the parent registered.
    unsafe { libc::_exit(0) }
}
